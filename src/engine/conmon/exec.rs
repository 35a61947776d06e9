//! Exec sessions: a further process in a running container.
//!
//! Two ways. [`ExecChild`] calls the runtime itself and is its parent: pipes for stdio, the exit code is the runtime's own. It
//! is the fast one, and what an attached session without a terminal uses; [`crate::engine::host::drain`] is what keeps its pipes
//! when our program is killed. [`ExecConmon`] puts a conmon in between, which keeps the
//! terminal (or nothing) when our program goes away: for terminals, from which the user may detach, and for `--detach`.

use super::launch::{Preserved, died};
use super::{RunDir, Runtime, arguments, runtime_error, sync};
use crate::engine::host::process::{self, PidFd};
use crate::engine::host::spawn::{Child, Spawn, scratch};
use crate::engine::{Context, Error, ErrorKind, Result};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What an exec session is started with.
#[derive(Debug)]
pub struct ExecLaunch<'a> {
    /// The runtime the container was started with.
    pub runtime: &'a Runtime,
    /// The container's full ID.
    pub id: &'a str,
    /// The session's ID.
    pub session: &'a str,
    /// The session's directory ([`RunDir::exec_session`]), with its `process.json`.
    pub dir: &'a RunDir,
    /// The process has a terminal; must agree with `process.json`.
    pub terminal: bool,
    /// Its stdin is kept open for an attached client.
    pub stdin: bool,
    /// `--preserve-fds`.
    pub preserved: &'a Preserved,
}

/// The child's ends of a session's pipes; `stdin` of `None` is /dev/null.
#[derive(Debug)]
pub struct ExecPipes {
    /// Read by the process.
    pub stdin: Option<OwnedFd>,
    /// Written by the process.
    pub stdout: OwnedFd,
    /// Written by the process, and by a runtime that fails before there is one.
    pub stderr: OwnedFd,
}

/// A session that is a child of ours.
#[derive(Debug)]
pub struct ExecChild {
    child: Child,
}

impl ExecChild {
    /// Calls `RUNTIME exec`. Whether there was a process at all is told by the pidfile, once the child has ended.
    pub fn spawn(launch: &ExecLaunch<'_>, pipes: ExecPipes) -> Result<Self> {
        let (spawn, _) = launch.preserved.give(launch.runtime.command());
        let mut spawn = spawn
            .args(["exec".as_ref(), "--pid-file".as_ref(), launch.dir.pidfile().as_os_str()])
            .args(["--process".as_ref(), launch.dir.process().as_os_str()])
            // Its own session: signals of our terminal are not the container's.
            .new_session();
        if launch.preserved.count() > 0 {
            spawn = spawn.args(["--preserve-fds".to_owned(), launch.preserved.count().to_string()]);
        }
        spawn = spawn.arg(launch.id).fd(pipes.stdout.as_fd(), 1).fd(pipes.stderr.as_fd(), 2);
        if let Some(stdin) = &pipes.stdin {
            spawn = spawn.fd(stdin.as_fd(), 0);
        }
        Ok(Self { child: spawn.spawn()? })
    }

    /// The runtime's PID.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// The runtime by descriptor. It is our child and not reaped yet, so this cannot be another process.
    pub fn pidfd(&self) -> Result<PidFd> {
        PidFd::of_child(self.child.pid())
    }

    /// The exit code of the process, or what kept it from running: without a pidfile, `complaint` is what the runtime
    /// wrote to stderr.
    pub fn wait(&mut self, launch: &ExecLaunch<'_>, complaint: impl FnOnce() -> String) -> Result<i32> {
        let code = self.child.wait()?.code();
        if launch.dir.pidfile().exists() {
            return Ok(code);
        }
        Err(runtime_error::classify(&launch.runtime.name, &complaint()))
    }
}

/// A session held by a conmon.
#[derive(Debug)]
pub struct ExecConmon {
    conmon: Child,
    sync: OwnedFd,
    start: OwnedFd,
    complaints: File,
    runtime: String,
    log: PathBuf,
}

impl ExecConmon {
    /// Starts conmon. With `attach`, its socket is ready when this returns and the runtime is not called before
    /// [`ExecConmon::start`], so that a client connected meanwhile misses nothing.
    pub fn spawn(conmon: &Path, launch: &ExecLaunch<'_>, attach: bool) -> Result<Self> {
        let (sync_reader, sync_writer) = sync::pipe()?;
        let (attach_reader, attach_writer) = sync::pipe()?;
        let (start, start_child) = sync::packets()?;
        let complaints = scratch()?;
        let (spawn, next) = launch.preserved.give(Spawn::new(conmon));
        let mut spawn = spawn
            .args(arguments(launch, attach))
            .envs(launch.runtime.env.iter().map(|(n, v)| (n, v)))
            .env("_OCI_SYNCPIPE", next.to_string())
            .env("_OCI_STARTPIPE", (next + 1).to_string())
            .fd(sync_writer.as_fd(), next)
            .fd(start_child.as_fd(), next + 1)
            .fd(complaints.as_fd(), 2)
            .directory(launch.dir.path())
            .new_session();
        if attach {
            spawn = spawn.env("_OCI_ATTACHPIPE", (next + 2).to_string()).fd(attach_writer.as_fd(), next + 2);
        }
        let mut session = Self {
            conmon: spawn.spawn()?,
            sync: sync_reader,
            start,
            complaints,
            runtime: launch.runtime.name.clone(),
            log: log(launch.dir),
        };
        drop((sync_writer, attach_writer, start_child));
        session.go()?;
        if attach && sync::read(&attach_reader)?.is_none() {
            return Err(session.died()).context("start an exec session");
        }
        Ok(session)
    }

    /// conmon's PID.
    pub fn pid(&self) -> u32 {
        self.conmon.pid()
    }

    /// conmon's start time; 0 if it is gone.
    pub fn pid_start(&self) -> u64 {
        process::start_time(self.conmon.pid()).unwrap_or_default()
    }

    /// conmon waits for a packet before it does anything, and with `attach` for another before it calls the runtime.
    fn go(&self) -> Result<()> {
        match rustix::net::send(&self.start, &[0], rustix::net::SendFlags::NOSIGNAL) {
            // It died: the sync pipe tells.
            Ok(_) | Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => Ok(()),
            Err(e) => Err(Error::os("tell conmon to start", e)),
        }
    }

    /// Has the runtime called; returns the process's PID. `attach` as given to [`ExecConmon::spawn`].
    pub fn start(&mut self, attach: bool) -> Result<u32> {
        if attach {
            self.go()?;
        }
        match sync::read(&self.sync)? {
            Some(message) if message.data > 0 => Ok(message.data.unsigned_abs()),
            Some(message) => Err(self
                .complaint(&message.text)
                .unwrap_or_else(|| runtime_error::classify(&self.runtime, &message.text))),
            None => match self.complaint("") {
                Some(complaint) => Err(complaint),
                None => Err(self.died()).context("start an exec session"),
            },
        }
    }

    /// What the runtime wrote to its log. With a terminal that is the only place: its stderr is the terminal by then, and conmon, who finds nothing on the
    /// pipe, ends without a word.
    fn complaint(&self, said: &str) -> Option<Error> {
        let text = std::fs::read_to_string(&self.log).ok().filter(|text| !text.trim().is_empty())?;
        Some(runtime_error::classify(&self.runtime, if said.trim().is_empty() { &text } else { said }))
    }

    /// Waits for the process's exit code.
    pub fn wait(&mut self) -> Result<i32> {
        match sync::read(&self.sync)? {
            Some(message) if message.data >= 0 => Ok(message.data),
            Some(message) => Err(Error::new(ErrorKind::Runtime, format!("exec session: {}", message.text))),
            None => Err(Error::new(ErrorKind::Runtime, "exec session: conmon was killed before the end")),
        }
    }

    fn died(&mut self) -> Error {
        match self.conmon.wait() {
            Ok(ended) => died(&mut self.complaints, ended.code()),
            Err(e) => e,
        }
    }
}

/// The runtime's log of a session.
fn log(dir: &RunDir) -> PathBuf {
    dir.path().join("runtime.log")
}

fn arguments(launch: &ExecLaunch<'_>, attach: bool) -> Vec<OsString> {
    let mut args = arguments::common(launch.id, launch.session, launch.runtime, "error");
    let mut log_option = OsString::from("--log=");
    log_option.push(log(launch.dir));
    args.extend(["--runtime-arg".into(), log_option]);
    args.extend(["-e".into(), "--exec-process-spec".into(), launch.dir.process().into_os_string()]);
    args.extend(["-b".into(), launch.dir.path().into(), "-p".into(), launch.dir.pidfile().into_os_string()]);
    args.extend(["-l".into(), "none".into()]);
    if attach {
        args.push("--exec-attach".into());
    }
    if launch.terminal {
        args.push("-t".into());
    } else if launch.stdin {
        args.push("-i".into());
    }
    if launch.preserved.count() > 0 {
        let option = format!("--preserve-fds={}", launch.preserved.count());
        args.extend(["--runtime-opt".into(), option.into()]);
    }
    args
}
