//! `Config`: what the process is and what the image said of it.

use super::{Set, Texts, set};
use crate::cmd::format::template;
use crate::engine::Engine;
use crate::engine::container::health;
use crate::engine::oci::systemd_mode;
use crate::engine::spec::{ContainerSpec, HealthPolicy, MountKind, NamespaceMode, SecretPlace, SecretUse};
use crate::engine::state::Record;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Serialize)]
#[serde(rename = "InspectContainerConfig", rename_all = "PascalCase")]
pub(super) struct Config {
    pub hostname: String,
    pub domainname: String,
    pub user: String,
    pub attach_stdin: bool,
    pub attach_stdout: bool,
    pub attach_stderr: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: Set,
    pub tty: bool,
    pub open_stdin: bool,
    pub stdin_once: bool,
    pub env: Vec<String>,
    #[serde(serialize_with = "template::slice")]
    pub cmd: Option<Vec<String>>,
    pub image: String,
    #[serde(serialize_with = "template::map")]
    pub volumes: Option<Set>,
    pub working_dir: String,
    #[serde(serialize_with = "template::slice")]
    pub entrypoint: Option<Vec<String>>,
    #[serde(serialize_with = "template::slice")]
    pub on_build: Option<Vec<String>>,
    pub labels: Texts,
    pub annotations: Texts,
    pub stop_signal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<crate::engine::spec::Healthcheck>,
    pub healthcheck_on_failure_action: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup_health_check: Option<crate::engine::spec::StartupCheck>,
    pub health_log_destination: String,
    pub healthcheck_max_log_count: u32,
    pub healthcheck_max_log_size: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Secret>,
    pub create_command: Vec<String>,
    pub timezone: String,
    pub systemd_mode: bool,
    pub umask: String,
    pub timeout: u32,
    pub stop_timeout: u32,
    pub passwd: bool,
    #[serde(rename = "sdNotifyMode")]
    pub sd_notify_mode: String,
}

pub(super) fn config(engine: &Engine, record: &Record, spec: &ContainerSpec) -> Config {
    let process = &spec.process;
    let words = |words: &[String]| if words.is_empty() { None } else { Some(words.to_vec()) };
    let hostname = match spec.hostname.is_empty() {
        true if spec.namespaces.uts == NamespaceMode::Host => String::new(),
        true => record.id.get(..12).unwrap_or_default().to_owned(),
        false => spec.hostname.clone(),
    };
    let volumes: Vec<&str> =
        spec.mounts.iter().filter(|m| m.kind == MountKind::Volume).map(|m| m.target.as_str()).collect();
    let default_timeout = engine.config.containers.engine.stop_timeout.unwrap_or(10);
    Config {
        hostname,
        domainname: spec.domainname.clone(),
        user: process.user.clone(),
        attach_stdin: false,
        attach_stdout: false,
        attach_stderr: false,
        exposed_ports: set(&spec.exposed_ports),
        tty: process.terminal,
        open_stdin: process.open_stdin,
        stdin_once: false,
        env: process.env.clone(),
        cmd: words(&process.command),
        image: if spec.image.name.is_empty() { &spec.image.requested } else { &spec.image.name }.clone(),
        volumes: if volumes.is_empty() { None } else { Some(set(&volumes)) },
        working_dir: if process.workdir.is_empty() { "/".to_owned() } else { process.workdir.clone() },
        entrypoint: process.entrypoint.as_deref().and_then(words),
        on_build: None,
        labels: spec.labels.clone(),
        annotations: spec.annotations.clone(),
        stop_signal: spec.stop_signal.clone(),
        healthcheck: spec.healthcheck.clone(),
        healthcheck_on_failure_action: match spec.health.on_failure.as_str() {
            "" => "none".to_owned(),
            action => action.to_owned(),
        },
        startup_health_check: spec.startup_check.clone(),
        health_log_destination: match spec.health.log_destination.as_str() {
            "" => HealthPolicy::LOCAL.to_owned(),
            place => place.to_owned(),
        },
        healthcheck_max_log_count: small(spec.health.max_log_count.unwrap_or(health::LOG_COUNT)),
        healthcheck_max_log_size: small(spec.health.max_log_size.unwrap_or(health::LOG_SIZE)),
        secrets: spec.secrets.iter().map(secret).collect(),
        create_command: spec.create_command.clone(),
        timezone: spec.timezone.clone(),
        systemd_mode: systemd_mode(spec),
        umask: if process.umask.is_empty() { "0022".to_owned() } else { process.umask.clone() },
        timeout: spec.timeout,
        stop_timeout: spec.stop_timeout.unwrap_or(default_timeout),
        passwd: !spec.passwd.disabled,
        sd_notify_mode: if spec.sdnotify.is_empty() { "container".to_owned() } else { spec.sdnotify.clone() },
    }
}

/// podman's `InspectSecret`: what is given and to whom, never what it is.
#[derive(Debug, Serialize)]
#[serde(rename = "InspectSecret", rename_all = "PascalCase")]
pub(super) struct Secret {
    pub name: String,
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "UID")]
    pub uid: u32,
    #[serde(rename = "GID")]
    pub gid: u32,
    pub mode: u32,
}

fn secret(wanted: &SecretUse) -> Secret {
    let (uid, gid, mode) = match wanted.place {
        SecretPlace::File { uid, gid, mode, .. } => (uid, gid, mode),
        SecretPlace::Environment(_) => (0, 0, 0),
    };
    Secret { name: wanted.name.clone(), id: wanted.id.clone(), uid, gid, mode }
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
