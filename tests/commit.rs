//! commit and import: what a container changed, and archives from anywhere, become images that podman, skopeo and
//! Coracle understand alike.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Entry, Sandbox, Tarball, Who, busybox_entries, program, require};

const IMAGE: &str = "lab/multi";

/// Changes of every kind a layer can hold.
const CHANGES: &str = r#"
    set -e; cd /
    rm -r whiteout/kept links/dangling modes/setuid opaque
    mkdir opaque; echo d > opaque/d
    rm overwritten; mkdir overwritten; touch overwritten/in
    rm -r becomes-dir; echo file > becomes-dir
    chmod 600 modes/owned; chown 5:6 modes/nobody
    mkdir -p fresh/a/b/c; echo leaf > fresh/a/b/c/leaf; ln fresh/a/b/c/leaf fresh/again; ln -s /x fresh/link
    mkfifo fresh/fifo; chmod 4755 fresh/a/b/c/leaf; chmod 1777 fresh
    n=$(printf 'n%.0s' $(seq 1 120)); mkdir fresh/$n; echo long > fresh/$n/$n
    touch "fresh/$(printf '\344 & <b>')"; touch -d '2001-02-03 04:05:06' fresh/link modes/time
    dd if=/dev/zero of=fresh/holes bs=1 count=1 seek=20000000 2>/dev/null
"#;

/// Everything stat(1) says of what a container sees, without what the engine brings. The times of directories are as
/// exact as a layer has them; those of the file system's own are not compared.
const LOOK: &str = r#"
    cd /; find . -path ./proc -prune -o -path ./sys -prune -o -path ./dev -prune -o -path ./run -prune \
      -o -path ./etc -prune -o -path . -o -print | sort > /tmp-list
    while read -r f; do [ "$f" = ./tmp-list ] || stat -c '%n|%a|%u|%g|%F|%N|%t:%T' "$f"; done < /tmp-list
    find . -type f -path './[a-z]*' ! -path './proc/*' ! -path './sys/*' ! -path './dev/*' ! -path './run/*' \
      ! -path './etc/*' ! -name tmp-list -exec stat -c '%n|%s|%Y|%h' {} + | sort
    find fresh opaque becomes-dir overwritten -type f -exec md5sum {} + | sort
    rm /tmp-list
"#;

fn changed(sandbox: &Sandbox, flags: &[&str]) -> String {
    sandbox.pull(IMAGE);
    let run = sandbox.coracle(["run", "-d", "--name", "c"]).args(flags.iter().copied());
    let run = run.args([IMAGE, "sh", "-c", "while :; do sleep 1000; done"]).ok();
    sandbox.coracle(["exec", "c", "sh", "-c", CHANGES]).ok();
    run.text().to_owned()
}

fn inspect(sandbox: &Sandbox, name: &str) -> Value {
    sandbox.coracle(["image", "inspect", name]).ok().json()[0].clone()
}

#[test]
fn a_container_of_the_image_sees_what_the_committed_one_saw() {
    for sandbox in require!(Sandbox::both()) {
        changed(&sandbox, &[]);
        let seen = sandbox.coracle(["exec", "c", "sh", "-c", LOOK]).ok().stdout;
        let id = sandbox.coracle(["commit", "c", "lab/made"]).ok().stderr_is_empty().text().to_owned();
        assert_eq!(id.len(), 64);
        let ours = sandbox.coracle(["run", "--rm", "lab/made", "sh", "-c", LOOK]).ok().stdout;
        assert_eq!(ours, seen);
        let theirs = require!(sandbox.podman([
            "run",
            "--rm",
            "--network",
            "none",
            "localhost/lab/made",
            "sh",
            "-c",
            LOOK
        ]));
        if sandbox.who == Who::Root {
            assert_eq!(theirs.ok().stdout, seen);
        }
        sandbox.coracle(["stop", "-t", "0", "c"]).ok();
        let again = sandbox.coracle(["commit", "c"]).ok().text().to_owned();
        let layers = |name: &str| inspect(&sandbox, name)["RootFS"]["Layers"].clone();
        assert_eq!(layers(&again), layers(&id), "the same files, another layer");
        let squashed = sandbox.coracle(["commit", "--squash", "c", "lab/squashed"]).ok().text().to_owned();
        assert_eq!(layers(&squashed).as_array().unwrap().len(), 1);
        let one = sandbox.coracle(["run", "--rm", "lab/squashed", "sh", "-c", LOOK]).ok().stdout;
        assert_eq!(one, seen);
        assert_eq!(inspect(&sandbox, &squashed)["History"].as_array().unwrap().len(), 1);
    }
}

/// The digest of a manifest is what others know an image by: it stays when the image leaves the store.
#[test]
fn skopeo_copies_the_image_with_its_digest() {
    for sandbox in require!(Sandbox::both()) {
        changed(&sandbox, &[]);
        for format in ["oci", "docker"] {
            let name = format!("lab/{format}");
            sandbox.coracle(["commit", "-f", format, "-m", "a message", "c", &name]).ok();
            let ours = inspect(&sandbox, &name);
            let target = sandbox.path(format!("work/{format}"));
            let source = sandbox.storage_reference(&format!("localhost/{name}:latest"));
            let copy = ["copy", "-q", "--preserve-digests", &source];
            require!(sandbox.skopeo(copy)).arg(format!("dir:{}", target.display())).ok();
            let manifest = fs::read(target.join("manifest.json")).unwrap();
            assert_eq!(crate::support::digest(&manifest), ours["Digest"].as_str().unwrap(), "{format}");
            let theirs =
                require!(sandbox.podman(["image", "inspect", &format!("localhost/{name}")])).ok().json()[0]
                    .clone();
            for field in ["Id", "Digest", "Size", "Author", "ManifestType", "RootFS"] {
                assert_eq!(ours[field], theirs[field], "{field}");
            }
            let history = ours["History"].as_array().unwrap();
            assert_eq!(history.last().unwrap()["comment"], "a message");
            assert_eq!(history.last().unwrap()["created_by"], "sh -c while :; do sleep 1000; done");
        }
    }
}

#[test]
fn the_configuration_is_the_containers() {
    let sandbox = require!(Sandbox::root());
    sandbox.pull("lab/config");
    let before = inspect(&sandbox, "lab/config")["Config"].clone();
    let run = [
        "create",
        "--name",
        "c",
        "-e",
        "NEW=1",
        "-l",
        "new=label",
        "--expose",
        "7777",
        "-p",
        "127.0.0.1:0:9999/udp",
    ];
    let more = ["-u", "7:8", "-w", "/srv", "-v", "/anonymous", "-v", "/etc:/bound", "--stop-signal", "INT"];
    sandbox.coracle(run).args(more).args(["--network", "bridge", "lab/config", "echo", "hi"]).ok();
    sandbox.coracle(["commit", "-a", "Me <me@example.org>", "c", "one"]).ok();
    let one = inspect(&sandbox, "one");
    let config = &one["Config"];
    assert_eq!(one["Author"], "Me <me@example.org>");
    assert_eq!((&config["User"], &config["WorkingDir"]), (&json!("7:8"), &json!("/srv")));
    assert_eq!((&config["Cmd"], &config["StopSignal"]), (&json!(["echo", "hi"]), &json!("SIGINT")));
    assert_eq!(config["Labels"]["new"], "label");
    let ports = config["ExposedPorts"].as_object().unwrap();
    assert!(ports.contains_key("7777/tcp") && ports.contains_key("9999/udp"), "{ports:?}");
    let volumes = config["Volumes"].as_object().unwrap();
    assert!(volumes.contains_key("/anonymous") && !volumes.contains_key("/bound"), "{volumes:?}");
    let env = config["Env"].as_array().unwrap();
    for entry in before["Env"].as_array().unwrap() {
        assert!(env.contains(entry), "{entry}");
    }
    assert!(env.contains(&json!("NEW=1")));
    assert_eq!(config["Healthcheck"], before["Healthcheck"]);
    sandbox.coracle(["commit", "--include-volumes", "c", "two"]).ok();
    assert!(inspect(&sandbox, "two")["Config"]["Volumes"].as_object().unwrap().contains_key("/bound"));

    let changes = [
        "CMD [\"changed\"]",
        "ENTRYPOINT /entry x",
        "ENV A=b NEW=\"x $NEW\"",
        "EXPOSE 1/udp",
        "LABEL l=m",
        "ONBUILD RUN y",
        "STOPSIGNAL TERM",
        "USER root",
        "VOLUME /more",
        "WORKDIR deeper",
        "HEALTHCHECK --interval=5s CMD true",
    ];
    let mut command = sandbox.coracle(["commit", "-q"]);
    for change in changes {
        command = command.args(["-c", change]);
    }
    command.args(["--iidfile", "iid", "c", "three:tag"]).ok();
    let three = inspect(&sandbox, "three:tag");
    assert_eq!(sandbox.read("work/iid"), three["Id"].as_str().unwrap());
    let config = &three["Config"];
    assert_eq!(config["Cmd"], json!(["changed"]));
    // The image has a SHELL of its own.
    assert_eq!(config["Entrypoint"], json!(["/bin/sh", "-ec", "/entry x"]));
    assert_eq!((&config["User"], &config["WorkingDir"]), (&json!("root"), &json!("/srv/deeper")));
    assert!(config["Env"].as_array().unwrap().contains(&json!("NEW=x 1")));
    assert_eq!(config["OnBuild"], json!(["RUN y"]));
    assert_eq!(config["Healthcheck"]["Interval"], 5_000_000_000_u64);

    sandbox.write("work/over.json", r#"{"Cmd":["over"],"Labels":{"o":"v"},"Env":["A=over"],"Hostname":"h"}"#);
    sandbox.coracle(["commit", "--config", "over.json", "c", "four"]).ok();
    let config = &inspect(&sandbox, "four")["Config"];
    assert_eq!((&config["Cmd"], &config["Labels"]["o"]), (&json!(["over"]), &json!("v")));
    assert!(config["Env"].as_array().unwrap().contains(&json!("A=over")));
    for (argv, what) in [
        (&["commit", "-c", "RUN x", "c"][..], "not a valid change command"),
        (&["commit", "-f", "tar", "c"], "unrecognized image format"),
        (&["commit", "c", "UPPER"], "invalid reference"),
        (&["commit", "c", &format!("x@sha256:{}", "a".repeat(64))], "digest"),
        (&["commit", "nobody"], "no such container"),
        (&["commit", "--config", "/etc/hosts", "c"], "no JSON object"),
    ] {
        sandbox.coracle(argv.iter().copied()).fails(1).stderr_has(what);
    }
    let images = sandbox.coracle(["images", "-q"]).ok();
    assert_eq!(images.lines().len(), 5, "{images}");
    sandbox.coracle(["rm", "-v", "c"]).ok();
}

#[test]
fn what_podman_commits_is_run_and_committed_again() {
    let sandbox = require!(Sandbox::root());
    sandbox.pull(IMAGE);
    let podman = |argv: &[&str]| sandbox.podman(argv.iter().copied());
    let name = format!("docker.io/{IMAGE}");
    require!(podman(&["run", "--name", "p", "--network", "none", &name, "sh", "-c", CHANGES])).ok();
    require!(podman(&["commit", "-q", "p", "theirs"])).ok();
    let script = format!("{CHANGES} {LOOK}");
    let seen = sandbox.coracle(["run", "--name", "c", IMAGE, "sh", "-c", &script]).ok().stdout;
    let theirs = sandbox.coracle(["run", "--name", "t", "theirs", "sh", "-c", LOOK]).ok().stdout;
    let lines = |text: &str| text.lines().filter(|line| !line.contains("holes")).count();
    assert_eq!(lines(&theirs), lines(&seen));
    // Its layers are described as podman describes them: with the digests that podman gives them.
    sandbox.coracle(["commit", "t", "ours"]).ok();
    let layers = |image: &str| inspect(&sandbox, image)["RootFS"]["Layers"].as_array().unwrap().clone();
    let (theirs, ours) = (layers("theirs"), layers("ours"));
    assert_eq!(ours[..theirs.len()], theirs[..]);
    require!(podman(&["run", "--rm", "--network", "none", "localhost/ours", "cat", "/fresh/a/b/c/leaf"]))
        .ok()
        .stdout_is("leaf");
    require!(podman(&["rm", "p"])).ok();
}

#[test]
fn a_running_container_is_paused_meanwhile() {
    let sandbox = require!(Sandbox::root());
    changed(&sandbox, &[]);
    // The point at which it is frozen; the process dies there.
    let killed = sandbox.coracle(["commit", "c", "x"]).env("CORACLE_FAILPOINT", "commit.frozen").run();
    assert_eq!(killed.exit_code(), 137);
    let status = || sandbox.coracle(["inspect", "--format", "{{.State.Status}}", "c"]).ok().text().to_owned();
    assert_eq!(status(), "paused");
    // Whoever comes next thaws it.
    sandbox.coracle(["exec", "c", "true"]).ok();
    assert_eq!(status(), "running");
    let killed = sandbox
        .coracle(["commit", "--pause=false", "c", "x"])
        .env("CORACLE_FAILPOINT", "commit.frozen")
        .run();
    assert_eq!((killed.exit_code(), status().as_str()), (137, "running"));
    for pause in ["--pause", "--pause=true", "-p", "--pause=false"] {
        sandbox.coracle(["commit", pause, "c", "x"]).ok();
        assert_eq!(status(), "running");
    }
    // One that was paused before stays so.
    sandbox.coracle(["pause", "c"]).ok();
    sandbox.coracle(["commit", "c", "x"]).ok();
    assert_eq!(status(), "paused");
    sandbox.coracle(["unpause", "c"]).ok();
}

/// Where the upper directory does not say everything, or says it in another way.
#[test]
fn other_ways_of_keeping_changes() {
    let sandbox = require!(Sandbox::root());
    let mut ways = vec![("metacopy", "overlay.mountopt=nodev,metacopy=on".to_owned())];
    if let Ok(fuse) = program("fuse-overlayfs") {
        ways.push(("fuse", format!("overlay.mount_program={}", fuse.display())));
    }
    let change = "chmod 600 /big/file; rm -r /del; mkdir /del; echo new > /del/new; rm /gone/a; mkdir /made; md5sum /big/file";
    let mut entries = busybox_entries();
    entries.extend([Entry::dir("big"), Entry::file("big/file", vec![7; 3_000_000]).mode(0o644)]);
    entries.extend([Entry::dir("del"), Entry::file("del/old", "old")]);
    entries.extend([Entry::dir("gone"), Entry::file("gone/a", "a"), Entry::file("gone/b", "b")]);
    let tar = Tarball::of(entries).finish();
    for (way, option) in ways {
        let (root, run) = (sandbox.path(format!("work/{way}")), sandbox.path(format!("work/{way}-run")));
        let flags =
            ["--root", root.to_str().unwrap(), "--runroot", run.to_str().unwrap(), "--storage-opt", &option];
        let coracle = |argv: &[&str]| sandbox.bare(flags).args(argv.iter().copied());
        coracle(&["import", "-q", "-", "base"]).stdin(tar.clone()).ok();
        let sum = coracle(&["run", "--name", "c", "base", "sh", "-c", change]).ok().stdout;
        let diff = coracle(&["diff", "c"]).ok();
        for line in ["C /big/file", "D /gone/a", "A /del/new", "A /made"] {
            assert!(diff.lines().contains(&line), "{way} {line}: {diff}");
        }
        diff.stdout_lacks(".wh.").stdout_lacks("/gone/b");
        coracle(&["commit", "c", "made"]).ok();
        let look = "md5sum /big/file; stat -c %a /big/file; ls /del /gone";
        let seen = coracle(&["run", "--rm", "made", "sh", "-c", look]).ok().stdout;
        assert_eq!(seen, format!("{sum}600\n/del:\nnew\n\n/gone:\nb\n"), "{way}");
        coracle(&["rm", "c"]).ok();
    }
}
