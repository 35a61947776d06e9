//! What health checks have found: `health.json` beside the container's record, and its copy where the user wants one.

use crate::engine::host::atomic::{self, Durability};
use crate::engine::spec::{Health, HealthPolicy};
use crate::engine::state::{Locked, Record};
use crate::engine::{Error, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

const FILE: &str = "health.json";

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
    /// The start-up check has succeeded as often as it has to.
    pub started: bool,
    /// Its successes in a row.
    pub startup_successes: u64,
    /// Its failures.
    pub startup_failures: u64,
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

/// Removes the results of the last run.
pub(super) fn forget(locked: &Locked) -> Result<()> {
    let path = locked.dir().join(FILE);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("unlink", path, e)),
        _ => Ok(()),
    }
}

impl HealthLog {
    pub(super) fn write(&self, locked: &Locked) -> Result<()> {
        let text =
            serde_json::to_vec(self).map_err(|e| Error::corrupt("encode health.json").with_source(e))?;
        atomic::write(&locked.dir().join(FILE), &text, 0o600, Durability::None)
    }

    /// Writes the file in the directory that `--health-log-destination` names, if it names one, as podman does: name and
    /// contents are those of podman's `ID-healthcheck.log`.
    pub(super) fn publish(&self, policy: &HealthPolicy, id: &str, status: Health) -> Result<()> {
        let Some(directory) = policy.log_directory() else { return Ok(()) };
        let results = self.results.iter().map(|result| {
            serde_json::json!({
                "Start": result.start.to_string(),
                "End": result.end.to_string(),
                "ExitCode": result.exit_code,
                "Output": result.output,
            })
        });
        let text = serde_json::json!({
            "Status": status.as_str(),
            "FailingStreak": self.failing_streak,
            "Log": results.collect::<Vec<_>>(),
        });
        let path = Path::new(directory).join(format!("{id}-healthcheck.log"));
        atomic::write(&path, text.to_string().as_bytes(), 0o600, Durability::None)
    }

    /// Adds a result; the status that follows from it. At most `most` results stay, 0: all.
    pub(super) fn add(
        &mut self,
        result: HealthResult,
        before: Health,
        retries: u64,
        counts: bool,
        most: u64,
    ) -> Health {
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
        self.keep(result, most);
        after
    }

    /// Adds a result of the start-up check, which is over after so many `successes` in a row. Whether it has failed as often
    /// as it may: `retries` times, 0: without limit.
    pub(super) fn add_startup(
        &mut self,
        result: HealthResult,
        successes: u64,
        retries: u64,
        most: u64,
    ) -> bool {
        if result.exit_code == 0 {
            self.startup_successes += 1;
            self.started = self.startup_successes >= successes;
        } else {
            self.startup_successes = 0;
            self.startup_failures += 1;
        }
        self.keep(result, most);
        !self.started && retries > 0 && self.startup_failures >= retries
    }

    fn keep(&mut self, result: HealthResult, most: u64) {
        self.results.push(result);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if most > 0 && self.results.len() > most {
            self.results.drain(..self.results.len() - most);
        }
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

    #[test]
    fn a_start_up_check_succeeds_in_a_row_or_is_given_up() {
        // Exit code, started, given up; two successes are wanted and three failures are too many.
        let mut log = HealthLog::default();
        for (code, started, given_up) in
            [(1, false, false), (0, false, false), (1, false, false), (0, false, false), (0, true, false)]
        {
            assert_eq!(log.add_startup(result(code), 2, 3, 5), given_up);
            assert_eq!(log.started, started, "{log:?}");
        }
        assert_eq!(log.failing_streak, 0);
        let mut log = HealthLog::default();
        let given_up: Vec<_> = (0..3).map(|_| log.add_startup(result(1), 1, 3, 5)).collect();
        assert_eq!(given_up, [false, false, true]);
        let mut log = HealthLog::default();
        assert!((0..9).all(|_| !log.add_startup(result(1), 1, 0, 5)));
    }
}
