//! What goes wrong is said in one line that names the cause, with a hint where there is something to do, and with
//! the exit code that scripts know from docker and podman.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use serde_json::json;

use crate::support::{
    Cmd, Entry, Image, Layer, Registry, RegistryOptions, Sandbox, busybox, program, require, root,
};

/// Arguments, exit code, what stderr has.
type Row<'a> = (&'a [&'a str], i32, &'a [&'a str]);

#[track_caller]
fn check(sandbox: &Sandbox, rows: &[Row<'_>]) {
    for (arguments, code, phrases) in rows {
        let mut outcome = sandbox.coracle(arguments.iter().copied()).fails(*code);
        // Inspecting what is not there gives an empty list.
        assert!(["", "[]"].contains(&outcome.text()), "{outcome}");
        for phrase in *phrases {
            outcome = outcome.stderr_has(phrase);
        }
        assert_eq!(outcome.stderr.matches("Error: ").count(), 1, "one error, said once: {outcome}");
    }
}

#[test]
fn the_command_line() {
    let sandbox = require!(Sandbox::user());
    check(
        &sandbox,
        &[
            (&["rnu"], 125, &["unknown command", "run"]),
            (&["build", "."], 125, &["unknown command", "cannot be built yet", "buildah"]),
            (&["image", "build", "."], 125, &["unknown command", "cannot be built yet"]),
            (&["compose", "up"], 125, &["unknown command", "not supported yet"]),
            (&["swarm", "init"], 125, &["unknown command", "this host only"]),
            (&["container", "strat"], 125, &["unknown command", "start"]),
            (&["ps", "--al"], 125, &["unknown flag", "--al"]),
            (
                &["run", "--netwrk", "none", "lab/busybox"],
                125,
                &["unknown flag", "did you mean", "--network"],
            ),
            (&["run"], 125, &["an argument is missing: IMAGE"]),
            (&["tag", "x"], 125, &["an argument is missing: NAME", "coracle tag <IMAGE> <NAME>..."]),
            (&["ps", "x"], 125, &["unexpected argument: x"]),
            (&["help", "nope"], 1, &["unknown help topic: nope"]),
            (&["stop"], 1, &["at least one"]),
            (&["rm", "--link", "x"], 1, &["--link: links between containers"]),
            (&["start", "--checkpoint", "one", "x"], 1, &["no such container: x"]),
            (&["start", "--checkpoint-dir", "/x", "x"], 1, &["can only be used with --checkpoint"]),
            (&["info", "--format", "{{.Nonsense}}"], 1, &["nonsense"]),
            (&["-H", "tcp://example.org:2375", "ps"], 1, &["tcp://example.org:2375"]),
        ],
    );
}

#[test]
fn help_and_version_are_asked_for_in_several_ways() {
    let sandbox = require!(Sandbox::user());
    for words in [&["help", "container", "rm"][..], &["container", "rm", "--help"]] {
        sandbox.coracle(words.iter().copied()).ok().stdout_has("Usage: coracle container rm ");
    }
    for words in [&["help"][..], &["--help"]] {
        sandbox.coracle(words.iter().copied()).ok().stdout_has(" Pull images from a registry\n");
    }
    // Without a command, too, flags and commands are shown as they are documented.
    let bare = sandbox.bare([] as [&str; 0]).fails(125);
    bare.stderr_has(" Pull images from a registry\n").stderr_lacks("[default: false]");
    for word in ["-v", "--version"] {
        sandbox.bare([word]).ok().stdout_is(&format!("coracle version {}", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn images_that_cannot_be_had() {
    let sandbox = require!(Sandbox::user());
    sandbox.registry().provide("lab/arch");
    let down = "127.0.0.1:1/lab/down";
    check(
        &sandbox,
        &[
            (&["run", "--rm", "lab/nosuch"], 125, &["lab/nosuch"]),
            (&["pull", "lab/nosuch"], 1, &["lab/nosuch"]),
            (&["pull", "lab/arch:nosuch"], 1, &["lab/arch:nosuch"]),
            (&["run", "--rm", "--pull=never", "lab/arch"], 125, &["lab/arch"]),
            (&["run", "--rm", "lab/arch:foreign"], 125, &["linux/", "s390x"]),
            (&["pull", "--platform", "linux/mips64le", "lab/arch"], 1, &["linux/mips64le"]),
            (&["pull", down], 1, &["127.0.0.1:1", "refused"]),
            (&["run", "--rm", down], 125, &["127.0.0.1:1", "refused"]),
            (&["pull", "UPPER/case"], 1, &["lowercase"]),
            (&["rmi", "lab/nosuch"], 1, &["no such image"]),
            (&["image", "inspect", "lab/nosuch"], 1, &["no such image"]),
        ],
    );
    sandbox.coracle(["images", "-q"]).ok().stdout_is("");
}

#[test]
fn a_registry_that_refuses() {
    let sandbox = require!(Sandbox::user());
    sandbox.registry().provide("lab/busybox");
    let auth = Some(("lab".to_owned(), "secret".to_owned()));
    let registry = require!(Registry::start(RegistryOptions { auth, ..RegistryOptions::default() }));
    sandbox.use_registry(&registry);
    let name = format!("{}/lab/busybox", registry.address());
    check(
        &sandbox,
        &[
            (&["pull", &name], 1, &["unauthorized"]),
            (&["pull", "--creds", "lab:wrong", &name], 1, &["unauthorized"]),
            (&["run", "--rm", &name], 125, &["unauthorized"]),
        ],
    );
    sandbox.coracle(["pull", "-q", "--creds", "lab:secret", &name]).ok();
}

#[test]
fn a_layer_that_is_not_what_its_digest_says() {
    for sandbox in require!(Sandbox::both()) {
        let registry =
            require!(Registry::start(RegistryOptions { empty: true, ..RegistryOptions::default() }));
        sandbox.use_registry(&registry);
        // The compressed bytes differ.
        let mut spoilt = busybox();
        spoilt.layers.push(Layer::plain(
            &crate::support::Tarball::of([Entry::file("text", vec![b'a'; 9000])]).finish(),
        ));
        registry.push("lab/spoilt", "latest", &spoilt);
        let blob = registry.blob_file(&crate::support::digest(&spoilt.layers[1].blob));
        fs::OpenOptions::new().write(true).open(blob).unwrap().write_at(b"b", 5000).unwrap();
        // The blob is right, but not the archive in it that the configuration promises.
        let mut lying = busybox();
        lying.layers.push(Layer::of([Entry::file("text", "text")]));
        lying.layers[1].diff_id = format!("sha256:{}", "1".repeat(64));
        registry.push("lab/lying", "latest", &lying);
        check(
            &sandbox,
            &[(&["pull", "-q", "lab/spoilt"], 1, &["digest"]), (&["pull", "-q", "lab/lying"], 1, &["diff"])],
        );
        sandbox.coracle(["images", "-q"]).ok().stdout_is("");
        let left = sandbox.leaks();
        assert!(left.is_empty(), "{left:#?}");
    }
}

#[test]
fn a_full_disk() {
    let sandbox = require!(Sandbox::root());
    let mount = |arguments: &[&str]| {
        let target = sandbox.graph_root();
        Cmd::new([arguments, &[target.to_str().unwrap()]].concat(), "/".into())
            .env("PATH", crate::support::PATH)
            .ok();
    };
    mount(&["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs"]);
    let registry = require!(Registry::start(RegistryOptions { empty: true, ..RegistryOptions::default() }));
    sandbox.use_registry(&registry);
    let mut image = Image::new(busybox().layers, json!({"Cmd": ["true"]}));
    image.layers.push(Layer::of([Entry::file("large", vec![1; 20_000_000])]));
    registry.push("lab/large", "latest", &image);
    registry.push("lab/small", "latest", &busybox());
    check(&sandbox, &[(&["pull", "-q", "lab/large"], 1, &["no space left on device"])]);
    // Nothing of it is in the way of what fits.
    sandbox.coracle(["pull", "-q", "lab/small"]).ok();
    sandbox.coracle(["run", "--rm", "lab/small", "true"]).ok();
    sandbox.coracle(["rmi", "lab/small"]).ok();
    let left: Vec<_> = sandbox.leaks().into_iter().filter(|leak| !leak.starts_with("mount: ")).collect();
    assert!(left.is_empty(), "{left:#?}");
    mount(&["umount", "-R"]);
}

#[test]
fn commands_that_the_container_lacks() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/busybox");
        check(
            &sandbox,
            &[
                (&["run", "--rm", "lab/busybox", "nosuch"], 127, &["nosuch"]),
                (&["run", "--rm", "lab/busybox", "/etc/passwd"], 126, &["permission denied"]),
                (&["run", "--rm", "lab/busybox", "/etc"], 126, &[]),
            ],
        );
        sandbox.coracle(["run", "-d", "--name", "up", "lab/busybox", "sleep", "100"]).ok();
        check(
            &sandbox,
            &[
                (&["exec", "up", "nosuch"], 127, &["nosuch"]),
                (&["exec", "up", "/etc/passwd"], 126, &["permission denied"]),
            ],
        );
        sandbox.coracle(["run", "--rm", "lab/busybox", "sh", "-c", "exit 3"]).fails(3).stderr_is_empty();
        sandbox
            .coracle(["run", "--rm", "lab/busybox", "sh", "-c", "sleep 9 & kill -9 $!; wait $!"])
            .fails(137);
    }
}

#[test]
fn names_and_states() {
    let sandbox = require!(Sandbox::user());
    sandbox.pull("lab/busybox");
    sandbox.coracle(["run", "-d", "--name", "one", "lab/busybox", "sleep", "100"]).ok();
    check(
        &sandbox,
        &[
            (&["run", "--name", "one", "lab/busybox"], 125, &["already in use", "one"]),
            (&["create", "--name", "one", "lab/busybox"], 125, &["already in use", "one"]),
            (&["create", "--name", "a/b", "lab/busybox"], 125, &["a/b"]),
            (&["rm", "one"], 2, &["running", "one"]),
            (&["start", "nosuch"], 1, &["no such container", "nosuch"]),
            (&["stop", "nosuch"], 1, &["no such container", "nosuch"]),
            (&["kill", "nosuch"], 1, &["no such container", "nosuch"]),
            (&["rm", "nosuch"], 1, &["no such container", "nosuch"]),
            (&["logs", "nosuch"], 1, &["no such container", "nosuch"]),
            (&["exec", "nosuch", "true"], 125, &["no such container", "nosuch"]),
            (&["inspect", "nosuch"], 1, &["no such", "nosuch"]),
            (&["rmi", "lab/busybox"], 1, &["in use", "one"]),
            (&["run", "--rm", "-v", "/no/such/source:/mnt", "lab/busybox"], 125, &["/no/such/source"]),
            (
                &["run", "--rm", "--mount", "type=bind,src=/no/such/source,dst=/mnt", "lab/busybox"],
                125,
                &["/no/such/source"],
            ),
            (&["run", "--rm", "-u", "nosuch", "lab/busybox"], 125, &["nosuch"]),
            (&["run", "--rm", "--runtime", "nosuch", "lab/busybox"], 125, &["nosuch"]),
            (&["run", "--rm", "--memory", "12parsecs", "lab/busybox"], 125, &["12parsecs"]),
        ],
    );
    sandbox.coracle(["stop", "-t", "0", "one"]).ok();
    sandbox.coracle(["exec", "one", "true"]).fails(125).stderr_has("running containers");
}

/// The command in a mount namespace in which these system programs do not exist.
fn without(sandbox: &Sandbox, programs: &[&str], arguments: &[&str]) -> Cmd {
    let hidden: PathBuf = sandbox.mkdir("work/hidden");
    for program in programs {
        let marker = hidden.join(program);
        if !marker.exists() {
            let kind = nix::sys::stat::SFlag::S_IFCHR;
            nix::sys::stat::mknod(&marker, kind, nix::sys::stat::Mode::empty(), 0).unwrap();
        }
    }
    let script = format!(
        "mount --make-rprivate / && mount -t overlay none -o lowerdir={0}:/usr/sbin /usr/sbin && \
         mount -t overlay none -o lowerdir={0}:/usr/bin /usr/bin && exec \"$@\"",
        hidden.display()
    );
    let inner = sandbox.coracle(arguments.iter().copied());
    inner.wrapped(["unshare", "-m", "sh", "-c", &script, "sh"])
}

#[test]
fn programs_that_the_machine_lacks() {
    require!(root());
    let run = ["run", "--rm", "coracle/hello"];
    let runtimes = ["crun", "runc", "youki", "kata-runtime", "runsc"];
    let inits = ["catatonit", "tini-static", "tini", "docker-init"];
    let rows: [(&[&str], &[&str], &str); 3] = [
        (&["conmon"], &run, "the package conmon"),
        (&runtimes, &run, "the package crun"),
        (&inits, &["run", "--rm", "--init", "coracle/hello"], "the package catatonit"),
    ];
    for (programs, arguments, hint) in rows {
        // A sandbox each: an ordinary user's first command decides what all later ones see.
        for sandbox in require!(Sandbox::both()) {
            without(&sandbox, programs, arguments).fails(125).stderr_has("hint: ").stderr_has(hint);
            // Looking needs none of them.
            without(&sandbox, programs, &["images", "-q"]).ok();
            without(&sandbox, programs, &["ps", "-a"]).ok();
        }
    }
}

#[test]
fn no_way_into_a_user_namespace() {
    require!(root());
    require!(program("newuidmap"));
    let sandbox = require!(Sandbox::user());
    let hello = ["run", "--rm", "coracle/hello"];
    without(&sandbox, &["newuidmap", "newgidmap"], &hello)
        .fails(125)
        .stderr_has("uidmap")
        .stderr_has("hint: ");
    let empty = sandbox.write("work/empty", "");
    let script = format!(
        "mount --make-rprivate / && mount --bind {0} /etc/subuid && mount --bind {0} /etc/subgid && exec \"$@\"",
        empty.display()
    );
    let inner = sandbox.coracle(hello).wrapped(["unshare", "-m", "sh", "-c", &script, "sh"]);
    inner.fails(125).stderr_has("/etc/subuid").stderr_has("hint: ");
}
