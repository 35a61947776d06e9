//! Paying what a container's end, a crash or a reboot left owing. Called under the container's lock by every verb that
//! changes a container, by the exit command and by the repair of a store; idempotent.
//!
//! The order makes any interruption repairable: the exit is recorded first, then mounts and the runtime's state go,
//! then the bundle directory, whose existence is the mark that something is left.

use super::pause::thaw;
use super::told::{tell, tell_surroundings};
use super::{network, volumes};
use crate::engine::conmon::{ExitFile, RunDir, Runtime};
use crate::engine::host::mount;
use crate::engine::host::process::{self, PidFd};
use crate::engine::state::{ContainerState, Locked, Record, Status};
use crate::engine::{Context, Engine, Error, ErrorKind, Result};
use std::fs;
use std::time::Duration;

/// How long the end of a killed process may take to show: an OCI runtime's kill of a process in uninterruptible sleep
/// is given up after this.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a bundle directory is removed into which somebody writes meanwhile.
const EXEC_TRIES: u32 = 200;

/// Makes the record agree with the world and cleans up after an ended run. `None`: the container's creation was
/// interrupted or its removal has begun; see [`super::remove::finish`].
pub(super) fn settle(engine: &Engine, locked: &Locked) -> Result<Option<Record>> {
    let Some(mut record) = locked.read()? else { return Ok(None) };
    if record.state.status == Status::Starting {
        return interrupted_start(engine, locked, record).map(Some);
    }
    if record.state.status == Status::Paused && record.state.frozen_by_commit {
        thaw(engine, locked, &mut record)?;
    }
    if record.needs_cleanup() {
        record.state.boot_id.clear();
        if !record.ephemeral {
            locked.save(&record.state)?;
        }
        crate::failpoint!("cleanup.after-state");
        if record.stored != Status::Initialized {
            if record.state.oom_killed {
                tell(engine, "oom", &record, &[]);
            }
            tell(engine, "die", &record, &[("exitCode", &record.state.exit_code.to_string())]);
        }
        clear(engine, &record.id, &record.state, true)?;
        tell_surroundings(engine, &record, false);
        record.stored = record.state.status;
    } else if !record.state.status.is_live() && has_run_dir(engine, &record.id) {
        undo_start(engine, &record.id, &record.state)?;
    }
    Ok(Some(record))
}

/// Whether something of a start is left.
pub(super) fn has_run_dir(engine: &Engine, id: &str) -> bool {
    fs::symlink_metadata(engine.state.run_dir(id)).is_ok()
}

/// The process that started it died between creating the container's process and recording that it runs. It may have
/// been let go already: the runtime knows.
fn interrupted_start(engine: &Engine, locked: &Locked, mut record: Record) -> Result<Record> {
    let known = runtime_of(engine, &record.state)?.state(&record.id).ok().flatten();
    if known.is_some_and(|state| state.status == "running") {
        record.state.status = Status::Running;
        record.state.started_before = true;
    } else {
        undo_start(engine, &record.id, &record.state)?;
        record.state =
            ContainerState { status: idle_status(&record.state), pid: 0, conmon_pid: 0, ..record.state };
    }
    locked.save(&record.state)?;
    record.stored = record.state.status;
    Ok(record)
}

/// What a container is when nothing of it runs.
pub(super) fn idle_status(state: &ContainerState) -> Status {
    if state.started_before { Status::Exited } else { Status::Created }
}

/// Undoes as much of a start as happened, including a conmon or container process nobody recorded.
pub(super) fn undo_start(engine: &Engine, id: &str, state: &ContainerState) -> Result<()> {
    let run_dir = RunDir::new(engine.state.run_dir(id));
    if let Some(pid) = fs::read_to_string(run_dir.pidfile()).ok().and_then(|t| t.trim().parse::<u32>().ok())
        && belongs_to(pid, id)
        && let Some(start) = process::start_time(pid)
        && let Some(fd) = PidFd::open(pid, start)?
        && fd.signal(libc::SIGKILL)?
    {
        fd.wait(Some(KILL_TIMEOUT))?;
    }
    clear(engine, id, state, false)
}

/// Ends the process of a container that only was initialized, and makes the record say what it was before.
pub(super) fn uninit(engine: &Engine, locked: &Locked, record: &mut Record) -> Result<()> {
    let state = &record.state;
    if let Some(process) = PidFd::open(state.pid, state.pid_start)? {
        process.signal(libc::SIGKILL)?;
        let conmon = PidFd::open(state.conmon_pid, state.conmon_start)?;
        // conmon leaves an exit file, which would be taken for that of the next start.
        exit_file(engine, &record.id).wait(Some(&process), conmon.as_ref(), Some(KILL_TIMEOUT))?;
    }
    undo_start(engine, &record.id, &record.state)?;
    let state = &mut record.state;
    state.status = idle_status(state);
    state.forget_processes();
    state.mountpoint.clear();
    state.network.endpoints.clear();
    state.network.ports.clear();
    locked.save(state)?;
    record.stored = state.status;
    Ok(())
}

/// A PID from a file may be anybody's by now; a container's process still sits in its bundle's mount namespace, which
/// we cannot name, but the runtime set its cgroup or its root: the mount table shows the container's own file system.
fn belongs_to(pid: u32, id: &str) -> bool {
    let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    table.contains(id) || fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|c| c.contains(id))
}

/// Removes what a run needs no more: the runtime's state, mounts, the bundle. `ended`: its first process was seen to
/// end, so there is nothing to kill.
fn clear(engine: &Engine, id: &str, state: &ContainerState, ended: bool) -> Result<()> {
    let runtime = runtime_of(engine, state);
    let special = RunDir::new(engine.state.run_dir(id)).deleted_by_runtime().exists();
    let by_hand = ended
        && !special
        && runtime.as_ref().is_ok_and(|runtime| runtime.delete_ended(id, &state.cgroup_path));
    let unmount = || if in_store(state) { unmount(engine, id) } else { Ok(()) };
    let connected = network::is_connected(engine, id);
    let (deleted, unmounted, disconnected) = if by_hand && !connected {
        (Ok(()), unmount(), Ok(()))
    } else {
        // Processes of their own, which mostly wait: the unmounting is done beside them.
        std::thread::scope(|scope| {
            let delete = |runtime: Runtime| match runtime.delete(id, true) {
                // A hook that does not read what it is told kills crun 1.8.
                Err(e) if ended && runtime.delete_ended(id, &state.cgroup_path) => {
                    tracing::debug!("delete container {id} from the runtime: {e}");
                    Ok(())
                }
                other => other,
            };
            let deletion = (!by_hand).then(|| scope.spawn(move || runtime.and_then(delete)));
            let disconnection = connected.then(|| scope.spawn(|| network::undo(engine, id)));
            let unmounted = unmount();
            let joined = |thread: Option<std::thread::ScopedJoinHandle<'_, Result<()>>>| {
                thread.map_or(Ok(()), |thread| thread.join().unwrap_or(Ok(())))
            };
            (joined(deletion), unmounted, joined(disconnection))
        })
    };
    crate::failpoint!("cleanup.after-unmount");
    unmounted?;
    if let Err(e) = deleted {
        // The runtime may have been uninstalled meanwhile; nothing of ours depends on its leftovers.
        tracing::debug!("delete container {id} from the runtime: {e}");
    }
    if let Err(e) = disconnected {
        tracing::warn!("take container {id} off its networks: {e}");
    }
    volumes::release(engine, id)?;
    remove_run_dir(engine, id)
}

/// Whether the root filesystem is the store's, not a directory of the user's (`--rootfs`).
fn in_store(state: &ContainerState) -> bool {
    state.head.name.is_empty() || !state.head.image_id.is_empty()
}

/// Undoes the start's mount; those that users made with `mount` stay.
fn unmount(engine: &Engine, id: &str) -> Result<()> {
    let mark = RunDir::new(engine.state.run_dir(id)).mounted();
    if !mark.exists() {
        return Ok(());
    }
    match engine.store.unmount(id, false) {
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        other => other.map(drop).context("unmount the root filesystem")?,
    }
    fs::remove_file(&mark).map_err(|e| Error::io("unlink", &mark, e))
}

fn remove_run_dir(engine: &Engine, id: &str) -> Result<()> {
    let dir = engine.state.run_dir(id);
    let shared = RunDir::new(dir.clone()).shared_memory();
    if shared.is_dir() {
        mount::detach(&shared)?;
    }
    for image in fs::read_dir(RunDir::new(dir.clone()).images()).into_iter().flatten().flatten() {
        mount::detach(&image.path())?;
    }
    // Nobody locks what an exec writes below it, who sees only then that there is nothing to exec in.
    for last in (0..EXEC_TRIES).rev() {
        match fs::remove_dir_all(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::DirectoryNotEmpty && last > 0 => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("remove", &dir, e)),
            _ => break,
        }
    }
    Ok(())
}

/// The runtime a container was last started with.
pub(super) fn runtime_of(engine: &Engine, state: &ContainerState) -> Result<Runtime> {
    Runtime::find(&engine.config, &state.runtime)
}

/// The exit file of a container.
pub(super) fn exit_file(engine: &Engine, id: &str) -> ExitFile {
    ExitFile::new(&engine.state.exit_dir(), id)
}
