//! Health checks.

use crate::engine::moment;
use crate::engine::spec::{ContainerSpec, Healthcheck};
use crate::engine::{Error, Result};
use clap::Args;
use std::time::Duration;

/// `--health-*`.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Health check")]
pub struct HealthArgs {
    /// Command that tells whether the container is healthy
    #[arg(long, value_name = "COMMAND")]
    pub health_cmd: Option<String>,
    /// Time between checks
    #[arg(long, value_name = "DURATION")]
    pub health_interval: Option<String>,
    /// Failures until the container is unhealthy
    #[arg(long, value_name = "NUMBER")]
    pub health_retries: Option<u64>,
    /// Time in which failures do not count
    #[arg(long, value_name = "DURATION")]
    pub health_start_period: Option<String>,
    /// Time between checks in the start period
    #[arg(long, value_name = "DURATION")]
    pub health_start_interval: Option<String>,
    /// Time a check may take
    #[arg(long, value_name = "DURATION")]
    pub health_timeout: Option<String>,
    /// What happens to an unhealthy container: none, kill, restart or stop
    #[arg(long, value_name = "ACTION")]
    pub health_on_failure: Option<String>,
    /// Where results are kept: local, a directory, or events_logger
    #[arg(long, value_name = "PLACE")]
    pub health_log_destination: Option<String>,
    /// Results that are kept
    #[arg(long, value_name = "NUMBER")]
    pub health_max_log_count: Option<u64>,
    /// Characters of output that are kept
    #[arg(long, value_name = "NUMBER")]
    pub health_max_log_size: Option<u64>,
    /// Command that tells whether the container has started
    #[arg(long, value_name = "COMMAND")]
    pub health_startup_cmd: Option<String>,
    /// Time between start-up checks
    #[arg(long, value_name = "DURATION")]
    pub health_startup_interval: Option<String>,
    /// Failures of the start-up check until the container is restarted
    #[arg(long, value_name = "NUMBER")]
    pub health_startup_retries: Option<u64>,
    /// Successes of the start-up check until it counts as started
    #[arg(long, value_name = "NUMBER")]
    pub health_startup_success: Option<u64>,
    /// Time a start-up check may take
    #[arg(long, value_name = "DURATION")]
    pub health_startup_timeout: Option<String>,
    /// Drop the image's health check
    #[arg(long)]
    pub no_healthcheck: bool,
}

impl HealthArgs {
    /// Puts what was given into `spec`.
    ///
    /// # Errors
    /// A value is malformed; `--no-healthcheck` stands beside others; a start-up check has no command.
    pub fn apply(&self, spec: &mut ContainerSpec) -> Result<()> {
        let off = self.no_healthcheck || self.health_cmd.as_deref() == Some("none");
        let mut check = spec.healthcheck.take().unwrap_or_default();
        let before = check.clone();
        if let Some(command) = self.health_cmd.as_deref().filter(|_| !off) {
            check.test = command_words(command)?;
        }
        for (flag, given, field) in [
            ("--health-interval", &self.health_interval, &mut check.interval),
            ("--health-timeout", &self.health_timeout, &mut check.timeout),
            ("--health-start-period", &self.health_start_period, &mut check.start_period),
            ("--health-start-interval", &self.health_start_interval, &mut check.start_interval),
        ] {
            if let Some(text) = given {
                *field = nanoseconds(flag, text)?;
            }
        }
        if let Some(retries) = self.health_retries {
            check.retries = retries;
        }
        if self.no_healthcheck && check != before {
            return Err(Error::invalid("--no-healthcheck conflicts with --health-* options"));
        }
        if off {
            check = Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() };
        }
        spec.healthcheck = (check != Healthcheck::default()).then_some(check);
        if let Some(action) = &self.health_on_failure {
            if !matches!(action.as_str(), "none" | "kill" | "restart" | "stop") {
                return Err(Error::invalid(format!("invalid --health-on-failure {action:?}"))
                    .with_hint("none, kill, restart or stop"));
            }
            spec.health.on_failure.clone_from(action);
        }
        self.apply_startup(spec, off)?;
        if let Some(place) = &self.health_log_destination {
            spec.health.log_destination.clone_from(place);
        }
        spec.health.max_log_count = self.health_max_log_count.or(spec.health.max_log_count);
        spec.health.max_log_size = self.health_max_log_size.or(spec.health.max_log_size);
        Ok(())
    }

    /// Whether something is said of a check that has to be there.
    pub fn details(&self) -> bool {
        self.health_interval.is_some()
            || self.health_retries.is_some()
            || self.health_timeout.is_some()
            || self.health_start_period.is_some()
            || self.health_start_interval.is_some()
    }

    fn apply_startup(&self, spec: &mut ContainerSpec, off: bool) -> Result<()> {
        let given = [
            ("--health-startup-cmd", self.health_startup_cmd.is_some()),
            ("--health-startup-interval", self.health_startup_interval.is_some()),
            ("--health-startup-retries", self.health_startup_retries.is_some()),
            ("--health-startup-success", self.health_startup_success.is_some()),
            ("--health-startup-timeout", self.health_startup_timeout.is_some()),
        ];
        let first = given.iter().find(|(_, given)| *given).map(|(flag, _)| *flag);
        if off {
            spec.startup_check = None;
            return match first {
                Some(flag) => Err(Error::invalid(format!("cannot specify both --no-healthcheck and {flag}"))),
                None => Ok(()),
            };
        }
        let Some(first) = first else { return Ok(()) };
        let mut startup = spec.startup_check.take().unwrap_or_default();
        if let Some(command) = &self.health_startup_cmd {
            startup.check.test = command_words(command)?;
        }
        if startup.check.command().is_none() {
            return Err(Error::invalid(format!("{first} needs --health-startup-cmd")));
        }
        if let Some(text) = &self.health_startup_interval {
            startup.check.interval = nanoseconds("--health-startup-interval", text)?;
        }
        if let Some(text) = &self.health_startup_timeout {
            startup.check.timeout = nanoseconds("--health-startup-timeout", text)?;
        }
        startup.check.retries = self.health_startup_retries.unwrap_or(startup.check.retries);
        startup.successes = self.health_startup_success.unwrap_or(startup.successes);
        spec.startup_check = Some(startup);
        Ok(())
    }
}

/// A JSON array is a command and its arguments (podman's), any other text is for the shell.
fn command_words(text: &str) -> Result<Vec<String>> {
    let Some(words) =
        text.trim().strip_prefix('[').and_then(|_| serde_json::from_str::<Vec<String>>(text).ok())
    else {
        if text.trim().is_empty() {
            return Err(Error::invalid("must define a healthcheck command for all healthchecks"));
        }
        return Ok(vec!["CMD-SHELL".to_owned(), text.to_owned()]);
    };
    match words.first().map(String::as_str) {
        None => Err(Error::invalid("must define a healthcheck command for all healthchecks")),
        Some("CMD" | "CMD-SHELL" | "NONE") => Ok(words),
        Some(_) => Ok(std::iter::once("CMD".to_owned()).chain(words).collect()),
    }
}

/// `disable` is podman's word for no checks but those by hand.
fn nanoseconds(flag: &str, text: &str) -> Result<u64> {
    if text == "disable" && flag == "--health-interval" {
        return Ok(u64::MAX);
    }
    let duration = moment::duration(text).filter(|d| d.is_zero() || *d >= Duration::from_millis(1));
    duration.and_then(|d| u64::try_from(d.as_nanos()).ok()).ok_or_else(|| {
        Error::invalid(format!("invalid {flag} {text:?}"))
            .with_hint("a duration of at least 1ms, such as 30s or 1m30s")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(args: HealthArgs) -> Result<ContainerSpec> {
        let mut spec = ContainerSpec::default();
        args.apply(&mut spec).map(|()| spec)
    }

    #[test]
    fn commands() {
        let test = |text: &str| {
            let args = HealthArgs { health_cmd: Some(text.to_owned()), ..HealthArgs::default() };
            of(args).map(|spec| spec.healthcheck.unwrap().test)
        };
        assert_eq!(test("curl -f x || exit 1").unwrap(), ["CMD-SHELL", "curl -f x || exit 1"]);
        assert_eq!(test(r#"["curl", "-f"]"#).unwrap(), ["CMD", "curl", "-f"]);
        assert_eq!(test(r#"["CMD-SHELL", "x"]"#).unwrap(), ["CMD-SHELL", "x"]);
        assert_eq!(test("[ -e /ready ]").unwrap(), ["CMD-SHELL", "[ -e /ready ]"]);
        assert_eq!(test("none").unwrap(), ["NONE"]);
        for bad in ["", " ", "[]"] {
            assert!(test(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn times_and_contradictions() {
        let interval = |text: &str| {
            let args = HealthArgs { health_interval: Some(text.to_owned()), ..HealthArgs::default() };
            of(args).map(|spec| spec.healthcheck.unwrap_or_default().interval)
        };
        assert_eq!(interval("1m30s").unwrap(), 90_000_000_000);
        assert_eq!(interval("disable").unwrap(), u64::MAX);
        assert_eq!(interval("0s").unwrap(), 0);
        for bad in ["1", "x", "-1s", "1us"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
        let off = HealthArgs { no_healthcheck: true, ..HealthArgs::default() };
        assert_eq!(of(off.clone()).unwrap().healthcheck.unwrap().test, ["NONE"]);
        assert!(of(HealthArgs { health_retries: Some(3), ..off }).is_err());
        let bad = HealthArgs { health_on_failure: Some("shout".to_owned()), ..HealthArgs::default() };
        assert!(of(bad).is_err());
    }

    #[test]
    fn start_up_checks() {
        let args = HealthArgs {
            health_cmd: Some("true".to_owned()),
            health_startup_cmd: Some("test -e /up".to_owned()),
            health_startup_interval: Some("2s".to_owned()),
            health_startup_success: Some(3),
            health_startup_retries: Some(7),
            ..HealthArgs::default()
        };
        let got = of(args.clone()).unwrap().startup_check.unwrap();
        assert_eq!(got.check.test, ["CMD-SHELL", "test -e /up"]);
        assert_eq!((got.check.interval, got.check.retries, got.successes), (2_000_000_000, 7, 3));
        let lone = HealthArgs { health_startup_cmd: None, ..args.clone() };
        assert!(of(lone).unwrap_err().to_string().contains("needs --health-startup-cmd"));
        let off = HealthArgs { health_cmd: Some("none".to_owned()), ..args };
        assert!(of(off).is_err());
    }
}
