//! The verb exec: a further process in a running container.
//!
//! A session's files are in a directory of its own below the container's run directory: `session.json` (for inspect),
//! `process.json` (for the runtime), `pidfile`, conmon's socket and FIFOs. The directory goes when the session is over; what a killed
//! program leaves there is swept by the next exec, and with the run directory by the container's end.

use super::attach::{Attached, Gate, Pipes};
use super::exec_process::{Wanted, derive};
use super::exec_sessions::{me, remember, sweep};
use super::ground::Ground;
use super::pause::after_commit;
use super::scope;
use super::start::anticipate;
use super::told::ToldSession;
use crate::engine::conmon::{self, ExecChild, ExecConmon, ExecLaunch, ExecPipes, Preserved, RunDir, Runtime};
use crate::engine::host::drain::Drain;
use crate::engine::host::process::{self, PidFd};
use crate::engine::host::random;
use crate::engine::host::rooted;
use crate::engine::oci::user;
use crate::engine::spec::{ContainerSpec, ProcessSpec, User};
use crate::engine::state::{Record, Status};
use crate::engine::{Context, Engine, Error, ErrorKind, Result};
use rustix::fs::{Mode, OFlags};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
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
    /// Keeps the pipes of a child from breaking when this program is killed.
    drain: Option<Drain>,
    container: String,
    runtime: Runtime,
    dir: RunDir,
    terminal: bool,
    over: bool,
    told: ToldSession,
    ground: Ground,
}

#[derive(Debug)]
enum Holder {
    Child(ExecChild),
    Conmon(ExecConmon),
}

/// Prepares a session in the running container `id`, and starts it as far as output cannot be lost: see
/// [`Session::start`].
pub fn exec(engine: &Engine, id: &str, options: &ExecOptions) -> Result<Session> {
    let record = after_commit(engine, id)?;
    if record.state.status != Status::Running {
        // docker's words, then podman's.
        let what = match record.state.status {
            Status::Paused => "is paused, unpause the container before exec",
            _ => "is not running: can only create exec sessions on running containers",
        };
        return Err(Error::new(ErrorKind::InUse, format!("container {} {what}", record.name())));
    }
    anticipate(engine, record.spec()?);
    make(engine, &record, options).map_err(|e| Ground::of(&record).explain(e))
}

fn make(engine: &Engine, record: &Record, options: &ExecOptions) -> Result<Session> {
    let run_dir = RunDir::new(engine.state.run_dir(&record.id));
    sweep(&run_dir);
    let process = process(&run_dir, record, options)?;
    let session = random::id()?;
    let dir = run_dir.exec_session(&session);
    // Never the run's own directory: that is gone when the run is.
    for path in [&run_dir.exec_sessions(), dir.path()] {
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::io("mkdir", path, e));
            }
            _ => {}
        }
    }
    let unfinished = Unfinished(Some(dir.clone()));
    remember(&dir, &options.process, me(), me())?;
    crate::failpoint!("exec.after-directory");
    let bytes = serde_json::to_vec(&process).map_err(|e| Error::invalid("process.json").with_source(e))?;
    fs::write(dir.process(), bytes).map_err(|e| Error::io("write", dir.process(), e))?;
    crate::failpoint!("exec.after-process");
    let runtime = Runtime::find(&engine.config, &record.state.runtime)?;
    scope::reach(engine, &record.state.cgroup_path);
    let command = options.process.command.join(" ");
    let told = ToldSession::new(engine, record, &session);
    told.tell(&format!("exec_create: {command}"));
    let session = spawn(engine, record, runtime, (session, told), dir, options)?;
    session.told.tell(&format!("exec_start: {command}"));
    unfinished.keep();
    Ok(session)
}

fn spawn(
    engine: &Engine,
    record: &Record,
    runtime: Runtime,
    (id, told): (String, ToldSession),
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
    let mut drain = None;
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
        let (child, pipes, kept) = child(&launch)?;
        drain = Some(kept);
        let (pid, start) = (child.pid(), process::start_time(child.pid()).unwrap_or_default());
        (Holder::Child(child), Some(Attached::pipes(dir.clone(), pipes)), pid, start)
    };
    crate::failpoint!("exec.after-spawn");
    remember(&dir, &options.process, me(), (pid, start))?;
    let container = record.id.clone();
    let ground = Ground::of(record);
    Ok(Session {
        ground,
        id,
        attached,
        holder,
        drain,
        container,
        runtime,
        dir,
        terminal: options.process.terminal,
        over: false,
        told,
    })
}

/// The runtime as our child, with pipes.
fn child(launch: &ExecLaunch<'_>) -> Result<(ExecChild, Pipes, Drain)> {
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
    let drain = Drain::start([stdout.as_fd(), stderr.as_fd()])?;
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
    Ok((child, pipes, drain))
}

impl Session {
    /// Lets the process go. The error is the runtime's: [`crate::engine::ErrorKind::CommandNotFound`] and the like.
    ///
    /// A session that is our own child is under way already; its pipes hold what it has written.
    pub fn start(&mut self) -> Result<()> {
        if let Holder::Conmon(conmon) = &mut self.holder {
            let started = conmon.start(self.attached.is_some());
            self.over |= started.is_err();
            started.map_err(|e| self.ground.explain(e))?;
        }
        crate::failpoint!("exec.after-start");
        Ok(())
    }

    /// Kills its process, if there is one yet.
    pub fn kill(&self) -> Result<()> {
        let pid = fs::read_to_string(self.dir.pidfile()).ok().and_then(|text| text.trim().parse().ok());
        let process =
            pid.and_then(|pid| PidFd::open(pid, process::start_time(pid)?).transpose()).transpose()?;
        process.map_or(Ok(()), |process| process.signal(libc::SIGKILL).map(drop))
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
        if let Some(drain) = self.drain.take() {
            drain.dismiss();
        }
        if let Ok(code) = code {
            self.told.tell_end(code);
        }
        crate::failpoint!("exec.after-exit");
        code.map_err(|e| self.ground.explain(e))
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
    identity(root.as_fd(), user, groups)
}

/// A user by the files below a container's root.
pub(super) fn identity(root: BorrowedFd<'_>, user: &str, groups: &[String]) -> Result<User> {
    let read = |path: &str| read_small(root, Path::new(path));
    user::resolve(user, groups, &read("etc/passwd")?, &read("etc/group")?).context(format!("user {user:?}"))
}

/// The names of users and of groups by their IDs, as the files below a container's root have them.
pub(super) fn names(root: &Path) -> Result<(BTreeMap<u32, String>, BTreeMap<u32, String>)> {
    let root = rustix::fs::open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::io("open", root, e))?;
    let read = |path: &str| read_small(root.as_fd(), Path::new(path));
    Ok(user::names(&read("etc/passwd")?, &read("etc/group")?))
}

/// Larger ones are not believed.
const LARGEST_PASSWD: u64 = 1 << 20;

fn read_small(root: BorrowedFd<'_>, path: &Path) -> Result<Vec<u8>> {
    let (file, size) = match rooted::open_regular_in_root(root, path) {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn users_are_looked_up_below_the_process_root() {
        let user = lookup(std::process::id(), "root", &[]).unwrap();
        assert_eq!((user.uid, user.home.as_str()), (0, "/root"));
        assert!(lookup(std::process::id(), "no-such-user", &[]).is_err());
    }
}
