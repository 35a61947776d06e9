//! A container as `inspect` shows it: podman's fields in podman's order (libpod/define/container_inspect.go), with
//! docker's own (api/types/container.InspectResponse) among them. Time stamps are RFC 3339, as docker's.

use super::config::{Config, config};
use super::host::{HostConfig, host_config};
use super::mounts::{Mount, is_listed, mount};
use super::network::{NetworkSettings, network};
use super::{Texts, base_name, text};
use crate::cmd::format::template::GoTime;
use crate::engine::conmon::{RunDir, Runtime};
use crate::engine::container::exec_sessions::sessions;
use crate::engine::container::grants;
use crate::engine::container::health::{HealthResult, health_log};
use crate::engine::spec::{self, ContainerSpec, Link, NamespaceMode};
use crate::engine::state::{Record, Status};
use crate::engine::store::ContainerRecord;
use crate::engine::{Engine, Result};
use serde::Serialize;
use std::path::Path;

#[derive(Debug, Serialize)]
#[serde(rename = "InspectContainerData", rename_all = "PascalCase")]
pub(super) struct Container {
    pub id: String,
    pub created: GoTime,
    pub path: String,
    pub args: Vec<String>,
    pub state: State,
    pub image: String,
    pub image_digest: String,
    pub image_name: String,
    pub rootfs: String,
    pub pod: String,
    pub resolv_conf_path: String,
    pub hostname_path: String,
    pub hosts_path: String,
    pub log_path: String,
    pub static_dir: String,
    #[serde(rename = "OCIConfigPath")]
    pub oci_config_path: String,
    #[serde(rename = "OCIRuntime")]
    pub oci_runtime: String,
    pub conmon_pid_file: String,
    pub pid_file: String,
    pub name: String,
    pub restart_count: u32,
    pub driver: String,
    pub platform: String,
    pub mount_label: String,
    pub process_label: String,
    pub app_armor_profile: String,
    pub effective_caps: Vec<String>,
    pub bounding_caps: Vec<String>,
    #[serde(rename = "ExecIDs")]
    pub exec_ids: Vec<String>,
    pub graph_driver: GraphDriver,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<u64>,
    pub mounts: Vec<Mount>,
    pub dependencies: Vec<String>,
    pub network_settings: NetworkSettings,
    pub namespace: String,
    pub is_infra: bool,
    pub is_service: bool,
    pub kube_exit_code_propagation: String,
    #[serde(rename = "lockNumber")]
    pub lock_number: u32,
    pub config: Config,
    pub host_config: HostConfig,
    pub use_image_hosts: bool,
    pub use_image_hostname: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename = "InspectContainerState", rename_all = "PascalCase")]
pub(super) struct State {
    pub oci_version: String,
    pub status: String,
    pub running: bool,
    pub paused: bool,
    pub restarting: bool,
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    pub dead: bool,
    pub pid: u32,
    pub conmon_pid: u32,
    pub exit_code: i32,
    pub error: String,
    pub started_at: GoTime,
    pub finished_at: GoTime,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    pub checkpointed: bool,
    pub cgroup_path: String,
    pub checkpointed_at: GoTime,
    pub restored_at: GoTime,
    pub stopped_by_user: bool,
}

/// Of a container that has a health check and was started.
#[derive(Debug, Serialize)]
#[serde(rename = "HealthCheckResults", rename_all = "PascalCase")]
pub(super) struct Health {
    pub status: String,
    pub failing_streak: u32,
    pub log: Vec<Probe>,
}

/// One run of a health check.
#[derive(Debug, Serialize)]
#[serde(rename = "HealthCheckLog", rename_all = "PascalCase")]
pub(super) struct Probe {
    pub start: String,
    pub end: String,
    pub exit_code: i32,
    pub output: String,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GraphDriver {
    pub name: String,
    pub data: Texts,
}

/// Gathers everything; with `sizes` also what was written, which walks the container's layer.
pub(super) fn container(engine: &Engine, record: &Record, sizes: bool) -> Result<Container> {
    let spec = record.spec()?;
    let (state, head) = (&record.state, &record.state.head);
    let run = RunDir::new(engine.state.run_dir(&record.id));
    let file = |name: &str| existing(&run.path().join(name));
    let stored = engine.store.container(&record.id).unwrap_or_default();
    let grants = grants(engine, record)?;
    let runtime = runtime(engine, record, spec);
    let (size_rw, size_root_fs) = if sizes { measure(engine, record)? } else { (None, None) };
    let mut argv = head.command.iter().cloned();
    Ok(Container {
        id: record.id.clone(),
        created: GoTime(Some(record.created)),
        path: argv.next().unwrap_or_default(),
        args: argv.collect(),
        state: lifecycle(record),
        image: spec.image.id.clone(),
        image_digest: spec.image.digest.clone(),
        image_name: if spec.image.name.is_empty() { &spec.image.requested } else { &spec.image.name }.clone(),
        rootfs: spec.image.rootfs.clone().unwrap_or_default(),
        pod: String::new(),
        resolv_conf_path: file("resolv.conf"),
        hostname_path: file("hostname"),
        hosts_path: file("hosts"),
        log_path: text(&state.log_path),
        static_dir: text(&record.dir),
        oci_config_path: existing(&run.config()),
        oci_runtime: runtime.clone(),
        conmon_pid_file: spec.conmon_pidfile.clone().unwrap_or_default(),
        pid_file: spec.pidfile.clone().unwrap_or_else(|| existing(&run.pidfile())),
        name: head.name.clone(),
        restart_count: state.restart_count,
        driver: engine.store.driver_name().to_owned(),
        platform: "linux".to_owned(),
        mount_label: stored.mount_label().to_owned(),
        process_label: String::new(),
        app_armor_profile: spec.security.apparmor.clone(),
        effective_caps: grants.effective.clone(),
        bounding_caps: grants.bounding.clone(),
        exec_ids: sessions(engine, &record.id).into_iter().map(|(id, _)| id).collect(),
        graph_driver: graph_driver(engine, &stored, &state.mountpoint),
        size_rw,
        size_root_fs,
        mounts: spec.mounts.iter().filter(|m| is_listed(m)).map(|m| mount(engine, m)).collect(),
        dependencies: dependencies(spec),
        network_settings: network(engine, record, spec),
        namespace: String::new(),
        is_infra: false,
        is_service: false,
        kube_exit_code_propagation: "invalid".to_owned(),
        lock_number: 0,
        config: config(engine, record, spec),
        host_config: HostConfig {
            links: links(engine, record, spec),
            ..host_config(record, spec, &stored, grants, &runtime)
        },
        use_image_hosts: false,
        use_image_hostname: false,
    })
}

/// docker's `/OTHER:/THIS/ALIAS`.
fn links(engine: &Engine, record: &Record, spec: &ContainerSpec) -> Vec<String> {
    let name = |id: &str| engine.state.load(id).map_or_else(|_| id.to_owned(), |r| r.name().to_owned());
    let one = |l: &Link| format!("/{}:/{}/{}", name(&l.container), record.name(), l.alias);
    spec.network.links.iter().map(one).collect()
}

/// The OCI runtime that ran it, or would.
fn runtime(engine: &Engine, record: &Record, spec: &ContainerSpec) -> String {
    if !record.state.runtime.is_empty() {
        return base_name(&record.state.runtime);
    }
    Runtime::find(&engine.config, &spec.runtime).map_or_else(|_| spec.runtime.clone(), |found| found.name)
}

fn existing(path: &Path) -> String {
    if path.exists() { text(path) } else { String::new() }
}

fn measure(engine: &Engine, record: &Record) -> Result<(Option<u64>, Option<u64>)> {
    let written = engine.store.container_rw_size(&record.id)?;
    let image = &record.state.head.image_id;
    let below = if image.is_empty() { 0 } else { engine.store.image_size(image)? };
    Ok((Some(written), Some(written + below)))
}

fn lifecycle(record: &Record) -> State {
    let state = &record.state;
    let status = if state.status == Status::Starting { Status::Created } else { state.status };
    State {
        oci_version: "1.0.2".to_owned(),
        status: status.as_str().to_owned(),
        running: matches!(status, Status::Running | Status::Paused),
        paused: status == Status::Paused,
        restarting: status == Status::Restarting,
        oom_killed: state.oom_killed,
        dead: false,
        pid: state.pid,
        conmon_pid: state.conmon_pid,
        exit_code: state.exit_code,
        error: state.error.clone(),
        started_at: GoTime(state.started_at),
        finished_at: GoTime(state.finished_at),
        health: health(record),
        checkpointed: state.checkpointed_at.is_some(),
        cgroup_path: state.cgroup_path.clone(),
        checkpointed_at: GoTime(state.checkpointed_at),
        restored_at: GoTime(state.restored_at),
        stopped_by_user: state.stopped_by_user,
    }
}

/// Of the last run, of a container that has a health check.
fn health(record: &Record) -> Option<Health> {
    if record.state.health == spec::Health::None {
        return None;
    }
    let known = health_log(record);
    let rfc3339 = |at: jiff::Timestamp| at.to_string();
    let probe = |result: HealthResult| Probe {
        start: rfc3339(result.start),
        end: rfc3339(result.end),
        exit_code: result.exit_code,
        output: result.output,
    };
    Some(Health {
        status: record.state.health.as_str().to_owned(),
        failing_streak: u32::try_from(known.failing_streak).unwrap_or(u32::MAX),
        log: known.results.into_iter().map(probe).collect(),
    })
}

/// The directories of a layer and of those below it, for overlay.
pub(crate) fn layer_data(engine: &Engine, layer: &str, skip: usize) -> (Texts, Vec<String>) {
    let mut data = Texts::new();
    if engine.store.driver_name() != "overlay" || layer.is_empty() {
        return (data, Vec::new());
    }
    let directory = |id: &str| engine.store.graph_root().join("overlay").join(id);
    data.insert("UpperDir".to_owned(), text(&directory(layer).join("diff")));
    data.insert("WorkDir".to_owned(), text(&directory(layer).join("work")));
    let mut chain = Vec::new();
    let mut next = Some(layer.to_owned());
    while let Some(record) = next.and_then(|id| engine.store.layer(&id).ok()) {
        chain.push(text(&directory(&record.id).join("diff")));
        next = record.parent;
    }
    let lower = chain.get(skip..).unwrap_or_default().join(":");
    if !lower.is_empty() {
        data.insert("LowerDir".to_owned(), lower);
    }
    (data, chain)
}

fn graph_driver(engine: &Engine, stored: &ContainerRecord, mountpoint: &Path) -> GraphDriver {
    let (mut data, _) = layer_data(engine, &stored.layer, 1);
    if !mountpoint.as_os_str().is_empty() {
        data.insert("MergedDir".to_owned(), text(mountpoint));
    }
    GraphDriver { name: engine.store.driver_name().to_owned(), data }
}

/// The containers whose namespaces it shares, and those it requires.
fn dependencies(spec: &ContainerSpec) -> Vec<String> {
    let modes = &spec.namespaces;
    let mut ids = Vec::new();
    for mode in [&modes.pid, &modes.ipc, &modes.uts, &modes.cgroup, &modes.network] {
        if let NamespaceMode::Container(id) = mode
            && !ids.contains(id)
        {
            ids.push(id.clone());
        }
    }
    ids.extend(spec.requires.iter().cloned());
    ids
}
