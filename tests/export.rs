//! export and diff: a container's files as GNU tar sees them, its changes as podman does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::layers::{FILES, Node, shell, tree};
use crate::support::{Pty, Sandbox, Who, program, require, root};

/// What busybox can do to a file system without being root outside.
const CHANGES: &str = r#"
    set -e; cd /
    rm -r whiteout/kept; rm links/dangling modes/setuid
    rm -r modes/sticky; mkdir modes/sticky; echo new > modes/sticky/inside
    rm -r hard; mkdir -p hard/deeper; echo x > hard/one
    echo more >> opaque/c; chmod 600 modes/owned; chown 5:6 modes/nobody
    mkdir -p fresh/a/b/c; echo leaf > fresh/a/b/c/leaf; ln fresh/a/b/c/leaf fresh/again; ln -s /x fresh/link
    mkfifo fresh/fifo; chmod 4755 fresh/a/b/c/leaf; chmod 1777 fresh
    n=$(printf 'n%.0s' $(seq 1 120)); mkdir fresh/$n; echo long > fresh/$n/$n
    touch "fresh/$(printf '\344 & <b>')"; touch -d '2001-02-03 04:05:06' fresh/link modes/time
    touch special
"#;

/// Files that become directories and the other way round, at which podman 4.3 stumbles.
const SWAPS: &str = r#"
    set -e; cd /
    rm overwritten; mkdir overwritten; touch overwritten/in
    rm -r becomes-dir; echo file > becomes-dir
"#;

fn changed(sandbox: &Sandbox, image: &str, script: &str, flags: &[&str]) -> String {
    sandbox.pull(image);
    let run = sandbox.coracle(["run", "-d", "--name", "c"]).args(flags.iter().copied());
    let run = run.args([image, "sh", "-c", "while :; do sleep 1000; done"]).ok();
    sandbox.coracle(["exec", "c", "sh", "-c", script]).ok();
    run.text().to_owned()
}

/// Trees as a tar of whole seconds can tell them.
fn told(root: &Path) -> BTreeMap<PathBuf, Node> {
    let mut nodes = tree(root);
    nodes.retain(|_, node| !node.kind.starts_with("140000"));
    for node in nodes.values_mut() {
        node.mtime.1 = 0;
        node.xattrs.retain(|name, _| name.starts_with(b"user.") || name == b"security.capability");
        node.xattrs.retain(|name, _| !name.starts_with(b"user.overlay."));
    }
    nodes
}

fn same(ours: &BTreeMap<PathBuf, Node>, theirs: &BTreeMap<PathBuf, Node>) {
    let names = |tree: &BTreeMap<PathBuf, Node>| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(ours), names(theirs));
    for (path, node) in ours {
        assert_eq!(node, &theirs[path], "{}", path.display());
    }
}

fn merged(sandbox: &Sandbox, name: &str) -> PathBuf {
    let format = "{{.GraphDriver.Data.MergedDir}}";
    sandbox.coracle(["inspect", "--format", format, name]).ok().text().into()
}

#[test]
fn gnu_tar_unpacks_what_the_container_sees() {
    require!(root());
    require!(program("setfattr"));
    let sandbox = require!(Sandbox::root());
    changed(&sandbox, "lab/multi", CHANGES, &[]);
    let seen = merged(&sandbox, "c");
    // Of every kind of file, with attributes that busybox cannot make.
    shell(&seen, FILES);
    shell(
        &seen,
        "mkdir -p src/etc/s; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"src/etc/s/socket\")'",
    );
    let archive = sandbox.path("work/c.tar");
    for argv in [&["export", "-o", "c.tar", "c"][..], &["container", "export", "--output=c.tar", "c"]] {
        sandbox.coracle(argv.iter().copied()).ok().stdout_is("").stderr_is_empty();
        let target = sandbox.mkdir("tmp/unpacked");
        let tar = format!(
            "tar -C {0} --xattrs --xattrs-include='*' --numeric-owner -p --same-owner -xf {1}",
            target.display(),
            archive.display()
        );
        shell(Path::new("/"), &tar);
        same(&told(&target), &told(&seen));
        fs::remove_dir_all(&target).unwrap();
    }
    let first = fs::read(&archive).unwrap();
    assert_eq!(
        fs::metadata(&archive)
            .map(|m| std::os::unix::fs::PermissionsExt::mode(&m.permissions()) & 0o777)
            .unwrap(),
        0o600
    );
    // The same once more, by a pipe, and from a container that does not run.
    assert!(sandbox.coracle(["export", "c"]).ok().bytes == first);
    sandbox.coracle(["stop", "-t", "0", "c"]).ok();
    assert!(sandbox.coracle(["export", "c"]).ok().bytes == first, "stopped it is another");
    assert!(sandbox.leaks().iter().all(|leak| !leak.contains("merged")), "{:?}", sandbox.leaks());
}

#[test]
fn what_a_user_exports_is_what_the_container_sees() {
    let sandbox = require!(Sandbox::user());
    changed(&sandbox, "lab/multi", CHANGES, &[]);
    sandbox.coracle(["exec", "c", "sh", "-c", SWAPS]).ok();
    // busybox does not give directories their times.
    let look = "cd / && w='fresh modes hard overwritten opaque' && find $w ! -type d ! -type l -exec stat -c '%n|%a|%u|%g|%F|%s|%Y|%N' {} + | sort && find $w -type d -exec stat -c '%n|%a|%u|%g' {} + | sort && find $w -type l -exec stat -c '%N|%u' {} + | sort";
    let seen = sandbox.coracle(["exec", "c", "sh", "-c", look]).ok().stdout;
    sandbox.coracle(["export", "-o", "c.tar", "c"]).ok();
    let script = "mkdir /x && tar -C /x -xpf - && chroot /x sh -c \"$LOOK\"";
    let tar = fs::read(sandbox.path("work/c.tar")).unwrap();
    let there = sandbox
        .coracle(["run", "-i", "--rm", "-e", &format!("LOOK={look}"), "lab/multi", "sh", "-c", script])
        .stdin(tar)
        .ok();
    assert_eq!(there.stdout, seen);
}

#[test]
fn owners_are_those_inside_of_a_user_namespace() {
    let sandbox = require!(Sandbox::root());
    let flags = ["--uidmap", "0:100000:65536", "--gidmap", "0:200000:65536"];
    let script = "mkdir /d; echo a > /d/a; chown 7:8 /d/a; echo r > /d/root; chown 1:1 /bin/busybox";
    changed(&sandbox, "lab/busybox", script, &flags);
    let list = |argv: &[&str]| {
        let tar = sandbox.coracle(argv.iter().copied()).ok().bytes;
        let list = sandbox.command(["tar", "--numeric-owner", "-tvf", "-"]).stdin(tar).ok();
        let words = |line: &&str| {
            let words: Vec<_> = line.split_whitespace().collect();
            format!("{} {}", words[1], words[5])
        };
        list.lines().iter().map(words).collect::<Vec<_>>()
    };
    let running = list(&["export", "c"]);
    for line in ["7/8 d/a", "0/0 d/root", "0/0 d/", "1/1 bin/busybox"] {
        assert!(running.iter().any(|l| l == line), "{line} is not in {running:?}");
    }
    assert!(running.iter().all(|line| !line.contains("00000/")), "{running:?}");
    sandbox.coracle(["stop", "-t", "0", "c"]).ok();
    assert_eq!(list(&["export", "c"]), running);
}

/// Links lead where they lead inside, and are not followed to find out.
#[test]
fn links_are_archived_as_links() {
    for sandbox in require!(Sandbox::both()) {
        let secret = sandbox.write("work/secret/file", "not for the container");
        let directory = secret.parent().unwrap().display().to_string();
        let script = format!(
            "ln -s {directory} /door; ln -s {directory}/file /file; ln -s /proc/self /self; mkfifo /fifo"
        );
        changed(&sandbox, "lab/busybox", &script, &[]);
        let tar = sandbox.coracle(["export", "c"]).ok();
        assert!(!tar.stdout.contains("not for the container"));
        let list = sandbox.command(["tar", "-tf", "-"]).stdin(tar.bytes).ok();
        for name in ["door", "file", "self", "fifo"] {
            assert!(list.lines().contains(&name), "{name}: {list}");
        }
        sandbox.coracle(["commit", "c", "made"]).ok();
        sandbox.coracle(["run", "--rm", "made", "readlink", "/door"]).ok().stdout_is(&directory);
    }
}

#[test]
fn where_an_archive_may_go() {
    let sandbox = require!(Sandbox::root());
    sandbox.pull("lab/busybox");
    sandbox.coracle(["create", "--name", "c", "lab/busybox"]).ok();
    let (code, text) = Pty::spawn(sandbox.coracle(["export", "c"])).wait();
    assert!(code == 1 && text.contains("refusing to write an archive to a terminal"), "{code} {text}");
    sandbox.coracle(["export", "-o", "/nowhere/x.tar", "c"]).fails(1).stderr_has("/nowhere/x.tar");
    sandbox.coracle(["export", "-o", "/tmp", "c"]).fails(1).stderr_has("is a directory");
    sandbox.coracle(["export", "-o", "no.tar", "nobody"]).fails(1).stderr_has("no such container: nobody");
    assert!(!sandbox.path("work/no.tar").exists());
    sandbox.coracle(["export", "-o", "/dev/full", "c"]).fails(1).stderr_has("no space left");
    sandbox.coracle(["export", "-o", "/dev/null", "c"]).ok();
    // What was there stays as it was until all of the new is there.
    sandbox.write("work/old.tar", "old");
    sandbox.coracle(["export", "-o", "old.tar", "nobody"]).fails(1);
    assert_eq!(sandbox.read("work/old.tar"), "old");
    let names = fs::read_dir(sandbox.path("work")).unwrap().flatten();
    assert_eq!(names.filter(|e| e.file_name().to_string_lossy().starts_with(".tmp")).count(), 0);
}

#[test]
fn changes_are_those_that_podman_shows() {
    for sandbox in require!(Sandbox::both()) {
        let id = changed(&sandbox, "lab/multi", CHANGES, &[]);
        let ours = sandbox.coracle(["diff", &id]).ok();
        let theirs = require!(sandbox.podman(["diff", &id])).ok();
        assert_eq!(ours.stdout, theirs.stdout);
        let json = ["diff", "--format", "json", &id];
        let theirs = require!(sandbox.podman(json)).ok();
        assert_eq!(sandbox.coracle(json).ok().json(), theirs.json());
        let ours = sandbox.coracle(["container", "diff", "c"]).ok();
        for line in ["D /whiteout/kept", "A /fresh/a/b/c/leaf", "C /modes/owned", "C /modes"] {
            assert!(ours.lines().contains(&line), "{line}: {ours}");
        }
        sandbox.coracle(["exec", "c", "sh", "-c", SWAPS]).ok();
        let ours = sandbox.coracle(["diff", "c"]).ok();
        for line in ["D /overwritten", "A /overwritten/in", "C /becomes-dir"] {
            assert!(ours.lines().contains(&line), "{line}: {ours}");
        }
        sandbox.coracle(["stop", "-t", "0", "c"]).ok();
        assert_eq!(sandbox.coracle(["diff", "--latest"]).ok().stdout, ours.stdout);
        sandbox.coracle(["diff", "nobody"]).fails(1).stderr_has("no such container");
        sandbox.coracle(["diff", "--format", "table", "c"]).fails(1).stderr_has("only supported value");
    }
}

#[test]
fn changes_of_images_are_those_that_podman_shows() {
    for sandbox in require!(Sandbox::both()) {
        for image in ["lab/busybox", "lab/deep", "lab/config"] {
            sandbox.pull(image);
            let ours = sandbox.coracle(["image", "diff", image]).ok();
            let theirs = require!(sandbox.podman(["image", "diff", image])).ok();
            let sorted = |text: &str| {
                let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
                lines.sort();
                lines
            };
            assert_eq!(sorted(&ours.stdout), sorted(&theirs.stdout), "{image}");
            assert_eq!(sandbox.coracle(["diff", image]).ok().stdout, ours.stdout);
        }
        sandbox.pull("lab/multi");
        let between = sandbox.coracle(["image", "diff", "lab/multi", "lab/busybox"]).ok();
        for line in ["A /whiteout", "A /opaque/c", "A /modes/xattr"] {
            assert!(between.lines().contains(&line), "{line}: {between}");
        }
        let back = sandbox.coracle(["image", "diff", "lab/busybox", "lab/multi"]).ok();
        assert!(back.lines().contains(&"D /whiteout"), "{back}");
        sandbox.coracle(["image", "diff", "lab/nothing"]).fails(1).stderr_has("no such image");
    }
}

/// vfs has no upper directory: trees are compared.
#[test]
fn copies_show_the_same_changes() {
    let sandbox = require!(Sandbox::root());
    assert_eq!(sandbox.who, Who::Root);
    changed(&sandbox, "lab/multi", CHANGES, &[]);
    let overlay = sandbox.coracle(["diff", "c"]).ok().stdout;
    let [root, run] = [sandbox.path("work/copies"), sandbox.path("work/copies-run")];
    let there = |argv: &[&str]| {
        let flags =
            ["--root", root.to_str().unwrap(), "--runroot", run.to_str().unwrap(), "--storage-driver", "vfs"];
        sandbox.bare(flags).args(argv.iter().copied()).timeout(Duration::from_secs(120))
    };
    there(&["pull", "-q", "lab/multi"]).ok();
    there(&["run", "--name", "v", "lab/multi", "sh", "-c", CHANGES]).ok();
    let copies = there(&["diff", "v"]).ok().stdout;
    let lines = |text: &str| -> Vec<String> {
        // A directory that was made again in another's place differs in nothing that counts.
        let again = ["/modes/sticky", "/hard", "/special"];
        let mut lines: Vec<_> = text
            .lines()
            .filter(|line| !again.iter().any(|path| line.get(2..) == Some(path)))
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    };
    let (overlay, copies) = (lines(&overlay), lines(&copies));
    let only =
        |a: &[String], b: &[String]| a.iter().filter(|line| !b.contains(line)).cloned().collect::<Vec<_>>();
    // What came in the place of a deleted one and what that had in it.
    assert_eq!(only(&overlay, &copies), Vec::<String>::new(), "{copies:?}");
    let more = only(&copies, &overlay);
    assert!(
        more.iter().all(|line| line.starts_with("D /hard/")
            || line.starts_with("D /becomes-dir/")
            || line.starts_with("C /")),
        "{more:?}"
    );
    let tar = there(&["export", "v"]).ok().bytes;
    let list = sandbox.command(["tar", "-tf", "-"]).stdin(tar).ok();
    assert!(list.lines().contains(&"fresh/a/b/c/leaf"), "{list}");
    there(&["rm", "v"]).ok();
}
