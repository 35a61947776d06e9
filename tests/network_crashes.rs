//! SIGKILL between every pair of steps in which networks are made, changed and undone. After each the next command works,
//! a later container gets the port, and nothing is left on the host.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::killpoints;
use crate::network::{get, on_a_host_with, serve};
use crate::support::{Lan, Sandbox, require};

/// A container's life on some network, each command with its words; `lost` is the container.
struct Scene {
    /// The options of run.
    network: &'static [&'static str],
    /// Who it is for: in a sandbox of root's, a user's, or both.
    root: bool,
    user: bool,
    /// What it publishes.
    publishes: bool,
}

const SCENES: &[Scene] = &[
    Scene { network: &["--network", "app"], root: true, user: true, publishes: true },
    // IPv6 of root's has a rule of its own.
    Scene { network: &["--network", "six"], root: true, user: false, publishes: true },
    Scene { network: &[], root: false, user: true, publishes: true },
    // Nobody waits for the end of a pasta without ports.
    Scene { network: &[], root: false, user: true, publishes: false },
    Scene { network: &["--network", "slirp4netns"], root: false, user: true, publishes: true },
];

impl Scene {
    fn commands(&self) -> Vec<Vec<&'static str>> {
        let mut run = vec!["run", "-d", "--name", "lost"];
        run.extend(self.network);
        if self.publishes {
            run.extend(["-p", "8080:80"]);
        }
        run.extend(["lab/busybox", "sleep", "600"]);
        vec![
            run,
            vec!["network", "connect", "side", "lost"],
            vec!["network", "disconnect", "side", "lost"],
            vec!["rename", "lost", "found"],
            vec!["rm", "-f", "-t", "0", "--ignore", "lost", "found"],
        ]
    }

    /// Which crash points each command comes by.
    fn passed(&self, sandbox: &Sandbox) -> Vec<BTreeSet<String>> {
        let log = sandbox.path("tmp/points");
        let commands = self.commands().into_iter().map(|command| {
            let _ = fs::remove_file(&log);
            sandbox.coracle(command).env("CORACLE_FAILPOINT_LOG", &log).ok();
            let text = fs::read_to_string(&log).unwrap_or_default();
            text.lines().filter(|point| point.starts_with("network.")).map(str::to_owned).collect()
        });
        commands.collect()
    }

    /// The scene with one command killed at a point. Whatever is left of the container goes with the next `rm`.
    fn play(&self, sandbox: &Sandbox, killed: usize, point: &str) {
        for (number, command) in self.commands().into_iter().enumerate() {
            let run = |armed: bool| {
                let command = sandbox.coracle(command.clone());
                if armed { command.env("CORACLE_FAILPOINT", point).run() } else { command.run() }
            };
            let first = run(number == killed);
            if number != killed {
                assert_eq!(first.exit_code(), 0, "after {point}: {first}");
                continue;
            }
            assert_eq!(first.exit_code(), 137, "{command:?} came by {point} only once: {first}");
            if number == 0 {
                sandbox.coracle(["rm", "-f", "-t", "0", "--ignore", "lost"]).ok();
            }
            let again = run(false);
            // A change that was complete is told.
            let told = if command[0] == "rename" { "no such container" } else { "connected" };
            let complete = again.stderr.to_lowercase().contains(told);
            assert!(again.exit_code() == 0 || complete, "after {point}: {again}");
        }
    }
}

/// Files that are there only while containers are connected.
fn left_over(sandbox: &Sandbox) -> Vec<String> {
    let run_state = sandbox.run_root().join("coracle");
    let mut found = Vec::new();
    let mut queue = vec![run_state.join("netns"), run_state.join("network")];
    while let Some(directory) = queue.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() {
                queue.push(entry.path());
                continue;
            }
            found.push(entry.path().strip_prefix(&run_state).unwrap().display().to_string());
        }
    }
    // Locks, and which address was given last; aardvark-dns's name server may be on its way out.
    let stays = |path: &String| {
        let name = Path::new(path).file_name().unwrap().to_str().unwrap();
        matches!(name, "lock" | "xtables.lock" | "aardvark.lock" | "aardvark.pid")
            || name.starts_with("next-")
    };
    found.retain(|path| !stays(path));
    found
}

fn visit(lan: &Lan, sandbox: &Sandbox, before: &str) -> BTreeSet<String> {
    let apart = ["-o", "com.docker.network.bridge.enable_icc=false", "side"];
    for words in [&["app"][..], &apart, &["--ipv6", "six"]] {
        sandbox.coracle(["network", "create"]).args(words.iter().copied()).ok();
    }
    let here = |scene: &&Scene| if sandbox.uid() == 0 { scene.root } else { scene.user };
    // Each point in each command once, whatever the scene.
    let mut visited: BTreeMap<(usize, String), ()> = BTreeMap::new();
    for scene in SCENES.iter().filter(here) {
        for (number, points) in scene.passed(sandbox).into_iter().enumerate() {
            for point in points {
                if visited.insert((number, point.clone()), ()).is_some() {
                    continue;
                }
                scene.play(sandbox, number, &point);
                let mut publish = scene.network.to_vec();
                publish.extend(["-p", "8080:80"]);
                serve(sandbox, "web", &publish, &point);
                assert_eq!(get(&lan.client, &format!("http://{}:8080/", lan.host.ipv4)), point);
                sandbox.coracle(["rm", "-f", "-t", "0", "web"]).ok();
                assert_eq!(lan.host.state(), before, "{point} in {:?}", scene.commands()[number]);
                let left = left_over(sandbox);
                assert!(left.is_empty(), "{point} in {:?}: {left:?}", scene.commands()[number]);
            }
        }
    }
    sandbox.coracle(["network", "rm", "app", "side", "six"]).ok();
    visited.into_keys().map(|(_, point)| point).collect()
}

#[test]
fn a_killed_command_leaves_nothing_that_catches_a_later_container() {
    let mut visited = BTreeSet::new();
    for sandbox in require!(Sandbox::both()) {
        let (lan, sandbox, before) = require!(on_a_host_with(sandbox, "lab/busybox"));
        visited.extend(visit(&lan, &sandbox, &before));
    }
    let all = killpoints::points().into_iter().filter(|point| point.starts_with("network."));
    let never: Vec<String> = all.filter(|point| !visited.contains(point)).collect();
    assert!(never.is_empty(), "no command came by these: {never:?}");
}
