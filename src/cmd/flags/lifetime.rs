//! The container's name and life: restart, stop, removal, pods, systemd.

use super::Inputs;
use crate::engine::spec::{ContainerSpec, RestartPolicy, signal};
use crate::engine::{Error, Result};
use clap::Args;
use std::path::PathBuf;

/// Name and life of the container.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Life")]
pub struct LifeArgs {
    /// Name of the container
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Remove a container of the same name first
    #[arg(long)]
    pub replace: bool,
    /// Remove the container when it exits
    #[arg(long)]
    pub rm: bool,
    /// Restart after exit: no, on-failure, on-failure:TIMES, always or unless-stopped
    #[arg(long, value_name = "POLICY")]
    pub restart: Option<String>,
    /// Signal that stop sends first
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<String>,
    /// Seconds between the stop signal and SIGKILL; -1: no SIGKILL
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub stop_timeout: Option<i64>,
    /// Kill the container after so many seconds; 0: never
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u32>,
    /// Write the container's ID to a new file
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<PathBuf>,
    /// Write the process ID of the container to a file
    #[arg(long, value_name = "FILE")]
    pub pidfile: Option<PathBuf>,
    /// Write the process ID of conmon to a file
    #[arg(long, value_name = "FILE")]
    pub conmon_pidfile: Option<PathBuf>,
    /// Prepare the container for systemd as its command: true, false or always
    #[arg(long, value_name = "MODE", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub systemd: Option<String>,
    /// Who tells systemd that the container is ready: container, conmon, healthy or ignore
    #[arg(long, value_name = "MODE", value_parser = ["container", "conmon", "healthy", "ignore"])]
    pub sdnotify: Option<String>,
    /// Put the container in a pod
    #[arg(long, value_name = "POD")]
    pub pod: Option<String>,
    /// Read the pod's ID from a file
    #[arg(long, value_name = "FILE")]
    pub pod_id_file: Option<PathBuf>,
    /// Run the container before the others of its pod: always or once
    #[arg(long, value_name = "WHEN")]
    pub init_ctr: Option<String>,
    /// Start these containers first (may be repeated)
    #[arg(long, value_name = "CONTAINER", value_delimiter = ',')]
    pub requires: Vec<String>,
    /// OCI runtime for this container (docker's spelling; also a flag before the command)
    #[arg(id = "container_runtime", long = "runtime", value_name = "RUNTIME")]
    pub container_runtime: Option<String>,
}

impl LifeArgs {
    pub(super) fn apply(&self, spec: &mut ContainerSpec, inputs: &Inputs<'_>) -> Result<()> {
        if let Some(name) = self.name.as_deref().filter(|name| !name.is_empty()) {
            spec.name = container_name(name)?;
        }
        if self.replace && self.name.as_deref().is_none_or(str::is_empty) {
            return Err(Error::invalid("--replace needs --name"));
        }
        spec.remove = self.rm;
        if let Some(policy) = &self.restart {
            spec.restart = restart(policy)?;
            if spec.remove && spec.restart != RestartPolicy::default() {
                return Err(Error::invalid("conflicting options: --restart and --rm"));
            }
        }
        if let Some(name) = &self.stop_signal {
            spec.stop_signal = signal::name(signal::parse(name)?);
        }
        spec.stop_timeout = match self.stop_timeout {
            None => None,
            Some(-1) => Some(u32::MAX),
            Some(seconds) => Some(u32::try_from(seconds).map_err(|_| {
                Error::invalid(format!("invalid --stop-timeout {seconds}"))
                    .with_hint("seconds, or -1 to wait forever")
            })?),
        };
        spec.timeout = self.timeout.unwrap_or(0);
        let path =
            |p: &Option<PathBuf>| p.as_ref().map(|p| inputs.env.cwd.join(p).to_string_lossy().into_owned());
        spec.pidfile = path(&self.pidfile);
        spec.conmon_pidfile = path(&self.conmon_pidfile);
        spec.systemd = match self.systemd.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None => String::new(),
            Some("always") => "always".to_owned(),
            Some(word) => match super::values::boolean(word) {
                Ok(on) => on.to_string(),
                Err(_) => {
                    return Err(Error::invalid(format!("invalid --systemd {word:?}: true, false or always")));
                }
            },
        };
        spec.sdnotify = self.sdnotify.clone().unwrap_or_default();
        spec.runtime = self.container_runtime.clone().unwrap_or_default();
        if self.pod.is_some() || self.pod_id_file.is_some() {
            return Err(super::later("--pod", "pods"));
        }
        if self.init_ctr.is_some() {
            return Err(super::later("--init-ctr", "pods"));
        }
        spec.requires = self.requires.iter().filter(|name| !name.is_empty()).cloned().collect();
        Ok(())
    }
}

/// Docker's and podman's rule for names of containers.
///
/// # Errors
/// It does not match `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
pub fn container_name(name: &str) -> Result<String> {
    // Docker accepts and drops the slash its own API puts before names.
    let bare = name.strip_prefix('/').unwrap_or(name);
    if bare.len() <= 253 && crate::engine::spec::is_name(bare) {
        return Ok(bare.to_owned());
    }
    Err(Error::invalid(format!("invalid container name {name:?}"))
        .with_hint("names match [a-zA-Z0-9][a-zA-Z0-9_.-]*"))
}

/// `--restart`.
///
/// # Errors
/// Unknown policy, or a number of times where none belongs.
pub fn restart(text: &str) -> Result<RestartPolicy> {
    let bad = || {
        Error::invalid(format!("invalid --restart {text:?}"))
            .with_hint("no, on-failure[:TIMES], always or unless-stopped")
    };
    let (name, times) = match text.split_once(':') {
        Some((name, times)) => (name, Some(times)),
        None => (text, None),
    };
    match (name, times) {
        ("" | "no" | "never", None) => Ok(RestartPolicy::default()),
        ("always" | "unless-stopped" | "on-failure", None) => {
            Ok(RestartPolicy { name: name.to_owned(), max_retries: 0 })
        }
        ("on-failure", Some(times)) => {
            Ok(RestartPolicy { name: name.to_owned(), max_retries: times.parse().map_err(|_| bad())? })
        }
        _ => Err(bad()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn restart_policies() {
        let of = |t: &str| restart(t).map(|r| (r.name, r.max_retries));
        assert_eq!(of("no").unwrap(), (String::new(), 0));
        assert_eq!(of("always").unwrap(), ("always".into(), 0));
        assert_eq!(of("on-failure:3").unwrap(), ("on-failure".into(), 3));
        for bad in ["sometimes", "always:3", "on-failure:", "on-failure:-1", "on-failure:x"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(container_name("/web").unwrap(), "web");
        for good in ["a", "web_1.x-y", "0"] {
            assert!(container_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a/b", "a b", "../x", "ä", &"x".repeat(254)] {
            assert!(container_name(bad).is_err(), "{bad}");
        }
    }
}
