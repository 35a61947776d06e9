//! `container checkpoint --export` and `--create-image`, and containers made again from those, where there is a CRIU that works.

use std::time::Duration;

use crate::checkpoint::{able, count, counter, reaches, shown};
use crate::support::{Cmd, Entry, Sandbox, Tarball, eventually, require};

const IMAGE: &str = "lab/busybox";
/// What the archives' containers do with their files before they count.
const FILES: &str = "mkdir /made && echo new > /made/file && chmod 1770 /made && rm /etc/group && rm -r /usr && mkdir /usr && \
                     echo again > /usr/again && echo volume > /data/file && ln -s /made/file /link && echo memory > /dev/shm/m";
const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i; echo $i > /count; sleep 0.05; done";

fn checkpoint<'a>(sandbox: &Sandbox, words: impl IntoIterator<Item = &'a str>) -> Cmd {
    sandbox.coracle(["container", "checkpoint"]).args(words)
}

fn restore<'a>(sandbox: &Sandbox, words: impl IntoIterator<Item = &'a str>) -> Cmd {
    sandbox.coracle(["container", "restore"]).args(words)
}

/// A container that has written files and counts.
fn writer(sandbox: &Sandbox, name: &str, flags: &[&str]) {
    let run =
        ["run", "-d", "--runtime=runc", "--network=none", "-v", "data:/data", "--label=l=1", "--name", name];
    let run = sandbox.coracle(run).args(flags.iter().copied());
    run.args([IMAGE, "sh", "-c", &format!("{FILES} && {COUNT}")]).ok();
    reaches(sandbox, name, 3);
}

/// It goes on, and its files are what they were.
fn is_the_writer(sandbox: &Sandbox, name: &str, before: u32) {
    reaches(sandbox, name, before + 2);
    let look =
        "cat /made/file /link /usr/again /data/file /dev/shm/m; stat -c %a /made; ls /etc/group /usr 2>&1";
    let seen = sandbox.coracle(["exec", name, "sh", "-c", look]).run();
    seen.stdout_is(
        "new\nnew\nagain\nvolume\nmemory\n1770\nls: /etc/group: No such file or directory\n/usr:\nagain",
    );
    assert_eq!(shown(sandbox, name, "{{index .Config.Labels \"l\"}}"), "1");
}

#[test]
fn an_archive_has_all_of_a_container() {
    let Some(sandbox) = able() else { return };
    writer(&sandbox, "c", &["--hostname=box", "--restart=on-failure:3"]);
    let id = shown(&sandbox, "c", "{{.Id}}");
    for (compress, magic) in
        [("none", &b"config.dump"[..]), ("gzip", b"\x1f\x8b"), ("zstd", b"\x28\xb5\x2f\xfd")]
    {
        let file = format!("--export={compress}.tar");
        checkpoint(&sandbox, [&*format!("--compress={compress}"), &file, "c"]).ok().stdout_is("c");
        let before = count(&sandbox, "c");
        let archive = std::fs::read(sandbox.path(format!("work/{compress}.tar"))).unwrap();
        assert!(archive.starts_with(magic), "{compress}");
        // There it is, beside what it is of.
        let taken = restore(&sandbox, ["--import", &format!("{compress}.tar")]).fails(1);
        taken.stderr_has("volume with name data already exists");
        let taken = restore(&sandbox, ["--ignore-volumes", "--import", &format!("{compress}.tar")]).fails(1);
        taken.stderr_has("is already in use").stderr_has("--name");
        sandbox.coracle(["rm", "c"]).ok();
        sandbox.coracle(["volume", "rm", "data"]).ok();
        restore(&sandbox, ["--import", &format!("{compress}.tar")]).ok().stdout_is(&id);
        is_the_writer(&sandbox, "c", before);
        assert_eq!(
            shown(&sandbox, "c", "{{.HostConfig.RestartPolicy.Name}} {{.Config.Hostname}}"),
            "on-failure box"
        );
        // Its log goes on, too.
        assert!(sandbox.coracle(["logs", "c"]).ok().lines().starts_with(&["1", "2", "3"]));
    }
    // What it is called decides whose it is; what podman wants to know is there.
    let listed = sandbox.command(["tar", "tf", "none.tar"]).ok();
    for name in [
        "config.dump",
        "spec.dump",
        "network.status",
        "stats-dump",
        "ctr.log",
        "rootfs-diff.tar",
        "deleted.files",
        "volumes/data.tar",
        "checkpoint/inventory.img",
    ] {
        assert!(listed.lines().contains(&name), "{name}: {listed}");
    }
    let deleted = sandbox.command(["tar", "xOf", "none.tar", "deleted.files"]).ok().json();
    assert!(deleted.as_array().unwrap().contains(&"/etc/group".into()), "{deleted}");
    // Nobody but root reads what is in a process's memory.
    let mode = std::fs::metadata(sandbox.path("work/none.tar")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
    sandbox.coracle(["rm", "-ft0", "c"]).ok();
    sandbox.coracle(["volume", "rm", "data"]).ok();
}

#[test]
fn copies_have_names_and_ports_of_their_own() {
    let Some(sandbox) = able() else { return };
    sandbox.coracle(["network", "create", "n"]).ok();
    counter(&sandbox, "c", &["--network=n", "--publish=127.0.0.1::80"]);
    checkpoint(&sandbox, ["--leave-running", "-e", "a.tar", "c"]).ok();
    let at = count(&sandbox, "c");
    reaches(&sandbox, "c", at + 1);
    let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let mut addresses = vec![shown(&sandbox, "c", address)];
    for (name, port) in [("first", "127.0.0.1:38471:81"), ("second", "127.0.0.1:38472:82")] {
        let restored =
            restore(&sandbox, ["-i", "a.tar", "-n", name, "-p", port, "--print-stats"]).ok().json();
        assert!(
            restored["container_statistics"][0]["criu_statistics"]["pages_restored"].as_u64() > Some(0),
            "{restored}"
        );
        reaches(&sandbox, name, 5);
        let seen = sandbox.coracle(["port", name]).ok();
        assert_eq!(seen.text(), format!("{}/tcp -> {}", &port[16..], &port[..15]));
        addresses.push(shown(&sandbox, name, address));
        // It knows itself by the host name it had.
        let host = sandbox.coracle(["exec", name, "hostname"]).ok();
        assert_eq!(host.text(), shown(&sandbox, name, "{{.Config.Hostname}}"));
    }
    // With a pre-checkpoint beside it, which here nothing was left to; and what is none.
    sandbox.mkdir("work/pre-checkpoint");
    sandbox.command(["tar", "-cf", "pre.tar", "pre-checkpoint"]).ok();
    let third = ["-i", "a.tar", "-n", "third", "--publish=127.0.0.1:38473:83", "--import-previous"];
    restore(&sandbox, third.into_iter().chain(["a.tar"])).fails(1).stderr_has("holds no pre-checkpoint");
    restore(&sandbox, third.into_iter().chain(["pre.tar"])).ok();
    reaches(&sandbox, "third", 5);
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 3, "{addresses:?}");
    // In its own place it has its own address again, unless that does not matter.
    let had = shown(&sandbox, "c", address);
    sandbox.coracle(["rm", "-ft0", "c"]).ok();
    restore(&sandbox, ["-i", "a.tar"]).ok();
    assert_eq!(shown(&sandbox, "c", address), had);
    sandbox.coracle(["rm", "-ft0", "c"]).ok();
    restore(&sandbox, ["-i", "a.tar", "--ignore-static-ip", "--ignore-static-mac", "--keep"]).ok();
    reaches(&sandbox, "c", 5);
    sandbox.coracle(["kill", "c"]).ok();
    restore(&sandbox, ["c"]).ok();
    reaches(&sandbox, "c", 5);
}

#[test]
fn what_is_left_out_is_not_there() {
    let Some(sandbox) = able() else { return };
    writer(&sandbox, "c", &["--rm"]);
    checkpoint(&sandbox, ["--ignore-rootfs", "--ignore-volumes", "-e", "-", "c"]).ok();
    // It was made with --rm: it is gone.
    sandbox.coracle(["ps", "-aq"]).ok().stdout_is("");
    sandbox.coracle(["volume", "rm", "data"]).ok();
    writer(&sandbox, "c", &["--rm"]);
    checkpoint(&sandbox, ["-e", "a.tar", "c"]).ok();
    sandbox.coracle(["volume", "rm", "data"]).ok();
    // CRIU looks for the files that are open: the script's own are the image's.
    restore(&sandbox, ["-i", "a.tar", "--ignore-rootfs", "--ignore-volumes"]).ok();
    let seen = sandbox.coracle(["exec", "c", "ls", "/made", "/data"]).run();
    seen.stdout_lacks("file").stderr_has("/made: No such file");
    sandbox.coracle(["rm", "-ft0", "c"]).ok();
    sandbox.coracle(["volume", "rm", "-f", "data"]).ok();
}

#[test]
fn an_image_may_hold_a_checkpoint() {
    let Some(sandbox) = able() else { return };
    writer(&sandbox, "c", &[]);
    checkpoint(&sandbox, ["--create-image=NOT A NAME", "c"]).fails(1);
    checkpoint(&sandbox, ["--create-image=kept", "c"]).ok();
    let before = count(&sandbox, "c");
    let annotation = "{{index .Annotations \"io.podman.annotations.checkpoint.runtime.name\"}}";
    sandbox.coracle(["image", "inspect", "--format", annotation, "kept"]).ok().stdout_is("runc");
    sandbox.coracle(["rm", "c"]).ok();
    sandbox.coracle(["volume", "rm", "data"]).ok();
    // An image is no reason to run with rights that the command line does not give (CVE-2026-94603).
    sandbox.coracle(["run", "--rm", "--network=none", "--cap-drop=all", "kept"]).fails(125);
    restore(&sandbox, ["kept", "--import-previous=x"]).fails(1);
    restore(&sandbox, ["kept"]).ok();
    is_the_writer(&sandbox, "c", before);
    sandbox.coracle(["rm", "-ft0", "c"]).ok();
    restore(&sandbox, [IMAGE]).fails(1).stderr_has("no such container");
    sandbox.coracle(["rmi", "kept"]).ok();
    sandbox.coracle(["volume", "rm", "data"]).ok();
}

#[test]
fn archives_that_are_none_are_refused() {
    let Some(sandbox) = able() else { return };
    let made = |name: &str, entries: Vec<Entry>| {
        let tar = Tarball::of(entries).finish();
        sandbox.write(format!("work/{name}"), tar);
        restore(&sandbox, ["-i", name]).fails(1)
    };
    let config = format!("{{\"id\": \"{}\", \"name\": \"x\"}}", "a".repeat(64));
    made("empty", vec![]).stderr_has("no archive of a checkpoint");
    made("no-id", vec![Entry::file("config.dump", "{\"id\": \"../../x\"}")]).stderr_has("which is none");
    made("no-spec", vec![Entry::file("config.dump", config.as_str())]).stderr_has("no spec.dump");
    let spec = "{\"ociVersion\": \"1.0.2\"}";
    let no_images = vec![Entry::file("config.dump", config.as_str()), Entry::file("spec.dump", spec)];
    made("no-images", no_images).stderr_has("a complete checkpoint cannot be found");
    // What is read is the archive's, whatever links it has.
    sandbox.write("secret", "root's own");
    let secret = sandbox.path("secret").display().to_string();
    made("link", vec![Entry::symlink("config.dump", &secret)]).stderr_lacks("own");
    let elsewhere = vec![
        Entry::file("config.dump", config.as_str()),
        Entry::file("spec.dump", spec),
        Entry::symlink("checkpoint", sandbox.path("work").to_str().unwrap()),
    ];
    made("elsewhere", elsewhere).stderr_has("a complete checkpoint cannot be found");
    made("outside", vec![Entry::file("../../outside", "x")]);
    sandbox.coracle(["ps", "-aq"]).ok().stdout_is("");
}

#[test]
fn killed_on_the_way_nothing_is_half_made() {
    let Some(sandbox) = able() else { return };
    writer(&sandbox, "c", &[]);
    let killed =
        checkpoint(&sandbox, ["-e", "a.tar", "c"]).env("CORACLE_FAILPOINT", "checkpoint.archive-staged");
    killed.fails(137);
    assert!(!sandbox.path("work/a.tar").exists());
    // The checkpoint itself is whole.
    restore(&sandbox, ["c"]).ok();
    checkpoint(&sandbox, ["-e", "a.tar", "c"]).ok();
    let before = count(&sandbox, "c");
    sandbox.coracle(["rm", "c"]).ok();
    sandbox.coracle(["volume", "rm", "data"]).ok();
    for point in ["restore.created", "restore.populated"] {
        restore(&sandbox, ["-i", "a.tar"]).env("CORACLE_FAILPOINT", point).fails(137);
        let refused = sandbox.coracle(["start", "c"]).run();
        assert_ne!(refused.exit_code(), 0);
        refused.stderr_has("was interrupted").stderr_has("coracle rm c");
        sandbox.coracle(["rm", "c"]).ok();
        sandbox.coracle(["volume", "rm", "data"]).ok();
    }
    // What fails leaves nothing.
    let tar = |words: &[&str]| sandbox.command(["tar"]).args(words.iter().copied());
    sandbox.mkdir("work/broken");
    tar(&["-C", "broken", "-xf", "a.tar", "--zstd"]).ok();
    std::fs::remove_file(sandbox.path("work/broken/checkpoint/inventory.img")).unwrap();
    tar(&["-C", "broken", "-cf", "b.tar", "."]).ok();
    restore(&sandbox, ["-i", "b.tar"]).fails(1).stderr_has("CRIU");
    sandbox.coracle(["ps", "-aq"]).ok().stdout_is("");
    sandbox.coracle(["volume", "ls", "-q"]).ok().stdout_is("");
    restore(&sandbox, ["-i", "a.tar"]).ok();
    is_the_writer(&sandbox, "c", before);
    // An archive that cannot be written costs the container nothing.
    let before = count(&sandbox, "c");
    checkpoint(&sandbox, ["-e", "/dev/full", "c"]).fails(1).stderr_has("No space left");
    assert_eq!(shown(&sandbox, "c", "{{.State.Status}} {{.State.Checkpointed}}"), "running false");
    reaches(&sandbox, "c", before + 2);
    sandbox.coracle(["rm", "-ft0", "c"]).ok();
    sandbox.coracle(["volume", "rm", "data"]).ok();
}

#[test]
fn who_stands_on_others_is_not_exported() {
    let Some(sandbox) = able() else { return };
    counter(&sandbox, "c", &["--network=none"]);
    counter(&sandbox, "joined", &["--network=container:c"]);
    let refused = checkpoint(&sandbox, ["-e", "a.tar", "joined"]).fails(1);
    refused.stderr_has("cannot export checkpoints of containers with dependencies");
    checkpoint(&sandbox, ["-e", "a.tar", "--create-image=x", "c"]).fails(125);
    checkpoint(&sandbox, ["-e", "a.tar", "c", "joined"]).fails(1).stderr_has("takes one container");
    assert_eq!(shown(&sandbox, "joined", "{{.State.Status}}"), "running");
    sandbox.coracle(["rm", "-ft0", "joined"]).ok();
}

/// podman with a runtime that can.
fn podman(sandbox: &Sandbox, words: &[&str]) -> Option<Cmd> {
    let all = ["--runtime=runc"].iter().chain(words).copied();
    sandbox.podman(all).ok().map(|command| command.timeout(Duration::from_secs(120)))
}

#[test]
fn podman_goes_on_with_ours_and_we_with_podman_s() {
    let Some(sandbox) = able() else { return };
    require!(sandbox.podman(["version"])).ok();
    writer(&sandbox, "c", &["--env=A=1"]);
    checkpoint(&sandbox, ["-e", "ours.tar", "c"]).ok();
    let before = count(&sandbox, "c");
    sandbox.coracle(["rm", "c"]).ok();
    sandbox.coracle(["volume", "rm", "data"]).ok();
    let podman = |words: &[&str]| podman(&sandbox, words).unwrap();
    podman(&["container", "restore", "--import=ours.tar"]).ok();
    // Its exec raises limits, which not every host lets it.
    let inside = |path: &str| {
        let pid = podman(&["inspect", "--format={{.State.Pid}}", "c"]).ok();
        std::fs::read_to_string(format!("/proc/{}/root{path}", pid.text())).map(|text| text.trim().to_owned())
    };
    for (path, text) in [("/made/file", "new"), ("/data/file", "volume"), ("/dev/shm/m", "memory")] {
        assert_eq!(inside(path).unwrap(), text);
    }
    assert!(inside("/etc/group").is_err());
    let look = "cat /made/file /data/file /dev/shm/m; ls /etc/group 2>&1";
    let counted = || inside("/count").ok()?.parse::<u32>().ok().filter(|count| *count > before);
    eventually("it goes on", Duration::from_secs(20), counted);
    podman(&["container", "checkpoint", "--export=theirs.tar", "c"]).ok();
    podman(&["rm", "-f", "c"]).ok();
    podman(&["volume", "rm", "data"]).ok();
    restore(&sandbox, ["--import=theirs.tar"]).ok();
    reaches(&sandbox, "c", before + 2);
    let seen = sandbox.coracle(["exec", "c", "sh", "-c", look]).run();
    seen.stdout_is("new\nvolume\nmemory\nls: /etc/group: No such file or directory");
    sandbox.coracle(["rm", "-ft0", "c"]).ok();
    sandbox.coracle(["volume", "rm", "data"]).ok();
    // One that was podman's from the beginning.
    let run = ["run", "-d", "--network=none", "--name=p", "-v", "data:/data", "--env=A=1", IMAGE, "sh", "-c"];
    let script = format!("{FILES} && {COUNT}");
    podman(&[&run[..], &[&script]].concat()).ok();
    std::thread::sleep(Duration::from_secs(1));
    podman(&["container", "checkpoint", "--export=theirs.tar", "p"]).ok();
    podman(&["rm", "-f", "p"]).ok();
    podman(&["volume", "rm", "data"]).ok();
    restore(&sandbox, ["--import=theirs.tar"]).ok();
    reaches(&sandbox, "p", 3);
    let seen = sandbox.coracle(["exec", "p", "sh", "-c", look]).run();
    seen.stdout_is("new\nvolume\nmemory\nls: /etc/group: No such file or directory");
    // And once more round: /dev/shm is bound into this one.
    checkpoint(&sandbox, ["-e", "again.tar", "p"]).ok();
    sandbox.coracle(["rm", "p"]).ok();
    sandbox.coracle(["volume", "rm", "data"]).ok();
    restore(&sandbox, ["--import=again.tar"]).ok();
    sandbox.coracle(["exec", "p", "cat", "/dev/shm/m"]).ok().stdout_is("memory");
    sandbox.coracle(["restart", "-t0", "p"]).ok();
    sandbox.coracle(["exec", "p", "sh", "-c", "echo x > /dev/shm/n && echo $A"]).ok().stdout_is("1");
    sandbox.coracle(["rm", "-ft0", "p"]).ok();
    sandbox.coracle(["volume", "rm", "data"]).ok();
}
