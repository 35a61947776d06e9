//! SIGKILL between every pair of steps. The crash points are read from the source, so that none is forgotten; after
//! each, the next commands work, nothing that had a name is lost, and nothing is left over.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::{Registry, RegistryOptions, Sandbox, Tarball, busybox_entries, program, require};

/// Points that a plain series of commands does not come by, and why.
const ELSEWHERE: &[(&str, &str)] = &[
    ("reset.after-containers", "it takes everything: verbs::a_reset_that_was_killed_is_repeated"),
    ("reset.after-images", "likewise"),
    (
        "checkpoint.after-state",
        "not every machine has CRIU: checkpoint::killed_on_the_way_it_can_be_done_again",
    ),
    ("checkpoint.after-dump", "likewise"),
    ("checkpoint.after-rename", "likewise"),
    ("restore.after-start", "likewise"),
    ("checkpoint.archive-staged", "likewise: checkpoint_archives::killed_on_the_way_nothing_is_half_made"),
    ("restore.created", "likewise"),
    ("restore.populated", "likewise"),
    ("check.locked", "repairs need damage: tests/check.rs"),
    ("check.mended", "the same"),
    ("check.record-mended", "the same"),
    ("sign.stored", "signatures need keys: tests/trust.rs"),
];

/// Every crash point in the source; those of `network.` need networks and are visited by their own tests.
pub fn points() -> BTreeSet<String> {
    let pattern = regex::Regex::new(r#"failpoint!\("([^"]+)"\)"#).unwrap();
    let mut found = BTreeSet::new();
    let mut queue = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(directory) = queue.pop() {
        for entry in fs::read_dir(directory).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                queue.push(entry.path());
                continue;
            }
            for line in fs::read_to_string(entry.path()).unwrap_or_default().lines() {
                if line.trim_start().starts_with("//") {
                    continue;
                }
                for capture in pattern.captures_iter(line) {
                    assert!(
                        found.insert(capture[1].to_owned()),
                        "{} stands twice in the source",
                        &capture[1]
                    );
                }
            }
        }
    }
    for verb in ["pull", "create", "start", "exec", "pause", "commit", "import", "stop", "rm", "volume", "cp"]
    {
        assert!(
            found.iter().any(|point| point.starts_with(&format!("{verb}."))),
            "{verb} has no crash point"
        );
    }
    found
}

/// What users do, in an order in which each step finds what it needs. Each runs with the crash point armed; `TARGET` is a
/// repository of a registry, `REGISTRY`, that has not seen it yet, `SAVED` a path that does not exist yet.
const SERIES: &[&[&str]] = &[
    &["pull", "-q", "lab/multi"],
    &["create", "--name", "second", "lab/multi", "sleep", "100"],
    &["init", "second"],
    &["stop", "second"],
    &["init", "second"],
    &["start", "second"],
    &["system", "migrate", "--new-runtime", "RUNTIME"],
    &["container", "clone", "--destroy", "--force", "second", "clone"],
    &["rename", "clone", "second"],
    &["start", "second"],
    &["exec", "second", "true"],
    &["exec", "-d", "second", "true"],
    &["pause", "second"],
    &["unpause", "second"],
    &[
        "run",
        "-d",
        "--name",
        "third",
        "--health-cmd=true",
        "--health-interval=1h",
        "--mount=type=image,src=lab/multi,dst=/mounted,rw",
        "lab/multi",
        "sleep",
        "100",
    ],
    &["healthcheck", "run", "third"],
    &["run", "--rm", "lab/multi", "true"],
    &["commit", "second", "lab/committed"],
    &["diff", "second"],
    &["import", "-q", "fs.tar", "lab/imported"],
    &["stop", "-t", "0", "second"],
    &["restart", "-t", "0", "second"],
    &["kill", "second"],
    &["wait", "second"],
    &["container", "cleanup", "second"],
    &["update", "--restart", "on-failure", "second"],
    &["update", "--restart", "no", "second"],
    &["mount", "second"],
    &["unmount", "second"],
    // It does not run: its root is mounted for this.
    &["cp", "fs.tar", "second:/copied"],
    &["cp", "second:/etc/group", "SAVED.group"],
    &["export", "-o", "SAVED.export", "second"],
    &["volume", "create", "kept"],
    &["volume", "import", "kept", "fs.tar"],
    &["run", "--rm", "-v", "kept:/data", "-v", "other:/etc", "lab/multi", "true"],
    &["volume", "export", "-o", "SAVED.volume", "kept"],
    &["volume", "rm", "kept"],
    &["volume", "prune", "-f", "--all"],
    &["image", "mount", "lab/multi"],
    &["image", "unmount", "lab/multi"],
    &["rename", "second", "renamed"],
    &["rename", "renamed", "second"],
    &["rm", "-f", "second"],
    &["rm", "-f", "-t", "0", "third"],
    &["secret", "create", "--env", "--replace", "word", "HOME"],
    &["secret", "rm", "--ignore", "word"],
    &["tag", "lab/busybox", "lab/other"],
    &["untag", "lab/busybox", "lab/other"],
    // At a level of its own, so that no earlier push has done the work.
    &["push", "-q", "--compression-level=3", "lab/multi", "TARGET"],
    &["save", "-q", "--format=oci-dir", "-o", "SAVED", "lab/multi"],
    &["save", "-q", "-o", "SAVED.tar", "lab/multi"],
    &["rmi", "lab/multi"],
    &["load", "-q", "-i", "SAVED.tar"],
    &["manifest", "create", "list", "containers-storage:lab/busybox"],
    &["manifest", "add", "list", "containers-storage:lab/multi"],
    &["manifest", "push", "-q", "--rm", "list", "TARGET"],
    &["artifact", "add", "localhost/files", "/etc/hostname"],
    &["artifact", "rm", "localhost/files"],
    &["rmi", "lab/multi"],
    &["login", "-u", "lab", "-p", "word", "REGISTRY"],
    &["logout", "REGISTRY"],
];

fn visit(sandbox: &Sandbox, registry: &Registry, point: &str) -> bool {
    let at = registry.address();
    let target = format!("{at}/{point}");
    let saved = sandbox.path("work/saved").join(point).display().to_string();
    let archive = sandbox.mkdir("work/archives").join(point).display().to_string();
    let copied = sandbox.mkdir("work/copied").join(point).display().to_string();
    let runtime = program("runc").or_else(|_| program("crun")).unwrap().display().to_string();
    let mut killed = false;
    for argv in SERIES {
        let argv: Vec<&str> = argv
            .iter()
            .map(|word| match *word {
                "TARGET" => target.as_str(),
                "REGISTRY" => at.as_str(),
                "SAVED" => &saved,
                "SAVED.tar" => &archive,
                "SAVED.group" | "SAVED.export" | "SAVED.volume" => &copied,
                "RUNTIME" => &runtime,
                word => word,
            })
            .collect();
        let outcome = sandbox.coracle(argv.iter().copied()).env("CORACLE_FAILPOINT", point).run();
        if outcome.exit_code() != 137 {
            continue;
        }
        killed = true;
        // The next commands understand what is there,
        eprintln!("killed at {point} in {}", argv.join(" "));
        sandbox.coracle(["ps", "-a"]).ok().stdout_has("first");
        sandbox.coracle(["images"]).ok().stdout_has("lab/busybox");
        // and do the same thing to its end, unless it is done already.
        let again = sandbox.coracle(argv.iter().copied()).run();
        let settled = [
            "no such",
            "was not mounted",
            "same name",
            "already in use",
            "not running",
            "not known",
            "already",
            "not logged",
            "no artifact found",
        ];
        assert!(
            again.exit_code() == 0
                || settled.iter().any(|phrase| again.stderr.to_lowercase().contains(phrase)),
            "after {point}: {again}"
        );
        sandbox.coracle(["run", "--rm", "lab/busybox", "true"]).ok();
        sandbox.coracle(["exec", "first", "true"]).ok();
    }
    for name in ["second", "renamed", "third", "clone"] {
        let gone = sandbox.coracle(["rm", "-f", "-t", "0", name]).run();
        assert!(
            gone.exit_code() == 0 || gone.stderr.to_lowercase().contains("no such"),
            "after {point}: {gone}"
        );
    }
    for image in ["lab/committed", "lab/imported", "lab/multi"] {
        let gone = sandbox.coracle(["rmi", "-f", image]).run();
        assert!(
            gone.exit_code() == 0 || gone.stderr.to_lowercase().contains("no such"),
            "after {point}: {gone}"
        );
    }
    sandbox.coracle(["volume", "prune", "-f", "--all"]).ok();
    let volumes = sandbox.coracle(["volume", "ls", "-q"]).ok();
    assert_eq!(volumes.text(), "", "after {point}");
    // Killed before it had a name, or made once more.
    sandbox.coracle(["image", "prune", "-f"]).ok();
    let images = sandbox.coracle(["images", "-a", "--format", "{{.Repository}}"]).ok();
    assert_eq!(images.lines().len(), 1, "after {point}: {images}");
    let list = sandbox.coracle(["ps", "-a", "--format", "{{.Names}}"]).ok();
    assert_eq!(list.text(), "first", "after {point}: {list}");
    killed
}

fn visit_all(sandbox: Sandbox) {
    sandbox.registry().provide("lab/multi");
    sandbox.write("work/fs.tar", Tarball::of(busybox_entries()).finish());
    sandbox.pull("lab/busybox");
    sandbox.coracle(["run", "-d", "--name", "first", "lab/busybox", "sleep", "100000"]).ok();
    let registry = Registry::start(RegistryOptions { empty: true, ..RegistryOptions::default() }).unwrap();
    let mut never = Vec::new();
    for point in points().into_iter().filter(|point| !point.starts_with("network.")) {
        if !visit(&sandbox, &registry, &point) && !ELSEWHERE.iter().any(|(name, _)| *name == point) {
            never.push(point);
        } else {
            let first = sandbox.coracle(["inspect", "--format", "{{.State.Status}}", "first"]).ok();
            assert_eq!(first.text(), "running");
        }
    }
    assert!(never.is_empty(), "no command came by these: {never:?}");
    // The sandbox's end looks for what was left.
}

#[test]
fn at_every_crash_point_as_root() {
    visit_all(require!(Sandbox::root()));
}

#[test]
fn at_every_crash_point_as_a_user() {
    visit_all(require!(Sandbox::user()));
}
