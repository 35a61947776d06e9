//! The verb exec: a further process in a running container.
//!
//! A session's files are in a directory of its own below the container's run directory: `session.json` (for inspect),
//! `process.json` (for the runtime), `pidfile`, conmon's socket and FIFOs. The directory goes when the session is over; what a killed
//! program leaves there is swept by the next exec, and with the run directory by the container's end.

use super::attach::{Attached, Gate, Pipes, state_error};
use super::exec_process::{Wanted, derive};
use crate::engine::conmon::{self, ExecChild, ExecConmon, ExecLaunch, ExecPipes, Preserved, RunDir, Runtime};
use crate::engine::host::process;
use crate::engine::host::rooted;
use crate::engine::oci::user;
use crate::engine::spec::{ContainerSpec, ProcessSpec, User};
use crate::engine::state::{Record, Status};
use crate::engine::{Context, Engine, Error, Result};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// What to execute, and how.
#[derive(Debug, Default)]
pub struct ExecOptions {
    /// Command, environment over the container's, user and directory (empty: the container's), terminal.
    pub process: ProcessSpec,
    /// The terminal's first size: rows, columns.
    pub size: Option<(u16, u16)>,
    /// Its stdin is ours, otherwise /dev/null.
    pub stdin: bool,
    /// All capabilities.
    pub privileged: bool,
    /// Nobody attaches.
    pub detach: bool,
    /// `--preserve-fds`.
    pub preserved: Preserved,
}

/// A session under way. Dropping it detaches; the process goes on.
#[derive(Debug)]
pub struct Session {
    /// 64 hex digits.
    pub id: String,
    /// Its streams; `None` for a detached one.
    pub attached: Option<Attached>,
    holder: Holder,
    container: String,
    runtime: Runtime,
    dir: RunDir,
    terminal: bool,
    over: bool,
}

#[derive(Debug)]
enum Holder {
    Child(ExecChild),
    Conmon(ExecConmon),
}

/// `session.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// Program and arguments.
    pub command: Vec<String>,
    /// As given by `--user`.
    pub user: String,
    /// It has a terminal.
    pub terminal: bool,
    /// The session lives as long as this process: ours while it is being made, then the runtime or conmon.
    pub holder: u32,
    /// Start time of `holder`.
    pub holder_start: u64,
}

/// Prepares a session in the running container `id`, and starts it as far as output cannot be lost: see
/// [`Session::start`].
pub fn exec(engine: &Engine, id: &str, options: &ExecOptions) -> Result<Session> {
    let record = engine.state.load(id)?;
    if record.state.status != Status::Running {
        let what = match record.state.status {
            Status::Paused => "cannot exec in a paused container, unpause it first",
            _ => "can only create exec sessions on running containers",
        };
        return Err(state_error(&record, what));
    }
    let run_dir = RunDir::new(engine.state.run_dir(id));
    sweep(&run_dir);
    let process = process(&run_dir, &record, options)?;
    let session = new_id()?;
    let dir = run_dir.exec_session(&session);
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(dir.path()).map_err(|e| Error::io("mkdir", dir.path(), e))?;
    let unfinished = Unfinished(Some(dir.clone()));
    let me = std::process::id();
    remember(&dir, options, me, process::start_time(me).unwrap_or_default())?;
    crate::failpoint!("exec.after-directory");
    let bytes = serde_json::to_vec(&process).map_err(|e| Error::invalid("process.json").with_source(e))?;
    fs::write(dir.process(), bytes).map_err(|e| Error::io("write", dir.process(), e))?;
    crate::failpoint!("exec.after-process");
    let runtime = Runtime::find(&engine.config, &record.state.runtime)?;
    let session = spawn(engine, &record, runtime, session, dir, options)?;
    unfinished.keep();
    Ok(session)
}

fn spawn(
    engine: &Engine,
    record: &Record,
    runtime: Runtime,
    id: String,
    dir: RunDir,
    options: &ExecOptions,
) -> Result<Session> {
    let launch = ExecLaunch {
        runtime: &runtime,
        id: &record.id,
        session: &id,
        dir: &dir,
        terminal: options.process.terminal,
        stdin: options.stdin,
        preserved: &options.preserved,
    };
    let (holder, attached, pid, start) = if options.process.terminal || options.detach {
        let conmon = ExecConmon::spawn(&conmon::find(&engine.config)?, &launch, !options.detach)?;
        let attached = if options.detach {
            None
        } else {
            Some(Attached::connect(dir.clone(), options.process.terminal, None)?)
        };
        let (pid, start) = (conmon.pid(), conmon.pid_start());
        (Holder::Conmon(conmon), attached, pid, start)
    } else {
        let (child, pipes) = child(&launch)?;
        let (pid, start) = (child.pid(), process::start_time(child.pid()).unwrap_or_default());
        (Holder::Child(child), Some(Attached::pipes(dir.clone(), pipes)), pid, start)
    };
    crate::failpoint!("exec.after-spawn");
    remember(&dir, options, pid, start)?;
    let container = record.id.clone();
    Ok(Session {
        id,
        attached,
        holder,
        container,
        runtime,
        dir,
        terminal: options.process.terminal,
        over: false,
    })
}

/// The runtime as our child, with pipes.
fn child(launch: &ExecLaunch<'_>) -> Result<(ExecChild, Pipes)> {
    let (stdin, child_stdin) = if launch.stdin {
        let (ours, theirs) = Pipes::pair(false)?;
        (Some(ours), Some(theirs))
    } else {
        (None, None)
    };
    let (stdout, child_stdout) = Pipes::pair(true)?;
    let (stderr, child_stderr) = Pipes::pair(true)?;
    let gate = Gate { pidfile: launch.dir.pidfile(), held: false };
    let pipes = ExecPipes { stdin: child_stdin, stdout: child_stdout, stderr: child_stderr };
    let child = ExecChild::spawn(launch, pipes)?;
    let pidfd = child.pidfd()?;
    let pipes = Pipes {
        stdin,
        stdout: Some(stdout),
        stderr: Some(stderr),
        gate: Some(gate),
        child: pidfd,
        ended: false,
    };
    Ok((child, pipes))
}

impl Session {
    /// Lets the process go. The error is the runtime's: [`crate::engine::ErrorKind::CommandNotFound`] and the like.
    ///
    /// A session that is our own child is under way already; its pipes hold what it has written.
    pub fn start(&mut self) -> Result<()> {
        if let Holder::Conmon(conmon) = &mut self.holder {
            let started = conmon.start(self.attached.is_some());
            self.over |= started.is_err();
            started?;
        }
        crate::failpoint!("exec.after-start");
        Ok(())
    }

    /// Waits for the end of a process whose streams have ended; its exit code, or the runtime's error.
    pub fn wait(&mut self) -> Result<i32> {
        let code = match &mut self.holder {
            Holder::Conmon(conmon) => conmon.wait(),
            Holder::Child(child) => {
                let preserved = Preserved::default();
                let launch = ExecLaunch {
                    runtime: &self.runtime,
                    id: &self.container,
                    session: &self.id,
                    dir: &self.dir,
                    terminal: self.terminal,
                    stdin: false,
                    preserved: &preserved,
                };
                let attached = &mut self.attached;
                child.wait(&launch, || attached.as_mut().map(Attached::complaint).unwrap_or_default())
            }
        };
        self.over = true;
        crate::failpoint!("exec.after-exit");
        code
    }
}

impl Drop for Session {
    /// A session that is over leaves nothing; one that goes on keeps its directory.
    fn drop(&mut self) {
        if self.over {
            // The next exec's sweep has another try.
            let _ = fs::remove_dir_all(self.dir.path());
        }
    }
}

/// Removes the directory of a session that could not be made.
struct Unfinished(Option<RunDir>);

impl Unfinished {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(dir) = &self.0 {
            let _ = fs::remove_dir_all(dir.path());
        }
    }
}

fn remember(dir: &RunDir, options: &ExecOptions, holder: u32, holder_start: u64) -> Result<()> {
    let record = SessionRecord {
        command: options.process.command.clone(),
        user: options.process.user.clone(),
        terminal: options.process.terminal,
        holder,
        holder_start,
    };
    let bytes = serde_json::to_vec(&record).map_err(|e| Error::invalid("session.json").with_source(e))?;
    let path = dir.path().join("session.json");
    fs::write(&path, bytes).map_err(|e| Error::io("write", path, e))
}

/// The sessions of a container that are under way: ID and record. Writes nothing.
pub fn sessions(engine: &Engine, id: &str) -> Vec<(String, SessionRecord)> {
    let run_dir = RunDir::new(engine.state.run_dir(id));
    let mut found: Vec<_> = entries(&run_dir)
        .filter_map(|name| Some((name.clone(), live(&run_dir.exec_session(&name))?)))
        .collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

fn entries(run_dir: &RunDir) -> impl Iterator<Item = String> {
    let names = fs::read_dir(run_dir.exec_sessions()).into_iter().flatten();
    names.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

fn live(dir: &RunDir) -> Option<SessionRecord> {
    let text = fs::read(dir.path().join("session.json")).ok()?;
    let record: SessionRecord = serde_json::from_slice(&text).ok()?;
    process::alive(record.holder, record.holder_start).then_some(record)
}

/// Removes what sessions left whose program was killed, and those of `--detach`, which nobody waits for.
fn sweep(run_dir: &RunDir) {
    for name in entries(run_dir) {
        let dir = run_dir.exec_session(&name);
        // Somebody is between making the directory and writing the record into it.
        let young = fs::metadata(dir.path()).and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
        let unwritten = !dir.path().join("session.json").exists();
        if live(&dir).is_none() && !(unwritten && young.is_none_or(|age| age.as_secs() < 60)) {
            let _ = fs::remove_dir_all(dir.path());
        }
    }
}

/// The container's `config.json`, as far as it is needed here.
#[derive(Deserialize)]
struct Config {
    process: serde_json::Map<String, serde_json::Value>,
}

fn process(
    run_dir: &RunDir,
    record: &Record,
    options: &ExecOptions,
) -> Result<serde_json::Map<String, serde_json::Value>> {
    let path = run_dir.config();
    let bytes = fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
    let config: Config = serde_json::from_slice(&bytes)
        .map_err(|e| Error::corrupt(format!("parse {}", path.display())).with_source(e))?;
    let own_user = options.process.user.is_empty();
    let spec = if own_user && !options.privileged { &ContainerSpec::default() } else { record.spec()? };
    let user = if own_user {
        None
    } else {
        Some(lookup(record.state.pid, &options.process.user, &spec.process.groups)?)
    };
    let wanted = Wanted {
        command: &options.process.command,
        env: &options.process.env,
        unset: &options.process.unset_env,
        workdir: &options.process.workdir,
        user: user.as_ref(),
        keep_home: spec.process.env.iter().any(|e| e.starts_with("HOME=")),
        terminal: options.process.terminal,
        size: options.size,
        privileged: if options.privileged { Some(bounding_set()?) } else { None },
        cap_add: &spec.security.cap_add,
    };
    derive(&config.process, &wanted)
}

/// What the runtime can give at most: the bounding set of this process (proc_pid_status(5), `CapBnd`).
fn bounding_set() -> Result<u64> {
    let text =
        fs::read_to_string("/proc/self/status").map_err(|e| Error::io("read", "/proc/self/status", e))?;
    let line = text.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .ok_or_else(|| Error::corrupt("/proc/self/status holds no CapBnd"))
}

/// Resolves a user against the container's own files, as its processes see them.
fn lookup(pid: u32, user: &str, groups: &[String]) -> Result<User> {
    let root = format!("/proc/{pid}/root");
    let root = rustix::fs::open(&root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::io("open", &root, e))?;
    let read = |path: &str| read_small(&root, Path::new(path));
    user::resolve(user, groups, &read("etc/passwd")?, &read("etc/group")?).context(format!("user {user:?}"))
}

/// Larger ones are not believed.
const LARGEST_PASSWD: u64 = 1 << 20;

fn read_small(root: &OwnedFd, path: &Path) -> Result<Vec<u8>> {
    let (file, size) = match rooted::open_regular_in_root(root.as_fd(), path) {
        Err(e) if e.kind() == crate::engine::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    if size > LARGEST_PASSWD {
        return Err(Error::invalid(format!("{} in the container is too large", path.display())));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST_PASSWD).read_to_end(&mut bytes).map_err(|e| Error::io("read", path, e))?;
    Ok(bytes)
}

fn new_id() -> Result<String> {
    let mut bytes = [0; 32];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| Error::os("getrandom", e))?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_of_dead_holders_are_swept_and_live_sessions_stay() {
        let tmp = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(tmp.path());
        let me = std::process::id();
        for (name, holder, start) in
            [("live", me, process::start_time(me).unwrap()), ("dead", me, 1), ("unwritten", 0, 0)]
        {
            let dir = run_dir.exec_session(name);
            fs::create_dir_all(dir.path()).unwrap();
            if holder != 0 {
                remember(&dir, &ExecOptions::default(), holder, start).unwrap();
            }
        }
        sweep(&run_dir);
        let mut left: Vec<String> = entries(&run_dir).collect();
        left.sort();
        assert_eq!(left, ["live", "unwritten"]);
    }

    #[test]
    fn users_are_looked_up_below_the_process_root() {
        let user = lookup(std::process::id(), "root", &[]).unwrap();
        assert_eq!((user.uid, user.home.as_str()), (0, "/root"));
        assert!(lookup(std::process::id(), "no-such-user", &[]).is_err());
    }
}
