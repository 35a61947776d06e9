//! Starts conmon for a container: it is got ready beside the bundle, and has the runtime create the container once that is finished.

use super::{RunDir, Runtime, arguments, runtime_error, sync};
use crate::engine::config::Config;
use crate::engine::host::process;
use crate::engine::host::spawn::{Child, Spawn, inherited, scratch};
use crate::engine::host::systemd::Scope;
use crate::engine::spec::CgroupManager;
use crate::engine::{Context, Error, ErrorKind, Result};
use std::ffi::OsString;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Where conmon writes what the container says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogTarget<'a> {
    /// Nowhere.
    #[default]
    None,
    /// The Kubernetes CRI log format; emptied and begun again when it would grow beyond `max_size` bytes.
    File {
        /// The file; made if it does not exist. It cannot hold a colon, where conmon's option value is cut.
        path: &'a Path,
        /// Bytes.
        max_size: Option<u64>,
    },
    /// The systemd journal.
    Journald {
        /// `CONTAINER_TAG`; may be empty.
        tag: &'a str,
    },
    /// The container has our own stdin, stdout and stderr, without conmon between them; there is no attach socket then.
    Passthrough,
}

/// Descriptors from 3 on that the container's process keeps (`--preserve-fds`).
#[derive(Debug, Default)]
pub struct Preserved(Vec<OwnedFd>);

impl Preserved {
    /// Takes the descriptors 3 … 3 + `count` - 1 that this program was started with, or those in `list` alone; a number between
    /// them is /dev/null then. Fails if one is not open, or is stdio.
    ///
    /// To be called before anything else opens files, or numbers would name something of our own.
    pub fn take(count: u32, list: &[u32]) -> Result<Self> {
        if let Some(number) = list.iter().find(|number| **number < 3) {
            return Err(Error::invalid(format!("file descriptor {number} cannot be preserved: it is stdio")));
        }
        let end = list.iter().map(|number| number.saturating_add(1)).max().unwrap_or(0);
        let end = end.max(count.saturating_add(3)).min(1 << 20);
        let fds = (3..end).map(|number| {
            if !list.is_empty() && !list.contains(&number) {
                let null = std::fs::File::options().read(true).write(true).open("/dev/null");
                return null.map(OwnedFd::from).map_err(|e| Error::io("open", "/dev/null", e));
            }
            i32::try_from(number).ok().and_then(inherited).ok_or_else(|| {
                Error::invalid(format!("file descriptor {number} is not open, so it cannot be preserved"))
            })
        });
        Ok(Self(fds.collect::<Result<_>>()?))
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Gives them to a child; returns the next free number.
    pub(super) fn give<'a>(&'a self, mut spawn: Spawn<'a>) -> (Spawn<'a>, i32) {
        let mut number = 3;
        for fd in &self.0 {
            spawn = spawn.fd(fd.as_fd(), number);
            number += 1;
        }
        (spawn, number)
    }
}

/// What conmon is started with. [`Launch::new`] gives the fields that have to be and the defaults of the others.
#[derive(Debug)]
pub struct Launch<'a> {
    /// conmon itself, see [`find`].
    pub conmon: &'a Path,
    /// The OCI runtime; its environment is conmon's and the exit command's, too.
    pub runtime: &'a Runtime,
    /// The container's full ID.
    pub id: &'a str,
    /// The container's name, for the journal.
    pub name: &'a str,
    /// The bundle; `config.json` may still be missing.
    pub run_dir: &'a RunDir,
    /// Where the exit file is going to be, named by the ID; see [`super::ExitFile`].
    pub exit_dir: &'a Path,
    /// Where output is logged.
    pub log: LogTarget<'a>,
    /// The process has a terminal; must agree with `config.json`.
    pub terminal: bool,
    /// Without a terminal: stdin is a pipe from the attach socket, otherwise it is /dev/null.
    pub stdin: bool,
    /// stdin stays open when an attached client goes away (docker's StdinOnce=false: `run -di`).
    pub leave_stdin_open: bool,
    /// Seconds until conmon kills the container; 0: never.
    pub timeout: u32,
    /// What conmon runs when all is over: program (an absolute path) and arguments.
    pub exit_command: Vec<OsString>,
    /// Who makes the cgroup.
    pub cgroup_manager: CgroupManager,
    /// chroot instead of pivot_root (containers.conf `no_pivot_root`).
    pub no_pivot: bool,
    /// No session keyring of its own (containers.conf `keyring = false`).
    pub no_new_keyring: bool,
    /// The host's notification socket, for `--sdnotify container`.
    pub sdnotify_socket: Option<&'a Path>,
    /// `--preserve-fds`.
    pub preserved: &'a Preserved,
    /// CRIU's images, and arguments of the runtime's: the processes are restored, and run at once.
    pub restore: Option<(&'a Path, &'a [String])>,
    /// conmon's log level; it says little and nobody listens.
    pub log_level: &'a str,
    /// With [`LogTarget::Passthrough`]: stdin, stdout, stderr.
    pub stdio: Option<[BorrowedFd<'a>; 3]>,
}

impl<'a> Launch<'a> {
    /// Everything optional off.
    pub fn new(conmon: &'a Path, runtime: &'a Runtime, run_dir: &'a RunDir, exit_dir: &'a Path) -> Self {
        Self {
            conmon,
            runtime,
            id: "",
            name: "",
            run_dir,
            exit_dir,
            log: LogTarget::None,
            terminal: false,
            stdin: false,
            leave_stdin_open: false,
            timeout: 0,
            exit_command: Vec::new(),
            cgroup_manager: CgroupManager::default(),
            no_pivot: false,
            no_new_keyring: false,
            sdnotify_socket: None,
            preserved: const { &Preserved(Vec::new()) },
            restore: None,
            log_level: "error",
            stdio: None,
        }
    }
}

/// Where systemd is asked for a scope.
#[derive(Clone, Debug)]
pub struct ConmonScope {
    /// Its bus (`systemd::SYSTEM_BUS`, or the user's).
    pub bus: String,
    /// The caller's user ID outside of any user namespace.
    pub uid: u32,
    /// The slice for the scope.
    pub slice: String,
}

/// A created container.
#[derive(Debug)]
pub struct Launched {
    /// The container's first process, waiting for [`Runtime::start`].
    pub pid: u32,
    /// Its start time ([`process::start_time`]); 0 if it has died already.
    pub pid_start: u64,
    /// conmon's PID.
    pub conmon_pid: u32,
    /// conmon's start time; 0 if it has died already.
    pub conmon_start: u64,
    /// conmon, a child of this process until this process ends. Waiting for it is waiting for the exit command.
    pub conmon: Child,
}

/// conmon's place: `--conmon`, else containers.conf's `conmon_path`, else `$PATH` and the usual directories.
pub fn find(config: &Config) -> Result<PathBuf> {
    let missing = |what: String| {
        Error::new(ErrorKind::MissingProgram, what)
            .with_hint("install the package conmon (Debian, Ubuntu, Fedora: conmon)")
    };
    if let Some(path) = &config.overrides.conmon {
        return process::find_program(&path.to_string_lossy(), &config.env.path())
            .ok_or_else(|| missing(format!("conmon is not at {}", path.display())));
    }
    let mut configured = config.containers.engine.conmon_path.values.iter();
    configured
        .find_map(|path| process::find_program(path, &[] as &[&Path]))
        .or_else(|| process::find_program("conmon", &config.env.path()))
        .ok_or_else(|| missing("conmon is not installed".to_owned()))
}

/// The environment conmon, the runtime and the exit command get: where things are, and nothing of what else the caller
/// happens to have set, some of which would end in a container's or a log's hands.
pub fn environment(config: &Config) -> Vec<(String, String)> {
    const PASSED: [&str; 16] = [
        "HOME",
        "USER",
        "LOGNAME",
        "XDG_RUNTIME_DIR",
        "XDG_DATA_HOME",
        "XDG_CONFIG_HOME",
        "XDG_CACHE_HOME",
        "CONTAINERS_CONF",
        "CONTAINERS_CONF_OVERRIDE",
        "CONTAINERS_STORAGE_CONF",
        "STORAGE_DRIVER",
        "STORAGE_OPTS",
        "TMPDIR",
        "TZ",
        // Set in services of systemd, see container::start.
        "INVOCATION_ID",
        "CORACLE_FAILPOINT",
    ];
    let vars = &config.env.vars;
    let mut env: Vec<(String, String)> = PASSED
        .iter()
        .filter(|name| **name != "CORACLE_FAILPOINT" || cfg!(feature = "failpoints"))
        .filter_map(|name| vars.get(*name).map(|value| ((*name).to_owned(), value.clone())))
        .collect();
    // systemd's bus: a user's own, never the user's for root.
    if let Some(bus) = config.env.user_bus() {
        env.push(("DBUS_SESSION_BUS_ADDRESS".to_owned(), bus));
    }
    if config.rootless() {
        // The exit command starts inside our user namespace, where the caller's IDs are not to be seen.
        env.push(("_CONTAINERS_ROOTLESS_UID".to_owned(), config.env.uid.to_string()));
        env.push(("_CONTAINERS_ROOTLESS_GID".to_owned(), config.env.gid.to_string()));
    }
    let path = vars.get("PATH").filter(|path| !path.is_empty());
    env.push(("PATH".to_owned(), path.cloned().unwrap_or_else(|| process::PROGRAM_DIRECTORIES.join(":"))));
    let configured = config.containers.engine.conmon_env_vars.values.iter();
    env.extend(configured.filter_map(|var| var.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())));
    env
}

/// A conmon that has been started and waits for a finished bundle. Dropped, it ends without having done anything.
///
/// When this process is killed it goes on as if it had been told to: so `config.json` is to be written last, without which
/// no runtime creates anything.
#[derive(Debug)]
pub struct Standby {
    id: String,
    /// The runtime's name.
    runtime: String,
    conmon: Option<Child>,
    sync: OwnedFd,
    go: OwnedFd,
    complaints: std::fs::File,
}

/// Starts conmon, which waits for [`Standby::go`] (its `_OCI_STARTPIPE`, `src/conmon.c`): what it and its libraries need to get
/// ready is done meanwhile.
///
/// conmon leads a session of its own: no signal of our terminal reaches it or the container.
pub fn stand_by(launch: &Launch<'_>) -> Result<Standby> {
    if let LogTarget::File { path, .. } = &launch.log
        && path.to_string_lossy().contains(':')
    {
        return Err(Error::invalid(format!("log path {} holds a colon", path.display())));
    }
    let (sync, writer) = sync::pipe()?;
    let (start, go) = sync::pipe()?;
    let complaints = scratch()?;
    let (spawn, next) = launch.preserved.give(Spawn::new(launch.conmon));
    let mut spawn = spawn
        .args(arguments::create(launch))
        .envs(launch.runtime.env.iter().map(|(n, v)| (n, v)))
        .env("_OCI_SYNCPIPE", next.to_string())
        .fd(writer.as_fd(), next)
        .env("_OCI_STARTPIPE", (next + 1).to_string())
        .fd(start.as_fd(), next + 1)
        .directory(launch.run_dir.path())
        .new_session();
    if let Some(stdio) = launch.stdio.filter(|_| launch.log == LogTarget::Passthrough) {
        for (number, fd) in (0..).zip(stdio) {
            spawn = spawn.fd(fd, number);
        }
    } else {
        spawn = spawn.fd(complaints.as_fd(), 2);
    }
    tracing::debug!("starting {spawn:?}");
    let conmon = Some(spawn.spawn()?);
    let (id, runtime) = (launch.id.to_owned(), launch.runtime.name.clone());
    Ok(Standby { id, runtime, conmon, sync, go, complaints })
}

impl Drop for Standby {
    fn drop(&mut self) {
        if let Some(mut conmon) = self.conmon.take() {
            conmon.kill();
            // It is ours and killed: its end is certain.
            let _ = conmon.wait();
        }
    }
}

impl Standby {
    /// The bundle is finished: waits until the runtime has created the container, or has said why it could not
    /// ([`ErrorKind::CommandNotFound`], [`ErrorKind::CommandNotExecutable`] or [`ErrorKind::Runtime`]). conmon is moved to `scope`
    /// of systemd meanwhile; `None`: it stays where this process is.
    ///
    /// When this fails, conmon has ended; what the runtime left behind is for [`Runtime::delete`].
    pub fn go(mut self, scope: Option<&ConmonScope>) -> Result<Launched> {
        let Some(mut conmon) = self.conmon.take() else {
            return Err(Error::new(ErrorKind::Runtime, "conmon is gone"));
        };
        // One that has ended is told by the other pipe.
        let _ = rustix::io::write(&self.go, &[0]);
        let scope = scope.map(|scope| move_to_scope(&self.id, scope, conmon.pid()));
        match sync::read(&self.sync)? {
            Some(message) if message.data > 0 => {
                if let Some(Err(e)) = scope.map(|scope| scope.and_then(Scope::wait)) {
                    tracing::warn!("conmon stays in this session's cgroup and may end with it: {e}");
                }
                let pid = message.data.unsigned_abs();
                let conmon_pid = conmon.pid();
                Ok(Launched {
                    pid,
                    pid_start: process::start_time(pid).unwrap_or_default(),
                    conmon_pid,
                    conmon_start: process::start_time(conmon_pid).unwrap_or_default(),
                    conmon,
                })
            }
            // The exit command of a conmon that fails is not ours to wait for here.
            Some(message) => Err(runtime_error::classify(&self.runtime, &message.text)),
            None => {
                let ended = conmon.wait()?;
                Err(died(&mut self.complaints, ended.code())).context("start conmon")
            }
        }
    }
}

/// Every conmon has a scope of its own name: after a quick restart the last one's may still be there.
fn move_to_scope(id: &str, scope: &ConmonScope, pid: u32) -> Result<Scope> {
    let name = format!("coracle-conmon-{id}-{pid}.scope");
    Scope::request(&scope.bus, scope.uid, &name, &scope.slice, pid)
}

/// conmon broke off without a word on the sync pipe; what it wrote to stderr tells why.
pub(super) fn died(complaints: &mut std::fs::File, code: i32) -> Error {
    let mut text = Vec::new();
    let read = complaints.rewind().and_then(|()| complaints.take(8192).read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    let last = text.lines().rfind(|line| !line.trim().is_empty()).filter(|_| read.is_ok());
    Error::new(
        ErrorKind::Runtime,
        last.map_or_else(|| format!("conmon exited with code {code}"), str::to_owned),
    )
}
