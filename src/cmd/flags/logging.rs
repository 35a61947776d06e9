//! Where the container's output goes.

use super::values::{decimal_size, key_value};
use crate::engine::spec::ContainerSpec;
use crate::engine::{Error, Result};
use clap::Args;

/// Log driver and its options.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Logging")]
pub struct LogArgs {
    /// k8s-file (or json-file), journald, none, passthrough or passthrough-tty
    #[arg(long, value_name = "DRIVER")]
    pub log_driver: Option<String>,
    /// path=FILE, max-size=SIZE, tag=TAG (may be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    pub log_opt: Vec<String>,
}

impl LogArgs {
    pub(super) fn apply(&self, spec: &mut ContainerSpec) -> Result<()> {
        let log = &mut spec.log;
        log.driver = match self.log_driver.as_deref() {
            None | Some("") => String::new(),
            Some(
                known @ ("k8s-file" | "json-file" | "local" | "journald" | "none" | "passthrough"
                | "passthrough-tty"),
            ) => known.to_owned(),
            Some(
                other @ ("syslog" | "gelf" | "fluentd" | "awslogs" | "splunk" | "gcplogs" | "etwlogs"
                | "logentries"),
            ) => {
                return Err(Error::unsupported(format!(
                    "the log driver {other} needs a daemon and is not offered"
                ))
                .with_hint("use journald, and forward from there"));
            }
            Some(other) => {
                return Err(Error::invalid(format!("invalid --log-driver {other:?}"))
                    .with_hint("k8s-file, json-file, journald, none, passthrough or passthrough-tty"));
            }
        };
        for entry in &self.log_opt {
            let (name, value) = key_value("--log-opt", entry)?;
            match name.as_str() {
                "path" => log.path = Some(value),
                "max-size" if value == "-1" => log.max_size = None,
                "max-size" => log.max_size = Some(decimal_size("--log-opt max-size", &value)?),
                "tag" => log.tag = value,
                _ => {
                    log.options.insert(name, value);
                }
            }
        }
        Ok(())
    }
}
