//! Health checks. The image's own is recorded; running one is a later matter, so changing it is refused.

use crate::engine::Result;
use crate::engine::spec::{ContainerSpec, Healthcheck};
use clap::Args;

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
    /// What is not run yet is refused.
    pub fn apply(&self, spec: &mut ContainerSpec) -> Result<()> {
        let none = |text: &Option<String>| text.as_deref() == Some("none");
        if self.no_healthcheck || none(&self.health_cmd) {
            spec.healthcheck = Some(Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() });
        }
        let given = [
            ("--health-cmd", self.health_cmd.is_some() && !none(&self.health_cmd)),
            ("--health-interval", self.health_interval.is_some()),
            ("--health-retries", self.health_retries.is_some()),
            ("--health-start-period", self.health_start_period.is_some()),
            ("--health-start-interval", self.health_start_interval.is_some()),
            ("--health-timeout", self.health_timeout.is_some()),
            ("--health-on-failure", self.health_on_failure.is_some() && !none(&self.health_on_failure)),
            ("--health-log-destination", self.health_log_destination.is_some()),
            ("--health-max-log-count", self.health_max_log_count.is_some()),
            ("--health-max-log-size", self.health_max_log_size.is_some()),
            ("--health-startup-cmd", self.health_startup_cmd.is_some()),
            ("--health-startup-interval", self.health_startup_interval.is_some()),
            ("--health-startup-retries", self.health_startup_retries.is_some()),
            ("--health-startup-success", self.health_startup_success.is_some()),
            ("--health-startup-timeout", self.health_startup_timeout.is_some()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(super::later(flag, "running health checks")),
            None => Ok(()),
        }
    }
}
