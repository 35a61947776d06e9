//! Many containers, and much in one of them: rows of `compare`.

use super::{Benchmark, Round, Table, line};
use crate::support::{Who, cgroups};
use std::ffi::OsString;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

impl Benchmark {
    /// 100 containers made, started eight at a time, looked at and removed; 1 GB copied into a container and out of it, and
    /// exported, beside which tar(1) does the same in crun's column.
    pub fn scale(&self, table: &mut Table) {
        let who = if self.sandbox.who == Who::Root { "root" } else { "rootless" };
        let name = |what: &str| format!("{what}, {who}");
        let tools = [&self.coracle, &self.podman];
        if table.wants("rm -fa") {
            let contenders: Vec<Round<'_>> =
                tools.into_iter().map(|tool| Box::new(move || self.removed(tool)) as _).collect();
            table.row(&name("rm -fa of 100"), table.rounds.div_ceil(5), contenders);
        }
        if table.wants("start of 100") {
            let contenders: Vec<Round<'_>> =
                tools.into_iter().map(|tool| Box::new(move || self.started(tool)) as _).collect();
            table.row(&name("start of 100, 8 at a time"), table.rounds.div_ceil(5), contenders);
        }
        if table.wants("stats") {
            // podman refuses: an ordinary user has no limits on cgroups v1.
            let refused = self.sandbox.who == Who::User && cgroups() != "v2";
            let able = if refused { &tools[..1] } else { &tools[..] };
            for tool in able {
                self.create(tool, 100);
                self.start(tool, 100);
            }
            let stats = ["stats", "--no-stream"];
            let contenders: Vec<Round<'_>> =
                able.iter().map(|tool| Box::new(move || self.time(&line(tool, &stats))) as _).collect();
            table.row(&name("stats --no-stream of 100"), table.rounds.div_ceil(3), contenders);
            for tool in able {
                self.time(&line(tool, &["rm", "-f", "-a", "-t", "0"]));
            }
        }
        if table.wants("cp of 1 GB") {
            self.copies(table, &name);
        }
    }

    fn create(&self, tool: &[OsString], count: usize) {
        for number in 0..count {
            let (prefix, create) = (self.prefix(tool), ["create", "--network", "none", "--name"]);
            let argv =
                line(&line(tool, &create), &[&format!("{prefix}{number}"), "lab/busybox", "sleep", "1000"]);
            self.time(&argv);
        }
    }

    /// In one store a name is taken for both.
    fn prefix(&self, tool: &[OsString]) -> &'static str {
        if tool == self.coracle { "own-" } else { "foreign-" }
    }

    /// Eight processes, each with every eighth container.
    fn start(&self, tool: &[OsString], count: usize) -> Duration {
        let begun = Instant::now();
        std::thread::scope(|scope| {
            for worker in 0..8 {
                scope.spawn(move || {
                    for number in (worker..count).step_by(8) {
                        self.time(&line(tool, &["start", &format!("{}{number}", self.prefix(tool))]));
                    }
                });
            }
        });
        begun.elapsed()
    }

    fn started(&self, tool: &[OsString]) -> Duration {
        self.create(tool, 100);
        let took = self.start(tool, 100);
        self.time(&line(tool, &["rm", "-f", "-a", "-t", "0"]));
        took
    }

    fn removed(&self, tool: &[OsString]) -> Duration {
        self.create(tool, 100);
        self.start(tool, 100);
        self.time(&line(tool, &["rm", "-f", "-a", "-t", "0"]))
    }

    fn copies(&self, table: &mut Table, name: &dyn Fn(&str) -> String) {
        let tools = [("own", &self.coracle), ("foreign", &self.podman)];
        let tree = self.sandbox.mkdir("work/tree");
        let write = "i=0; while [ $i -lt 1000 ]; do head -c 1000000 /dev/urandom > $i; i=$((i+1)); done";
        let made =
            self.sandbox.command(["sh", "-c", write]).cwd(&tree).into_std().stdin(Stdio::null()).status();
        assert!(made.unwrap().success());
        for (container, tool) in tools {
            let run =
                ["run", "-d", "--name", container, "--network", "none", "lab/busybox", "sleep", "100000"];
            self.time(&line(tool, &run));
        }
        let source = format!("{}/.", tree.display());
        let into = &|(container, tool): (&str, &Vec<OsString>)| {
            let took = self.time(&line(tool, &["cp", &source, &format!("{container}:/data")]));
            self.time(&line(
                tool,
                &["exec", container, "sh", "-c", "mv /data /kept 2>/dev/null; rm -rf /data"],
            ));
            took
        };
        let shell = |script: String| self.time(&["sh".into(), "-c".into(), script.into()]);
        let target = self.sandbox.path("work/copied");
        let (from, to) = (tree.display(), target.display());
        let by_tar = || {
            let took = shell(format!("mkdir {to} && tar -C {from} -cf - . | tar -C {to} -xf -"));
            fs::remove_dir_all(&target).unwrap();
            took
        };
        let rounds = table.rounds.div_ceil(5);
        let all = tools.map(|tool| Box::new(move || into(tool)) as Round<'_>);
        table.row(&name("cp of 1 GB in"), rounds, beside(all, &by_tar));
        let out = &|(container, tool): (&str, &Vec<OsString>)| {
            let took =
                self.time(&line(tool, &["cp", &format!("{container}:/kept"), target.to_str().unwrap()]));
            fs::remove_dir_all(&target).unwrap();
            took
        };
        let all = tools.map(|tool| Box::new(move || out(tool)) as Round<'_>);
        table.row(&name("cp of 1 GB out"), rounds, beside(all, &by_tar));
        let archive = self.sandbox.path("work/archive.tar");
        let export = &|(container, tool): (&str, &Vec<OsString>)| {
            let took = self.time(&line(tool, &["export", "-o", archive.to_str().unwrap(), container]));
            fs::remove_file(&archive).unwrap();
            took
        };
        let into_file = || {
            let took = shell(format!("tar -C {from} -cf {} .", archive.display()));
            fs::remove_file(&archive).unwrap();
            took
        };
        let all = tools.map(|tool| Box::new(move || export(tool)) as Round<'_>);
        table.row(&name("export of 1 GB"), rounds, beside(all, &into_file));
        for (container, tool) in tools {
            self.time(&line(tool, &["rm", "-f", "-t", "0", container]));
        }
        fs::remove_dir_all(&tree).unwrap();
    }
}

/// Coracle, podman, and tar beside them.
fn beside<'a>(tools: [Round<'a>; 2], tar: &'a dyn Fn() -> Duration) -> Vec<Round<'a>> {
    let mut contenders = Vec::from(tools);
    contenders.push(Box::new(tar));
    contenders
}
