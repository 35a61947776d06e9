//! Health checks: by the process that runs them beside a container, and by hand.

use std::time::Duration;

use serde_json::json;

use crate::support::{Entry, Image, Layer, Missing, Sandbox, busybox_entries, eventually, require};

const SOON: Duration = Duration::from_secs(30);
const IMAGE: &str = "lab/busybox";

fn both() -> Result<Vec<Sandbox>, Missing> {
    let sandboxes = Sandbox::both()?;
    sandboxes.iter().for_each(|sandbox| sandbox.pull(IMAGE));
    Ok(sandboxes)
}

fn run(sandbox: &Sandbox, name: &str, flags: &[&str]) {
    let run = sandbox.coracle(["run", "-d", "--network=none", "--name", name]).args(flags.iter().copied());
    run.args([IMAGE, "sleep", "1000"]).ok();
}

fn shown(sandbox: &Sandbox, name: &str, format: &str) -> String {
    sandbox.coracle(["inspect", "--format", format, name]).ok().text().to_owned()
}

fn health(sandbox: &Sandbox, name: &str) -> String {
    shown(sandbox, name, "{{.State.Health.Status}}")
}

#[test]
fn a_container_becomes_healthy_and_unhealthy_and_healthy_again() {
    for sandbox in require!(both()) {
        let flags = [
            "--health-cmd=echo looked; test -e /ready",
            "--health-interval=200ms",
            "--health-retries=2",
            "--health-max-log-count=3",
        ];
        run(&sandbox, "c", &flags);
        sandbox.coracle(["ps", "--format", "{{.Status}}"]).ok().stdout_has("(health: starting)");
        assert_eq!(health(&sandbox, "c"), "starting");
        sandbox.coracle(["exec", "c", "touch", "/ready"]).ok();
        sandbox.coracle(["wait", "--condition=healthy", "c"]).timeout(SOON).ok();
        sandbox.coracle(["ps", "--format", "{{.Status}}"]).ok().stdout_has("(healthy)");
        sandbox.coracle(["ps", "-q", "--filter", "health=unhealthy"]).ok().stdout_is("");
        sandbox.coracle(["exec", "c", "rm", "/ready"]).ok();
        sandbox.coracle(["wait", "--condition=unhealthy", "c"]).timeout(SOON).ok();
        sandbox.coracle(["ps", "--format", "{{.Names}}", "--filter", "health=unhealthy"]).ok().stdout_is("c");
        let seen = sandbox.coracle(["inspect", "c"]).ok().json();
        let seen = &seen[0]["State"]["Health"];
        assert!(seen["FailingStreak"].as_u64() >= Some(2), "{seen}");
        let log = seen["Log"].as_array().unwrap();
        assert_eq!((log.len(), &log[2]["ExitCode"], &log[2]["Output"]), (3, &json!(1), &json!("looked\n")));
        sandbox.coracle(["exec", "c", "touch", "/ready"]).ok();
        sandbox.coracle(["wait", "--condition=healthy", "c"]).timeout(SOON).ok();
        assert_eq!(shown(&sandbox, "c", "{{.State.Health.FailingStreak}}"), "0");
        // A restart begins anew.
        sandbox.coracle(["exec", "c", "rm", "/ready"]).ok();
        sandbox.coracle(["restart", "-t", "0", "c"]).ok();
        assert_eq!(health(&sandbox, "c"), "starting");
        sandbox.coracle(["wait", "--condition=unhealthy", "c"]).timeout(SOON).ok();
    }
}

#[test]
fn checks_by_hand_answer_with_their_exit_code() {
    for sandbox in require!(both()) {
        run(&sandbox, "c", &["--health-cmd", r#"["test", "-e", "/ready"]"#, "--health-interval=disable"]);
        sandbox.coracle(["healthcheck", "run", "c"]).fails(1).stdout_has("unhealthy");
        assert_eq!(health(&sandbox, "c"), "starting");
        sandbox.coracle(["exec", "c", "touch", "/ready"]).ok();
        sandbox.coracle(["healthcheck", "run", "c"]).ok();
        assert_eq!(health(&sandbox, "c"), "healthy");
        run(&sandbox, "plain", &[]);
        sandbox.coracle(["healthcheck", "run", "plain"]).fails(125).stderr_has("no defined healthcheck");
        assert_eq!(shown(&sandbox, "plain", "{{json .State.Health}}"), "null");
        sandbox.coracle(["stop", "-t", "0", "c"]).ok();
        sandbox.coracle(["healthcheck", "run", "c"]).fails(125).stderr_has("running containers");
        sandbox.coracle(["healthcheck", "run", "nosuch"]).fails(125).stderr_has("no such container");
    }
}

#[test]
fn a_check_that_takes_too_long_or_cannot_run_has_failed() {
    for sandbox in require!(both()) {
        let flags =
            ["--health-cmd=echo slow; sleep 100", "--health-timeout=300ms", "--health-interval=disable"];
        run(&sandbox, "slow", &flags);
        sandbox.coracle(["healthcheck", "run", "slow"]).fails(1);
        let output = shown(&sandbox, "slow", "{{range .State.Health.Log}}{{.ExitCode}} {{.Output}}{{end}}");
        assert!(output.starts_with("-1 Health check exceeded timeout (300ms): slow"), "{output}");
        let processes = sandbox.coracle(["top", "slow", "args"]).ok();
        assert!(!processes.text().contains("sleep 100\n"), "{processes}");
        run(&sandbox, "none", &["--health-cmd", r#"["/no/such"]"#, "--health-interval=disable"]);
        sandbox.coracle(["healthcheck", "run", "none"]).fails(1);
        let output = shown(&sandbox, "none", "{{range .State.Health.Log}}{{.ExitCode}} {{.Output}}{{end}}");
        assert!(output.starts_with("-1 ") && output.contains("/no/such"), "{output}");
    }
}

#[test]
fn an_unhealthy_container_is_stopped_killed_or_started_again() {
    for sandbox in require!(both()) {
        for action in ["stop", "kill", "restart"] {
            let flags = [
                "--health-cmd=test -e /tmp/sick || exit 0; exit 1",
                "--health-interval=100ms",
                "--health-retries=1",
                &format!("--health-on-failure={action}"),
                "--stop-timeout=0",
            ];
            run(&sandbox, action, &flags);
            let before = shown(&sandbox, action, "{{.State.StartedAt}}");
            sandbox.coracle(["exec", action, "touch", "/tmp/sick"]).ok();
            eventually("something is done", SOON, || {
                let now = shown(&sandbox, action, "{{.State.Status}} {{.State.StartedAt}}");
                match action {
                    "restart" => !now.ends_with(&before),
                    _ => now.starts_with("exited"),
                }
                .then_some(())
            });
        }
    }
}

#[test]
fn the_images_check_is_run_unless_that_is_not_wanted() {
    let sandbox = require!(Sandbox::root());
    let config =
        json!({"Healthcheck": {"Test": ["CMD", "test", "-e", "/in-image"], "Interval": 100_000_000}});
    let image = Image::new([Layer::of(busybox_entries()), Layer::of([Entry::file("in-image", "")])], config);
    sandbox.registry().push("lab/checked", "latest", &image);
    sandbox.coracle(["pull", "-q", "lab/checked"]).ok();
    let start = |name: &str, flags: &[&str]| {
        let run =
            sandbox.coracle(["run", "-d", "--network=none", "--name", name]).args(flags.iter().copied());
        run.args(["lab/checked", "sleep", "1000"]).ok();
    };
    start("own", &[]);
    sandbox.coracle(["wait", "--condition=healthy", "own"]).timeout(SOON).ok();
    start("other", &["--health-cmd=false", "--health-retries=1"]);
    sandbox.coracle(["wait", "--condition=unhealthy", "other"]).timeout(SOON).ok();
    start("off", &["--no-healthcheck"]);
    assert_eq!(
        shown(&sandbox, "off", "{{json .Config.Healthcheck}} {{json .State.Health}}"),
        r#"{"Test":["NONE"]} null"#
    );
}
