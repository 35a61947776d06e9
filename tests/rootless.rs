//! User namespaces and what an ordinary user may do.

use crate::support::{Sandbox, require};
use rustix::process::{Pid, Signal, kill_process};

/// The process that keeps the namespaces of the sandbox's user, and when it started.
fn keeper(sandbox: &Sandbox) -> String {
    sandbox.read("run/coracle/pause").trim().to_owned()
}

fn kill_keeper(sandbox: &Sandbox) {
    let pid = keeper(sandbox).split(' ').next().unwrap().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// Without its namespaces a container could neither be entered nor unmounted.
#[test]
fn a_killed_keeper_of_namespaces_has_an_heir() {
    let sandbox = require!(Sandbox::user());
    sandbox.pull("lab/busybox");
    sandbox.coracle(["run", "-d", "--name=lives", "lab/busybox", "sleep", "600"]).ok();
    let first = keeper(&sandbox);
    kill_keeper(&sandbox);
    sandbox.coracle(["exec", "lives", "echo", "entered"]).ok().stdout_is("entered");
    assert_ne!(keeper(&sandbox), first);
    kill_keeper(&sandbox);
    let network = "--network=container:lives";
    sandbox.coracle(["run", "--rm", network, "lab/busybox", "true"]).ok().stderr_is_empty();
    sandbox.coracle(["restart", "-t", "0", "lives"]).ok().stderr_is_empty();
    kill_keeper(&sandbox);
    sandbox.coracle(["rm", "-f", "-t", "0", "lives"]).ok().stderr_is_empty();
    // With nothing left in the old namespaces, new ones do.
    kill_keeper(&sandbox);
    sandbox.coracle(["run", "--rm", "lab/busybox", "true"]).ok().stderr_is_empty();
}
