//! Health checks: a process of the container's own runs them for as long as the container does.
//!
//! It is this program ([`begin`] starts it with a start, [`monitor`] is what it does), waits for the container's end and
//! for the next check at the same time, and ends with the container. What it finds is in two places: the status in the record,
//! for `ps`, the results in `health.json` beside it. The rules are docker's (moby `daemon/health.go`), the actions podman's.

use super::exec::{ExecOptions, exec};
use super::settle::settle;
use super::stop::{StopOptions, kill, stop};
use super::told::tell;
use super::{restart, start};
use crate::engine::conmon::{PACKET, Runtime};
use crate::engine::host::atomic::{self, Durability};
use crate::engine::host::process::PidFd;
use crate::engine::host::spawn::Spawn;
use crate::engine::network::session;
use crate::engine::spec::{ContainerSpec, Health, HealthPolicy, Healthcheck, ProcessSpec};
use crate::engine::state::{ContainerState, Locked, Record, Status};
use crate::engine::{Engine, Error, ErrorKind, Result};
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind as Io;
use std::path::Path;
use std::time::{Duration, Instant};

/// The hidden command that is the monitor.
pub const COMMAND: &str = "health-monitor";

const FILE: &str = "health.json";

// Docker's defaults (`daemon/health.go`).
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u64 = 3;
/// Results that are kept unless `--health-max-log-count` says otherwise.
pub const LOG_COUNT: u64 = 5;
/// Bytes of a result that are kept unless `--health-max-log-size` says otherwise.
pub const LOG_SIZE: u64 = 4096;

/// `health.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthLog {
    /// Failures in a row.
    pub failing_streak: u64,
    /// The latest results, the latest last.
    pub results: Vec<HealthResult>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthResult {
    /// When it began.
    pub start: Timestamp,
    /// When it was over.
    pub end: Timestamp,
    /// The command's exit code; -1: there is none.
    pub exit_code: i32,
    /// What it printed, cut off; or why it could not be run.
    pub output: String,
}

/// What is known of a container's checks.
pub fn health_log(record: &Record) -> HealthLog {
    // Half of it may be missing after a power loss, which is as good as nothing.
    fs::read(record.dir().join(FILE))
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default()
}

/// Whether there is something to check.
pub(super) fn has_check(spec: &ContainerSpec) -> bool {
    spec.healthcheck.as_ref().is_some_and(|check| check.command().is_some())
}

/// Forgets what was found in the last run of a container that is started: to be called before its record says so.
pub(super) fn reset(locked: &Locked, spec: &ContainerSpec, state: &mut ContainerState) -> Result<()> {
    let path = locked.dir().join(FILE);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != Io::NotFound => return Err(Error::io("unlink", path, e)),
        _ => {}
    }
    state.health = if has_check(spec) { Health::Starting } else { Health::None };
    Ok(())
}

/// Starts the monitor of a container that has just been started.
pub(super) fn begin(engine: &Engine, id: &str, spec: &ContainerSpec, runtime: &Runtime) -> Result<()> {
    if !has_check(spec) {
        return Ok(());
    }
    let mut words = start::itself(engine, &["container", COMMAND, id]).into_iter();
    let program = words.next().unwrap_or_default();
    let env = runtime.env.iter().map(|(name, value)| (name, value));
    let child = Spawn::new(Path::new(&program))
        .args(words)
        .envs(env)
        .new_session()
        .directory(Path::new("/"))
        .spawn()?;
    session::leave(&engine.config, "health", child.pid());
    Ok(())
}

/// Checks the container `id` until it ends.
///
/// # Errors
/// There is no such container, or its record cannot be read.
pub fn monitor(engine: &Engine, id: &str) -> Result<()> {
    let record = engine.state.load(id)?;
    let Some(process) = PidFd::open(record.state.pid, record.state.pid_start)? else { return Ok(()) };
    let begun = Instant::now();
    loop {
        // `update` may have changed it.
        let record = match engine.state.load(id) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let Some(check) = Check::of(record.spec()?) else { return Ok(()) };
        let starting = record.state.health == Health::Starting && begun.elapsed() < check.start_period;
        if process.wait(Some(if starting { check.start_interval } else { check.interval }))? {
            return Ok(());
        }
        let counts = !starting || begun.elapsed() >= check.start_period;
        match check.run(engine, id, &record, counts) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            // Paused, or being stopped: the next one may be possible.
            Err(e) => tracing::debug!("check container {id}: {e}"),
        }
    }
}

/// Checks the running container `id` once, and records what is found; whether the check succeeded.
///
/// # Errors
/// It does not run, or has no health check.
pub fn check_health(engine: &Engine, id: &str) -> Result<bool> {
    let record = engine.state.load(id)?;
    let name = record.name();
    let check = Check::of(record.spec()?)
        .ok_or_else(|| Error::invalid(format!("container {name} has no defined healthcheck")))?;
    if record.state.status != Status::Running {
        return Err(super::attach::state_error(&record, "can only check running containers"));
    }
    check.run(engine, id, &record, true)
}

/// A container's check with the defaults filled in.
struct Check {
    command: Vec<String>,
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u64,
    policy: HealthPolicy,
}

impl Check {
    fn of(spec: &ContainerSpec) -> Option<Self> {
        let check: &Healthcheck = spec.healthcheck.as_ref()?;
        let or = |nanoseconds: u64, default: Duration| match nanoseconds {
            0 => default,
            n => Duration::from_nanos(n),
        };
        Some(Self {
            command: check.command()?,
            interval: or(check.interval, INTERVAL),
            timeout: or(check.timeout, TIMEOUT),
            start_period: Duration::from_nanos(check.start_period),
            start_interval: or(check.start_interval, START_INTERVAL),
            retries: if check.retries == 0 { RETRIES } else { check.retries },
            policy: spec.health.clone(),
        })
    }

    /// Runs it in the container's run of `record`, records the result, and does what is to follow. `counts`: a failure is one.
    fn run(&self, engine: &Engine, id: &str, record: &Record, counts: bool) -> Result<bool> {
        let result = self.probe(engine, id)?;
        let succeeded = result.exit_code == 0;
        crate::failpoint!("health.after-probe");
        if self.note(engine, id, record, result, counts)? == Health::Unhealthy && !succeeded {
            self.act(engine, id)?;
        }
        Ok(succeeded)
    }

    /// What the command says. An error is one of asking: the container does not run, or is paused.
    fn probe(&self, engine: &Engine, id: &str) -> Result<HealthResult> {
        let start = Timestamp::now();
        let deadline = Instant::now() + self.timeout;
        let most = match self.policy.max_log_size.unwrap_or(LOG_SIZE) {
            0 => usize::MAX,
            size => usize::try_from(size).unwrap_or(usize::MAX),
        };
        let process = ProcessSpec { command: self.command.clone(), ..ProcessSpec::default() };
        let mut session = exec(engine, id, &ExecOptions { process, ..ExecOptions::default() })?;
        let mut said = Vec::new();
        let mut buffer = vec![0; PACKET + 1];
        let mut late = false;
        while let Some(attached) = &mut session.attached {
            match attached.receive(&mut buffer) {
                Ok(None) => break,
                Ok(Some(chunk)) => {
                    let room = most.saturating_sub(said.len());
                    said.extend_from_slice(&chunk.bytes[..chunk.bytes.len().min(room)]);
                }
                Err(e) if e.kind() == Io::WouldBlock => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() && !late {
                        late = true;
                        session.kill()?;
                        continue;
                    }
                    // Killed, it ends soon.
                    let left = if late { Duration::from_millis(100) } else { left };
                    let left = attached.patience().map_or(left, |patience| patience.min(left));
                    let limit = Timespec {
                        tv_sec: left.as_secs().cast_signed(),
                        tv_nsec: left.subsec_nanos().into(),
                    };
                    let readers = attached.readers();
                    let mut fds: Vec<_> = readers.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
                    let _ = poll(&mut fds, Some(&limit));
                }
                Err(e) => return Err(Error::os("read what a health check says", e)),
            }
        }
        let code = session.wait();
        let output = String::from_utf8_lossy(&said).into_owned();
        let (exit_code, output) = match code {
            _ if late => (
                -1,
                format!(
                    "Health check exceeded timeout ({:?}){}{output}",
                    self.timeout,
                    if output.is_empty() { "" } else { ": " }
                ),
            ),
            Ok(code) => (code, output),
            Err(e) => (-1, e.to_string()),
        };
        Ok(HealthResult { start, end: Timestamp::now(), exit_code, output })
    }

    /// Writes down a result, and the status that follows from it, if the container still is in the same run.
    fn note(
        &self,
        engine: &Engine,
        id: &str,
        of: &Record,
        result: HealthResult,
        counts: bool,
    ) -> Result<Health> {
        let locked = engine.state.lock(id)?;
        let Some(mut record) = settle(engine, &locked)? else { return Ok(Health::None) };
        let same = (record.state.pid, record.state.pid_start) == (of.state.pid, of.state.pid_start);
        if !record.state.status.is_live() || !same {
            return Ok(Health::None);
        }
        let mut log = health_log(&record);
        let before = record.state.health;
        let after =
            log.add(result, before, self.retries, counts, self.policy.max_log_count.unwrap_or(LOG_COUNT));
        let text =
            serde_json::to_vec(&log).map_err(|e| Error::corrupt("encode health.json").with_source(e))?;
        atomic::write(&locked.dir().join(FILE), &text, 0o600, Durability::None)?;
        crate::failpoint!("health.after-log");
        if after != before {
            record.state.health = after;
            locked.save(&record.state)?;
            tell(engine, &format!("health_status: {}", after.as_str()), &record, &[]);
        }
        Ok(after)
    }

    fn act(&self, engine: &Engine, id: &str) -> Result<()> {
        match self.policy.on_failure.as_str() {
            "kill" => kill(engine, id, libc::SIGKILL),
            "stop" => stop(engine, id, &StopOptions::default()).map(drop),
            "restart" => restart::restart(engine, id, &StopOptions::default()),
            _ => Ok(()),
        }
    }
}

impl HealthLog {
    /// Adds a result; the status that follows from it. At most `most` results stay, 0: all.
    fn add(&mut self, result: HealthResult, before: Health, retries: u64, counts: bool, most: u64) -> Health {
        let after = match result.exit_code {
            0 => {
                self.failing_streak = 0;
                Health::Healthy
            }
            _ => {
                if counts || before != Health::Starting {
                    self.failing_streak += 1;
                }
                if self.failing_streak >= retries { Health::Unhealthy } else { before }
            }
        };
        self.results.push(result);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if most > 0 && self.results.len() > most {
            self.results.drain(..self.results.len() - most);
        }
        after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(exit_code: i32) -> HealthResult {
        HealthResult {
            start: Timestamp::UNIX_EPOCH,
            end: Timestamp::UNIX_EPOCH,
            exit_code,
            output: String::new(),
        }
    }

    /// One step a result: exit code, whether a failure counts, what follows.
    #[test]
    fn what_follows_from_results() {
        use Health::{Healthy, Starting, Unhealthy};
        for steps in [
            &[
                (1, true, Starting),
                (1, true, Unhealthy),
                (0, true, Healthy),
                (1, true, Healthy),
                (1, true, Unhealthy),
            ][..],
            // In the start period failures do not count, until a check has succeeded.
            &[
                (1, false, Starting),
                (1, false, Starting),
                (1, false, Starting),
                (1, true, Starting),
                (1, true, Unhealthy),
            ],
            &[(0, false, Healthy), (1, false, Healthy), (1, false, Unhealthy)],
        ] {
            let (mut log, mut health) = (HealthLog::default(), Starting);
            for (code, counts, follows) in steps {
                health = log.add(result(*code), health, 2, *counts, 3);
                assert_eq!(health, *follows, "{steps:?} {log:?}");
            }
            assert!(log.results.len() <= 3);
        }
        let mut log = HealthLog::default();
        for _ in 0..9 {
            log.add(result(0), Health::Healthy, 3, true, 0);
        }
        assert_eq!(log.results.len(), 9);
    }
}
