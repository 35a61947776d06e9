//! `start`: from a record to a running process.
//!
//! Under the container's lock: bundle directory, root filesystem, the container's own files, `config.json`, conmon (which
//! has the runtime create the process), record, attach, go. The bundle directory is there from the first step to the end of
//! the clean-up, so an interruption at any point is seen and undone by [`super::settle`].

use super::settle::{exit_file, idle_status, settle, undo_start};
use super::stop::gone;
use super::told::{tell, tell_surroundings};
use super::{checkpoint, facts, health, network, notify, prepare, scope, seccomp_cache};
use crate::engine::conmon::{self, Launch, LogTarget, Preserved, RunDir, Runtime, Standby, Waited, stand_by};
use crate::engine::host::atomic::{self, Durability};
use crate::engine::host::cgroup;
use crate::engine::host::process::{self, PidFd};
use crate::engine::oci;
use crate::engine::spec::{CgroupManager, ContainerSpec};
use crate::engine::state::{ContainerState, Locked, Record, Status};
use crate::engine::{Context, Engine, Error, ErrorKind, Result};
use std::ffi::OsString;
use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How to start.
#[derive(Debug, Default)]
pub struct StartOptions<'a> {
    /// The restart policy starts it: its count goes on.
    pub keep_restart_count: bool,
    /// `--preserve-fds`.
    pub preserved: Preserved,
    /// With the log drivers `passthrough` and `passthrough-tty`: the container's stdin, stdout and stderr.
    pub stdio: Option<[BorrowedFd<'a>; 3]>,
    /// Nobody will attach stdin, so it stays open when a client goes away (`-di`).
    pub detached: bool,
    /// Its processes are restored from a checkpoint.
    pub restoration: Option<Restoration>,
}

/// What processes are restored from.
#[derive(Debug)]
pub struct Restoration {
    /// Directory of CRIU's images.
    pub images: PathBuf,
    /// Flags of the runtime's `restore`.
    pub args: Vec<String>,
    /// Tar of what was in /dev/shm, where that is bound into the container.
    pub shared_memory: Option<PathBuf>,
}

/// Begins what the runtime is going to wait for and what needs no container: to be called by front ends as soon as it is
/// clear that one of this spec is going to be made and started.
pub fn anticipate(engine: &Engine, spec: &ContainerSpec) {
    // "split" moves all processes that are where we are.
    if !engine.rootless() && !matches!(spec.cgroups.as_str(), "split" | "disabled") {
        cgroup::anticipate_join();
    }
}

/// Called when the process exists and before it runs: the moment to attach without losing output.
pub type BeforeStart<'a> = &'a mut dyn FnMut(&RunDir) -> Result<()>;

/// Starts the container `id`. `false`: it ran already, and `attach` was called with the running container's directory.
///
/// # Errors
/// [`ErrorKind::CommandNotFound`], [`ErrorKind::CommandNotExecutable`], [`ErrorKind::Runtime`] as the runtime says; everything
/// made for the start is gone again then.
pub fn start(engine: &Engine, id: &str, options: StartOptions<'_>, attach: BeforeStart<'_>) -> Result<bool> {
    let locked = engine.state.lock(id)?;
    let Some(mut record) = settle(engine, &locked)? else { return Err(gone(id)) };
    match record.state.status {
        Status::Running => {
            attach(&RunDir::new(engine.state.run_dir(id)))?;
            return Ok(false);
        }
        Status::Paused => {
            let name = record.name();
            return Err(Error::new(ErrorKind::InUse, format!("cannot start container {name}: it is paused"))
                .with_hint(format!("coracle unpause {name}")));
        }
        Status::Initialized => {
            let initialized = go_on(engine, &locked, &mut record, options.keep_restart_count, attach);
            undone(engine, &locked, &mut record, initialized)?;
        }
        _ => start_locked(engine, &locked, &mut record, options, attach)?,
    }
    Ok(true)
}

/// Has the process of the container `id` created, so that a start only has to let it go: its root is mounted, its networks
/// are there, `mount`, `cp` and whoever looks at its namespaces find them.
///
/// # Errors
/// [`ErrorKind::InUse`] if it has a process already; otherwise as [`start`].
pub fn init(engine: &Engine, id: &str) -> Result<()> {
    let locked = engine.state.lock(id)?;
    let Some(mut record) = settle(engine, &locked)? else { return Err(gone(id)) };
    if record.state.status.is_live() {
        let text = format!("container {} has already been created in runtime", record.name());
        return Err(Error::new(ErrorKind::InUse, text).with_hint("only what does not run is initialized"));
    }
    let options = StartOptions { detached: true, ..StartOptions::default() };
    let made = make(engine, &locked, &mut record, &options).and_then(|made| {
        record.state.status = Status::Initialized;
        locked.save(&record.state)?;
        crate::failpoint!("init.after-state");
        made.keep_compiled(id);
        Ok(())
    });
    undone(engine, &locked, &mut record, made)?;
    tell(engine, "init", &record, &[]);
    Ok(())
}

/// Starts a settled container that does not run.
pub(super) fn start_locked(
    engine: &Engine,
    locked: &Locked,
    record: &mut Record,
    options: StartOptions<'_>,
    attach: BeforeStart<'_>,
) -> Result<()> {
    let keep_restart_count = options.keep_restart_count;
    let started = start_required(engine, record)
        .and_then(|()| make(engine, locked, record, &options))
        .and_then(|made| made.let_go(engine, locked, record, keep_restart_count, attach));
    undone(engine, locked, record, started)
}

/// Undoes a start that failed, and records why.
fn undone(engine: &Engine, locked: &Locked, record: &mut Record, started: Result<()>) -> Result<()> {
    let Err(error) = started else { return Ok(()) };
    undo_start(engine, locked.id(), &record.state)?;
    let state = &mut record.state;
    state.status = idle_status(state);
    state.forget_processes();
    state.error = error.to_string();
    state.exit_code = match error.kind() {
        ErrorKind::CommandNotFound => 127,
        ErrorKind::CommandNotExecutable => 126,
        _ => 125,
    };
    if !record.ephemeral {
        locked.save(&record.state)?;
    }
    Err(error)
}

/// Starts what `--requires` names, in order; each of them what it requires itself. There are no circles: a container can
/// only require one that is older.
fn start_required(engine: &Engine, record: &Record) -> Result<()> {
    for id in &record.spec()?.requires {
        start(engine, id, StartOptions::default(), &mut |_| Ok(()))
            .with_context(|| format!("start container {}, which {} requires", short(id), record.name()))?;
    }
    Ok(())
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// A created process that waits to be let go.
struct Made {
    run_dir: RunDir,
    runtime: Runtime,
    spec: ContainerSpec,
    /// See [`prepare::Prepared`].
    compiled: Option<PathBuf>,
    /// It was restored, and runs already.
    runs: bool,
    /// `config.json` has poststart hooks, which the runtime itself calls.
    poststart: bool,
    conmon_pid: u32,
}

/// Starts what was initialized.
fn go_on(
    engine: &Engine,
    locked: &Locked,
    record: &mut Record,
    keep_restart_count: bool,
    attach: BeforeStart<'_>,
) -> Result<()> {
    let run_dir = RunDir::new(engine.state.run_dir(locked.id()));
    let runtime = Runtime::find(&engine.config, &record.state.runtime)?;
    let spec = record.spec()?.clone();
    // Whoever finds it after a crash asks the runtime whether it was let go.
    record.state.status = Status::Starting;
    locked.save(&record.state)?;
    crate::failpoint!("init.going-on");
    let poststart = prepare::has_poststart(&run_dir)?;
    let conmon_pid = record.state.conmon_pid;
    let made = Made { run_dir, runtime, spec, compiled: None, runs: false, poststart, conmon_pid };
    made.let_go(engine, locked, record, keep_restart_count, attach)
}

/// Everything up to the moment at which the process waits to be let go.
fn make(engine: &Engine, locked: &Locked, record: &mut Record, options: &StartOptions<'_>) -> Result<Made> {
    let id = locked.id();
    if record.state.unrestored && options.restoration.is_none() {
        let name = record.name();
        let text = format!("the restore of container {name} was interrupted: its files are not whole");
        return Err(Error::new(ErrorKind::InUse, text)
            .with_hint(format!("coracle rm {name}, and restore it again from its archive")));
    }
    let spec = record.spec()?.clone();
    anticipate(engine, &spec);
    let run_dir = make_run_dir(engine, id)?;
    crate::failpoint!("start.after-run-dir");
    let mut runtime = Runtime::find(&engine.config, &spec.runtime)?;
    tell_caller(engine, &mut runtime.env);
    let log_path = log_path(engine, id, &spec)?;
    let planned = network::plan(engine, &run_dir, id, &spec, &record.state.network)?;
    let ((prepared, launched), mut endpoints) = network::make(engine, &run_dir, planned.as_ref(), |wait| {
        let netns = planned.as_ref().and_then(network::Planned::netns);
        let addresses = planned.as_ref().map(network::Planned::addresses).unwrap_or_default();
        let host = facts::host_facts(engine, &spec);
        let manager = oci::cgroup_manager(&spec, &host);
        let starting = Starting {
            engine,
            id,
            dir: locked.dir(),
            spec: &spec,
            run_dir: &run_dir,
            runtime: &runtime,
            log_path: &log_path,
            restoration: options.restoration.as_ref(),
        };
        let conmon = starting.stand_by(manager, options)?;
        crate::failpoint!("start.after-conmon");
        let prepared = prepare::prepare(&starting, &host, netns, &addresses)?;
        crate::failpoint!("start.after-bundle");
        wait()?;
        prepared.write_config(&run_dir)?;
        let scope = scope::of_conmon(engine, &spec, manager, &prepared.cgroups_path);
        let created = conmon.go(scope.as_ref()).map_err(|e| match options.restoration {
            Some(_) => checkpoint::explained(e, &run_dir.path().join("restore.log")),
            None => e,
        })?;
        Ok((prepared, created))
    })?;
    crate::failpoint!("start.after-launch");
    let state = &mut record.state;
    if let Some(planned) = &planned {
        if let Some(made) = network::make_late(engine, &run_dir, planned, launched.pid)? {
            endpoints = made;
        }
        network::record(engine, &run_dir, id, &spec, planned, endpoints, state)?;
    }
    process::boot_id().clone_into(&mut state.boot_id);
    state.status = Status::Starting;
    health::reset(locked, &spec, state)?;
    (state.pid, state.pid_start) = (launched.pid, launched.pid_start);
    (state.conmon_pid, state.conmon_start) = (launched.conmon_pid, launched.conmon_start);
    state.runtime = runtime.path.display().to_string();
    state.mountpoint.clone_from(&prepared.rootfs);
    state.log_path = log_path;
    state.cgroup_path.clone_from(&prepared.cgroups_path);
    locked.save(state)?;
    crate::failpoint!("start.after-created");
    for (path, pid) in [(&spec.pidfile, launched.pid), (&spec.conmon_pidfile, launched.conmon_pid)] {
        if let Some(path) = path {
            let path = engine.config.env.cwd.join(path);
            atomic::write(&path, pid.to_string().as_bytes(), 0o644, Durability::None)
                .context("write the PID file")?;
        }
    }
    let runs = options.restoration.is_some();
    Ok(Made {
        run_dir,
        runtime,
        spec,
        compiled: prepared.compiled,
        runs,
        poststart: prepared.poststart,
        conmon_pid: launched.conmon_pid,
    })
}

impl Made {
    /// Attaches, lets the process go and records that it runs.
    fn let_go(
        self,
        engine: &Engine,
        locked: &Locked,
        record: &mut Record,
        keep_restart_count: bool,
        attach: BeforeStart<'_>,
    ) -> Result<()> {
        let (id, state) = (locked.id(), &record.state);
        attach(&self.run_dir)
            .and_then(|()| if self.runs { Ok(()) } else { self.runtime.start(id, state.pid, self.poststart) })
            .map_err(|e| explained(engine, id, state, e))?;
        crate::failpoint!("start.after-start");
        mark_running(locked, record, keep_restart_count)?;
        tell_surroundings(engine, record, true);
        tell(engine, "start", record, &[]);
        notify::started(engine, &self.spec, self.conmon_pid);
        if let Err(e) = health::begin(engine, id, &self.spec, &self.runtime) {
            tracing::warn!("the health of container {id} is not checked: {e}");
        }
        self.keep_compiled(id);
        Ok(())
    }

    fn keep_compiled(&self, id: &str) {
        if let Some(path) = &self.compiled
            && let Err(e) = seccomp_cache::keep(&self.runtime, id, path)
        {
            tracing::debug!("keep the compiled seccomp profile: {e}");
        }
    }
}

/// The error of a start whose process has died meanwhile says how it died: conmon saw it. The kernel kills a runtime's
/// process that is waiting to become the container's, if memory is limited to less than it needs itself.
fn explained(engine: &Engine, id: &str, state: &ContainerState, error: Error) -> Error {
    const CONMON_WRITES: Duration = Duration::from_secs(1);
    if process::alive(state.pid, state.pid_start) {
        return error;
    }
    let conmon = PidFd::open(state.conmon_pid, state.conmon_start).ok().flatten();
    match exit_file(engine, id).wait(None, conmon.as_ref(), Some(CONMON_WRITES)) {
        Ok(Waited::Code(code)) => Error::new(
            ErrorKind::Runtime,
            format!("the container's process died before it was started, with exit code {code}"),
        )
        .with_hint(match code {
            137 => "something killed it; --memory may be too small for the OCI runtime",
            _ => "the container's log may say why",
        }),
        _ => error,
    }
}

/// What is being started.
pub(super) struct Starting<'a> {
    pub engine: &'a Engine,
    /// The container's full ID.
    pub id: &'a str,
    pub spec: &'a ContainerSpec,
    /// The directory of its record.
    pub dir: &'a Path,
    /// The bundle.
    pub run_dir: &'a RunDir,
    pub runtime: &'a Runtime,
    /// Where its output goes; empty with drivers that have no file.
    log_path: &'a Path,
    /// Its processes are restored.
    pub restoration: Option<&'a Restoration>,
}

impl Starting<'_> {
    /// Starts conmon, which will have the runtime create the process.
    fn stand_by(&self, cgroup_manager: CgroupManager, options: &StartOptions<'_>) -> Result<Standby> {
        let (spec, config) = (self.spec, &self.engine.config);
        let conmon = conmon::find(config)?;
        let exits = self.engine.state.exit_dir();
        let notified = notify::relayed(self.engine, spec);
        if notified.is_some() {
            notify::make_relay(self.run_dir)?;
        }
        stand_by(&Launch {
            id: self.id,
            name: &spec.name,
            log: log_target(spec, self.log_path),
            terminal: spec.process.terminal,
            stdin: spec.process.open_stdin,
            leave_stdin_open: options.detached && spec.process.open_stdin,
            timeout: spec.timeout,
            exit_command: itself(self.engine, &["container", "cleanup", self.id]),
            cgroup_manager,
            no_pivot: config.containers.engine.no_pivot_root == Some(true),
            no_new_keyring: config.containers.containers.keyring == Some(false),
            sdnotify_socket: notified.as_deref(),
            preserved: &options.preserved,
            restore: self.restoration.map(|from| (from.images.as_path(), from.args.as_slice())),
            log_level: config.overrides.log_level.as_deref().unwrap_or("error"),
            stdio: options.stdio,
            ..Launch::new(&conmon, self.runtime, self.run_dir, &exits)
        })
    }
}

fn mark_running(locked: &Locked, record: &mut Record, keep_restart_count: bool) -> Result<()> {
    let state = &mut record.state;
    state.status = Status::Running;
    state.started_before = true;
    state.started_at = Some(jiff::Timestamp::now());
    state.finished_at = None;
    state.exit_code = 0;
    state.oom_killed = false;
    state.error.clear();
    state.stopped_by_user = false;
    (state.checkpointed_at, state.restored_at) = (None, None);
    state.unrestored = false;
    if !keep_restart_count {
        state.restart_count = 0;
    }
    record.stored = Status::Running;
    locked.save(&record.state)
}

/// Makes the bundle directory and the place of exit files, and removes the last run's.
fn make_run_dir(engine: &Engine, id: &str) -> Result<RunDir> {
    let path = engine.state.run_dir(id);
    let make = |path: &Path| fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    for path in [&path, &engine.state.exit_dir()] {
        make(path).map_err(|e| Error::io("mkdir", path, e))?;
    }
    exit_file(engine, id).remove()?;
    Ok(RunDir::new(path))
}

/// The log file, for drivers that have one: asked for, or beside the container's own data in the store.
pub(super) fn log_path(engine: &Engine, id: &str, spec: &ContainerSpec) -> Result<PathBuf> {
    if !spec.log.is_file() {
        return Ok(PathBuf::new());
    }
    if let Some(path) = &spec.log.path {
        let path = engine.config.env.cwd.join(path);
        return Ok(if path.is_dir() { path.join(format!("{id}.log")) } else { path });
    }
    if let Some(directory) = engine.config.containers.containers.log_path.as_deref().filter(|p| !p.is_empty())
    {
        let directory = Path::new(directory).join(id);
        std::fs::create_dir_all(&directory).map_err(|e| Error::io("create", &directory, e))?;
        return Ok(directory.join("ctr.log"));
    }
    match &spec.image.rootfs {
        Some(_) => Ok(engine.state.run_dir(id).join("ctr.log")),
        None => Ok(engine.store.container_dir(id)?.join("ctr.log")),
    }
}

fn log_target<'a>(spec: &'a ContainerSpec, path: &'a Path) -> LogTarget<'a> {
    match spec.log.driver.as_str() {
        "journald" => LogTarget::Journald { tag: &spec.log.tag },
        "none" => LogTarget::None,
        "passthrough" | "passthrough-tty" => LogTarget::Passthrough,
        _ => LogTarget::File { path, max_size: spec.log.max_size },
    }
}

/// This program and its arguments for a command of its own on the same store: what conmon runs at the end, for one.
pub(super) fn itself(engine: &Engine, command: &[&str]) -> Vec<OsString> {
    let config = &engine.config;
    let mut words: Vec<OsString> = vec![config.env.program.clone().into()];
    let mut flag = |name: &str, value: &std::ffi::OsStr| words.extend([name.into(), value.to_owned()]);
    flag("--root", config.paths.graph_root.as_os_str());
    flag("--runroot", config.paths.run_root.as_os_str());
    let given = &config.overrides;
    for (name, path) in [
        ("--tmpdir", &given.tmp_dir),
        ("--volumepath", &given.volume_path),
        ("--network-config-dir", &given.network_config_dir),
        ("--conmon", &given.conmon),
        ("--imagestore", &given.image_store),
    ] {
        if let Some(path) = path {
            flag(name, path.as_os_str());
        }
    }
    for (name, word) in [
        ("--storage-driver", &given.storage_driver),
        ("--runtime", &given.runtime),
        ("--cgroup-manager", &given.cgroup_manager),
    ] {
        if let Some(word) = word {
            flag(name, word.as_ref());
        }
    }
    for directory in &given.hooks_dir {
        flag("--hooks-dir", config.env.cwd.join(directory).as_os_str());
    }
    for option in &given.storage_options {
        flag("--storage-opt", option.as_ref());
    }
    words.extend(command.iter().map(Into::into));
    words
}

/// The exit command already is in the rootless user namespace and must know who it works for.
fn tell_caller(engine: &Engine, env: &mut Vec<(String, String)>) {
    if engine.rootless() {
        let caller = &engine.config.env;
        env.push(("_CONTAINERS_ROOTLESS_UID".to_owned(), caller.uid.to_string()));
        env.push(("_CONTAINERS_ROOTLESS_GID".to_owned(), caller.gid.to_string()));
    }
}
