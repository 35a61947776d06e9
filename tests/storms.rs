//! Eight processes do all sorts of things to the same few containers. Each gets an answer, and at the end what is recorded is
//! what is there: processes, mounts, network namespaces, names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::support::store::is_id;
use crate::support::{Outcome, Sandbox, everybody, require};

const IMAGE: &str = "lab/busybox";
/// None is the beginning of an ID: a name that is gone would mean another container then, as it does with docker.
const NAMES: [&str; 4] = ["w", "x", "y", "z"];

/// How long: `CORACLE_STORM` seconds.
fn duration() -> Duration {
    let given = std::env::var("CORACLE_STORM").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(given.unwrap_or(12))
}

/// A series that looks random and is the same each time (Knuth's constants for 64 bits).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

fn words(dice: &mut Dice) -> Vec<&'static str> {
    let name = NAMES[dice.roll(NAMES.len())];
    let other = NAMES[dice.roll(NAMES.len())];
    let network = if name == "z" { "--network=n" } else { "--network=none" };
    match dice.roll(16) {
        0..=2 => vec!["run", "-d", "--name", name, network, "-v", "storm:/v", IMAGE, "sleep", "1000"],
        3 => vec!["create", "--name", name, network, IMAGE, "sleep", "1000"],
        4 | 5 => vec!["start", name],
        6 => vec!["stop", "-t", "0", name],
        7 => vec!["rm", name],
        8 => vec!["rm", "-f", "-t", "0", name],
        9 => vec!["rename", name, other],
        10 | 11 => vec!["exec", name, "true"],
        12 => vec!["restart", "-t", "0", name],
        13 => vec!["kill", name],
        14 => vec!["pause", name],
        _ => vec!["unpause", name],
    }
}

/// What may come out: success, or a sentence that says why not.
fn is_clear(outcome: &Outcome) -> bool {
    const WHY: [&str; 19] = [
        "no such container",
        "already in use",
        "same name",
        "not running",
        "is running",
        "is paused",
        "not paused",
        "already paused",
        "cannot remove container",
        "just being started",
        "was removed",
        "has ended",
        "no longer",
        "is not in the state",
        "only running",
        "in a paused container",
        "can only create exec sessions",
        "state improper",
        "no cgroup of its own",
    ];
    let said = outcome.stderr.to_lowercase();
    let says_why = |line: &str| line.starts_with("error: ") && WHY.iter().any(|why| line.contains(why));
    // What was executed may have been killed with its container.
    matches!(outcome.exit_code(), 0 | 137) || said.lines().any(says_why)
}

fn storm(sandbox: &Sandbox) {
    sandbox.pull(IMAGE);
    sandbox.coracle(["network", "create", "n"]).ok();
    let (end, asked) = (Instant::now() + duration(), Mutex::new(BTreeMap::<&str, [u32; 2]>::new()));
    let unclear = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let (asked, unclear) = (&asked, &unclear);
            scope.spawn(move || {
                let mut dice = Dice(worker);
                while Instant::now() < end {
                    let words = words(&mut dice);
                    let outcome =
                        sandbox.coracle(words.iter().copied()).timeout(Duration::from_secs(60)).run();
                    if !is_clear(&outcome) {
                        unclear.lock().unwrap().push(format!("{}: {outcome}", words.join(" ")));
                    }
                    asked.lock().unwrap().entry(words[0]).or_default()
                        [usize::from(outcome.exit_code() != 0)] += 1;
                }
            });
        }
    });
    let asked = asked.into_inner().unwrap();
    let unclear = unclear.into_inner().unwrap();
    eprintln!("done and refused: {asked:?}");
    // It was one: everything was done, and most of it now and then successfully.
    assert!(asked.values().filter(|[done, _]| *done > 0).count() >= 7, "{asked:?}");
    // What follows an end is done by others, who may still be at it.
    let limit = Instant::now() + Duration::from_secs(20);
    while let Err(why) = is_true(sandbox) {
        assert!(Instant::now() < limit, "{why}");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(
        unclear.is_empty(),
        "{} answers say nothing, such as: {}",
        unclear.len(),
        unclear[..unclear.len().min(12)].join("\n")
    );
    sandbox.coracle(["rm", "-f", "-a", "-t", "0"]).ok();
    sandbox.coracle(["network", "rm", "n"]).ok();
    sandbox.coracle(["volume", "rm", "-f", "storm"]).ok();
}

/// Whether records and world agree.
fn is_true(sandbox: &Sandbox) -> Result<(), String> {
    let ids = sandbox.coracle(["ps", "-aq", "--no-trunc"]).ok();
    let ids: Vec<&str> = ids.lines();
    if ids.is_empty() {
        let left: Vec<_> = conmons(sandbox).into_iter().collect();
        return if left.is_empty() { Ok(()) } else { Err(format!("no container, and conmons of {left:?}")) };
    }
    let all = sandbox.coracle(["inspect"]).args(ids.iter().copied()).ok().json();
    let (mut live, mut connected, mut names) = (BTreeSet::new(), 0, BTreeSet::new());
    for container in all.as_array().unwrap() {
        let id = container["Id"].as_str().unwrap().to_owned();
        let status = container["State"]["Status"].as_str().unwrap();
        let pid = container["State"]["Pid"].as_i64().unwrap();
        names.insert(container["Name"].as_str().unwrap().trim_start_matches('/').to_owned());
        if matches!(status, "running" | "paused") {
            let sleeps = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if !sleeps.starts_with("sleep\0") {
                return Err(format!("{id} is said to run, as {pid}: {sleeps:?}"));
            }
            let frozen = sandbox.coracle(["exec", &id, "true"]).run();
            if (frozen.exit_code() == 0) != (status == "running") {
                return Err(format!("{id} is said to be {status}: {frozen}"));
            }
            connected += usize::from(container["HostConfig"]["NetworkMode"] == "n");
            live.insert(id);
        } else if pid != 0 {
            return Err(format!("{id} is {status} and has the process {pid}"));
        }
    }
    if conmons(sandbox) != live {
        return Err(format!("conmons of {:?}, live are {live:?}", conmons(sandbox)));
    }
    let files = |directory: &str| {
        let entries = fs::read_dir(sandbox.path(directory)).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<BTreeSet<_>>()
    };
    if files("root/coracle/names") != names {
        return Err(format!("names {:?}, inspect says {names:?}", files("root/coracle/names")));
    }
    if files("root/coracle/containers").len() != ids.len() {
        return Err(format!("records {:?}, ps says {ids:?}", files("root/coracle/containers")));
    }
    // Those that wait for a moment to be removed have none.
    let namespaces: BTreeSet<String> =
        files("run/coracle/netns").into_iter().filter(|name| name.split(['.', '-']).any(is_id)).collect();
    if namespaces.len() != connected {
        return Err(format!("network namespaces {namespaces:?}, {connected} containers with one of {ids:?}"));
    }
    let mounted = overlays(sandbox);
    if mounted != live.len() {
        return Err(format!("{mounted} root file systems are mounted, {} containers live", live.len()));
    }
    Ok(())
}

/// The containers whose conmon runs.
fn conmons(sandbox: &Sandbox) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for pid in everybody(sandbox) {
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = command.split('\0');
        if words.next().is_some_and(|program| program.ends_with("conmon")) {
            let mut words = words.skip_while(|word| *word != "-c" && *word != "--cid");
            if let (Some(_), Some(id)) = (words.next(), words.next())
                && !command.contains("--exec-attach")
                && !command.contains("--exec-process-spec")
            {
                found.insert(id.to_owned());
            }
        }
    }
    found
}

/// Overlays mounted below the sandbox, in the namespace in which its containers are started.
fn overlays(sandbox: &Sandbox) -> usize {
    let table = sandbox.coracle(["unshare", "cat", "/proc/self/mountinfo"]);
    let table = if sandbox.uid() == 0 {
        fs::read_to_string("/proc/self/mountinfo").unwrap()
    } else {
        table.ok().stdout
    };
    let base = sandbox.path("run").display().to_string();
    table.lines().filter(|line| line.contains(&base) && line.contains(" - overlay ")).count()
}

#[test]
fn of_root() {
    storm(&require!(Sandbox::root()));
}

#[test]
fn of_a_user() {
    storm(&require!(Sandbox::user()));
}
