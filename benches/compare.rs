//! Coracle beside podman and a bare `crun run`: `make bench`, or a part of it with `make bench BENCHFLAGS="ps exec"`.
//!
//! Rows are measured warm, and what stands in one row is run in turns, so that a noisy machine is noisy for all of
//! them. Times are wall time in milliseconds, median and (least). `-n COUNT` sets the number of rounds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a benchmark stops at what it does not expect"
)]

#[path = "../tests/support/mod.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "a kit has more tools than one day needs")]
mod support;

#[path = "scale.rs"]
mod scale;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use support::{Image, Lan, Sandbox, Who, cgroups, program, registry};

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if arguments.first().is_some_and(|word| word == "--measure") {
        return measure(&arguments[1..]);
    }
    let apart = arguments.first().is_some_and(|word| word == "--apart");
    if apart {
        arguments.remove(0);
    } else if support::is_root() {
        return as_on_a_usual_host();
    }
    let mut rounds = 15;
    if let Some(at) = arguments.iter().position(|word| word == "-n") {
        rounds = arguments.get(at + 1).and_then(|word| word.parse().ok()).expect("-n COUNT");
        arguments.drain(at..at + 2);
    }
    let mut table = Table { rounds, only: arguments };
    let release = support::binary();
    println!("{} ({} rounds, {} cgroups)", release.display(), rounds, cgroups());
    println!("{:<34}{:>16}{:>16}{:>16}{:>10}{:>10}", "", "coracle", "podman", "crun", "x crun", "podman x");
    let mut sandboxes = Vec::new();
    if support::is_root() {
        sandboxes.push(Sandbox::root().unwrap());
    }
    sandboxes.push(Sandbox::user().unwrap_or_else(|missing| panic!("needs {}", missing.0)));
    for sandbox in sandboxes {
        if apart {
            sandbox.in_memory();
        } else {
            eprintln!("Not root: volatile files are not in memory, so all is slower than it would be");
        }
        Benchmark::new(sandbox).run(&mut table);
    }
}

/// Starts this program again in a mount namespace of its own, where tmpfs can be mounted; and as crun does not work as root
/// where cgroup v1 and v2 are mixed, only v1 is to be seen there then.
fn as_on_a_usual_host() {
    let hide = if cgroups() == "hybrid" { "umount /sys/fs/cgroup/unified && " } else { "" };
    let script = format!("mount --make-rprivate / && {hide}exec \"$@\"");
    let itself = std::env::current_exe().unwrap();
    let arguments = std::env::args_os().skip(1);
    let error = Command::new("unshare")
        .args(["-m", "sh", "-c", &script, "sh"])
        .arg(itself)
        .arg("--apart")
        .args(arguments)
        .exec();
    panic!("unshare: {error}");
}

/// Runs a command and prints what it used: seconds, seconds of CPU, kilobytes at its peak.
fn measure(argv: &[String]) {
    let start = Instant::now();
    let output = Command::new(&argv[0]).args(&argv[1..]).stdout(Stdio::null()).output().unwrap();
    let took = start.elapsed().as_secs_f64();
    assert!(output.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&output.stderr));
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).unwrap();
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    println!("{took} {} {}", seconds(usage.user_time()) + seconds(usage.system_time()), usage.max_rss());
}

/// Prints rows as they are measured.
struct Table {
    rounds: usize,
    only: Vec<String>,
}

type Round<'a> = Box<dyn FnMut() -> Duration + 'a>;

impl Table {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|word| name.contains(word.as_str()))
    }

    /// One row: each contender in turns. The first round warms up and does not count.
    fn row(&self, name: &str, rounds: usize, mut contenders: Vec<Round<'_>>) {
        let mut times = vec![Vec::new(); contenders.len()];
        for round in 0..=rounds {
            for (contender, times) in contenders.iter_mut().zip(&mut times) {
                let took = contender();
                if round > 0 {
                    times.push(took);
                }
            }
        }
        let mut medians = Vec::new();
        print!("{name:<34}");
        for times in &mut times {
            times.sort();
            medians.push(millis(times[times.len() / 2]));
            print!("{:>16}", format!("{:.1} ({:.1})", medians[medians.len() - 1], millis(times[0])));
        }
        for _ in times.len()..3 {
            print!("{:>16}", "-");
        }
        match medians[..] {
            [own, podman, crun] => println!("{:>10.2}{:>10.2}", own / crun, podman / own),
            [own, podman] => println!("{:>10}{:>10.2}", "-", podman / own),
            _ => println!(),
        }
    }

    fn note(&self, name: &str, own: &str, podman: &str) {
        println!("{name:<34}{own:>16}{podman:>16}");
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

struct Benchmark {
    sandbox: Sandbox,
    podman: Vec<OsString>,
    coracle: Vec<OsString>,
}

impl Benchmark {
    fn new(sandbox: Sandbox) -> Benchmark {
        sandbox.pull("lab/busybox");
        let podman = sandbox.podman_line().unwrap_or_else(|missing| panic!("needs {}", missing.0));
        let mut coracle: Vec<OsString> = vec![sandbox.binary().into()];
        coracle.extend(sandbox.store_flags());
        Benchmark { sandbox, podman, coracle }
    }

    fn run(&self, table: &mut Table) {
        let who = if self.sandbox.who == Who::Root { "root" } else { "rootless" };
        let name = |what: &str| format!("{what}, {who}");
        self.bundle();

        if table.wants("version") && self.sandbox.who == Who::Root {
            table.row(
                "--version",
                table.rounds,
                vec![
                    Box::new(|| self.time(&[self.sandbox.binary().into(), "--version".into()])),
                    Box::new(|| self.time(&[program("podman").unwrap().into(), "--version".into()])),
                    Box::new(|| self.time(&[program("crun").unwrap().into(), "--version".into()])),
                ],
            );
        }
        let run = ["run", "--rm", "--network", "none", "lab/busybox", "true"];
        if table.wants("run --rm") {
            table.row(
                &name("run --rm --network none"),
                table.rounds,
                vec![
                    Box::new(|| self.time(&line(&self.coracle, &run))),
                    Box::new(|| self.time(&line(&self.podman, &run))),
                    Box::new(|| self.time(&self.crun("bare"))),
                ],
            );
            table.note(
                &name("  peak memory, MB"),
                &self.memory(&line(&self.coracle, &run)),
                &self.memory(&line(&self.podman, &run)),
            );
            let count = |argv: &[OsString]| {
                let calls = self.calls(argv);
                let fsyncs = calls
                    .iter()
                    .filter(|(name, _)| name.contains("sync"))
                    .map(|(_, count)| count)
                    .sum::<u64>();
                format!("{} / {fsyncs}", calls.get("execve").unwrap_or(&0))
            };
            table.note(
                &name("  execs / fsyncs"),
                &count(&line(&self.coracle, &run)),
                &count(&line(&self.podman, &run)),
            );
        }
        if table.wants("parallel") {
            table.row(
                &name("16 run --rm in parallel"),
                table.rounds.div_ceil(3),
                vec![
                    Box::new(|| self.parallel(|_| line(&self.coracle, &run))),
                    Box::new(|| self.parallel(|_| line(&self.podman, &run))),
                    Box::new(|| self.parallel(|number| self.crun(&format!("bare{number}")))),
                ],
            );
        }
        if table.wants("run -d") {
            let start = ["run", "-d", "--name", "bench", "--network", "none", "lab/busybox", "sleep", "1000"];
            let pair = |tool: &[OsString]| {
                let remove: &[&str] = &["rm", "-f", "-t", "0", "bench"];
                self.time(&line(tool, &start)) + self.time(&line(tool, remove))
            };
            table.row(
                &name("run -d, rm -f"),
                table.rounds,
                vec![Box::new(|| pair(&self.coracle)), Box::new(|| pair(&self.podman))],
            );
        }
        if table.wants("network") && support::is_root() {
            let lan = Lan::new().unwrap_or_else(|missing| panic!("needs {}", missing.0));
            lan.host.enter(|| self.networks(table));
        }
        if table.wants("exec") {
            let start = ["run", "-d", "--network", "none"];
            for (tool, name) in [(&self.coracle, "own"), (&self.podman, "foreign")] {
                let start = line(&line(tool, &start), &["--name", name, "lab/busybox", "sleep", "1000"]);
                self.time(&start);
            }
            let mut bare = self.sandbox_command(&self.crun_sleep()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(500));
            let crun: Vec<OsString> =
                vec![program("crun").unwrap().into(), "--root".into(), self.crun_root().into()];
            table.row(
                &name("exec"),
                table.rounds,
                vec![
                    Box::new(|| self.time(&line(&self.coracle, &["exec", "own", "true"]))),
                    Box::new(|| self.time(&line(&self.podman, &["exec", "foreign", "true"]))),
                    Box::new(|| self.time(&line(&crun, &["exec", "sleeper", "true"]))),
                ],
            );
            self.time(&line(&crun, &["kill", "sleeper", "KILL"]));
            bare.wait().unwrap();
            self.time(&line(&self.coracle, &["rm", "-f", "-t", "0", "own"]));
            self.time(&line(&self.podman, &["rm", "-f", "-t", "0", "foreign"]));
        }
        if table.wants("ps") {
            let mut made = 0;
            for count in [2, 200, 500] {
                // podman takes minutes to make so many.
                let both = count <= 200;
                while made < count {
                    // podman names its own: in one store a name is taken for both.
                    let name = format!("bench-{made}");
                    let create = ["create", "--network", "none"];
                    self.time(&line(&line(&self.coracle, &create), &["--name", &name, "lab/busybox"]));
                    if both {
                        self.time(&line(&line(&self.podman, &create), &["lab/busybox"]));
                    }
                    made += 1;
                }
                let mut contenders: Vec<Round<'_>> =
                    vec![Box::new(|| self.time(&line(&self.coracle, &["ps", "-a"])))];
                if both {
                    contenders.push(Box::new(|| self.time(&line(&self.podman, &["ps", "-a"]))));
                }
                table.row(&name(&format!("ps -a, {count} containers")), table.rounds, contenders);
            }
            self.time(&line(&self.coracle, &["rm", "-af"]));
            self.time(&line(&self.podman, &["rm", "-af"]));
        }

        if table.wants("images") {
            let mut made = 1;
            for count in [2, 200] {
                while made < count {
                    let mut image = Image::new([], json!({"Labels": {"number": made.to_string()}}));
                    image.layers = support::busybox().layers;
                    registry().push(&format!("bench/image{made}"), "latest", &image);
                    self.time(&line(&self.coracle, &["pull", "-q", &format!("bench/image{made}")]));
                    made += 1;
                }
                table.row(
                    &name(&format!("images, {count} images")),
                    table.rounds,
                    vec![
                        Box::new(|| self.time(&line(&self.coracle, &["images"]))),
                        Box::new(|| self.time(&line(&self.podman, &["images"]))),
                    ],
                );
            }
        }
        if table.wants("pull") {
            registry().provide("lab/big");
            let mut used: [Vec<[f64; 3]>; 2] = [Vec::new(), Vec::new()];
            for _ in 0..3 {
                for (tool, used) in [&self.coracle, &self.podman].into_iter().zip(&mut used) {
                    used.push(self.used(&line(tool, &["pull", "-q", "lab/big"])));
                    self.time(&line(tool, &["rmi", "lab/big"]));
                }
            }
            let best =
                |used: &[[f64; 3]], index: usize| used.iter().map(|one| one[index]).fold(f64::MAX, f64::min);
            let [own, podman] = &used;
            for (index, what, scale) in [(0, "s", 1.0), (1, "s of CPU", 1.0), (2, "MB at its peak", 1024.0)] {
                let text = |used: &[[f64; 3]]| format!("{:.2}", best(used, index) / scale);
                table.note(&name(&format!("pull of 600 MB, {what}")), &text(own), &text(podman));
            }
        }
        if ["push", "save", "load", "inspect docker"].iter().any(|what| table.wants(what)) {
            self.transports(table, &name);
        }
        self.archives(table);
        self.scale(table);
    }

    /// Commit of a container with 100 MB of its own, and export of one with 1 GB, beside podman's; export beside GNU tar's
    /// too, which stands where crun does elsewhere.
    fn archives(&self, table: &mut Table) {
        let who = if self.sandbox.who == Who::Root { "root" } else { "rootless" };
        let name = |what: &str| format!("{what}, {who}");
        let tools = [("own", &self.coracle), ("foreign", &self.podman)];
        let container = |megabytes: usize| {
            // A thousand files, whatever the size: none of it compresses, and no two are the same.
            let script = format!(
                "mkdir /data; i=0; while [ $i -lt 1000 ]; do head -c {} /dev/urandom > /data/$i; i=$((i+1)); done",
                megabytes * 1000
            );
            for (container, tool) in tools {
                let run =
                    ["run", "-d", "--name", container, "--network", "none", "lab/busybox", "sleep", "100000"];
                self.time(&line(tool, &run));
                self.time(&line(tool, &["exec", container, "sh", "-c", &script]));
            }
        };
        let remove = || {
            for (container, tool) in tools {
                self.time(&line(tool, &["rm", "-f", "-t", "0", container]));
            }
        };
        if table.wants("commit") {
            container(100);
            let commit = |(container, tool): (&str, &Vec<OsString>)| {
                let took =
                    self.time(&line(tool, &["commit", "-q", "--pause=false", container, "bench/commit"]));
                self.time(&line(tool, &["rmi", "bench/commit"]));
                took
            };
            let contenders: Vec<Round<'_>> =
                tools.into_iter().map(|tool| Box::new(move || commit(tool)) as _).collect();
            table.row(&name("commit of 100 MB"), 5, contenders);
            remove();
        }
        if table.wants("export") {
            container(1000);
            let target = self.sandbox.path("tmp/export.tar");
            let target = target.to_str().unwrap();
            let mut contenders: Vec<Round<'_>> = Vec::new();
            for (container, tool) in tools {
                contenders
                    .push(Box::new(move || self.time(&line(tool, &["export", "-o", target, container]))));
            }
            if self.sandbox.who == Who::Root {
                let format = ["inspect", "--format", "{{.GraphDriver.Data.MergedDir}}", "own"];
                let mut inspect = self.sandbox_command(&line(&self.coracle, &format));
                let merged = inspect.stdout(Stdio::piped()).output().unwrap().stdout;
                let merged = String::from_utf8(merged).unwrap();
                let tar: Vec<OsString> = vec![program("tar").unwrap().into()];
                let tar = line(&tar, &["-C", merged.trim(), "-cf", target, "."]);
                contenders.push(Box::new(move || self.time(&tar)));
            }
            table.row(&name("export of 1 GB"), 5, contenders);
            fs::remove_file(target).unwrap();
            remove();
        }
    }

    /// What a command takes of three runs each, in turns: the least time, CPU time and memory. `argv` is given the tool's
    /// line and a number of its own; `undo` is not measured.
    fn big(
        &self,
        table: &Table,
        name: &str,
        argv: &dyn Fn(&[OsString], usize) -> Vec<OsString>,
        undo: &dyn Fn(&[OsString]),
    ) {
        let mut used: [Vec<[f64; 3]>; 2] = [Vec::new(), Vec::new()];
        for round in 0..3 {
            for (number, (tool, used)) in [&self.coracle, &self.podman].into_iter().zip(&mut used).enumerate()
            {
                used.push(self.used(&argv(tool, 2 * round + number)));
                undo(tool);
            }
        }
        let best =
            |used: &[[f64; 3]], index: usize| used.iter().map(|one| one[index]).fold(f64::MAX, f64::min);
        let [own, podman] = &used;
        for (index, what, scale) in [(0, "s", 1.0), (1, "s of CPU", 1.0), (2, "MB at its peak", 1024.0)] {
            let text = |used: &[[f64; 3]]| format!("{:.2}", best(used, index) / scale);
            table.note(&format!("{name}, {what}"), &text(own), &text(podman));
        }
    }

    /// The 600 MB image to a registry that has nothing, to a file and back; an image looked at where it is.
    fn transports(&self, table: &Table, name: &dyn Fn(&str) -> String) {
        registry().provide("lab/big");
        let address = registry().address();
        if table.wants("inspect docker") {
            let place = format!("docker://{address}/lab/busybox");
            let skopeo: Vec<OsString> = vec![program("skopeo").unwrap().into()];
            table.row(
                &name("inspect docker:// (skopeo)"),
                table.rounds,
                vec![
                    Box::new(|| self.time(&line(&self.coracle, &["image", "inspect", &place]))),
                    Box::new(|| self.time(&line(&skopeo, &["inspect", "--tls-verify=false", &place]))),
                ],
            );
        }
        self.time(&line(&self.coracle, &["pull", "-q", "lab/big"]));
        if table.wants("push") {
            // Each push goes to a registry of its own, and nobody knows which blobs its layers were.
            let options = support::RegistryOptions { empty: true, ..support::RegistryOptions::default() };
            let registries: Vec<_> = (0..6)
                .map(|_| support::Registry::start(options.clone()).unwrap_or_else(|m| panic!("{}", m.0)))
                .collect();
            let push = |tool: &[OsString], number: usize| {
                let target = format!("{}/lab/big", registries[number].address());
                line(tool, &["push", "-q", "--tls-verify=false", "lab/big", &target])
            };
            let forget = |_: &[OsString]| {
                let _ = fs::remove_dir_all(self.sandbox.graph_root().join("coracle/blobs"));
                let _ = fs::remove_file(
                    self.sandbox.path("home/.local/share/containers/cache/blob-info-cache-v1.boltdb"),
                );
            };
            self.big(table, &name("push of 600 MB"), &push, &forget);
        }
        let file = self.sandbox.path("work/big.tar").display().to_string();
        if table.wants("save") || table.wants("load") {
            let save = |tool: &[OsString], _: usize| line(tool, &["save", "-q", "-o", &file, "lab/big"]);
            let remove = |_: &[OsString]| fs::remove_file(&file).unwrap();
            if table.wants("save") {
                self.big(table, &name("save of 600 MB"), &save, &remove);
            }
        }
        if table.wants("load") {
            self.time(&line(&self.coracle, &["save", "-q", "-o", &file, "lab/big"]));
            self.time(&line(&self.coracle, &["rmi", "lab/big"]));
            let load = |tool: &[OsString], _: usize| line(tool, &["load", "-q", "-i", &file]);
            self.big(table, &name("load of 600 MB"), &load, &|tool| {
                self.time(&line(tool, &["rmi", "lab/big"]));
            });
            fs::remove_file(&file).unwrap();
        }
    }

    /// On a host of their own: each tool's default network, alone and with 50 containers on it.
    fn networks(&self, table: &mut Table) {
        let (who, own, theirs) = match self.sandbox.who {
            Who::Root => ("root", "bridge", "podman"),
            Who::User => ("rootless", "pasta", "slirp4netns"),
        };
        let line = |tool: &[OsString], network: &str, flags: &[&str], command: &[&str]| {
            let mut argv = line(tool, &["run", "--network", network]);
            argv.extend(flags.iter().chain(&["lab/busybox"]).chain(command).map(OsString::from));
            argv
        };
        let once = |table: &mut Table, what: &str, rounds: usize, flags: &[&str]| {
            table.row(
                &format!("network: {what}, {who}"),
                rounds,
                vec![
                    Box::new(|| self.time(&line(&self.coracle, own, flags, &["true"]))),
                    Box::new(|| self.time(&line(&self.podman, theirs, flags, &["true"]))),
                ],
            );
        };
        once(table, "run --rm", table.rounds, &["--rm"]);
        once(table, "run --rm -p", table.rounds, &["--rm", "-p", "18080:80"]);
        if self.sandbox.who == Who::User {
            return;
        }
        for number in 0..50 {
            for (tool, network, name) in [(&self.coracle, own, "own"), (&self.podman, theirs, "foreign")] {
                self.time(&line(
                    tool,
                    network,
                    &["-d", "--name", &format!("{name}{number}")],
                    &["sleep", "1000"],
                ));
            }
        }
        once(table, "run --rm, 50 there", table.rounds.div_ceil(3), &["--rm"]);
        for tool in [&self.coracle, &self.podman] {
            self.time(&crate::line(tool, &["rm", "-f", "-t", "0", "--all"]));
        }
    }

    /// A command as the sandbox's user, quiet.
    fn sandbox_command(&self, argv: &[OsString]) -> Command {
        let mut command = self
            .sandbox
            .direct(argv)
            .env("CONTAINERS_CONF", self.sandbox.path("conf/podman.conf"))
            .into_std();
        if self.sandbox.who == Who::User && support::is_root() {
            command.uid(self.sandbox.uid()).gid(self.sandbox.gid());
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Wall time of one run, seen from a process of the same user: to start one of another user the whole of this program
    /// has to be forked, which takes longer than `ps`.
    fn time(&self, argv: &[OsString]) -> Duration {
        if self.sandbox.who == Who::User && support::is_root() {
            return Duration::from_secs_f64(self.used(argv)[0]);
        }
        let mut command = self.sandbox_command(argv);
        let start = Instant::now();
        let child = command.spawn().unwrap();
        finish(child, argv);
        start.elapsed()
    }

    fn parallel(&self, argv: impl Fn(usize) -> Vec<OsString>) -> Duration {
        let lines: Vec<_> = (0..16).map(argv).collect();
        let start = Instant::now();
        let children: Vec<_> = lines.iter().map(|line| self.sandbox_command(line).spawn().unwrap()).collect();
        for (child, line) in children.into_iter().zip(&lines) {
            finish(child, line);
        }
        start.elapsed()
    }

    /// Seconds, seconds of CPU and kilobytes at the peak of one run.
    fn used(&self, argv: &[OsString]) -> [f64; 3] {
        let itself = std::env::current_exe().unwrap();
        let copy = self.sandbox.path("bin/compare");
        if !copy.exists() {
            fs::copy(itself, &copy).unwrap();
        }
        let mut measured: Vec<OsString> = vec![copy.into(), "--measure".into()];
        measured.extend(argv.iter().cloned());
        let output = self.sandbox_command(&measured).stdout(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let numbers: Vec<f64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
        [numbers[0], numbers[1], numbers[2]]
    }

    fn memory(&self, argv: &[OsString]) -> String {
        let most = (0..3).map(|_| self.used(argv)[2]).fold(0.0, f64::max);
        format!("{:.1}", most / 1024.0)
    }

    /// How often one run and everything it starts calls execve and the calls that wait for the disk.
    fn calls(&self, argv: &[OsString]) -> BTreeMap<String, u64> {
        let report = self.sandbox.path("tmp/calls");
        let mut command = Command::new(program("strace").unwrap());
        command.args([
            "-f",
            "-qq",
            "-e",
            "trace=execve,fsync,fdatasync,syncfs,sync,sync_file_range,msync",
            "-o",
        ]);
        command.arg(&report);
        if self.sandbox.who == Who::User && support::is_root() {
            command.args(["-u", self.sandbox.user_name()]);
        }
        let inner = self.sandbox_command(argv);
        command.arg(inner.get_program()).args(inner.get_args()).env_clear();
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = command.current_dir(self.sandbox.path("work")).output().unwrap();
        if !output.status.success() {
            eprintln!("strace {argv:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let mut counts = BTreeMap::new();
        for line in fs::read_to_string(report).unwrap_or_default().lines() {
            // "1234 execve("/bin/true", …) = 0"; a second line says how an interrupted call ended
            let call = line.split_once(' ').map_or("", |(_, rest)| rest.trim_start());
            if let Some((name, rest)) = call.split_once('(')
                && !name.starts_with('<')
                && !rest.contains("ENOENT")
            {
                *counts.entry(name.to_owned()).or_default() += 1;
            }
        }
        counts
    }

    /// A bundle for crun: the same root file system and process, with what `crun spec` gives.
    fn bundle(&self) {
        let bundle = self.sandbox.mkdir("work/bundle");
        if bundle.join("config.json").exists() {
            return;
        }
        let rootfs = self.sandbox.mkdir("work/bundle/rootfs");
        let tar = self.sandbox.write("work/layer.tar", support::busybox_tar());
        let unpack: [OsString; 5] = ["tar".into(), "-xf".into(), tar.into(), "-C".into(), rootfs.into()];
        self.sandbox.command(unpack).ok();
        let crun = program("crun").unwrap_or_else(|missing| panic!("needs {}", missing.0));
        let mut spec = self.sandbox.command([crun]).arg("spec").cwd(&bundle);
        if self.sandbox.who == Who::User {
            spec = spec.arg("--rootless");
        }
        spec.ok();
        let mut config: serde_json::Value =
            serde_json::from_str(&self.sandbox.read("work/bundle/config.json")).unwrap();
        config["process"]["terminal"] = json!(false);
        for (name, args) in [("config", json!(["true"])), ("sleep", json!(["sleep", "1000"]))] {
            config["process"]["args"] = args;
            self.sandbox.write(format!("work/bundle/{name}.json"), config.to_string());
        }
    }

    fn crun_root(&self) -> std::path::PathBuf {
        self.sandbox.path("tmp/crun")
    }

    fn crun(&self, id: &str) -> Vec<OsString> {
        let mut line: Vec<OsString> = vec![program("crun").unwrap().into()];
        if self.sandbox.who == Who::User {
            line.push("--cgroup-manager=disabled".into());
        }
        line.extend(["--root".into(), self.crun_root().into(), "run".into()]);
        line.extend(["--bundle".into(), self.sandbox.path("work/bundle").into(), id.into()]);
        line
    }

    fn crun_sleep(&self) -> Vec<OsString> {
        let mut line = self.crun("sleeper");
        let at = line.len() - 1;
        line.splice(at..at, ["--config".into(), self.sandbox.path("work/bundle/sleep.json").into()]);
        line
    }
}

fn line(tool: &[OsString], arguments: &[&str]) -> Vec<OsString> {
    tool.iter().cloned().chain(arguments.iter().map(Into::into)).collect()
}

fn finish(child: Child, argv: &[OsString]) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&output.stderr));
}
