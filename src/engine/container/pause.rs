//! `pause` and `unpause`: all of a container's processes frozen, and let go again.
//!
//! The record says "paused" before the processes are frozen and until they run again, so that whoever finds it after a
//! crash thaws what may be frozen: a frozen process cannot be killed where cgroups are version 1.

use super::settle::{runtime_of, settle};
use super::stop::gone;
use super::told::tell;
use crate::engine::state::{Locked, Record, Status};
use crate::engine::{Engine, Error, ErrorKind, Result};

/// Freezes the running container `id`.
///
/// # Errors
/// [`ErrorKind::InUse`] when it does not run or is paused already, [`ErrorKind::Unsupported`] when it has no cgroup to
/// be frozen in.
pub fn pause(engine: &Engine, id: &str) -> Result<()> {
    let locked = engine.state.lock(id)?;
    let Some(mut record) = settle(engine, &locked)? else { return Err(gone(id)) };
    freeze(engine, &locked, &mut record)?;
    tell(engine, "pause", &record, &[]);
    Ok(())
}

/// Lets the paused container `id` go on.
///
/// # Errors
/// [`ErrorKind::InUse`] when it is not paused.
pub fn unpause(engine: &Engine, id: &str) -> Result<()> {
    let locked = engine.state.lock(id)?;
    let Some(mut record) = settle(engine, &locked)? else { return Err(gone(id)) };
    if record.state.status != Status::Paused {
        return Err(not(&record, "is not paused"));
    }
    thaw(engine, &locked, &mut record)?;
    tell(engine, "unpause", &record, &[]);
    Ok(())
}

/// Freezes a settled container and records it.
pub(super) fn freeze(engine: &Engine, locked: &Locked, record: &mut Record) -> Result<()> {
    match record.state.status {
        Status::Running => {}
        Status::Paused => return Err(not(record, "is already paused")),
        _ => return Err(not(record, "is not running")),
    }
    record.state.status = Status::Paused;
    locked.save(&record.state)?;
    crate::failpoint!("pause.after-state");
    let frozen = runtime_of(engine, &record.state)?.pause(&record.id, true);
    crate::failpoint!("pause.after-freeze");
    if let Err(e) = frozen {
        let none = !freezable(record.state.pid);
        // Part of it may be frozen.
        thaw(engine, locked, record)?;
        return Err(if none { no_cgroup(record, e) } else { e });
    }
    Ok(())
}

/// Thaws a container that is recorded as paused, whether it is frozen or not, and records that it runs.
pub(super) fn thaw(engine: &Engine, locked: &Locked, record: &mut Record) -> Result<()> {
    let runtime = runtime_of(engine, &record.state)?;
    if let Err(e) = runtime.pause(&record.id, false) {
        // What never was frozen cannot be resumed, and need not.
        let state = runtime.state(&record.id)?;
        if state.is_some_and(|state| state.status == "paused") {
            return Err(e);
        }
    }
    crate::failpoint!("unpause.after-thaw");
    record.state.status = Status::Running;
    record.state.frozen_by_commit = false;
    locked.save(&record.state)
}

/// The container once no commit keeps it frozen: a moment later, or now.
pub(super) fn after_commit(engine: &Engine, id: &str) -> Result<Record> {
    let record = engine.state.load(id)?;
    if record.state.status != Status::Paused || !record.state.frozen_by_commit {
        return Ok(record);
    }
    let locked = engine.state.lock(id)?;
    settle(engine, &locked)?.ok_or_else(|| gone(id))
}

fn not(record: &Record, what: &str) -> Error {
    Error::new(ErrorKind::InUse, format!("container {} {what}", record.name()))
}

/// Whether the process is in a cgroup below the root of a hierarchy that freezes: v1's freezer, or v2.
fn freezable(pid: u32) -> bool {
    let table = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    table.lines().any(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        path != "/" && (controllers.is_empty() || controllers.split(',').any(|name| name == "freezer"))
    })
}

fn no_cgroup(record: &Record, cause: Error) -> Error {
    Error::unsupported(format!("container {} has no cgroup of its own that could be frozen", record.name()))
        .with_source(cause)
        .with_hint("an ordinary user's containers can be paused where cgroups are version 2 and delegated")
}
