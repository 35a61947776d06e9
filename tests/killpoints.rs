//! SIGKILL between every pair of steps. The crash points are read from the source, so that none is forgotten; after
//! each, the next commands work, nothing that had a name is lost, and nothing is left over.

use std::collections::{BTreeMap, BTreeSet};
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

/// What users do, in an order in which each step finds what it needs. Each runs with a crash point armed; `TARGET` is a
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

/// Which crash points each command of the series is still to be killed at, and which it was.
#[derive(Default)]
struct Visits {
    /// By the command's place in the series. A point that it did not come by again is tried `TRIES` times.
    due: BTreeMap<usize, Vec<(String, usize)>>,
    seen: BTreeSet<(usize, String)>,
    killed: BTreeSet<String>,
}

/// A process beside the command may have come by a point, or the command itself because of what happened before it.
const TRIES: usize = 2;

impl Visits {
    /// Takes up what a command came by.
    fn learn(&mut self, command: usize, log: &Path) {
        let text = fs::read_to_string(log).unwrap_or_default();
        for point in text.lines().filter(|point| !point.starts_with("network.")) {
            if self.seen.insert((command, point.to_owned())) {
                self.due.entry(command).or_default().push((point.to_owned(), TRIES));
            }
        }
        let _ = fs::remove_file(log);
    }

    fn next(&mut self, command: usize) -> Option<(String, usize)> {
        self.due.get_mut(&command)?.pop()
    }

    /// What became of a point: the command was killed there, or it has `tries` left.
    fn tried(&mut self, command: usize, point: String, tries: usize, killed: bool) {
        if killed {
            self.killed.insert(point);
        } else if tries > 1 {
            // Behind the others, so that the next time is another pass.
            self.due.entry(command).or_default().insert(0, (point, tries - 1));
        }
    }

    fn complete(&self) -> bool {
        self.due.values().all(Vec::is_empty)
    }
}

/// One time through the series, each command killed at a point it is still due; the first time only learns which these are.
fn pass(sandbox: &Sandbox, registry: &Registry, visits: &mut Visits, number: usize) {
    let at = registry.address();
    let target = format!("{at}/pass{number}");
    let name = number.to_string();
    let saved = sandbox.path("work/saved").join(&name).display().to_string();
    let archive = sandbox.mkdir("work/archives").join(&name).display().to_string();
    let copied = sandbox.mkdir("work/copied").join(&name).display().to_string();
    let runtime = program("runc").or_else(|_| program("crun")).unwrap().display().to_string();
    let log = sandbox.path("tmp/points");
    let mut killed_at = Vec::new();
    for (command, argv) in SERIES.iter().enumerate() {
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
        let run = sandbox.coracle(argv.iter().copied()).env("CORACLE_FAILPOINT_LOG", &log);
        let Some((point, tries)) = visits.next(command) else {
            run.run();
            visits.learn(command, &log);
            continue;
        };
        let killed = run.env("CORACLE_FAILPOINT", &point).run().exit_code() == 137;
        visits.learn(command, &log);
        if killed {
            killed_at.push(format!("{point} in {}", argv.join(" ")));
            eprintln!("killed at {}", killed_at.last().unwrap());
            goes_on(sandbox, &argv, &point);
        }
        visits.tried(command, point, tries, killed);
    }
    clear(sandbox, &killed_at);
}

/// After a command was killed at a point: the next commands understand what is there, and it can be done again.
fn goes_on(sandbox: &Sandbox, argv: &[&str], point: &str) {
    sandbox.coracle(["ps", "-a"]).ok().stdout_has("first");
    sandbox.coracle(["images"]).ok().stdout_has("lab/busybox");
    // To its end, unless it is done already.
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
        again.exit_code() == 0 || settled.iter().any(|phrase| again.stderr.to_lowercase().contains(phrase)),
        "after {point}: {again}"
    );
    if again.stderr.contains("already in use") && argv[0] == "run" {
        // It was created, and what follows needs it.
        sandbox.coracle(["start", "third"]).ok();
    }
    sandbox.coracle(["run", "--rm", "lab/busybox", "true"]).ok();
    sandbox.coracle(["exec", "first", "true"]).ok();
}

/// Everything of the series is removed, and nothing is there besides what was before.
fn clear(sandbox: &Sandbox, killed_at: &[String]) {
    let after = format!("after {killed_at:#?}");
    for name in ["second", "renamed", "third", "clone"] {
        let gone = sandbox.coracle(["rm", "-f", "-t", "0", name]).run();
        assert!(gone.exit_code() == 0 || gone.stderr.to_lowercase().contains("no such"), "{after}: {gone}");
    }
    for image in ["lab/committed", "lab/imported", "lab/multi"] {
        let gone = sandbox.coracle(["rmi", "-f", image]).run();
        assert!(gone.exit_code() == 0 || gone.stderr.to_lowercase().contains("no such"), "{after}: {gone}");
    }
    sandbox.coracle(["volume", "prune", "-f", "--all"]).ok();
    let volumes = sandbox.coracle(["volume", "ls", "-q"]).ok();
    assert_eq!(volumes.text(), "", "{after}");
    // Killed before it had a name, or made once more.
    sandbox.coracle(["image", "prune", "-f"]).ok();
    let images = sandbox.coracle(["images", "-a", "--format", "{{.Repository}}"]).ok();
    assert_eq!(images.lines().len(), 1, "{after}: {images}");
    let list = sandbox.coracle(["ps", "-a", "--format", "{{.Names}}"]).ok();
    assert_eq!(list.text(), "first", "{after}: {list}");
    let first = sandbox.coracle(["inspect", "--format", "{{.State.Status}}", "first"]).ok();
    assert_eq!(first.text(), "running", "{after}");
}

fn visit_all(sandbox: Sandbox) {
    sandbox.registry().provide("lab/multi");
    sandbox.write("work/fs.tar", Tarball::of(busybox_entries()).finish());
    sandbox.pull("lab/busybox");
    sandbox.coracle(["run", "-d", "--name", "first", "lab/busybox", "sleep", "100000"]).ok();
    let registry = Registry::start(RegistryOptions { empty: true, ..RegistryOptions::default() }).unwrap();
    let mut visits = Visits::default();
    for number in 0.. {
        pass(&sandbox, &registry, &mut visits, number);
        if visits.complete() {
            eprintln!("{number} passes, {} points of {} commands", visits.seen.len(), SERIES.len());
            break;
        }
    }
    let elsewhere: BTreeSet<&str> = ELSEWHERE.iter().map(|(point, _)| *point).collect();
    let never: Vec<String> = points()
        .into_iter()
        .filter(|point| !point.starts_with("network."))
        .filter(|point| !visits.killed.contains(point) && !elsewhere.contains(point.as_str()))
        .collect();
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
