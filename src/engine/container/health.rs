//! Health checks: a process of the container's own runs them for as long as the container does.
//!
//! It is this program ([`begin`] starts it with a start, [`monitor`] is what it does), waits for the container's end and
//! for the next check at the same time, and ends with the container. What it finds is in two places: the status in the record,
//! for `ps`, the results in `health.json` beside it ([`log`]). The rules are docker's (moby `daemon/health.go`), the actions and
//! start-up checks podman's: as long as the start-up check has not succeeded as often as it has to, it is run instead of the
//! container's own, and the container goes on starting.

mod log;

pub use log::{HealthLog, HealthResult, LOG_COUNT, LOG_SIZE, health_log};

use super::exec::{ExecOptions, exec};
use super::notify;
use super::settle::settle;
use super::stop::{StopOptions, kill, stop};
use super::told::tell;
use super::{restart, start};
use crate::engine::conmon::{PACKET, Runtime};
use crate::engine::host::process::PidFd;
use crate::engine::host::spawn::Spawn;
use crate::engine::network::session;
use crate::engine::spec::{ContainerSpec, Health, HealthPolicy, ProcessSpec};
use crate::engine::state::{ContainerState, Locked, Record, Status};
use crate::engine::{Engine, Error, ErrorKind, Result};
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::ErrorKind as Io;
use std::path::Path;
use std::time::{Duration, Instant};

/// The hidden command that is the monitor.
pub const COMMAND: &str = "health-monitor";

// Docker's defaults (`daemon/health.go`).
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u64 = 3;
/// Whether there is something to check.
pub(super) fn has_check(spec: &ContainerSpec) -> bool {
    spec.healthcheck.as_ref().is_some_and(|check| check.command().is_some())
}

/// Forgets what was found in the last run of a container that is started: to be called before its record says so.
pub(super) fn reset(locked: &Locked, spec: &ContainerSpec, state: &mut ContainerState) -> Result<()> {
    log::forget(locked)?;
    state.health = if has_check(spec) { Health::Starting } else { Health::None };
    Ok(())
}

/// Completes and checks where the results go, for a spec that is new or changed.
pub(super) fn settle_destination(engine: &Engine, spec: &mut ContainerSpec) -> Result<()> {
    let place = &mut spec.health.log_destination;
    if matches!(place.as_str(), "" | HealthPolicy::LOCAL | HealthPolicy::EVENTS) {
        return Ok(());
    }
    let path = engine.config.env.cwd.join(&*place);
    if !path.is_dir() {
        return Err(Error::invalid(format!(
            "invalid --health-log-destination {}: it is not an existing directory",
            path.display()
        ))
        .with_hint("a directory, local or events_logger"));
    }
    *place = path.to_string_lossy().into_owned();
    Ok(())
}

/// Starts the monitor of a container that has just been started.
pub(super) fn begin(engine: &Engine, id: &str, spec: &ContainerSpec, runtime: &Runtime) -> Result<()> {
    if !has_check(spec) {
        return Ok(());
    }
    let mut words = start::itself(engine, &["container", COMMAND, id]).into_iter();
    let program = words.next().unwrap_or_default();
    let awaiting = notify::awaiting_health(engine, spec);
    let env = runtime.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(awaiting);
    let child = Spawn::new(Path::new(&program))
        .args(words)
        .envs(env)
        .new_session()
        .directory(Path::new("/"))
        .spawn()?;
    // The service manager listens to processes of the service only.
    if awaiting.is_none() {
        session::leave(&engine.config, "health", child.pid());
    }
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
    let mut at_once = false;
    loop {
        // `update` may have changed it.
        let record = match engine.state.load(id) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let Some(check) = Check::due(&record)? else { return Ok(()) };
        let starting = record.state.health == Health::Starting && begun.elapsed() < check.start_period;
        let interval =
            if starting && check.startup.is_none() { check.start_interval } else { check.interval };
        let pause = if std::mem::take(&mut at_once) { Duration::ZERO } else { interval };
        if process.wait(Some(pause))? {
            return Ok(());
        }
        let counts = !starting || begun.elapsed() >= check.start_period;
        match check.run(engine, id, &record, counts) {
            // What the container has started for is looked at as soon as it has.
            Ok(_) => {
                at_once = check.startup.is_some() && Check::due(&record)?.is_some_and(|c| c.startup.is_none())
            }
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
    let check = Check::due(&record)?
        .ok_or_else(|| Error::invalid(format!("container {name} has no defined healthcheck")))?;
    if record.state.status != Status::Running {
        return Err(super::attach::state_error(&record, "can only check running containers"));
    }
    check.run(engine, id, &record, true)
}

/// What follows from a result.
enum Noted {
    /// The container's status now.
    Status(Health),
    /// The start-up check has failed as often as it may: the container is started again.
    NeverStarts,
}

/// A container's check with the defaults filled in.
struct Check {
    command: Vec<String>,
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u64,
    /// It is the start-up check, which has to succeed so often.
    startup: Option<u64>,
    policy: HealthPolicy,
}

impl Check {
    /// The one to run next: the start-up check until it has succeeded.
    fn due(record: &Record) -> Result<Option<Self>> {
        let spec = record.spec()?;
        let Some(regular) = spec.healthcheck.as_ref().filter(|check| check.command().is_some()) else {
            return Ok(None);
        };
        let startup = spec.startup_check.as_ref().filter(|_| !health_log(record).started);
        let check = startup.map_or(regular, |startup| &startup.check);
        let or = |nanoseconds: u64, default: Duration| match nanoseconds {
            0 => default,
            n => Duration::from_nanos(n),
        };
        let Some(command) = check.command() else { return Ok(None) };
        Ok(Some(Self {
            command,
            interval: or(check.interval, INTERVAL),
            timeout: or(check.timeout, TIMEOUT),
            start_period: Duration::from_nanos(regular.start_period),
            start_interval: or(regular.start_interval, START_INTERVAL),
            retries: if check.retries == 0 && startup.is_none() { RETRIES } else { check.retries },
            startup: startup.map(|startup| startup.successes.max(1)),
            policy: spec.health.clone(),
        }))
    }

    /// Runs it in the container's run of `record`, records the result, and does what is to follow. `counts`: a failure is one.
    fn run(&self, engine: &Engine, id: &str, record: &Record, counts: bool) -> Result<bool> {
        let result = self.probe(engine, id)?;
        let succeeded = result.exit_code == 0;
        crate::failpoint!("health.after-probe");
        match self.note(engine, id, record, result, counts)? {
            Noted::Status(Health::Unhealthy) if !succeeded => self.act(engine, id)?,
            Noted::NeverStarts => restart::restart(engine, id, &StopOptions::default())?,
            Noted::Status(_) => {}
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
    ) -> Result<Noted> {
        let locked = engine.state.lock(id)?;
        let Some(mut record) = settle(engine, &locked)? else { return Ok(Noted::Status(Health::None)) };
        let same = (record.state.pid, record.state.pid_start) == (of.state.pid, of.state.pid_start);
        if !record.state.status.is_live() || !same {
            return Ok(Noted::Status(Health::None));
        }
        let mut log = health_log(&record);
        let before = record.state.health;
        let said = result.output.clone();
        let most = self.policy.max_log_count.unwrap_or(LOG_COUNT);
        let (after, given_up) = match self.startup {
            Some(successes) => (before, log.add_startup(result, successes, self.retries, most)),
            None => (log.add(result, before, self.retries, counts, most), false),
        };
        log.write(&locked)?;
        crate::failpoint!("health.after-log");
        if after != before {
            record.state.health = after;
            locked.save(&record.state)?;
            if after == Health::Healthy {
                notify::healthy(engine, record.spec()?);
            }
        }
        if let Err(e) = log.publish(&self.policy, id, after) {
            tracing::debug!("the results of container {id}'s health checks: {e}");
        }
        let told = self.policy.log_destination == HealthPolicy::EVENTS;
        if after != before || told {
            let more = [("health_log", said.as_str())];
            let more = if told { &more[..] } else { &[] };
            tell(engine, &format!("health_status: {}", after.as_str()), &record, more);
        }
        Ok(if given_up { Noted::NeverStarts } else { Noted::Status(after) })
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
