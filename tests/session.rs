//! A new user's first hour, from end to end, as root and as an ordinary user.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Sandbox, eventually, require};

#[test]
fn from_pull_to_rmi() {
    for sandbox in require!(Sandbox::both()) {
        first_hour(&sandbox);
    }
}

fn first_hour(sandbox: &Sandbox) {
    let registry = sandbox.registry();
    registry.provide("lab/debian");
    // Only the registry's address is known; what is pulled from it is found by its short name afterwards.
    let conf = format!("[[registry]]\nlocation = \"{}\"\ninsecure = true\n", registry.address());
    sandbox.write("conf/registries.conf", &conf);
    sandbox.write("home/.config/containers/registries.conf", &conf);
    let long = format!("{}/lab/debian", registry.address());
    sandbox.coracle(["pull", &long]).ok();
    sandbox.coracle(["images"]).ok().stdout_has(&long);
    require!(sandbox.podman(["images"])).ok().stdout_has(&long);

    // A shell with job control on a terminal that changes its size.
    let mut shell =
        sandbox.terminal(["run", "-it", "--rm", "--name", "shell", "lab/debian", "bash", "--norc"]);
    shell.send("PS1='rea''dy> '\n");
    shell.expect("ready> ");
    shell.send("stty size\n");
    shell.expect("24 80");
    shell.resize(50, 132);
    eventually("the container sees the new size", Duration::from_secs(10), || {
        shell.send("stty size\n");
        std::thread::sleep(Duration::from_millis(100));
        shell.try_expect("50 132")
    });
    shell.send("sleep 321 &\n");
    shell.expect("[1]");
    shell.send("jobs\n");
    shell.expect("Running");
    shell.expect("ready> ");
    shell.send("fg\n");
    shell.expect("sleep 321");
    std::thread::sleep(Duration::from_millis(300));
    shell.send("\x1a");
    shell.expect("Stopped");
    shell.send("kill %1; wait; echo all \"done\"\n");
    shell.expect("all done");
    // Ctrl-C is the foreground job's.
    shell.send("sleep 322\n");
    shell.expect("sleep 322");
    std::thread::sleep(Duration::from_millis(300));
    shell.send("\x03");
    shell.send("echo still \"here\"\n");
    shell.expect("still here");
    shell.send("\x10\x11");
    assert_eq!(shell.wait().0, 0);
    sandbox.coracle(["ps", "--format", "{{.Names}} {{.Status}}"]).ok().stdout_has("shell Up");
    let mut shell = sandbox.terminal(["attach", "shell"]);
    shell.send("echo back \"again\"\n");
    shell.expect("back again");
    shell.send("exit 5\n");
    assert_eq!(shell.wait().0, 5);
    eventually("--rm has removed the container", Duration::from_secs(10), || {
        sandbox.coracle(["ps", "-aq"]).ok().text().is_empty().then_some(())
    });

    // A service in the background.
    let script = "trap 'echo bye; exit 0' TERM; n=0; while sleep 0.1; do n=$((n+1)); echo tick $n; done";
    sandbox.coracle(["run", "-d", "--name", "web", "lab/debian", "bash", "-c", script]).ok();
    let mut logs = sandbox.coracle(["logs", "-f", "web"]).spawn();
    logs.until("tick 3\n", Duration::from_secs(20));
    logs.signal(Signal::INT);
    drop(logs);
    let mut inside = sandbox.terminal(["exec", "-it", "web", "sh"]);
    inside.send("echo pid \"$$\"; tty\n");
    inside.expect("/dev/pts/");
    inside.send("exit\n");
    assert_eq!(inside.wait().0, 0);
    sandbox.coracle(["inspect", "--format", "{{.State.Status}} {{.Name}}", "web"]).ok().stdout_has("running");
    sandbox.coracle(["stop", "web"]).ok().stdout_is("web");
    sandbox.coracle(["logs", "--tail", "1", "web"]).ok().stdout_is("bye");
    sandbox.coracle(["ps", "-a"]).ok().stdout_has("Exited (0)");
    sandbox.coracle(["start", "web"]).ok();
    sandbox.coracle(["restart", "-t", "5", "web"]).ok();
    sandbox.coracle(["kill", "web"]).ok();
    sandbox.coracle(["wait", "web"]).ok().stdout_is("137");
    sandbox.coracle(["rm", "web"]).ok();
    sandbox.coracle(["rmi", "lab/debian"]).ok();
    sandbox.coracle(["images", "-q"]).ok().stdout_is("");
    require!(sandbox.podman(["images", "-q"])).ok().stdout_is("");
}
