//! `container checkpoint` and `restore`, where there is a CRIU that works.

use std::time::Duration;

use crate::support::{Sandbox, elsewhere, eventually, require};

const IMAGE: &str = "lab/busybox";
const SOON: Duration = Duration::from_secs(20);

/// A sandbox of root's on a machine that has CRIU and runc. Debian 12's CRIU does not know recent kernels.
pub fn able() -> Option<Sandbox> {
    let sandbox = Sandbox::root().ok()?;
    let works = crate::support::program("criu").is_ok() && crate::support::program("runc").is_ok();
    let works = works && sandbox.command(["criu", "check"]).run().exit_code() == 0;
    if !works {
        elsewhere("a CRIU that works with its kernel");
        return None;
    }
    sandbox.pull(IMAGE);
    Some(sandbox)
}

/// Counts, in a file and on its output.
pub fn counter(sandbox: &Sandbox, name: &str, flags: &[&str]) {
    let script = "i=0; while :; do i=$((i+1)); echo $i; echo $i > /count; sleep 0.05; done";
    let run = sandbox.coracle(["run", "-d", "--runtime=runc", "--name", name]).args(flags.iter().copied());
    run.args([IMAGE, "sh", "-c", script]).ok();
    reaches(sandbox, name, 3);
}

pub fn count(sandbox: &Sandbox, name: &str) -> u32 {
    sandbox.coracle(["logs", "--tail=1", name]).ok().text().parse().unwrap_or(0)
}

pub fn reaches(sandbox: &Sandbox, name: &str, number: u32) {
    eventually("it counts", SOON, || (count(sandbox, name) >= number).then_some(()));
}

pub fn shown(sandbox: &Sandbox, name: &str, format: &str) -> String {
    sandbox.coracle(["inspect", "--format", format, name]).ok().text().to_owned()
}

#[test]
fn a_container_goes_on_where_it_was() {
    let Some(sandbox) = able() else { return };
    counter(&sandbox, "c", &["--network=none", "--restart=always"]);
    sandbox
        .coracle(["container", "restore", "c"])
        .fails(1)
        .stderr_has("is running or paused, cannot restore");
    sandbox.coracle(["container", "checkpoint", "c"]).ok().stdout_is("c");
    assert_eq!(shown(&sandbox, "c", "{{.State.Status}} {{.State.Checkpointed}}"), "exited true");
    let before = count(&sandbox, "c");
    sandbox.coracle(["container", "checkpoint", "c"]).fails(1).stderr_has("is not running");
    sandbox.coracle(["container", "restore", "--all"]).ok();
    assert_eq!(shown(&sandbox, "c", "{{.State.Status}}"), "running");
    let restored = || !shown(&sandbox, "c", "{{.State.RestoredAt}}").starts_with("0001");
    assert!(restored());
    reaches(&sandbox, "c", before + 3);
    let lines = sandbox.coracle(["logs", "c"]).ok();
    let numbers: Vec<u32> = lines.lines().iter().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "it began again: {lines}");
    // It is a container like any other.
    sandbox.coracle(["exec", "c", "test", "-s", "/count"]).ok();
    sandbox.coracle(["stop", "-t", "0", "c"]).ok();
    let none = sandbox.coracle(["container", "restore", "c"]).fails(1);
    none.stderr_has("a checkpoint for container c cannot be found");
    sandbox.coracle(["start", "c"]).ok();
    assert_eq!(shown(&sandbox, "c", "{{.State.Checkpointed}}"), "false");
    assert!(!restored());
    let told =
        ["events", "--since=1h", "--stream=false", "--filter", "container=c", "--format", "{{.Action}}"];
    let told = sandbox.coracle(told).ok();
    for action in ["checkpoint", "restore"] {
        assert!(told.lines().contains(&action), "{told}");
    }
}

#[test]
fn it_may_go_on_meanwhile_and_be_written_in_two_steps() {
    let Some(sandbox) = able() else { return };
    counter(&sandbox, "c", &["--network=none", "--rm"]);
    sandbox.coracle(["container", "checkpoint", "c"]).fails(1).stderr_has("--rm");
    sandbox.coracle(["container", "checkpoint", "--leave-running", "c"]).ok();
    let at = count(&sandbox, "c");
    reaches(&sandbox, "c", at + 2);
    sandbox.coracle(["rm", "-ft0", "c"]).ok();
    counter(&sandbox, "d", &["--network=none"]);
    sandbox
        .coracle(["container", "checkpoint", "--with-previous", "d"])
        .fails(1)
        .stderr_has("no pre-checkpoint");
    let pre = sandbox.coracle(["container", "checkpoint", "--pre-checkpoint", "d"]).run();
    let mut write = vec!["container", "checkpoint", "--print-stats", "--keep", "d"];
    if pre.exit_code() == 0 {
        let at = count(&sandbox, "d");
        reaches(&sandbox, "d", at + 2);
        write.insert(2, "--with-previous");
    } else {
        pre.code(1).stderr_has("does not track which memory changes");
    }
    let stats = sandbox.coracle(write).ok().json();
    assert!(stats["container_statistics"][0]["runtime_checkpoint_duration"].as_u64() > Some(0), "{stats}");
    let before = count(&sandbox, "d");
    // Twice from the same one, the second time by docker's flag.
    sandbox.coracle(["container", "restore", "--keep", "d"]).ok();
    reaches(&sandbox, "d", before + 2);
    sandbox.coracle(["kill", "d"]).ok();
    sandbox.coracle(["start", "--checkpoint", "default", "d"]).ok();
    assert_eq!(shown(&sandbox, "d", "{{.State.Status}}"), "running");
    sandbox.coracle(["start", "--checkpoint", "../../x", "d"]).fails(1);
}

#[test]
fn it_has_its_address_again() {
    let Some(sandbox) = able() else { return };
    sandbox.coracle(["network", "create", "n"]).ok();
    counter(&sandbox, "first", &["--network=n"]);
    counter(&sandbox, "c", &["--network=n"]);
    let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.MacAddress}}{{end}}";
    let had = shown(&sandbox, "c", address);
    sandbox.coracle(["container", "checkpoint", "c"]).ok();
    sandbox.coracle(["rm", "-ft0", "first"]).ok();
    sandbox.coracle(["container", "restore", "c"]).ok();
    assert_eq!(shown(&sandbox, "c", address), had);
    let before = count(&sandbox, "c");
    reaches(&sandbox, "c", before + 2);
}

#[test]
fn killed_on_the_way_it_can_be_done_again() {
    let Some(sandbox) = able() else { return };
    counter(&sandbox, "c", &["--network=none"]);
    let states = |wanted: &[&str]| {
        let state = shown(&sandbox, "c", "{{.State.Status}}");
        assert!(wanted.contains(&state.as_str()), "{state}");
    };
    for point in ["checkpoint.after-state", "checkpoint.after-dump", "checkpoint.after-rename"] {
        sandbox.coracle(["container", "checkpoint", "c"]).env("CORACLE_FAILPOINT", point).fails(137);
        sandbox.coracle(["ps", "-a"]).ok().stdout_has("c");
        states(&["running", "exited"]);
        sandbox.coracle(["start", "c"]).ok();
        states(&["running"]);
    }
    sandbox.coracle(["container", "checkpoint", "c"]).ok();
    sandbox.coracle(["container", "restore", "c"]).env("CORACLE_FAILPOINT", "restore.after-start").fails(137);
    states(&["running"]);
    let before = count(&sandbox, "c");
    reaches(&sandbox, "c", before + 2);
}

#[test]
fn where_it_cannot_be_that_is_said() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull(IMAGE);
        // As root crun refuses where cgroups are mixed.
        let hybrid = crate::support::cgroups() == "hybrid";
        let runtime = if sandbox.uid() == 0 && hybrid { "runc" } else { "crun" };
        let run = sandbox.coracle(["run", "-d", "--network=none", "--runtime", runtime, "--name", "c"]);
        run.args([IMAGE, "sleep", "1000"]).ok();
        let crun = sandbox.command(["crun", "--version"]).run();
        if sandbox.uid() != 0 {
            sandbox.coracle(["container", "checkpoint", "c"]).fails(1).stderr_has("need root");
        } else if crun.exit_code() == 0 && !crun.stdout.contains("+CRIU") && !hybrid {
            sandbox.coracle(["container", "checkpoint", "c"]).fails(1).stderr_has("built without CRIU");
        }
        assert_eq!(shown(&sandbox, "c", "{{.State.Status}}"), "running");
        for flag in ["--compress=gzip", "--ignore-rootfs", "--ignore-volumes"] {
            sandbox
                .coracle(["container", "checkpoint", flag, "c"])
                .fails(1)
                .stderr_has("can only be used with --export");
        }
        for flag in
            ["--name=x", "--ignore-rootfs", "--ignore-volumes", "--publish=80:80", "--import-previous=x"]
        {
            let restore = sandbox.coracle(["container", "restore", flag, "c"]).fails(1);
            restore.stderr_has("can only be used with image or --import");
        }
        sandbox.coracle(["container", "restore", "--pod=x", "c"]).fails(1).stderr_has("needs pods");
        let import = |words: &[&str]| {
            sandbox.coracle(["container", "restore", "--import=x"]).args(words.iter().copied()).fails(1)
        };
        import(&["--all"]).stderr_has("with --all or --latest");
        import(&["c"]).stderr_has("with positional arguments");
        import(&["--name=y", "--tcp-established"]).stderr_has("cannot be used with --name");
        import(&[]).stderr_has("No such file");
        sandbox.coracle(["container", "checkpoint"]).fails(1).stderr_has("at least one name or id");
    }
}
