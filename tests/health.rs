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

#[test]
fn a_container_is_starting_until_its_start_up_check_has_succeeded_often_enough() {
    for sandbox in require!(both()) {
        let flags = [
            "--health-cmd=test -e /healthy",
            "--health-interval=200ms",
            "--health-retries=1",
            "--health-startup-cmd=echo up; test -e /up",
            "--health-startup-interval=100ms",
            "--health-startup-success=2",
        ];
        run(&sandbox, "c", &flags);
        let seen = sandbox.coracle(["inspect", "c"]).ok().json();
        let startup = &seen[0]["Config"]["StartupHealthCheck"];
        assert_eq!(startup["Test"], json!(["CMD-SHELL", "echo up; test -e /up"]));
        assert_eq!((&startup["Interval"], &startup["Successes"]), (&json!(100_000_000), &json!(2)));
        // The check of its own would make it unhealthy at once: it is not run.
        let log = "{{range .State.Health.Log}}{{.ExitCode}} {{.Output}}{{end}}";
        eventually("start-up checks fail", SOON, || {
            (shown(&sandbox, "c", log).matches("1 up").count() >= 3).then_some(())
        });
        assert_eq!(health(&sandbox, "c"), "starting");
        sandbox.coracle(["exec", "c", "touch", "/up"]).ok();
        sandbox.coracle(["wait", "--condition=unhealthy", "c"]).timeout(SOON).ok();
        sandbox.coracle(["exec", "c", "touch", "/healthy"]).ok();
        sandbox.coracle(["wait", "--condition=healthy", "c"]).timeout(SOON).ok();
        // The next run starts anew.
        sandbox.coracle(["exec", "c", "rm", "/up"]).ok();
        sandbox.coracle(["restart", "-t", "0", "c"]).ok();
        std::thread::sleep(Duration::from_millis(600));
        assert_eq!(health(&sandbox, "c"), "starting");
    }
}

#[test]
fn a_container_that_does_not_start_up_is_started_again() {
    for sandbox in require!(both()) {
        let flags = [
            "--health-cmd=true",
            "--health-startup-cmd=test -e /second || { touch /second; exit 1; }",
            "--health-startup-interval=100ms",
            "--health-startup-retries=1",
            "--stop-timeout=0",
        ];
        run(&sandbox, "c", &flags);
        let first = shown(&sandbox, "c", "{{.State.StartedAt}}");
        sandbox.coracle(["wait", "--condition=healthy", "c"]).timeout(SOON).ok();
        assert_ne!(shown(&sandbox, "c", "{{.State.StartedAt}}"), first);
        let lone = ["create", "--health-startup-cmd=true", IMAGE, "true"];
        sandbox.coracle(lone).fails(125).stderr_has("no regular healthcheck");
    }
}

#[test]
fn results_go_where_they_are_wanted() {
    for sandbox in require!(both()) {
        let dir = sandbox.mkdir("work/checks");
        let place = format!("--health-log-destination={}", dir.display());
        let flags = ["--health-cmd=echo looked", "--health-interval=disable", place.as_str()];
        run(&sandbox, "c", &[&flags[..], &["--health-max-log-count=2", "--health-max-log-size=4"]].concat());
        for _ in 0..3 {
            sandbox.coracle(["healthcheck", "run", "c"]).ok();
        }
        let id = shown(&sandbox, "c", "{{.Id}}");
        let text = std::fs::read_to_string(dir.join(format!("{id}-healthcheck.log"))).unwrap();
        let written: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&written["Status"], &written["FailingStreak"]), (&json!("healthy"), &json!(0)));
        let log = written["Log"].as_array().unwrap();
        assert_eq!((log.len(), &log[0]["Output"]), (2, &json!("look")));
        assert_eq!(shown(&sandbox, "c", "{{len .State.Health.Log}}"), "2");
        assert_eq!(shown(&sandbox, "c", "{{.Config.HealthLogDestination}}"), dir.to_str().unwrap());
        let bad = ["create", "--health-cmd=true", "--health-log-destination=/no/such", IMAGE, "true"];
        sandbox.coracle(bad).fails(125).stderr_has("not an existing directory");

        // As events each check is told, with what it said.
        run(&sandbox, "told", &[flags[0], flags[1], "--health-log-destination=events_logger"]);
        sandbox.coracle(["healthcheck", "run", "told"]).ok();
        sandbox.coracle(["healthcheck", "run", "told"]).ok();
        let filter = ["--filter=container=told", "--filter=event=health_status"];
        let events = sandbox.coracle(["events", "--stream=false", "--format=json"]).args(filter).ok();
        let lines: Vec<&str> = events.text().lines().collect();
        assert!(lines.len() == 2 && lines.iter().all(|l| l.contains("looked")), "{lines:?}");
    }
}
