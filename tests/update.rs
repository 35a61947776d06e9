//! `update`: limits and restart policies of containers that exist.

use std::fs;
use std::path::PathBuf;

use crate::support::{Sandbox, elsewhere, require};

/// A file of the container's cgroup, by its names in version 2 and in version 1; `None`: the host has no such controller.
fn limit(sandbox: &Sandbox, container: &str, v2: &str, controller: &str, v1: &str) -> Option<String> {
    let pid = sandbox.coracle(["inspect", "--format", "{{.State.Pid}}", container]).ok().text().to_owned();
    let table = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let of = |wanted: &dyn Fn(&str) -> bool| {
        let line = table.lines().find(|line| wanted(line.split(':').nth(1).unwrap_or_default()))?;
        Some(line.splitn(3, ':').nth(2)?.trim_start_matches('/').to_owned())
    };
    let v1 = of(&|names| names.split(',').any(|name| name == controller))
        .map(|path| PathBuf::from("/sys/fs/cgroup").join(controller).join(path).join(v1));
    let v2 = of(&str::is_empty).map(|path| PathBuf::from("/sys/fs/cgroup").join(path).join(v2));
    [v1, v2].into_iter().flatten().find_map(|path| fs::read_to_string(path).ok()).map(|t| t.trim().to_owned())
}

#[test]
fn limits_change_while_it_runs_and_stay() {
    let sandbox = require!(Sandbox::root());
    sandbox.pull("lab/busybox");
    let run = ["run", "-d", "--network=none", "--name", "c", "-m", "64m", "--pids-limit", "50"];
    sandbox.coracle(run).args(["lab/busybox", "sleep", "1000"]).ok();
    let memory = || limit(&sandbox, "c", "memory.max", "memory", "memory.limit_in_bytes");
    let pids = || limit(&sandbox, "c", "pids.max", "pids", "pids.max");
    let Some(before) = memory() else {
        return elsewhere("a memory controller");
    };
    assert_eq!(before, (64 << 20).to_string());
    sandbox
        .coracle(["update", "-m", "96m", "--memory-swap", "32m", "c"])
        .fails(1)
        .stderr_has("--memory-swap");
    let update =
        ["update", "-m", "128m", "--memory-swap", "256m", "--pids-limit", "70", "--cpus", "0.5", "c"];
    sandbox.coracle(update).ok().stdout_is("c");
    assert_eq!((memory(), pids()), (Some((128 << 20).to_string()), Some("70".to_owned())));
    let shown = "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.NanoCpus}}";
    let inspect = || sandbox.coracle(["inspect", "--format", shown, "c"]).ok();
    inspect().stdout_is("134217728 70 500000000");
    sandbox.coracle(["restart", "-t", "0", "c"]).ok();
    assert_eq!((memory(), pids()), (Some((128 << 20).to_string()), Some("70".to_owned())));
    // What the kernel refuses changes nothing.
    sandbox.coracle(["update", "--cpuset-cpus", "4000", "c"]).fails(1);
    sandbox.coracle(["inspect", "--format", "{{.HostConfig.CpusetCpus}}", "c"]).ok().stdout_is("");
    inspect().stdout_is("134217728 70 500000000");
}

#[test]
fn health_checks_that_are_not_there_are_not_changed() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/busybox");
        sandbox.coracle(["create", "--name", "c", "--network=none", "lab/busybox", "true"]).ok();
        for flag in ["--health-interval=10s", "--health-retries=5", "--health-start-period=1s"] {
            sandbox.coracle(["update", flag, "c"]).fails(1).stderr_has("healthcheck command is not set");
        }
        let without = "cannot set on-failure action to kill without a health check";
        sandbox.coracle(["create", "--health-on-failure=kill", "lab/busybox"]).fails(125).stderr_has(without);
        sandbox.coracle(["update", "--health-cmd=true", "--health-interval=10s", "c"]).ok();
        let both = "{{if .State.Healthcheck}}checked {{end}}{{.Config.HealthMaxLogCount}} {{.Config.HealthcheckMaxLogCount}}";
        sandbox.coracle(["inspect", "--format", both, "c"]).ok().stdout_is("5 5");
        let times = "{{.Config.Healthcheck.Interval}} {{.Config.Healthcheck.StartPeriod}} {{json .Config.Healthcheck.Interval}}";
        sandbox.coracle(["inspect", "--format", times, "c"]).ok().stdout_is("10s 0s 10000000000");
    }
}

#[test]
fn a_stopped_containers_limits_and_policies_are_those_of_its_next_start() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/busybox");
        sandbox.coracle(["create", "--network=none", "--name", "c", "lab/busybox", "false"]).ok();
        sandbox.coracle(["update", "--restart", "on-failure:2", "-m", "64m", "c"]).ok().stdout_is("c");
        let shown = "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}} {{.HostConfig.Memory}}";
        sandbox.coracle(["inspect", "--format", shown, "c"]).ok().stdout_is("on-failure 2 67108864");
        sandbox.coracle(["start", "c"]).ok();
        crate::support::eventually("the retries are over", std::time::Duration::from_secs(20), || {
            let state =
                sandbox.coracle(["inspect", "--format", "{{.State.Status}} {{.RestartCount}}", "c"]).ok();
            (state.text() == "exited 2").then_some(())
        });
        sandbox.coracle(["update", "--restart", "no", "c"]).ok();
        sandbox.coracle(["update", "c"]).fails(1).stderr_has("one or more flags");
        sandbox.coracle(["update", "--restart", "sometimes", "c"]).fails(1).stderr_has("invalid --restart");
        sandbox.coracle(["update", "--restart", "no", "nosuch"]).fails(1).stderr_has("no such container");
        let run = ["run", "-d", "--rm", "--network=none", "--name", "r", "lab/busybox", "sleep", "1000"];
        sandbox.coracle(run).ok();
        sandbox.coracle(["update", "--restart", "always", "r"]).fails(1).stderr_has("AutoRemove");
        if !crate::support::is_root() || sandbox.uid() != 0 {
            // Where a user has no cgroups, limits of what runs cannot be changed, and that is said.
            let update = sandbox.coracle(["update", "-m", "64m", "r"]).run();
            if update.exit_code() != 0 {
                update.code(1).stderr_has("no cgroup of its own");
            }
        }
    }
}
