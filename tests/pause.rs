//! pause and unpause, and what the other verbs do with a frozen container.

use std::time::{Duration, Instant};

use crate::support::{Sandbox, require};

const IMAGE: &str = "lab/busybox";

fn status(sandbox: &Sandbox, name: &str) -> String {
    sandbox.coracle(["inspect", "--format", "{{.State.Status}}", name]).ok().text().to_owned()
}

/// A container that counts in a file, so that its standing still can be seen.
fn counter(sandbox: &Sandbox, name: &str) {
    let script = "trap 'exit 5' TERM; i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done";
    sandbox.coracle(["run", "-d", "--name", name, IMAGE, "sh", "-c", script]).ok();
}

fn counted(sandbox: &Sandbox, name: &str) -> usize {
    sandbox.coracle(["logs", name]).ok().lines().len()
}

#[test]
fn a_paused_container_stands_still() {
    let sandbox = require!(Sandbox::root());
    sandbox.pull(IMAGE);
    counter(&sandbox, "c");
    sandbox.coracle(["pause", "c"]).ok().stdout_is("c");
    let before = counted(&sandbox, "c");
    assert_eq!(status(&sandbox, "c"), "paused");
    sandbox.coracle(["ps", "--format", "{{.Status}}"]).ok().stdout_has("(Paused)");
    let paused = sandbox.coracle(["ps", "--filter", "status=paused", "--format", "{{.Names}}"]).ok();
    assert_eq!(paused.text(), "c");
    sandbox
        .coracle(["inspect", "--format", "{{.State.Paused}} {{.State.Running}}", "c"])
        .ok()
        .stdout_is("true true");
    sandbox.coracle(["pause", "c"]).fails(1).stderr_has("container c is already paused");
    sandbox
        .coracle(["exec", "c", "true"])
        .fails(125)
        .stderr_has("container c is paused, unpause the container before exec");
    sandbox.coracle(["start", "c"]).fails(1).stderr_has("paused");
    sandbox.coracle(["rm", "c"]).fails(2);
    assert_eq!(counted(&sandbox, "c"), before, "it went on counting");
    sandbox.coracle(["container", "unpause", "c"]).ok().stdout_is("c");
    assert_eq!(status(&sandbox, "c"), "running");
    sandbox.coracle(["unpause", "c"]).fails(1).stderr_has("container c is not paused");
    sandbox.coracle(["exec", "c", "true"]).ok();
    crate::support::eventually("it counts on", Duration::from_secs(20), || {
        (counted(&sandbox, "c") > before).then_some(())
    });
}

#[test]
fn a_paused_container_can_be_ended() {
    let sandbox = require!(Sandbox::root());
    sandbox.pull(IMAGE);
    for (argv, code) in [
        (&["stop", "c"][..], "5"),
        (&["stop", "-t", "0", "c"], "137"),
        (&["kill", "c"], "137"),
        (&["kill", "-s", "TERM", "c"], "5"),
    ] {
        counter(&sandbox, "c");
        sandbox.coracle(["pause", "c"]).ok();
        let begun = Instant::now();
        sandbox.coracle(argv.iter().copied()).ok();
        sandbox.coracle(["wait", "c"]).ok().stdout_is(code);
        assert!(begun.elapsed() < Duration::from_secs(9), "{argv:?} waited for a frozen process");
        sandbox.coracle(["rm", "c"]).ok();
    }
    counter(&sandbox, "c");
    sandbox.coracle(["pause", "c"]).ok();
    sandbox.coracle(["restart", "-t", "5", "c"]).ok();
    assert_eq!(status(&sandbox, "c"), "running");
    sandbox.coracle(["pause", "c"]).ok();
    sandbox.coracle(["rm", "-f", "c"]).ok();
}

#[test]
fn many_are_chosen_as_elsewhere() {
    let sandbox = require!(Sandbox::root());
    sandbox.pull(IMAGE);
    for name in ["a", "b"] {
        let cid = sandbox.path(format!("work/{name}.cid"));
        let cid = format!("--cidfile={}", cid.display());
        sandbox.coracle(["run", "-d", "--name", name, "--label", name, &cid, IMAGE, "sleep", "1000"]).ok();
    }
    sandbox.coracle(["create", "--name", "idle", IMAGE]).ok();
    sandbox.coracle(["pause", "idle"]).fails(1).stderr_has("container idle is not running");
    let names = |out: &str| out.lines().count();
    assert_eq!(names(&sandbox.coracle(["pause", "--all"]).ok().stdout), 2);
    assert_eq!(names(&sandbox.coracle(["unpause", "-a"]).ok().stdout), 2);
    sandbox.coracle(["pause", "--filter", "label=a"]).ok();
    assert_eq!((status(&sandbox, "a").as_str(), status(&sandbox, "b").as_str()), ("paused", "running"));
    sandbox.coracle(["unpause", "--cidfile", "a.cid"]).ok();
    sandbox.coracle(["pause", "a", "nobody"]).fails(1).stderr_has("No such container: nobody").stdout_is("a");
    sandbox.coracle(["unpause", "a"]).ok();
    sandbox.coracle(["pause"]).fails(1).stderr_has("at least one name or id");
    sandbox.coracle(["rm", "idle"]).ok();
    sandbox.coracle(["run", "-d", "--name", "last", IMAGE, "sleep", "1000"]).ok();
    sandbox.coracle(["pause", "--latest"]).ok();
    assert_eq!(status(&sandbox, "last"), "paused");
    sandbox.coracle(["unpause", "-l"]).ok();
}

#[test]
fn without_a_cgroup_it_is_refused_in_words() {
    let sandbox = require!(Sandbox::user());
    sandbox.pull(IMAGE);
    sandbox.coracle(["run", "-d", "--name", "c", "--cgroups", "disabled", IMAGE, "sleep", "1000"]).ok();
    sandbox.coracle(["pause", "c"]).fails(1).stderr_has("has no cgroup of its own");
    assert_eq!(status(&sandbox, "c"), "running");
    sandbox.coracle(["exec", "c", "true"]).ok();
}
