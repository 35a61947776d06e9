//! `mount`, `unmount`, `image mount`, `image unmount`, `image tree`, beside podman's.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Outcome, Sandbox, require};

/// `coracle unshare sh -c SCRIPT`; `$C` is the program with its flags.
fn inside(sandbox: &Sandbox, script: &str) -> Outcome {
    let flags: Vec<_> = sandbox.store_flags().iter().map(|f| f.to_string_lossy().into_owned()).collect();
    let program = format!("{} {}", sandbox.binary().display(), flags.join(" "));
    sandbox.coracle(["unshare", "sh", "-ec", script]).env("C", program).ok()
}

fn mounted(path: &str) -> bool {
    fs::read_to_string("/proc/self/mounts").unwrap().contains(path)
}

#[test]
fn a_containers_files_are_mounted_and_counted() {
    let sandbox = require!(Sandbox::root());
    sandbox.pull("lab/busybox");
    sandbox.coracle(["create", "--name", "c", "lab/busybox", "sleep", "100"]).ok();
    assert_eq!(sandbox.coracle(["mount"]).ok().text(), "");
    let path = sandbox.coracle(["mount", "c"]).ok().text().to_owned();
    assert!(Path::new(&path).join("bin/busybox").exists());
    sandbox.coracle(["container", "mount", "--latest"]).ok().stdout_is(&path);
    let id = sandbox.coracle(["inspect", "-f", "{{.Id}}", "c"]).ok().text().to_owned();
    sandbox.coracle(["mount"]).ok().stdout_is(&format!("{}  {path}", &id[..12]));
    sandbox.coracle(["mount", "--no-trunc"]).ok().stdout_is(&format!("{id}  {path}"));
    let json = sandbox.coracle(["mount", "--format", "json"]).ok().json();
    assert_eq!(json, serde_json::json!([{"id": id, "Names": ["c"], "mountpoint": path}]));
    sandbox.coracle(["mount", "--format", "yaml"]).fails(1).stderr_has("unknown --format argument");

    sandbox.coracle(["umount", "c"]).ok().stdout_is("c");
    assert!(mounted(&path), "the other mount is gone, too");
    sandbox.coracle(["mount", "c"]).ok();
    sandbox.coracle(["mount", "c"]).ok();
    sandbox.coracle(["unmount", "--force", "c"]).ok().stdout_is("c");
    assert!(!mounted(&path));
    sandbox.coracle(["unmount", "c"]).fails(1).stderr_has("not mounted");
    sandbox.coracle(["unmount", "--all"]).ok().stdout_is("");
    sandbox.coracle(["mount", "nobody"]).fails(1).stderr_has("no such container: nobody");
    sandbox.coracle(["mount", "--all", "c"]).fails(1);
    sandbox.coracle(["unmount"]).fails(1).stderr_has("at least one name or id");
}

#[test]
fn a_run_leaves_users_mounts_alone() {
    let sandbox = require!(Sandbox::root());
    sandbox.pull("lab/busybox");
    sandbox.coracle(["create", "--name", "c", "lab/busybox", "sleep", "100"]).ok();
    let path = sandbox.coracle(["mount", "c"]).ok().text().to_owned();
    sandbox.coracle(["start", "c"]).ok();
    sandbox.coracle(["exec", "c", "touch", "/made"]).ok();
    assert!(Path::new(&path).join("made").exists());
    sandbox.coracle(["stop", "-t", "0", "c"]).ok();
    assert!(mounted(&path), "the end of the container took the user's mount");
    sandbox.coracle(["start", "c"]).ok();
    sandbox.coracle(["unmount", "c"]).ok();
    sandbox.coracle(["exec", "c", "ls", "/made"]).ok();
    sandbox.coracle(["unmount", "-f", "c"]).fails(1);
    sandbox.coracle(["exec", "c", "ls", "/made"]).ok();
    sandbox.coracle(["mount", "c"]).ok();
    sandbox.coracle(["unmount", "--all", "--force"]).ok();
    sandbox.coracle(["exec", "c", "ls", "/made"]).ok();
    sandbox.coracle(["stop", "-t", "0", "c"]).ok();
    assert!(!mounted(&path));
    // A start that fails before it mounts has none to undo.
    sandbox.coracle(["create", "--name", "d", "--runtime", "/no/runtime", "lab/busybox", "true"]).ok();
    let path = sandbox.coracle(["mount", "d"]).ok().text().to_owned();
    assert_ne!(sandbox.coracle(["start", "d"]).run().exit_code(), 0);
    assert!(mounted(&path), "a failed start took the user's mount");
    sandbox.coracle(["rm", "d"]).ok();
    assert!(!mounted(&path));
}

#[test]
fn podman_and_we_count_the_same_mounts() {
    let sandbox = require!(Sandbox::root());
    sandbox.pull("lab/busybox");
    let theirs = require!(sandbox.podman(["create", "--name", "theirs", "lab/busybox", "true"])).ok();
    let theirs = theirs.text().to_owned();
    let path = sandbox.coracle(["mount", "theirs"]).ok().text().to_owned();
    sandbox.coracle(["mount", "--no-trunc"]).ok().stdout_is(&format!("{theirs}  {path}"));
    require!(sandbox.podman(["mount", "theirs"])).ok().stdout_is(&path);
    sandbox.coracle(["unmount", &theirs[..12]]).ok();
    assert!(mounted(&path));
    // podman drops the count and looks for the mount where it makes its own.
    require!(sandbox.podman(["unmount", "theirs"])).ok();
    sandbox.coracle(["mount"]).ok().stdout_is("");
    assert_eq!(sandbox.coracle(["mount", "theirs"]).ok().text(), path);
    require!(sandbox.podman(["unmount", "theirs"])).ok();
    sandbox.coracle(["unmount", "theirs"]).ok();
    assert!(!mounted(&path));
    require!(sandbox.podman(["rm", "theirs"])).ok();

    let path = sandbox.coracle(["image", "mount", "lab/busybox"]).ok().text().to_owned();
    require!(sandbox.podman(["image", "mount", "lab/busybox"])).ok().stdout_is(&path);
    let lines = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let shown = sandbox.coracle(["image", "mount"]).ok();
    assert_eq!(lines(&shown.stdout), lines(&require!(sandbox.podman(["image", "mount"])).ok().stdout));
    let json = |outcome: Outcome| outcome.json();
    let mine: Value = json(sandbox.coracle(["image", "mount", "--format", "json"]).ok());
    let podmans: Value = json(require!(sandbox.podman(["image", "mount", "--format", "json"])).ok());
    for field in ["id", "Repositories", "mountpoint"] {
        assert_eq!(mine[0][field], podmans[0][field], "{field}");
    }
    assert!(fs::write(Path::new(&path).join("x"), "").is_err(), "it can be written to");
    let id = mine[0]["id"].as_str().unwrap();
    sandbox.coracle(["image", "unmount", "lab/busybox"]).ok().stdout_is(id);
    assert!(mounted(&path));
    sandbox.coracle(["image", "mount", "--all"]).ok();
    sandbox.coracle(["image", "umount", "--all", "--force"]).ok().stdout_is(id);
    assert!(!mounted(&path));
    sandbox.coracle(["image", "unmount", "lab/busybox"]).ok().stdout_is("");
}

#[test]
fn as_a_user_mounts_are_made_inside_unshare() {
    let sandbox = require!(Sandbox::user());
    sandbox.pull("lab/busybox");
    sandbox.coracle(["create", "--name", "c", "lab/busybox", "true"]).ok();
    for command in [&["mount", "c"][..], &["image", "mount", "lab/busybox"]] {
        let refused = sandbox.coracle(command.iter().copied()).run();
        assert_ne!(refused.exit_code(), 0);
        refused.stderr_has("rootless mode").stderr_has("unshare");
    }
    let seen = inside(&sandbox, "m=$($C mount c); ls $m/bin/busybox; $C mount; $C umount c; $C mount");
    assert_eq!(seen.lines().len(), 3, "{seen}");
    let seen = inside(
        &sandbox,
        "m=$($C image mount lab/busybox); ls $m/bin/busybox; $C image mount; $C image unmount --all; $C image mount",
    );
    assert_eq!(seen.lines().len(), 3, "{seen}");
}

#[test]
fn the_tree_is_podmans() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull("lab/multi");
        sandbox.coracle(["tag", "lab/multi", "localhost/two:2"]).ok();
        sandbox.coracle(["create", "--name", "c", "lab/multi", "true"]).ok();
        for name in ["one", "other"] {
            sandbox.coracle(["commit", "-q", "c", &format!("localhost/{name}:1")]).ok();
        }
        for words in [&["lab/multi"][..], &["--whatrequires", "lab/multi"], &["localhost/one:1"]] {
            let words = || ["image", "tree"].iter().chain(words.iter()).copied();
            let ours = sandbox.coracle(words()).ok();
            assert!(ours.stdout.contains("──"), "{ours}");
            assert_eq!(ours.stdout, require!(sandbox.podman(words())).ok().stdout);
        }
    }
}
