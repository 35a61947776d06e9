//! create, start, stop, kill, restart, rm, wait, prune, clean-up: names, states, races, and what crashes leave.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::support::{Missing, Sandbox, eventually, program, require};

const IMAGE: &str = "lab/busybox";
const SOON: Duration = Duration::from_secs(30);

fn both() -> Result<Vec<Sandbox>, Missing> {
    let sandboxes = Sandbox::both()?;
    sandboxes.iter().for_each(|sandbox| sandbox.pull(IMAGE));
    Ok(sandboxes)
}

fn root() -> Result<Sandbox, Missing> {
    let sandbox = Sandbox::root()?;
    sandbox.pull(IMAGE);
    Ok(sandbox)
}

/// A detached container that sleeps; its ID.
fn sleeper(sandbox: &Sandbox, name: &str) -> String {
    let run = sandbox.coracle(["run", "-d", "--name", name, IMAGE, "sleep", "1000"]).ok();
    assert_eq!(run.text().len(), 64, "{run}");
    run.text().to_owned()
}

fn status(sandbox: &Sandbox, name: &str) -> String {
    sandbox.coracle(["inspect", "--format", "{{.State.Status}}", name]).ok().text().to_owned()
}

fn number(sandbox: &Sandbox, name: &str, field: &str) -> i64 {
    let text = sandbox.coracle(["inspect", "--format", &format!("{{{{.{field}}}}}"), name]).ok();
    text.text().parse().unwrap_or_else(|_| panic!("{field}: {text}"))
}

fn within(what: &str, mut check: impl FnMut() -> bool) {
    eventually(what, SOON, || check().then_some(()));
}

fn record(sandbox: &Sandbox, id: &str) -> PathBuf {
    sandbox.graph_root().join("coracle/containers").join(id).join("state.json")
}

fn state(sandbox: &Sandbox, id: &str) -> serde_json::Value {
    serde_json::from_slice(&fs::read(record(sandbox, id)).unwrap()).unwrap()
}

fn pid(state: &serde_json::Value, field: &str) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(state[field].as_i64().unwrap().try_into().unwrap()).unwrap()
}

fn kill(pid: rustix::process::Pid) {
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
}

#[test]
fn names_are_unique_and_prefixes_unambiguous() {
    for sandbox in require!(both()) {
        let id = sleeper(&sandbox, "web");
        sandbox
            .coracle(["create", "--name", "web", IMAGE])
            .fails(125)
            .stderr_has("is already in use by")
            .stderr_has(&id);
        for word in ["web", "/web", &id, &id[..12], &id[..5]] {
            sandbox.coracle(["inspect", "--format", "{{.Name}}", word]).ok();
        }
        sandbox.coracle(["stop", "nope"]).fails(1).stderr_has("No such container: nope");
        sandbox.coracle(["create", "--name", "a b", IMAGE]).fails(125).stderr_has("invalid container name");
        // What a script's empty variable gives.
        let unnamed = sandbox.coracle(["create", "--name", "", IMAGE]).ok();
        sandbox.coracle(["rm", unnamed.text().trim()]).ok();
        let replaced = sandbox.coracle(["run", "-d", "--replace", "--name", "web", IMAGE, "sleep", "9"]).ok();
        assert_ne!(replaced.text(), id);
        sandbox.coracle(["container", "exists", &id]).fails(1);
        sandbox.coracle(["container", "exists", "web"]).ok();
        // Seventeen IDs share a first digit in some pair.
        for _ in 0..17 {
            sandbox.coracle(["create", IMAGE]).ok();
        }
        let ids = sandbox.coracle(["ps", "-aq", "--no-trunc"]).ok();
        let shared = (b'0'..=b'f').map(char::from).find(|c| {
            ids.lines().iter().filter(|id| id.starts_with(*c)).count() > 1 && c.is_ascii_hexdigit()
        });
        let shared = shared.unwrap().to_string();
        sandbox.coracle(["inspect", &shared]).fails(1);
        sandbox.coracle(["rm", &shared]).fails(1).stderr_has("multiple IDs found with provided prefix");
        sandbox.coracle(["rm", "-f", "-a"]).ok();
        sandbox.coracle(["ps", "-aq"]).ok().stdout_is("");
    }
}

#[test]
fn a_container_goes_through_its_states() {
    for sandbox in require!(both()) {
        let id = sandbox.coracle(["create", "--name", "c", IMAGE, "sleep", "1000"]).ok().text().to_owned();
        assert_eq!(status(&sandbox, "c"), "created");
        sandbox.coracle(["stop", "c"]).ok().stdout_is("c");
        sandbox.coracle(["kill", "c"]).fails(1).stderr_has("is not running");
        sandbox.coracle(["start", "c"]).ok().stdout_is("c");
        sandbox.coracle(["start", "c"]).ok().stdout_is("c");
        assert_eq!(status(&sandbox, "c"), "running");
        sandbox.coracle(["rm", "c"]).fails(2).stderr_has("cannot remove container").stderr_has("running");
        let begun = Instant::now();
        sandbox.coracle(["stop", "-t", "1", "c"]).ok().stdout_is("c");
        assert!(begun.elapsed() >= Duration::from_secs(1), "sleep as PID 1 ignores SIGTERM");
        assert_eq!(
            (status(&sandbox, "c").as_str(), number(&sandbox, "c", "State.ExitCode")),
            ("exited", 137)
        );
        sandbox.coracle(["restart", "-t", "0", "c"]).ok().stdout_is("c");
        sandbox.coracle(["restart", "-t", "0", "c"]).ok();
        assert_eq!(status(&sandbox, &id), "running");
        sandbox.coracle(["kill", "-s", "USR1", "c"]).ok();
        sandbox.coracle(["kill", "c"]).ok();
        assert_eq!(status(&sandbox, "c"), "exited");
        sandbox.coracle(["rm", "c"]).ok().stdout_is("c");
        sandbox.coracle(["rm", "c"]).fails(1).stderr_has("No such container: c");
        sandbox.coracle(["rm", "-f", "c"]).ok().stdout_is("");
    }
}

#[test]
fn the_stop_signal_is_the_containers() {
    let sandbox = require!(root());
    let script = "trap 'echo usr1; exit 3' USR1; while :; do sleep 0.05; done";
    sandbox.coracle(["run", "-d", "--name", "c", "--stop-signal", "USR1", IMAGE, "sh", "-c", script]).ok();
    std::thread::sleep(Duration::from_millis(300));
    sandbox.coracle(["stop", "c"]).ok();
    assert_eq!(number(&sandbox, "c", "State.ExitCode"), 3);
    sandbox.coracle(["logs", "c"]).ok().stdout_is("usr1");
    sandbox.coracle(["start", "c"]).ok();
    std::thread::sleep(Duration::from_millis(300));
    sandbox.coracle(["stop", "-t", "0", "c"]).ok();
    assert_eq!(number(&sandbox, "c", "State.ExitCode"), 137);
}

#[test]
fn several_are_stopped_at_the_same_time() {
    let sandbox = require!(root());
    for n in 0..4 {
        sleeper(&sandbox, &format!("c{n}"));
    }
    let begun = Instant::now();
    sandbox.coracle(["stop", "-t", "2", "c0", "c1", "c2", "c3"]).ok().stdout_is("c0\nc1\nc2\nc3");
    assert!(begun.elapsed() < Duration::from_secs(6), "took {:?}", begun.elapsed());
    sandbox.coracle(["rm", "c0", "c1", "nope", "c2", "c3"]).fails(1).stdout_has("c3").stderr_has("nope");
}

#[test]
fn a_failed_start_leaves_the_container_and_takes_an_ephemeral_one_away() {
    for sandbox in require!(both()) {
        sandbox.coracle(["run", "--rm", "--name", "gone", IMAGE, "no-such-command"]).fails(127);
        sandbox.coracle(["container", "exists", "gone"]).fails(1);
        sandbox.coracle(["run", "--name", "kept", IMAGE, "no-such-command"]).fails(127);
        assert_eq!(
            (status(&sandbox, "kept").as_str(), number(&sandbox, "kept", "State.ExitCode")),
            ("created", 127)
        );
        sandbox.coracle(["rm", "kept"]).ok();
    }
}

#[test]
fn restart_policies() {
    let sandbox = require!(root());
    let run = |name: &str, policy: &str, script: &str| {
        sandbox.coracle(["run", "-d", "--name", name, "--restart", policy, IMAGE, "sh", "-c", script]).ok();
    };
    run("fails", "on-failure:2", "exit 3");
    run("works", "on-failure", "exit 0");
    run("always", "always", "sleep 0.1");
    within("two restarts", || number(&sandbox, "fails", "RestartCount") == 2);
    within("the end of restarts", || status(&sandbox, "fails") == "exited");
    assert_eq!(number(&sandbox, "fails", "State.ExitCode"), 3);
    within("several restarts", || number(&sandbox, "always", "RestartCount") >= 2);
    assert_eq!(
        (status(&sandbox, "works").as_str(), number(&sandbox, "works", "RestartCount")),
        ("exited", 0)
    );
    sandbox.coracle(["stop", "-t", "0", "always"]).ok();
    let count = number(&sandbox, "always", "RestartCount");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(
        (status(&sandbox, "always").as_str(), number(&sandbox, "always", "RestartCount")),
        ("exited", count)
    );
    sandbox.coracle(["start", "always"]).ok();
    within("restarts after a start by hand", || number(&sandbox, "always", "RestartCount") >= 1);
    sandbox.coracle(["rm", "-f", "always", "works", "fails"]).ok();
}

#[test]
fn waiting() {
    for sandbox in require!(both()) {
        sandbox.coracle(["run", "-d", "--name", "c", IMAGE, "sh", "-c", "sleep 1; exit 5"]).ok();
        let second = sandbox.coracle(["wait", "c"]).spawn();
        sandbox.coracle(["wait", "c"]).ok().stdout_is("5");
        second.wait().code(0).stdout_is("5");
        sandbox.coracle(["wait", "--condition=exited", "c"]).ok().stdout_is("5");
        sandbox.coracle(["wait", "nope"]).fails(1).stderr_has("No such container: nope");
        sandbox.coracle(["wait", "--ignore", "nope"]).ok().stdout_is("-1");
        sandbox.coracle(["run", "-d", "--rm", "--name", "r", IMAGE, "sh", "-c", "sleep 1; exit 6"]).ok();
        sandbox.coracle(["wait", "r"]).ok().stdout_is("6");
        within("removal", || sandbox.coracle(["container", "exists", "r"]).run().exit_code() == 1);
        sandbox.coracle(["wait", "--condition=removed", "c"]).timeout(Duration::from_secs(60)).spawn();
        sandbox.coracle(["rm", "c"]).ok();
    }
}

#[test]
fn files_for_scripts() {
    let sandbox = require!(root());
    let (id_file, pid_file) = (sandbox.path("cid"), sandbox.path("pid"));
    let run = || {
        sandbox
            .coracle(["run", "-d", "--name", "c", "--pidfile"])
            .arg(&pid_file)
            .arg("--cidfile")
            .arg(&id_file)
            .args([IMAGE, "sleep", "1000"])
    };
    let id = run().ok().text().to_owned();
    assert_eq!(sandbox.read("cid"), id);
    assert_eq!(sandbox.read("pid").parse::<i64>().unwrap(), number(&sandbox, "c", "State.Pid"));
    run().fails(125).stderr_has("ID file");
    sandbox.coracle(["rm", "-f", "--cidfile"]).arg(&id_file).ok();
    sandbox.coracle(["container", "exists", "c"]).fails(1);
    // A create that fails takes its file away again.
    fs::remove_file(&id_file).unwrap();
    sandbox.coracle(["create", "--cidfile"]).arg(&id_file).args(["--pull=never", "lab/none"]).fails(125);
    assert!(!id_file.exists());
}

#[test]
fn anonymous_volumes_are_filled_and_go_with_their_container() {
    for sandbox in require!(both()) {
        let volumes = || {
            let dir = sandbox.graph_root().join("coracle/volumes");
            fs::read_dir(dir).map_or(0, Iterator::count)
        };
        sandbox
            .coracle(["run", "--rm", "-v", "/etc", IMAGE, "ls", "/etc/passwd"])
            .ok()
            .stdout_is("/etc/passwd");
        assert_eq!(volumes(), 0);
        sandbox.coracle(["run", "--name", "c", "-v", "/data", IMAGE, "sh", "-c", "echo kept > /data/f"]).ok();
        assert_eq!(volumes(), 1);
        sandbox.coracle(["restart", "c"]).ok();
        sandbox.coracle(["wait", "c"]).ok().stdout_is("0");
        sandbox.coracle(["rm", "-v", "c"]).ok();
        assert_eq!(volumes(), 0);
    }
}

#[test]
fn who_shares_namespaces_keeps_their_owner() {
    let sandbox = require!(root());
    let owner = sleeper(&sandbox, "owner");
    sandbox.coracle(["run", "-d", "--name", "guest", "--pid=container:owner", IMAGE, "sleep", "7"]).ok();
    sandbox.coracle(["exec", "guest", "ps"]).ok().stdout_has("sleep 1000").stdout_has("sleep 7");
    sandbox.coracle(["rm", "-f", "owner"]).fails(2).stderr_has("dependent containers");
    sandbox
        .coracle(["create", "--pid=container:nope", IMAGE])
        .fails(125)
        .stderr_has("No such container: nope");
    sandbox.coracle(["rm", "-f", "--depend", "owner"]).ok().stdout_has("owner");
    sandbox.coracle(["ps", "-aq"]).ok().stdout_is("");
    sandbox.coracle(["container", "exists", &owner]).fails(1);
}

#[test]
fn prune_takes_what_does_not_run() {
    let sandbox = require!(root());
    sleeper(&sandbox, "runs");
    sandbox.coracle(["run", "--name", "ended", IMAGE, "true"]).ok();
    sandbox.coracle(["create", "--name", "kept", "--label", "keep", IMAGE]).ok();
    sandbox.coracle(["container", "prune"]).stdin("n\n").ok().stdout_lacks("Deleted");
    let pruned = sandbox.coracle(["container", "prune", "-f", "--filter", "label!=keep"]).ok();
    pruned.stdout_has("Deleted Containers:").stdout_has("Total reclaimed space:");
    let left = sandbox.coracle(["ps", "-a", "--format", "{{.Names}}"]).ok();
    let mut left = left.lines();
    left.sort_unstable();
    assert_eq!(left, ["kept", "runs"]);
}

#[test]
fn many_at_once_on_one_container() {
    for sandbox in require!(both()) {
        let id = sleeper(&sandbox, "c");
        for round in 0..3 {
            let verbs: [&[&str]; 8] = [
                &["stop", "-t", "0", "c"],
                &["start", "c"],
                &["restart", "-t", "0", "c"],
                &["kill", "c"],
                &["start", "c"],
                &["container", "cleanup", "c"],
                &["stop", "-t", "0", "c"],
                &["ps", "-a"],
            ];
            let running: Vec<_> = verbs.iter().map(|v| sandbox.coracle(v.iter().copied()).spawn()).collect();
            for (outcome, verb) in running.into_iter().map(|r| r.wait()).zip(verbs) {
                assert!(matches!(outcome.exit_code(), 0 | 1), "{round} {verb:?}: {outcome}");
                assert!(
                    outcome.exit_code() == 0 || outcome.stderr.contains("is not running"),
                    "{round} {verb:?}: {outcome}"
                );
            }
        }
        sandbox.coracle(["start", "c"]).ok();
        sandbox.coracle(["exec", "c", "true"]).ok();
        let removals: Vec<_> = (0..4).map(|_| sandbox.coracle(["rm", "-f", &id]).spawn()).collect();
        removals.into_iter().for_each(|r| drop(r.wait().code(0)));
        sandbox.coracle(["ps", "-aq"]).ok().stdout_is("");
    }
}

#[test]
fn one_name_many_takers() {
    let sandbox = require!(root());
    let takers: Vec<_> = (0..6).map(|_| sandbox.coracle(["create", "--name", "c", IMAGE]).spawn()).collect();
    let codes: Vec<_> = takers.into_iter().map(|r| r.wait().exit_code()).collect();
    assert_eq!(codes.iter().filter(|c| **c == 0).count(), 1, "{codes:?}");
    assert_eq!(sandbox.coracle(["ps", "-aq"]).ok().lines().len(), 1);
}

#[test]
fn the_container_outlives_its_conmon() {
    for sandbox in require!(both()) {
        let id = sleeper(&sandbox, "c");
        kill(pid(&state(&sandbox, &id), "conmon_pid"));
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(status(&sandbox, "c"), "running");
        sandbox.coracle(["exec", "c", "true"]).ok();
        kill(pid(&state(&sandbox, &id), "pid"));
        within("the end", || status(&sandbox, "c") == "exited");
        assert_eq!(number(&sandbox, "c", "State.ExitCode"), 255);
        sandbox.coracle(["wait", "c"]).ok().stdout_is("255");
        sandbox.coracle(["start", "c"]).ok();
        sandbox.coracle(["exec", "c", "true"]).ok();
        kill(pid(&state(&sandbox, &id), "conmon_pid"));
        sandbox.coracle(["stop", "-t", "0", "c"]).ok();
        sandbox.coracle(["rm", "c"]).ok();
    }
}

#[test]
fn a_process_that_dies_before_it_is_started_is_told_of_and_nothing_stays() {
    for sandbox in require!(both()) {
        let runc = require!(program("runc"));
        // runc itself, but what it has created does not live to see its start.
        let script = format!(
            "#!/bin/sh\n\"{}\" \"$@\" || exit\ncase \" $* \" in *' create '*)\n\
             while [ \"$1\" != --pid-file ]; do shift; done\npid=$(cat \"$2\"); kill -9 \"$pid\"\n\
             while ! grep -qs ') Z' /proc/$pid/stat && [ -e /proc/$pid ]; do sleep 0.05; done;; esac\nexit 0\n",
            runc.display()
        );
        let deadly = sandbox.write("work/bin/runc", script);
        std::fs::set_permissions(&deadly, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        for remove in [&["--rm"][..], &[]] {
            let run = sandbox.coracle(["run", "--name", "c", "--runtime"]).arg(&deadly);
            let outcome = run.args(remove.iter().copied()).args([IMAGE, "true"]).fails(125);
            outcome.stderr_has("died before it was started, with exit code 137").stderr_has("hint: ");
        }
        assert_eq!(status(&sandbox, "c"), "created");
        sandbox.coracle(["rm", "c"]).ok();
    }
}

#[test]
fn the_container_outlives_the_command_that_runs_it() {
    for sandbox in require!(both()) {
        let script = "echo begun; sleep 2; exit 4";
        let mut run = sandbox.coracle(["run", "--name", "c", IMAGE, "sh", "-c", script]).spawn();
        run.until("begun", SOON);
        run.signal(rustix::process::Signal::KILL);
        drop(run.wait());
        assert_eq!(status(&sandbox, "c"), "running");
        sandbox.coracle(["wait", "c"]).ok().stdout_is("4");
        sandbox.coracle(["rm", "c"]).ok();
        let mut run = sandbox.coracle(["run", "--rm", "--name", "r", IMAGE, "sh", "-c", script]).spawn();
        run.until("begun", SOON);
        run.signal(rustix::process::Signal::KILL);
        drop(run.wait());
        within("removal", || sandbox.coracle(["container", "exists", "r"]).run().exit_code() == 1);
    }
}

#[test]
fn a_reboot_is_noticed() {
    for sandbox in require!(both()) {
        sleeper(&sandbox, "c");
        sandbox.coracle(["run", "-d", "--rm", "--name", "r", IMAGE, "sleep", "1000"]).ok();
        sandbox.reboot();
        assert_eq!(
            (status(&sandbox, "c").as_str(), number(&sandbox, "c", "State.ExitCode")),
            ("exited", 255)
        );
        sandbox.coracle(["ps", "-a", "--format", "{{.Names}}"]).ok().stdout_is("c");
        sandbox.coracle(["start", "c"]).ok();
        sandbox.coracle(["exec", "c", "true"]).ok();
        sandbox.coracle(["rm", "-f", "c"]).ok();
        // The name of the one that is gone is free.
        sandbox.coracle(["run", "--rm", "--name", "r", IMAGE, "true"]).ok();
    }
}

/// What systemd/coracle-restart.service runs.
#[test]
fn after_a_boot_those_start_whose_policy_says_so() {
    for sandbox in require!(both()) {
        for (name, policy) in [("a", "always"), ("u", "unless-stopped"), ("s", "unless-stopped"), ("n", "no")]
        {
            let run = sandbox.coracle(["run", "-d", "--network=none", "--restart", policy, "--name", name]);
            run.args([IMAGE, "sleep", "1000"]).ok();
        }
        sandbox.coracle(["stop", "-t", "0", "a", "s"]).ok();
        sandbox.reboot();
        sandbox.coracle(["start", "--all", "--filter", "should-start-on-boot=true"]).ok();
        let running = sandbox.coracle(["ps", "--format", "{{.Names}}", "--sort", "names"]).ok();
        assert_eq!(running.lines(), ["a", "u"]);
    }
}

#[test]
fn an_emptied_record_is_rebuilt() {
    let sandbox = require!(root());
    sandbox.coracle(["run", "--name", "c", IMAGE, "true"]).ok();
    let id = sandbox.coracle(["inspect", "--format", "{{.Id}}", "c"]).ok().text().to_owned();
    fs::write(record(&sandbox, &id), "").unwrap();
    assert_eq!(status(&sandbox, "c"), "exited");
    sandbox.coracle(["start", "c"]).ok();
    sandbox.coracle(["wait", "c"]).ok().stdout_is("0");
    sandbox.coracle(["rm", "c"]).ok();
}
