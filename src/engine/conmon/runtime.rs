//! The OCI runtime: which one, and its verbs after `create`.
//!
//! Each verb is an exec of 5 to 30 ms. What a verb of crun or runc does to a container without hooks is a few system calls on files below
//! `--root`, a directory only we use, so [`Runtime::start`] makes those calls itself and leaves the program for the runtimes
//! (and hooks) it does not know.

use super::launch::environment;
use super::runtime_error;
use crate::engine::config::Config;
use crate::engine::host::process::{self, PidFd};
use crate::engine::host::spawn::{Spawn, scratch};
use crate::engine::{Error, ErrorKind, Result};
use oci_spec::runtime::LinuxResources;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsString;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

/// Runtimes with peculiarities that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeKind {
    /// crun, and krun, which is crun.
    Crun,
    /// runc.
    Runc,
    /// youki.
    Youki,
    /// gVisor.
    Runsc,
    /// Any other.
    Other,
}

impl RuntimeKind {
    fn of(program: &Path) -> Self {
        let name = program.file_name().map(|n| n.to_string_lossy()).unwrap_or_default();
        match name.as_ref() {
            "crun" | "krun" => Self::Crun,
            "runc" => Self::Runc,
            "youki" => Self::Youki,
            "runsc" => Self::Runsc,
            _ => Self::Other,
        }
    }
}

/// An OCI runtime, and how to call it.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// As configured: `crun`, or a path.
    pub name: String,
    /// The program.
    pub path: PathBuf,
    /// What it is, by its name.
    pub kind: RuntimeKind,
    /// Its own state, `--root`: ours alone, so that neither other users of the same runtime nor other stores meet our IDs.
    pub root: PathBuf,
    /// Further global arguments (`--runtime-flag`).
    pub args: Vec<String>,
    /// The environment of the runtime and of conmon.
    pub env: Vec<(String, String)>,
}

/// What the runtime knows of a container (runtime specification, "State").
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct RuntimeState {
    /// `creating`, `created`, `running`, `stopped` or `paused`.
    pub status: String,
    /// 0 when stopped.
    #[serde(default)]
    pub pid: u32,
}

impl Runtime {
    /// The runtime for a container that asked for `requested` (a name or a path; empty: the engine's).
    ///
    /// The engine's is `--runtime`, else containers.conf's, else the first installed one of crun, runc, youki that works on this host: crun
    /// refuses to work where v1 and v2 are mounted side by side and v2 has controllers, so runc comes first there.
    pub fn find(config: &Config, requested: &str) -> Result<Self> {
        let configured = &config.containers.engine.runtime;
        let asked = [Some(requested), config.overrides.runtime.as_deref(), configured.as_deref()];
        if let Some(name) = asked.into_iter().flatten().find(|name| !name.is_empty()) {
            let path = locate(config, name).ok_or_else(|| missing(name))?;
            return Ok(Self::at(config, name, path));
        }
        let preferred: [&str; 3] = match cgroups_are_hybrid() {
            true => ["runc", "crun", "youki"],
            false => ["crun", "runc", "youki"],
        };
        let found = preferred.into_iter().find_map(|name| Some((name, locate(config, name)?)));
        let (name, path) = found.ok_or_else(|| missing("crun"))?;
        Ok(Self::at(config, name, path))
    }

    fn at(config: &Config, name: &str, path: PathBuf) -> Self {
        let flags = config.overrides.runtime_flags.iter();
        Self {
            name: Path::new(name)
                .file_name()
                .map_or_else(|| name.into(), |n| n.to_string_lossy().into_owned()),
            kind: RuntimeKind::of(&path),
            path,
            root: config.paths.run_state.join("runtime"),
            args: flags.map(|f| if f.starts_with('-') { f.clone() } else { format!("--{f}") }).collect(),
            env: environment(config),
        }
    }

    pub(super) fn global_arguments(&self) -> impl Iterator<Item = OsString> {
        let mut root = OsString::from("--root=");
        root.push(&self.root);
        std::iter::once(root).chain(self.args.iter().map(Into::into))
    }

    /// A call of the runtime, still to be given its verb.
    pub(super) fn command(&self) -> Spawn<'_> {
        Spawn::new(&self.path).args(self.global_arguments()).envs(self.env.iter().map(|(n, v)| (n, v)))
    }

    /// Runs a verb to its end: what it wrote to stdout, or its complaint as an error.
    fn call(&self, args: &[&str]) -> Result<String> {
        self.call_with(args, None)
    }

    /// `input`: what the runtime has as descriptor 3.
    fn call_with(&self, args: &[&str], input: Option<BorrowedFd<'_>>) -> Result<String> {
        let (mut said, mut complaints) = (scratch()?, scratch()?);
        let mut spawn = self.command().args(args).new_session();
        if let Some(input) = input {
            spawn = spawn.fd(input, 3);
        }
        let ended = spawn.fd(said.as_fd(), 1).fd(complaints.as_fd(), 2).spawn()?.wait()?;
        let text = |file: &mut std::fs::File| {
            let mut bytes = Vec::new();
            let read = file.rewind().and_then(|()| file.take(1 << 20).read_to_end(&mut bytes));
            read.map_err(|e| Error::os("read what the runtime said", e))?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        if ended.success() {
            text(&mut said)
        } else {
            Err(runtime_error::classify(&self.name, &text(&mut complaints)?))
        }
    }

    /// Lets the process `pid` of a created container go.
    ///
    /// With `hooks`, `config.json` has poststart hooks and the runtime itself is called. The error is [`ErrorKind::Runtime`] if the
    /// process has died meanwhile.
    pub fn start(&self, id: &str, pid: u32, hooks: bool) -> Result<()> {
        let fifo = self.root.join(id).join("exec.fifo");
        let done = match self.kind {
            RuntimeKind::Crun if !hooks => write_fifo(&fifo)?,
            RuntimeKind::Runc if !hooks => read_fifo(&fifo, pid)?,
            _ => false,
        };
        if !done {
            self.call(&["start", id])?;
        }
        Ok(())
    }

    /// Sends a signal through the runtime; `all`: to every process of the container, not the first alone. For one process in a PID namespace of
    /// its own a pidfd does the same without an exec.
    pub fn kill(&self, id: &str, signal: i32, all: bool) -> Result<()> {
        let signal = signal.to_string();
        let mut args = vec!["kill"];
        if all {
            args.push("--all");
        }
        args.extend([id, &signal]);
        self.call(&args).map(drop)
    }

    /// Removes what the runtime keeps: its state, the cgroup. `force` kills what is left running. A container it does not know is fine.
    pub fn delete(&self, id: &str, force: bool) -> Result<()> {
        if !self.root.join(id).exists() && matches!(self.kind, RuntimeKind::Crun | RuntimeKind::Runc) {
            return Ok(());
        }
        let args: &[&str] = if force { &["delete", "--force", id] } else { &["delete", id] };
        match self.call(args) {
            Err(e) if unknown(&e) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Removes what crun or runc keep of a container whose processes have ended, without a process of theirs (20 ms): the
    /// cgroups of `cgroup_path`, as `config.json` named it for the manager cgroupfs (empty: none), and the state directory,
    /// which is ours alone. `false`: something is left, or this runtime is another one: [`Runtime::delete`] it.
    pub fn delete_ended(&self, id: &str, cgroup_path: &str) -> bool {
        let state = self.root.join(id);
        matches!(self.kind, RuntimeKind::Crun | RuntimeKind::Runc)
            && (cgroup_path.is_empty()
                || remove_cgroups(Path::new("/sys/fs/cgroup"), cgroup_path, is_cgroupfs))
            && std::fs::remove_dir_all(state).is_ok()
    }

    /// What the runtime knows of a container; `None` if it does not know it.
    pub fn state(&self, id: &str) -> Result<Option<RuntimeState>> {
        match self.call(&["state", id]) {
            Ok(text) => serde_json::from_str(&text).map(Some).map_err(|e| {
                Error::new(ErrorKind::Runtime, format!("{} state {id}", self.name)).with_source(e)
            }),
            Err(e) if unknown(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Changes a running container's limits to those that are given in `limits`.
    pub fn update(&self, id: &str, limits: &LinuxResources) -> Result<()> {
        let mut file = scratch()?;
        let text = serde_json::to_vec(limits)
            .map_err(|e| Error::corrupt("encode the container's limits").with_source(e))?;
        file.write_all(&text).map_err(|e| Error::os("write the container's limits", e))?;
        self.call_with(&["update", "--resources", "/proc/self/fd/3", id], Some(file.as_fd())).map(drop)
    }

    /// Has CRIU write a container's processes into the directory `images`, its log with them. `args`: flags of runc's verb, which
    /// crun shares.
    pub fn checkpoint(&self, id: &str, images: &Path, args: &[String]) -> Result<()> {
        let images = images.to_string_lossy();
        let mut words = vec!["checkpoint", "--image-path", &images, "--work-path", &images];
        words.extend(args.iter().map(String::as_str));
        words.push(id);
        self.call(&words).map(drop)
    }

    /// What the program says of itself.
    pub fn version(&self) -> Result<String> {
        self.call(&["--version"])
    }

    /// Whether it sets execution domains (`linux.personality`); runc has done so since 1.2, and ignored it before.
    pub fn sets_personality(&self) -> Result<bool> {
        if self.kind != RuntimeKind::Runc {
            return Ok(self.kind != RuntimeKind::Runsc);
        }
        Ok(has_personality(&self.version()?))
    }

    /// Freezes (or thaws) all processes of a container.
    pub fn pause(&self, id: &str, paused: bool) -> Result<()> {
        self.call(&[if paused { "pause" } else { "resume" }, id]).map(drop)
    }
}

/// Of the first line that `runc --version` prints.
fn has_personality(version: &str) -> bool {
    let number = version.lines().next().and_then(|line| line.split_whitespace().nth(2)).unwrap_or_default();
    let mut parts = number.split('.').map_while(|part| part.parse::<u32>().ok());
    (parts.next(), parts.next()) >= (Some(1), Some(2))
}

/// "container does not exist" in crun's, runc's and youki's words.
fn unknown(e: &Error) -> bool {
    let text = e.to_string().to_lowercase();
    text.contains("does not exist")
        || text.contains("/status`: no such file")
        || text.contains("no such container")
}

fn locate(config: &Config, name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return process::find_program(name, &[] as &[&Path]);
    }
    let candidates = config.containers.engine.runtimes.get(name).into_iter().flatten();
    candidates
        .filter(|path| path.contains('/'))
        .find_map(|path| process::find_program(path, &[] as &[&Path]))
        .or_else(|| process::find_program(name, &config.env.path()))
}

fn missing(name: &str) -> Error {
    let hint = match name {
        "crun" => "install the package crun or runc (Debian, Ubuntu, Fedora: crun)".to_owned(),
        "runc" => "install the package runc (Debian, Ubuntu, Fedora: runc)".to_owned(),
        _ => "name an installed one with --runtime, or install the package crun".to_owned(),
    };
    Error::new(ErrorKind::MissingProgram, format!("OCI runtime {name} is not installed")).with_hint(hint)
}

fn cgroups_are_hybrid() -> bool {
    const CGROUP2_SUPER_MAGIC: u32 = 0x6367_7270;
    let is_v2 =
        |path| rustix::fs::statfs(path).is_ok_and(|s| u32::try_from(s.f_type) == Ok(CGROUP2_SUPER_MAGIC));
    let has_controllers =
        || std::fs::read("/sys/fs/cgroup/unified/cgroup.controllers").is_ok_and(|text| !text.is_empty());
    !is_v2("/sys/fs/cgroup") && is_v2("/sys/fs/cgroup/unified") && has_controllers()
}

/// cgroup v1 or v2 (linux/magic.h).
fn is_cgroupfs(path: &Path) -> bool {
    const MAGIC: [u32; 2] = [0x0027_e0eb, 0x6367_7270];
    rustix::fs::statfs(path).is_ok_and(|s| u32::try_from(s.f_type).is_ok_and(|kind| MAGIC.contains(&kind)))
}

/// Removes the cgroup `path` from every hierarchy (v1: a directory each below `root`; v2: `root` itself). `false` if none
/// was there, or one has children or processes.
fn remove_cgroups(root: &Path, path: &str, is_hierarchy: fn(&Path) -> bool) -> bool {
    // `slice:prefix:name` is systemd's affair.
    if path.contains(':') || path.split('/').any(|part| part == "..") {
        return false;
    }
    let mut hierarchies = vec![root.to_owned()];
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            hierarchies.push(entry.path());
        }
    }
    let mut removed = false;
    for hierarchy in hierarchies.into_iter().filter(|hierarchy| is_hierarchy(hierarchy)) {
        match std::fs::remove_dir(hierarchy.join(path.trim_start_matches('/'))) {
            Ok(()) => removed = true,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => return false,
        }
    }
    removed
}

/// crun's start: the container's process reads one byte from `exec.fifo`, which it holds open (crun `src/libcrun/status.c`,
/// `libcrun_status_write_exec_fifo`). `false`: there is no such file, so this crun works in another way.
fn write_fifo(fifo: &Path) -> Result<bool> {
    let fd = match rustix::fs::open(fifo, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
    {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(false),
        Err(Errno::NXIO) => return Err(died()),
        Err(e) => return Err(Error::io("open", fifo, e)),
    };
    rustix::fs::unlink(fifo).map_err(|e| Error::io("unlink", fifo, e))?;
    rustix::io::write(&fd, &[0]).map_err(|e| Error::io("write", fifo, e))?;
    Ok(true)
}

/// runc's start: the container's process writes one byte into `exec.fifo` as soon as a reader has it open (runc `libcontainer/container_linux.go`,
/// `exec`). `false`: there is no such file.
fn read_fifo(fifo: &Path, pid: u32) -> Result<bool> {
    if !fifo.exists() {
        return Ok(false);
    }
    // Held before the process may go: it may have ended a moment later.
    let Some(process) = process::start_time(pid).map(|start| PidFd::open(pid, start)).transpose()?.flatten()
    else {
        return Err(died());
    };
    let fd = match rustix::fs::open(fifo, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
    {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(false),
        Err(e) => return Err(Error::io("open", fifo, e)),
    };
    let mut byte = [0; 1];
    loop {
        let mut fds = [PollFd::new(&fd, PollFlags::IN), PollFd::new(&process, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(Error::io("poll", fifo, e)),
        }
        let gone = !fds[1].revents().is_empty();
        match rustix::io::read(&fd, &mut byte) {
            Ok(1) => break,
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) if !gone => {}
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => return Err(died()),
            Err(e) => return Err(Error::io("read", fifo, e)),
        }
    }
    match rustix::fs::unlink(fifo) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(e) => Err(Error::io("unlink", fifo, e)),
    }
}

fn died() -> Error {
    Error::new(ErrorKind::Runtime, "the container's process died before it was started")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn runcs_versions() {
        for (line, sets) in [
            ("runc version 1.1.5+ds1\ncommit: 1", false),
            ("runc version 1.2.0-rc.1", true),
            ("runc version 2.0.0", true),
            ("", false),
        ] {
            assert_eq!(has_personality(line), sets, "{line}");
        }
    }

    #[test]
    fn kinds_go_by_the_program() {
        for (path, kind) in [
            ("/usr/bin/crun", RuntimeKind::Crun),
            ("/usr/sbin/runc", RuntimeKind::Runc),
            ("/opt/youki", RuntimeKind::Youki),
            ("/opt/kata-runtime", RuntimeKind::Other),
        ] {
            assert_eq!(RuntimeKind::of(Path::new(path)), kind);
        }
    }

    #[test]
    fn an_unknown_runtime_is_named_with_what_to_install() {
        let e = Runtime::find(&Config::default(), "/no/such/crun").unwrap_err();
        assert_eq!(e.kind(), ErrorKind::MissingProgram);
        assert_eq!(e.to_string(), "OCI runtime /no/such/crun is not installed");
        assert!(missing("crun").hint().unwrap().contains("package crun"));
    }

    #[test]
    fn cgroups_are_removed_from_every_hierarchy_or_left_to_the_runtime() {
        let root = tempfile::tempdir().unwrap();
        for hierarchy in ["memory", "pids"] {
            std::fs::create_dir_all(root.path().join(hierarchy).join("coracle/x")).unwrap();
        }
        std::fs::create_dir(root.path().join("cpu")).unwrap();
        assert!(!remove_cgroups(root.path(), "/machine.slice:coracle:x", |_| true));
        assert!(!remove_cgroups(root.path(), "/../x", |_| true));
        assert!(remove_cgroups(root.path(), "/coracle/x", |_| true));
        assert!(!root.path().join("memory/coracle/x").exists() && root.path().join("pids/coracle").exists());
        assert!(!remove_cgroups(root.path(), "/coracle/x", |_| true), "nothing was there");
        std::fs::create_dir_all(root.path().join("memory/coracle/y/child")).unwrap();
        assert!(!remove_cgroups(root.path(), "/coracle/y", |_| true));
    }

    #[test]
    fn starting_without_a_fifo_falls_back() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!write_fifo(&dir.path().join("exec.fifo")).unwrap());
        assert!(!read_fifo(&dir.path().join("exec.fifo"), 1).unwrap());
    }

    #[test]
    fn a_fifo_nobody_reads_means_the_process_died() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("exec.fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
            .unwrap();
        assert_eq!(write_fifo(&fifo).unwrap_err().kind(), ErrorKind::Runtime);
    }
}
