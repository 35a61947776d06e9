//! `top`, `history`, `rename`: what runs in a container, how its image came to be, what it is called.

use crate::support::{Entry, Image, Layer, Sandbox, busybox_entries, require};
use serde_json::json;

#[test]
fn top_shows_the_processes_of_the_container_alone() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/busybox");
        let script = "sleep 1234 & exec sleep 4321";
        let run = [
            "run",
            "-d",
            "--network=none",
            "--name",
            "c",
            "--user",
            "lab",
            "lab/busybox",
            "sh",
            "-c",
            script,
        ];
        sandbox.coracle(run).ok();
        // runc's start is over before its process has become the command.
        let shown = crate::support::eventually("both run", std::time::Duration::from_secs(20), || {
            let shown = sandbox.coracle(["top", "c"]).ok();
            (shown.stdout.contains("sleep 4321") && shown.stdout.contains("sleep 1234")).then_some(shown)
        });
        let lines = shown.lines();
        assert_eq!(
            lines[0].split_whitespace().collect::<Vec<_>>(),
            ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
        );
        assert_eq!(lines.len(), 3, "{shown}");
        assert!(lines[1].starts_with("lab ") && lines[1].ends_with("sleep 4321"), "{shown}");
        let pid = sandbox.coracle(["inspect", "c", "--format", "{{.State.Pid}}"]).ok();
        assert_eq!(lines[1].split_whitespace().nth(1), Some(pid.text()));
        // podman's descriptors have the container's own IDs.
        let shown =
            sandbox.coracle(["top", "c", "pid", "ppid,user", "args", "state", "capeff", "seccomp"]).ok();
        let row: Vec<&str> = shown.lines()[1].split_whitespace().collect();
        assert_eq!(row, ["1", "0", "lab", "sleep", "4321", "S", "none", "filter"], "{shown}");
        assert_eq!(shown.lines()[2].split_whitespace().nth(1), Some("1"), "{shown}");
        let shown =
            sandbox.coracle(["run", "-d", "--network=none", "--name", "r", "lab/busybox", "sleep", "99"]);
        shown.ok();
        let shown = sandbox.coracle(["top", "r", "huser"]).ok();
        assert_eq!(shown.lines()[1].trim(), sandbox.uid().to_string(), "{shown}");
        sandbox.coracle(["rm", "-ft0", "r"]).ok();
        let shown = sandbox.coracle(["top", "c", "%p", "seccomp", "args", "%C"]).ok();
        assert_eq!(shown.lines()[0].split_whitespace().last(), Some("%CPU"), "{shown}");
        // The host's ps with docker's options.
        if std::path::Path::new("/usr/bin/ps").exists() {
            let shown = sandbox.coracle(["top", "c", "-eo", "pid,comm"]).ok();
            assert_eq!(shown.lines().len(), 3, "{shown}");
            sandbox.coracle(["container", "top", "c", "aux"]).ok().stdout_has("sleep 1234");
            sandbox.coracle(["top", "c", "-eo", "comm"]).fails(1).stderr_has("Couldn't find PID field");
        }
        sandbox.coracle(["top", "c", "pid,nope"]).fails(1).stderr_has("unknown descriptor \"nope\"");
        // With the host's PID namespace nobody else is shown.
        let run =
            ["run", "-d", "--network=none", "--pid=host", "--name", "h", "lab/busybox", "sleep", "1234"];
        sandbox.coracle(run).ok();
        assert_eq!(sandbox.coracle(["top", "h"]).ok().lines().len(), 2);
        sandbox.coracle(["top", "-l"]).ok().stdout_has("sleep 1234");
        sandbox.coracle(["kill", "c", "h"]).ok();
        sandbox.coracle(["top", "c"]).fails(1).stderr_has("is not running");
        sandbox.coracle(["top", "nosuch"]).fails(1).stderr_has("no such container");
    }
}

#[test]
fn history_is_the_image_s_own() {
    let sandbox = require!(Sandbox::user());
    sandbox.pull("lab/config");
    let tags = sandbox.coracle(["history", "--format={{.Tags}}", "lab/config"]).ok();
    assert_eq!(tags.lines()[0], "[docker.io/lab/config:latest]");
    let shown = sandbox.coracle(["history", "lab/config"]).ok();
    let headings: Vec<&str> =
        shown.lines()[0].split("  ").filter(|w| !w.trim().is_empty()).map(str::trim).collect();
    assert_eq!(headings, ["IMAGE", "CREATED", "CREATED BY", "SIZE", "COMMENT"]);
    let id = sandbox.coracle(["images", "-q", "lab/config"]).ok();
    assert!(shown.lines()[1].starts_with(id.text()), "{shown}");
    let podman = require!(sandbox.podman(["history", "--format", "json", "lab/config"])).ok().json();
    let own = sandbox.coracle(["image", "history", "--format", "json", "lab/config"]).ok().json();
    assert_eq!(own.as_array().unwrap().len(), podman.as_array().unwrap().len());
    for (own, podman) in own.as_array().unwrap().iter().zip(podman.as_array().unwrap()) {
        let of = |it: &serde_json::Value, key: &str| it[key].as_str().unwrap_or_default().to_owned();
        for key in ["CreatedBy", "comment", "created"] {
            assert_eq!(of(own, key), of(podman, key), "{own} {podman}");
        }
        assert_eq!(own["size"], podman["size"]);
    }
    // An image without one has its layers.
    let image = Image::new([Layer::of(busybox_entries()), Layer::of([Entry::file("x", "12345")])], json!({}));
    sandbox.registry().push("lab/untold", "latest", &image);
    sandbox.coracle(["pull", "-q", "lab/untold"]).ok();
    let quiet = sandbox.coracle(["history", "-q", "--no-trunc", "lab/untold"]).ok();
    assert!(quiet.lines()[0].starts_with("sha256:") && quiet.lines().len() >= 2, "{quiet}");
    sandbox.coracle(["history", "-H=false", "--format", "{{.Size}} {{.CreatedAt}}", "lab/untold"]).ok();
    sandbox.coracle(["history", "nosuch"]).fails(1).stderr_has("No such image: nosuch");
}

#[test]
fn a_container_gets_another_name() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/busybox");
        sandbox.coracle(["run", "-d", "--network=none", "--name", "old", "lab/busybox", "sleep", "100"]).ok();
        sandbox.coracle(["create", "--network=none", "--name", "taken", "lab/busybox", "true"]).ok();
        sandbox.coracle(["rename", "old", "taken"]).fails(1).stderr_has("already in use");
        sandbox.coracle(["rename", "old", "old"]).fails(1).stderr_has("same name");
        sandbox.coracle(["rename", "old", "-bad"]).run();
        sandbox.coracle(["rename", "old", "b/ad"]).fails(1).stderr_has("Invalid container name");
        sandbox.coracle(["rename", "nosuch", "x"]).fails(1).stderr_has("no such container");
        sandbox.coracle(["container", "rename", "old", "new"]).ok();
        sandbox.coracle(["exec", "new", "true"]).ok();
        sandbox.coracle(["inspect", "new", "--format", "{{.Name}}"]).ok().stdout_has("new");
        sandbox.coracle(["inspect", "old"]).fails(1);
        sandbox.coracle(["ps", "--format", "{{.Names}}"]).ok().stdout_is("new");
        // The old name is free again.
        sandbox.coracle(["create", "--network=none", "--name", "old", "lab/busybox", "true"]).ok();
        sandbox.coracle(["restart", "-t", "0", "new"]).ok();
        sandbox.coracle(["ps", "--format", "{{.Names}}"]).ok().stdout_is("new");
        sandbox.coracle(["rm", "-ft0", "new", "old", "taken"]).ok();
        sandbox.coracle(["create", "--network=none", "--name", "new", "lab/busybox", "true"]).ok();
    }
}

#[test]
fn stats_are_those_of_the_container() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/busybox");
        let hog = "head -c 30000000 /dev/zero | tail -c 20000000 > /tmp/x & while :; do :; done";
        let run = [
            "run",
            "-d",
            "--network=none",
            "--name",
            "busy",
            "--tmpfs",
            "/tmp",
            "lab/busybox",
            "sh",
            "-c",
            hog,
        ];
        sandbox.coracle(run).ok();
        sandbox
            .coracle(["run", "-d", "--network=none", "--name", "idle", "lab/busybox", "sleep", "1000"])
            .ok();
        sandbox.coracle(["create", "--network=none", "--name", "dead", "lab/busybox", "true"]).ok();
        let percent = |value: &serde_json::Value| -> f64 {
            value.as_str().unwrap().trim_end_matches('%').parse().unwrap()
        };
        let busy = crate::support::eventually("the loop shows", std::time::Duration::from_secs(20), || {
            let shown = sandbox.coracle(["stats", "--no-stream", "--format", "json"]).ok().json();
            assert_eq!(shown.as_array().unwrap().len(), 2, "{shown}");
            let of =
                |name: &str| shown.as_array().unwrap().iter().find(|s| s["name"] == name).unwrap().clone();
            assert!(percent(&of("idle")["cpu_percent"]) < 50.0, "{shown}");
            (percent(&of("busy")["cpu_percent"]) > 2.0).then(|| of("busy"))
        });
        assert!(busy["pids"].as_str().unwrap().parse::<u32>().unwrap() >= 1, "{busy}");
        let table = sandbox.coracle(["stats", "--no-stream", "--all"]).ok();
        assert_eq!(table.lines().len(), 4, "{table}");
        assert!(table.lines()[0].starts_with("CONTAINER ID  NAME"), "{table}");
        let dead = table.lines().into_iter().find(|line| line.contains("dead")).unwrap().to_owned();
        let cells: Vec<&str> = dead.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!(cells[1..], ["dead", "0.00%", "0B / 0B", "0.00%", "0B / 0B", "0B / 0B", "0"]);
        let named = ["stats", "--all", "--no-stream", "--format", "{{.Container}} {{.PIDs}}", "dead", "idle"];
        sandbox.coracle(named).ok().stdout_is("dead 0\nidle 1");
        let used = sandbox
            .coracle(["stats", "--no-stream", "idle", "--format", "{{.MemUsageBytes}} {{.MemLimit}}"])
            .ok();
        let numbers: Vec<u64> = used.text().split(' ').map(|n| n.parse().unwrap()).collect();
        assert!(numbers[0] > 0 && numbers[0] < numbers[1], "{used}");
        // A stream: several looks, until it is ended.
        let mut stream = sandbox.coracle(["stats", "--format", "{{.Name}}", "idle"]).spawn();
        stream.until("idle\nidle", std::time::Duration::from_secs(20));
        stream.signal(rustix::process::Signal::INT);
        stream.wait();
        sandbox.coracle(["stats", "--no-stream", "nosuch"]).fails(1).stderr_has("no such container");
        sandbox.coracle(["rm", "-ft0", "busy", "idle", "dead"]).ok();
    }
}
