//! `container cleanup`: what conmon runs when a container has ended, and what an attached front end does itself as soon
//! as it sees the end. Whoever has the lock first does the work; the other finds nothing to do.

use super::remove::{Emptied, finish, purge};
use super::settle::{idle_status, settle};
use super::start::{StartOptions, start_locked};
use crate::engine::state::{Record, Status};
use crate::engine::{Engine, ErrorKind, Result};
use std::time::Duration;

/// First delay of the restart policy; doubled each time, up to [`MAX_DELAY`] (docker's restart manager).
const FIRST_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(60);
/// A run that lasted this long begins the delays anew.
const STABLE: jiff::SignedDuration = jiff::SignedDuration::from_secs(10);

/// Cleans up after a container that has ended; a running one is left alone. A `--rm` container is removed, one with a
/// restart policy is started again after its delay (this call then lasts as long).
pub fn cleanup(engine: &Engine, id: &str) -> Result<()> {
    if let Some(delay) = end(engine, id, Emptied::Here)? {
        std::thread::sleep(delay);
        restart(engine, id)?;
    }
    Ok(())
}

/// Cleans up without the restart: for a front end that wants its exit code. The exit command does the rest. When this
/// returns, a `--rm` container is gone, whoever removed it.
pub fn end_of_run(engine: &Engine, id: &str) -> Result<()> {
    match engine.state.load(id) {
        Ok(record) if restarts(&record) => Ok(()),
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        // Not found may mean that somebody is removing it right now: the lock tells when that is done.
        _ => end(engine, id, Emptied::ByExitCommand).map(drop),
    }
}

/// Settles; the delay after which the policy wants a restart.
fn end(engine: &Engine, id: &str, emptied: Emptied) -> Result<Option<Duration>> {
    let locked = match engine.state.lock(id) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let owed = locked.read()?.is_some_and(|r| r.needs_cleanup() && r.stored != Status::Initialized);
    let Some(mut record) = settle(engine, &locked)? else {
        // Whoever was removing it died on the way.
        return finish(engine, locked).map(|()| None);
    };
    if record.state.status.is_live() {
        return Ok(None);
    }
    if record.ephemeral {
        if record.state.started_before {
            purge(engine, locked, &record, true, emptied)?;
        }
        return Ok(None);
    }
    if !owed || !restarts(&record) {
        return Ok(None);
    }
    let delay = delay(&record);
    record.state.status = Status::Restarting;
    record.state.restart_count = if delay == FIRST_DELAY { 1 } else { record.state.restart_count + 1 };
    locked.save(&record.state)?;
    Ok(Some(delay))
}

/// Whether the policy applies to this end.
fn restarts(record: &Record) -> bool {
    let (state, policy) = (&record.state, &record.state.head.restart);
    if state.stopped_by_user || !state.started_before {
        return false;
    }
    match policy.name.as_str() {
        "always" | "unless-stopped" => true,
        "on-failure" => {
            state.exit_code != 0 && (policy.max_retries == 0 || state.restart_count < policy.max_retries)
        }
        _ => false,
    }
}

fn delay(record: &Record) -> Duration {
    let state = &record.state;
    let lasted = match (state.started_at, state.finished_at) {
        (Some(from), Some(to)) => to.duration_since(from),
        _ => jiff::SignedDuration::ZERO,
    };
    // `on-failure:N` counts restarts whatever the delay, so only unlimited policies begin anew.
    if lasted >= STABLE && state.head.restart.max_retries == 0 {
        return FIRST_DELAY;
    }
    FIRST_DELAY.saturating_mul(1 << state.restart_count.min(10)).min(MAX_DELAY)
}

/// Starts it again, unless somebody stopped, started or removed it meanwhile.
fn restart(engine: &Engine, id: &str) -> Result<()> {
    let locked = match engine.state.lock(id) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let Some(mut record) = settle(engine, &locked)? else { return Ok(()) };
    if record.state.status != Status::Restarting {
        return Ok(());
    }
    let options = StartOptions { keep_restart_count: true, ..StartOptions::default() };
    if let Err(e) = start_locked(engine, &locked, &mut record, options, &mut |_| Ok(())) {
        record.state.status = idle_status(&record.state);
        record.state.error = e.to_string();
        locked.save(&record.state)?;
        return Err(e);
    }
    Ok(())
}
