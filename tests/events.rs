//! `events`: what happened, and what happens while one looks.

use std::time::Duration;

use crate::support::{Sandbox, require};

const IMAGE: &str = "lab/busybox";

#[test]
fn a_containers_life_is_told_in_order() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull(IMAGE);
        let run = ["run", "--network=none", "--name", "c", "--label", "a=b", IMAGE, "sh", "-c", "exit 3"];
        sandbox.coracle(run).run().code(3);
        sandbox.coracle(["rename", "c", "d"]).ok();
        sandbox.coracle(["start", "d"]).ok();
        sandbox.coracle(["wait", "d"]).ok();
        sandbox.coracle(["rm", "-f", "d"]).ok();
        sandbox.coracle(["run", "--rm", "--network=none", "--name", "r", IMAGE, "true"]).ok();
        let events = |words: &[&str]| {
            let events = ["events", "--since", "1h", "--stream=false"];
            sandbox.coracle(events).args(words.iter().copied()).ok()
        };
        let told =
            events(&["--filter", "label=a", "--format", "{{.Action}} {{.Name}} {{.ContainerExitCode}}"]);
        let wanted = [
            "create c ",
            "attach c ",
            "start c ",
            "die c 3",
            "rename d ",
            "start d ",
            "die d 3",
            "destroy d ",
        ];
        assert_eq!(told.lines().iter().map(|l| l.trim_end()).collect::<Vec<_>>(), wanted.map(str::trim_end));
        let told = events(&["--filter", "container=r", "--format", "{{.Action}}"]);
        assert_eq!(told.lines(), ["create", "attach", "start", "die", "destroy"]);
        // podman's words find docker's.
        let told = events(&["--filter", "event=died", "--filter", "type=container", "--format", "{{.Name}}"]);
        assert_eq!(told.lines(), ["c", "d", "r"]);
        let line = events(&["--filter", "event=rename", "--format", "json"]);
        let told: serde_json::Value = serde_json::from_str(line.text()).unwrap();
        assert_eq!(
            (&told["Action"], &told["status"], &told["Type"]),
            (&"rename".into(), &"rename".into(), &"container".into())
        );
        assert_eq!(told["Actor"]["Attributes"]["oldName"], "c");
        assert!(told["time"].is_i64() && told["timeNano"].is_i64(), "{told}");
        let text = events(&["--filter", "event=create", "--filter", "container=r"]);
        assert!(text.text().contains(" container create ") && text.text().contains("name=r"), "{text}");
        assert_eq!(events(&["--until", "1h"]).text(), "");
    }
}

#[test]
fn what_is_done_to_a_running_container_is_told() {
    let sandbox = require!(Sandbox::root());
    sandbox.pull(IMAGE);
    sandbox.coracle(["network", "create", "n"]).ok();
    let id = sandbox.coracle(["network", "inspect", "--format", "{{.Id}}", "n"]).ok().text().to_owned();
    let run = ["run", "-d", "--network=none", "--name", "c", "--health-cmd=true", "--health-interval=1h"];
    sandbox.coracle(run).args([IMAGE, "sleep", "1000"]).ok();
    for words in [
        "exec c sh -c true",
        "pause c",
        "unpause c",
        "update --restart no c",
        "healthcheck run c",
        "commit -q c made",
        "restart -t 0 c",
        "kill c",
    ] {
        sandbox.coracle(words.split(' ')).ok();
    }
    let told = ["events", "--since=1h", "--stream=false", "--filter", "container=c", "--format"];
    let told = sandbox.coracle(told).args(["{{.Action}} {{.ContainerExitCode}}"]).ok();
    let wanted = [
        "create",
        "start",
        "exec_create: sh -c true",
        "exec_start: sh -c true",
        "exec_die 0",
        "pause",
        "unpause",
        "update",
        "exec_create: true",
        "exec_start: true",
        "exec_die 0",
        "health_status: healthy",
        "commit",
        "kill",
        "die 137",
        "stop",
        "start",
        "restart",
        "kill",
        "die 137",
    ];
    let told: Vec<&str> = told.lines().iter().map(|line| line.trim_end()).collect();
    // docker's check is by the shell.
    let told: Vec<String> = told.iter().map(|line| line.replace("/bin/sh -c true", "true")).collect();
    assert_eq!(told, wanted);
    // A network is told of by its ID.
    sandbox.coracle(["create", "--name", "d", "--network", "n", IMAGE]).ok();
    sandbox.coracle(["network", "disconnect", "n", "d"]).ok();
    sandbox.coracle(["network", "connect", "n", "d"]).ok();
    let told = [
        "events",
        "--since=1h",
        "--stream=false",
        "--filter",
        "network=n",
        "--format",
        "{{.Action}} {{.ID}}",
    ];
    let told = sandbox.coracle(told).ok();
    let wanted = ["create", "disconnect", "connect"].map(|action| format!("{action} {id}"));
    assert_eq!(told.lines(), wanted);
}

#[test]
fn other_objects_are_told_of_too() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull(IMAGE);
        sandbox.coracle(["tag", IMAGE, "other"]).ok();
        sandbox.coracle(["rmi", "other"]).ok();
        sandbox.coracle(["volume", "create", "v"]).ok();
        sandbox.coracle(["volume", "rm", "v"]).ok();
        sandbox.coracle(["network", "create", "n"]).ok();
        sandbox.coracle(["network", "rm", "n"]).ok();
        sandbox.coracle(["secret", "create", "s", "-"]).stdin("x").ok();
        sandbox.coracle(["secret", "rm", "s"]).ok();
        let all = ["events", "--since=1h", "--stream=false", "--format", "{{.Type}} {{.Action}} {{.Name}}"];
        let told = sandbox.coracle(all).ok();
        let lines = told.lines();
        assert!(lines[0].starts_with("image pull ") && lines[0].ends_with("/busybox:latest"), "{told}");
        let wanted = [
            "image tag localhost/other:latest",
            "image untag localhost/other:latest",
            "volume create v",
            "volume destroy v",
            "network create n",
            "network destroy n",
            "secret create s",
            "secret remove s",
        ];
        assert_eq!(lines[1..], wanted);
        let none = sandbox.coracle(["--events-backend", "none", "events", "--stream=false"]);
        none.fails(1).stderr_has("events are not kept");
        sandbox.coracle(["events", "--filter", "colour=red"]).fails(1).stderr_has("invalid filter");
        sandbox.coracle(["events", "--since", "whenever"]).fails(1).stderr_has("invalid --since");
    }
}

#[test]
fn what_happens_is_shown_as_it_happens() {
    let sandbox = require!(Sandbox::user());
    sandbox.pull(IMAGE);
    let now = jiff::Timestamp::now().to_string();
    let follow = ["events", "--since", &now, "--filter", "type=volume", "--format", "{{.Action}} {{.ID}}"];
    let mut events = sandbox.coracle(follow).spawn();
    for name in ["first", "second", "third"] {
        sandbox.coracle(["volume", "create", name]).ok();
        events.until(&format!("create {name}"), Duration::from_secs(10));
    }
    events.signal(rustix::process::Signal::INT);
    drop(events.wait());
    let until = ["events", "--until", "1s", "--filter", "type=volume", "--format", "{{.ID}}"];
    sandbox.coracle(until).timeout(Duration::from_secs(20)).ok().stdout_has("");
}

#[test]
fn what_only_looks_is_told_too() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull(IMAGE);
        let run = ["run", "-d", "--network=none", "--name", "c", "-v", "v:/v", IMAGE, "sleep", "1000"];
        sandbox.coracle(run).ok();
        sandbox.coracle(["cp", "c:/etc/passwd", "here"]).ok();
        sandbox.coracle(["cp", "here", "c:/v/"]).ok();
        sandbox.coracle(["export", "-o", "c.tar", "c"]).ok();
        sandbox.coracle(["top", "c"]).ok();
        sandbox.coracle(["save", "-q", "-o", "image.tar", IMAGE]).ok();
        sandbox.coracle(["load", "-q", "-i", "image.tar"]).ok();
        let target = format!("{}/lab/told-{}", sandbox.registry().address(), sandbox.uid());
        sandbox.coracle(["push", "-q", IMAGE, &target]).ok();
        sandbox.coracle(["stop", "-t", "0", "c"]).ok();
        let all = ["events", "--since=1h", "--stream=false", "--format", "{{.Type}} {{.Action}}"];
        let told = sandbox.coracle(all).ok();
        let wanted = [
            "image pull",
            "volume create",
            "container create",
            "volume mount",
            "container start",
            "container archive-path",
            "container extract-to-dir",
            "container export",
            "container top",
            "image save",
            "image load",
            "image push",
            "container kill",
            "container die",
            "volume unmount",
            "container stop",
        ];
        assert_eq!(told.lines(), wanted);
        let copies = ["events", "--since=1h", "--stream=false", "--filter", "event=copy", "--format"];
        let copies = sandbox.coracle(copies).arg("{{.Name}} {{.Attributes.path}}").ok();
        assert_eq!(copies.lines(), ["c /etc/passwd", "c /v/"]);
    }
}

#[test]
fn mounts_by_hand_and_networks_are_told() {
    let sandbox = require!(Sandbox::root());
    sandbox.pull(IMAGE);
    sandbox.coracle(["network", "create", "n"]).ok();
    sandbox.coracle(["run", "-d", "--network=n", "--name", "c", IMAGE, "sleep", "1000"]).ok();
    sandbox.coracle(["mount", "c"]).ok();
    sandbox.coracle(["unmount", "c"]).ok();
    sandbox.coracle(["stop", "-t", "0", "c"]).ok();
    let told = |filter: &str| {
        let events =
            ["events", "--since=1h", "--stream=false", "--format", "{{.Action}}", "--filter", filter];
        sandbox.coracle(events).ok().lines().iter().map(|line| (*line).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(told("network=n"), ["create", "connect", "disconnect"]);
    let container = told("container=c");
    assert_eq!(container[..4], ["create", "start", "mount", "unmount"]);
}

/// The journal is a socket of the test's, and journalctl prints what came to it.
#[test]
fn the_journal_has_them_if_that_is_wanted() {
    let sandbox = require!(Sandbox::root());
    sandbox.mkdir("work/journal");
    let socket = sandbox.path("work/journal/socket");
    let journal = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    journal.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let journalctl = sandbox.write("bin/journalctl", "#!/bin/sh\necho \"$@\" >> arguments\ncat entries\n");
    std::fs::set_permissions(&journalctl, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    sandbox.write("work/entries", "");
    let script = "mount --make-rprivate / && mount -t tmpfs none /run && mkdir -p /run/systemd/journal && \
                  mount --bind journal /run/systemd/journal && exec \"$@\"";
    let there = |words: &[&str]| {
        let path = format!("{}:{}", sandbox.path("bin").display(), crate::support::PATH);
        let command = sandbox.coracle(["--events-backend", "journald"]).args(words.iter().copied());
        command.wrapped(["unshare", "-m", "sh", "-c", script, "--"]).env("PATH", path)
    };
    there(&["volume", "create", "v"]).ok();
    let mut entry = vec![0; 65536];
    let length = journal.recv(&mut entry).unwrap();
    let entry = String::from_utf8(entry[..length].to_vec()).unwrap();
    let field = |name: &str| {
        let line = entry.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {name} in {entry}"))
    };
    assert_eq!((field("MESSAGE"), field("SYSLOG_IDENTIFIER")), ("volume create v", "coracle"));
    assert_eq!(field("CORACLE_STORE"), sandbox.graph_root().display().to_string());
    let shown = serde_json::json!({"__CURSOR": "x", "CORACLE_EVENT": field("CORACLE_EVENT")});
    sandbox.write("work/entries", format!("{shown}\n"));
    let all = ["events", "--since=1h", "--stream=false", "--format", "{{.Type}} {{.Action}} {{.Name}}"];
    there(&all).ok().stdout_is("volume create v");
    let asked = sandbox.read("work/arguments");
    assert!(asked.contains(&format!("CORACLE_STORE={}", sandbox.graph_root().display())), "{asked}");
    // Every user may write such entries; nobody may say that root did.
    assert!(asked.lines().all(|line| line.split(' ').any(|word| word == "_UID=0")), "{asked}");
    // None are in files, and where there is no journal that is said.
    sandbox.coracle(all).ok().stdout_is("");
    let nowhere = sandbox.coracle(["--events-backend", "journald", "events", "--stream=false"]);
    let nowhere =
        nowhere.wrapped(["unshare", "-m", "sh", "-c", "mount -t tmpfs none /run && exec \"$@\"", "--"]);
    nowhere.fails(1).stderr_has("there is none on this host");
    sandbox.coracle(["volume", "rm", "v"]).ok();
}
