//! Waiting until a container is in a state.

use super::settle::exit_file;
use crate::engine::conmon::Waited;
use crate::engine::host::process::PidFd;
use crate::engine::spec::Health;
use crate::engine::state::{Record, Status};
use crate::engine::{Engine, Error, ErrorKind, Result};
use std::time::Duration;

/// What is waited for; docker's words and podman's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// It does not run (now, or never did): docker's `not-running`, podman's `stopped`, `exited`.
    #[default]
    NotRunning,
    /// It ends once more: docker's `next-exit`.
    NextExit,
    /// It is gone: docker's `removed`, podman's `removing`.
    Removed,
    /// It runs.
    Running,
    /// It was made and not started.
    Created,
    /// It was initialized and not started.
    Initialized,
    /// It is frozen.
    Paused,
    /// Its last health check succeeded.
    Healthy,
    /// Too many of its health checks failed.
    Unhealthy,
}

impl Condition {
    /// From the command line.
    pub fn parse(word: &str) -> Result<Self> {
        Ok(match word {
            "not-running" | "stopped" | "exited" | "stopping" => Self::NotRunning,
            "next-exit" => Self::NextExit,
            "removed" | "removing" => Self::Removed,
            "running" => Self::Running,
            "created" | "configured" => Self::Created,
            "initialized" => Self::Initialized,
            "paused" => Self::Paused,
            "healthy" => Self::Healthy,
            "unhealthy" => Self::Unhealthy,
            _ => {
                return Err(Error::invalid(format!("invalid condition {word:?}")).with_hint(
                    "one of created, initialized, running, paused, stopped, exited, removed, not-running, next-exit, healthy, unhealthy",
                ));
            }
        })
    }

    /// It may come to hold while the container goes on running.
    fn is_while_it_runs(self) -> bool {
        matches!(self, Self::Paused | Self::Running | Self::Healthy | Self::Unhealthy)
    }

    fn holds(self, status: Status, health: Health) -> bool {
        match self {
            Self::Healthy => status.is_live() && health == Health::Healthy,
            Self::Unhealthy => status.is_live() && health == Health::Unhealthy,
            Self::NotRunning => !status.is_live() && status != Status::Restarting,
            Self::Running => status == Status::Running,
            Self::Created => status == Status::Created,
            Self::Initialized => status == Status::Initialized,
            Self::Paused => status == Status::Paused,
            Self::NextExit | Self::Removed => false,
        }
    }
}

/// A change no file tells us of at once (a start, a pause) is looked for this often.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Waits until one of `conditions` holds for the container `id`, and returns its exit code (0 when it never ended). A
/// container that is removed meanwhile has met any condition.
pub fn wait(engine: &Engine, id: &str, conditions: &[Condition], interval: Option<Duration>) -> Result<i32> {
    let mut first = true;
    let mut code = 0;
    // The exit file of a `--rm` container stays for us to read.
    let file = exit_file(engine, id);
    let mut waiter = None;
    loop {
        let record = match engine.state.load(id) {
            Ok(record) => record,
            Err(e) if e.kind() == ErrorKind::NotFound && !first => {
                return Ok(file.read().ok().flatten().unwrap_or(code));
            }
            Err(e) => return Err(e),
        };
        if record.stored.is_live() || !first {
            code = record.state.exit_code;
        }
        let status = record.state.status;
        if conditions.iter().any(|c| c.holds(status, record.state.health)) {
            return Ok(record.state.exit_code);
        }
        let ended = record.needs_cleanup();
        if ended && conditions.contains(&Condition::NextExit) {
            return Ok(record.state.exit_code);
        }
        if status.is_live() && waiter.is_none() {
            waiter = Some(file.announce()?);
        }
        if status.is_live() && !conditions.iter().any(|c| c.is_while_it_runs()) {
            let exit = wait_for_exit(engine, &record, None)?;
            if conditions.contains(&Condition::NextExit) {
                return Ok(exit.unwrap_or(crate::engine::state::EXIT_UNKNOWN));
            }
            code = exit.unwrap_or(code);
        } else {
            std::thread::sleep(interval.unwrap_or(LOOK_AGAIN));
        }
        first = false;
    }
}

/// Waits for the end of the run in `record` and returns its code; `None` when the time is up.
pub(super) fn wait_for_exit(
    engine: &Engine,
    record: &Record,
    timeout: Option<Duration>,
) -> Result<Option<i32>> {
    let state = &record.state;
    let process = PidFd::open(state.pid, state.pid_start)?;
    let conmon = PidFd::open(state.conmon_pid, state.conmon_start)?;
    match exit_file(engine, &record.id).wait(process.as_ref(), conmon.as_ref(), timeout)? {
        Waited::Code(code) => Ok(Some(code)),
        Waited::TimedOut => Ok(None),
        // conmon was killed, and the process has ended since: its code will never be known.
        Waited::Lost => Ok(Some(crate::engine::state::EXIT_UNKNOWN)),
    }
}
