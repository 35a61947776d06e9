//! Much at once: nothing of logs and events is lost or doubled, and many processes on one container get along.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::support::{Outcome, Sandbox, require};

const IMAGE: &str = "lab/busybox";

#[test]
fn a_million_lines_are_followed_over_rotations() {
    let sandbox = require!(Sandbox::user());
    sandbox.pull(IMAGE);
    let script = "echo ready; while ! test -e /go; do sleep 0.05; done; seq 1 1000000";
    let run =
        ["run", "-d", "--network=none", "--name", "c", "--log-opt", "max-size=4m", IMAGE, "sh", "-c", script];
    sandbox.coracle(run).ok();
    let mut follower = sandbox.coracle(["logs", "-f", "c"]).timeout(Duration::from_secs(400)).spawn();
    follower.until("ready\n", Duration::from_secs(20));
    sandbox.coracle(["exec", "c", "touch", "/go"]).ok();
    let all = follower.wait().code(0);
    let mut expected = 1_u32;
    for line in all.stdout.lines() {
        assert_eq!(line.parse(), Ok(expected), "after line {}", expected - 1);
        expected += 1;
    }
    assert_eq!(expected - 1, 1_000_000);
    // It was rotated, and what is left is the end.
    let path = sandbox.coracle(["inspect", "--format", "{{.LogPath}}", "c"]).ok().text().to_owned();
    assert!(fs::metadata(path).unwrap().len() <= 4 << 20);
    sandbox.coracle(["logs", "--tail", "2", "c"]).ok().stdout_is("999999\n1000000");
}

#[test]
fn thousands_of_events_from_eight_processes_are_all_seen() {
    for sandbox in require!(Sandbox::both()) {
        const EACH: usize = 250;
        sandbox.pull(IMAGE);
        let now = jiff::Timestamp::now().to_string();
        let follow = ["events", "--since", &now, "--format", "{{.Type}} {{.Action}} {{.Name}}"];
        let mut events = sandbox.coracle(follow).timeout(Duration::from_secs(300)).spawn();
        // Long enough for several files of events.
        let padding = "x".repeat(180);
        let names = |writer: usize| (0..EACH).map(move |n| (writer, n));
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let (sandbox, padding) = (&sandbox, &padding);
                scope.spawn(move || {
                    let names: Vec<String> =
                        names(writer).map(|(w, n)| format!("localhost/n{w}-{n}/{padding}:1")).collect();
                    for verb in ["tag", "untag"] {
                        let command = sandbox.coracle([verb, IMAGE]).args(names.iter().cloned());
                        command.timeout(Duration::from_secs(200)).ok();
                    }
                });
            }
        });
        sandbox.coracle(["volume", "create", "finished"]).ok();
        let told = events.until("volume create finished", Duration::from_secs(60));
        events.signal(rustix::process::Signal::INT);
        drop(events.wait());
        let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
        told.lines().for_each(|line| *seen.entry(line).or_default() += 1);
        for (writer, n) in (0..8).flat_map(names) {
            for verb in ["tag", "untag"] {
                let line = format!("image {verb} localhost/n{writer}-{n}/{padding}:1");
                assert_eq!(seen.get(line.as_str()), Some(&1), "{line}");
            }
        }
    }
}

/// A name a container, and what all of them together take: made and started eight at a time, removed by one command.
#[test]
fn a_hundred_containers_are_started_looked_at_and_removed() {
    for sandbox in require!(Sandbox::both()) {
        sandbox.pull(IMAGE);
        let eight = |count: usize, verb: &(dyn Fn(&str) + Sync)| {
            std::thread::scope(|scope| {
                for worker in 0..8 {
                    scope.spawn(move || (worker..count).step_by(8).for_each(|n| verb(&format!("many-{n}"))));
                }
            });
        };
        eight(100, &|name| {
            let create = ["create", "--network=none", "--name", name, IMAGE, "sleep", "1000"];
            drop(sandbox.coracle(create).ok());
        });
        assert_eq!(sandbox.coracle(["ps", "-aq"]).ok().lines().len(), 100);
        eight(40, &|name| drop(sandbox.coracle(["start", name]).ok()));
        assert_eq!(sandbox.coracle(["ps", "-q"]).ok().lines().len(), 40);
        let stats = sandbox.coracle(["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}"]).ok();
        assert_eq!(stats.lines().len(), 40, "{stats}");
        let removed = sandbox.coracle(["rm", "-fa", "-t", "0"]).ok();
        assert_eq!(removed.lines().len(), 100);
        sandbox.coracle(["ps", "-aq"]).ok().stdout_is("");
    }
}

/// What a call may say that came at the wrong moment.
const WORDS: &[&str] = &[
    "no such container",
    "no such object",
    "not running",
    "is not paused",
    "already",
    "is paused",
    "paused container",
    "running containers",
    "container is running",
    "container is paused",
    "container is restarting",
    "container is starting",
    "no cgroup of its own",
    "same name",
    "could not find the file",
    "not connected",
    "is just being started",
    "started again and again",
    "died before it was started",
    "unpause",
];

/// What no user should see of what is inside.
const INSIDE: &[&str] = &[
    "no such file",
    "os error",
    "errno",
    "panicked",
    "bad file",
    "broken pipe",
    "invalid argument",
    "corrupt",
    "resource temporarily",
];

/// One of the calls of a storm, by a number.
fn call(number: u64) -> Vec<&'static str> {
    let name = if number & 1 == 0 { "s" } else { "t" };
    let other = if number & 1 == 0 { "t" } else { "s" };
    match (number >> 1) % 40 {
        0..=8 => vec!["start", name],
        9 | 10 => vec!["stop", "-t", "0", name],
        11 => vec!["kill", name],
        12 => vec!["kill", "-s", "TERM", name],
        13 => vec!["rm", "-f", "-t", "0", name],
        14 => vec!["rm", name],
        15 | 16 => vec!["rename", name, other],
        17..=22 => vec!["exec", name, "true"],
        23 | 24 => vec!["pause", name],
        25..=27 => vec!["unpause", name],
        28 => vec!["update", "--restart", "no", name],
        29 => vec!["restart", "-t", "0", name],
        30 => vec!["init", name],
        31 => vec!["ps", "-a"],
        32 => vec!["inspect", name],
        33 => vec!["top", name],
        34 => vec!["stats", "--no-stream", name],
        35 => vec!["cp", if name == "s" { "s:/etc/passwd" } else { "t:/etc/passwd" }, "-"],
        36 => vec!["logs", name],
        _ => {
            let script = "trap 'exit 5' TERM; sleep 1000 & wait";
            vec!["create", "--network=none", "--name", name, IMAGE, "sh", "-c", script]
        }
    }
}

fn fair(outcome: &Outcome) -> bool {
    let said = outcome.stderr.to_lowercase();
    if INSIDE.iter().any(|word| said.contains(word)) {
        return false;
    }
    match outcome.exit_code() {
        0 => true,
        // An exec whose container was killed has its code and nothing to say.
        137 | 143 | 255 if said.is_empty() => true,
        _ => WORDS.iter().any(|word| said.contains(word)),
    }
}

/// Every container's record is what the kernel and the runtime say.
fn is_true(sandbox: &Sandbox) {
    let mut live = Vec::new();
    let list = ["ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.State}} {{.Pid}}"];
    for line in sandbox.coracle(list).ok().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (id, state, pid) = (words[0], words[1], words[2]);
        let alive = pid != "0" && Path::new("/proc").join(pid).exists();
        let runs = ["running", "paused", "initialized"].contains(&state);
        assert_eq!(alive, runs, "{line}");
        if runs {
            let maps = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
            assert!(maps.contains(id), "{line}: the process is not the container's");
            live.push(id.to_owned());
        }
    }
    let known = fs::read_dir(sandbox.run_root().join("coracle/runtime")).unwrap().flatten();
    let mut known: Vec<String> =
        known.map(|e| e.file_name().into_string().unwrap()).filter(|n| n.len() == 64).collect();
    live.sort();
    known.sort();
    assert_eq!(live, known, "containers that run, and those the runtime knows");
}

fn storm(sandbox: &Sandbox, lasts: Duration) {
    sandbox.pull(IMAGE);
    let end = Instant::now() + lasts;
    let unfair = Mutex::new(Vec::new());
    let counts = Mutex::new(BTreeMap::<String, (u32, u32)>::new());
    let working = AtomicUsize::new(8);
    std::thread::scope(|scope| {
        let working = &working;
        // An exec that came just before a pause waits for somebody to end that.
        scope.spawn(move || {
            while working.load(Relaxed) > 0 {
                std::thread::sleep(Duration::from_millis(200));
                if Instant::now() > end {
                    sandbox.coracle(["unpause", "--all"]).run();
                }
            }
        });
        for thread in 0..8_u64 {
            let (unfair, counts) = (&unfair, &counts);
            scope.spawn(move || {
                // Knuth's multiplier: a different series for each, the same every time.
                let mut number = thread + 1;
                while Instant::now() < end {
                    number = number
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    let words = call(number >> 33);
                    let outcome =
                        sandbox.coracle(words.iter().copied()).timeout(Duration::from_secs(60)).run();
                    let mut counts = counts.lock().unwrap();
                    let count = counts.entry(words[0].to_owned()).or_default();
                    if outcome.exit_code() == 0 {
                        count.0 += 1
                    } else {
                        count.1 += 1
                    }
                    if !fair(&outcome) {
                        unfair.lock().unwrap().push(outcome.to_string());
                    }
                }
                working.fetch_sub(1, Relaxed);
            });
        }
    });
    let counts = counts.into_inner().unwrap();
    eprintln!("calls, well and refused: {counts:?}");
    let unfair = unfair.into_inner().unwrap();
    assert!(unfair.is_empty(), "{} unfair answers:\n{}", unfair.len(), unfair.join("\n"));
    for verb in ["start", "stop", "rename", "exec", "rm", "create", "restart"] {
        assert!(counts.get(verb).is_some_and(|(well, _)| *well > 0), "no {verb} went well: {counts:?}");
    }
    is_true(sandbox);
    for name in ["s", "t"] {
        sandbox.coracle(["rm", "-f", "-t", "0", name]).ok();
    }
    sandbox.coracle(["ps", "-aq"]).ok().stdout_is("");
    // The sandbox's end looks for what was left.
}

#[test]
fn a_storm_on_one_container_as_root() {
    let sandbox = require!(Sandbox::root());
    storm(&sandbox, Duration::from_secs(30));
}

#[test]
fn a_storm_on_one_container_as_a_user() {
    let sandbox = require!(Sandbox::user());
    storm(&sandbox, Duration::from_secs(30));
}
