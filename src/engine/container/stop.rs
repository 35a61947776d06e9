//! `stop` and `kill`: signals, and the end they lead to.

use super::pause::thaw;
use super::settle::{idle_status, runtime_of, settle, uninit};
use super::told::tell;
use super::wait::wait_for_exit;
use crate::engine::conmon::RuntimeKind;
use crate::engine::host::process::{self, PidFd};
use crate::engine::spec::signal;
use crate::engine::state::{Record, Status};
use crate::engine::{Context, Engine, Error, ErrorKind, Result};
use std::time::Duration;

/// docker's and podman's default, seconds.
const DEFAULT_TIMEOUT: u32 = 10;

/// How long after SIGKILL an end may take to show.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// How to stop.
#[derive(Clone, Copy, Debug, Default)]
pub struct StopOptions {
    /// Seconds until SIGKILL: `Some(-1)` waits for ever; `None`: the container's own.
    pub timeout: Option<i64>,
    /// Signal instead of the container's own.
    pub signal: Option<i32>,
}

/// Stops the container `id`: its stop signal, then SIGKILL when the time is up; returns when it has ended and is
/// cleaned up. `false`: it was not running.
///
/// The lock is not held while waiting, so that a `kill` or an impatient second `stop` gets through.
pub fn stop(engine: &Engine, id: &str, options: &StopOptions) -> Result<bool> {
    let locked = engine.state.lock(id)?;
    let Some(mut record) = settle(engine, &locked)? else { return Err(gone(id)) };
    if !record.state.status.is_live() {
        if record.state.status == Status::Restarting {
            record.state.status = idle_status(&record.state);
            record.state.stopped_by_user = true;
            locked.save(&record.state)?;
        }
        return Ok(false);
    }
    if record.state.status == Status::Initialized {
        uninit(engine, &locked, &mut record)?;
        tell(engine, "stop", &record, &[]);
        return Ok(true);
    }
    record.state.stopped_by_user = true;
    locked.save(&record.state)?;
    crate::failpoint!("stop.after-state");
    let spec = record.spec()?;
    let number = match options.signal {
        Some(number) => number,
        None if spec.stop_signal.is_empty() => libc::SIGTERM,
        None => signal::parse(&spec.stop_signal)?,
    };
    let timeout = options.timeout.unwrap_or_else(|| i64::from(spec.stop_timeout.unwrap_or(DEFAULT_TIMEOUT)));
    let number = if timeout == 0 { libc::SIGKILL } else { number };
    send(engine, &record, number)?;
    tell_signal(engine, &record, number);
    if record.state.status == Status::Paused {
        // Frozen it would get no signal. An end that came at once is one, too.
        after_thaw(thaw(engine, &locked, &mut record), &record)?;
    }
    locked.unlock();
    crate::failpoint!("stop.after-signal");
    let patience = u64::try_from(timeout).ok().map(Duration::from_secs);
    let ended = number != libc::SIGKILL && wait_for_exit(engine, &record, patience)?.is_some();
    if !ended {
        if number != libc::SIGKILL {
            // First, as whoever cleans up needs no lock of ours to tell of the end.
            tell_signal(engine, &record, libc::SIGKILL);
            send(engine, &record, libc::SIGKILL)?;
        }
        crate::failpoint!("stop.after-kill");
        if wait_for_exit(engine, &record, Some(KILL_TIMEOUT))?.is_none() {
            return Err(Error::new(ErrorKind::Timeout, format!("container {id} did not end after SIGKILL")));
        }
    }
    after_end(engine, id)?;
    // Behind "die", which whoever cleans up tells: docker's order.
    tell(engine, "stop", &record, &[]);
    Ok(true)
}

/// Sends a signal to the container's first process. After SIGKILL it returns when the container has ended.
///
/// # Errors
/// [`ErrorKind::InUse`] when the container does not run.
pub fn kill(engine: &Engine, id: &str, number: i32) -> Result<()> {
    let locked = engine.state.lock(id)?;
    let Some(mut record) = settle(engine, &locked)? else { return Err(gone(id)) };
    if !matches!(record.state.status, Status::Running | Status::Paused) {
        return Err(Error::new(
            ErrorKind::InUse,
            format!("cannot kill container: {}: container {} is not running", record.name(), record.id),
        ));
    }
    let final_one = number == libc::SIGKILL;
    let stop_signal = signal::parse(&record.spec()?.stop_signal).unwrap_or(libc::SIGTERM);
    if (final_one || number == stop_signal) && !record.state.stopped_by_user {
        record.state.stopped_by_user = true;
        locked.save(&record.state)?;
    }
    send(engine, &record, number)?;
    tell_signal(engine, &record, number);
    if record.state.status == Status::Paused && (final_one || number == stop_signal) {
        after_thaw(thaw(engine, &locked, &mut record), &record)?;
    }
    locked.unlock();
    if final_one {
        if wait_for_exit(engine, &record, Some(KILL_TIMEOUT))?.is_none() {
            return Err(Error::new(ErrorKind::Timeout, format!("container {id} did not end after SIGKILL")));
        }
        after_end(engine, id)?;
    }
    Ok(())
}

/// Signals the first process of a run. By pidfd, without a runtime's process, where the container's processes are
/// the host's own; virtual machines must be asked. That it has ended meanwhile is no error.
fn send(engine: &Engine, record: &Record, number: i32) -> Result<()> {
    let runtime = runtime_of(engine, &record.state)?;
    if matches!(runtime.kind, RuntimeKind::Runsc | RuntimeKind::Other) {
        return match runtime.kill(&record.id, number, false) {
            Err(_) if !process::alive(record.state.pid, record.state.pid_start) => Ok(()),
            other => other,
        };
    }
    let Some(process) = PidFd::open(record.state.pid, record.state.pid_start)? else { return Ok(()) };
    process.signal(number).map(drop).with_context(|| format!("signal container {}", record.id))
}

/// docker's "kill" is told of every signal, a stop's too (daemon/kill.go).
fn tell_signal(engine: &Engine, record: &Record, number: i32) {
    tell(engine, "kill", record, &[("signal", &number.to_string())]);
}

/// A thaw may fail because what was to be thawed is dead already.
fn after_thaw(thawed: Result<()>, record: &Record) -> Result<()> {
    match thawed {
        Err(_) if !process::alive(record.state.pid, record.state.pid_start) => Ok(()),
        other => other,
    }
}

/// The clean-up that conmon's exit command does, too: whoever has the lock first.
fn after_end(engine: &Engine, id: &str) -> Result<()> {
    match super::cleanup::cleanup(engine, id) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

pub(super) fn gone(id: &str) -> Error {
    crate::engine::state::no_such_container(id)
}
