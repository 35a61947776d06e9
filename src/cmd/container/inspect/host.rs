//! `HostConfig`: namespaces, limits, devices, and whatever else depends on the host.

use super::mounts::{bind, tmpfs};
use super::{Texts, text};
use crate::cmd::format::human;
use crate::engine::container::Grants;
use crate::engine::oci::cdi::is_qualified;
use crate::engine::spec::{
    BlkioDevice, ContainerSpec, IdMapping, MountKind, NamespaceMode, PortMapping, Rlimit, UserNamespace,
};
use crate::engine::state::Record;
use crate::engine::store::ContainerRecord;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Serialize)]
#[serde(rename = "InspectContainerHostConfig", rename_all = "PascalCase")]
pub(super) struct HostConfig {
    pub binds: Vec<String>,
    pub cgroup_manager: String,
    pub cgroup_mode: String,
    #[serde(rename = "ContainerIDFile")]
    pub container_id_file: String,
    pub log_config: LogConfig,
    pub network_mode: String,
    pub port_bindings: BTreeMap<String, Vec<HostPort>>,
    pub restart_policy: RestartPolicy,
    pub auto_remove: bool,
    pub auto_remove_image: bool,
    pub annotations: Texts,
    pub volume_driver: String,
    pub volumes_from: Vec<String>,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub dns: Vec<String>,
    pub dns_options: Vec<String>,
    pub dns_search: Vec<String>,
    pub extra_hosts: Vec<String>,
    pub hosts_file: String,
    pub group_add: Vec<String>,
    pub ipc_mode: String,
    pub cgroup: String,
    pub cgroupns_mode: String,
    pub cgroups: String,
    pub links: Vec<String>,
    pub oom_score_adj: i32,
    pub pid_mode: String,
    pub privileged: bool,
    pub publish_all_ports: bool,
    pub readonly_rootfs: bool,
    pub security_opt: Vec<String>,
    pub tmpfs: Texts,
    #[serde(rename = "UTSMode")]
    pub uts_mode: String,
    pub userns_mode: String,
    #[serde(rename = "IDMappings", skip_serializing_if = "Option::is_none")]
    pub id_mappings: Option<IdMappings>,
    pub shm_size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub storage_opt: BTreeMap<String, String>,
    pub runtime: String,
    pub console_size: [u32; 2],
    pub isolation: String,
    pub sysctls: Texts,
    pub cpu_shares: u64,
    pub memory: i64,
    pub nano_cpus: u64,
    pub cgroup_parent: String,
    pub blkio_weight: u16,
    pub blkio_weight_device: Vec<WeightDevice>,
    pub blkio_device_read_bps: Vec<ThrottleDevice>,
    pub blkio_device_write_bps: Vec<ThrottleDevice>,
    #[serde(rename = "BlkioDeviceReadIOps")]
    pub blkio_device_read_iops: Vec<ThrottleDevice>,
    #[serde(rename = "BlkioDeviceWriteIOps")]
    pub blkio_device_write_iops: Vec<ThrottleDevice>,
    pub cpu_period: u64,
    pub cpu_quota: i64,
    pub cpu_realtime_period: u64,
    pub cpu_realtime_runtime: i64,
    pub cpuset_cpus: String,
    pub cpuset_mems: String,
    pub devices: Vec<Device>,
    pub device_cgroup_rules: Vec<String>,
    /// Of docker's `--gpus`.
    pub device_requests: Option<Vec<DeviceRequest>>,
    pub disk_quota: u64,
    pub kernel_memory: i64,
    #[serde(rename = "KernelMemoryTCP")]
    pub kernel_memory_tcp: i64,
    pub memory_reservation: i64,
    pub memory_swap: i64,
    pub memory_swappiness: i64,
    pub oom_kill_disable: bool,
    pub init: bool,
    pub pids_limit: i64,
    pub ulimits: Vec<Ulimit>,
    pub cpu_count: u64,
    pub cpu_percent: u64,
    #[serde(rename = "IOMaximumIOps")]
    pub io_maximum_iops: u64,
    #[serde(rename = "IOMaximumBandwidth")]
    pub io_maximum_bandwidth: u64,
    pub cgroup_conf: Texts,
    pub masked_paths: Vec<String>,
    pub readonly_paths: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename = "InspectLogConfig", rename_all = "PascalCase")]
pub(super) struct LogConfig {
    #[serde(rename = "Type")]
    pub kind: String,
    pub config: Texts,
    pub path: String,
    pub tag: String,
    pub size: String,
}

#[derive(Debug, Serialize)]
#[serde(rename = "InspectRestartPolicy", rename_all = "PascalCase")]
pub(super) struct RestartPolicy {
    pub name: String,
    pub maximum_retry_count: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename = "InspectHostPort")]
pub(super) struct HostPort {
    #[serde(rename = "HostIp")]
    pub host_ip: String,
    #[serde(rename = "HostPort")]
    pub host_port: String,
}

#[derive(Debug, Serialize)]
#[serde(rename = "InspectIDMappings")]
pub(super) struct IdMappings {
    #[serde(rename = "UidMap")]
    pub uid_map: Vec<String>,
    #[serde(rename = "GidMap")]
    pub gid_map: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct WeightDevice {
    pub path: String,
    pub weight: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ThrottleDevice {
    pub path: String,
    pub rate: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename = "InspectDevice", rename_all = "PascalCase")]
pub(super) struct Device {
    pub path_on_host: String,
    pub path_in_container: String,
    pub cgroup_permissions: String,
}

#[derive(Debug, Serialize)]
#[serde(rename = "InspectUlimit", rename_all = "PascalCase")]
pub(super) struct Ulimit {
    pub name: String,
    pub soft: i64,
    pub hard: i64,
}

/// docker's, which is how it shows devices by CDI names.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeviceRequest {
    pub driver: String,
    pub count: i32,
    #[serde(rename = "DeviceIDs")]
    pub device_ids: Vec<String>,
    pub capabilities: Option<Vec<String>>,
    pub options: Option<Texts>,
}

fn device_requests(spec: &ContainerSpec) -> Option<Vec<DeviceRequest>> {
    let names = spec.devices.iter().map(|d| d.source.clone()).filter(|source| is_qualified(source));
    let device_ids: Vec<String> = names.collect();
    let driver = "cdi".to_owned();
    let request = DeviceRequest { driver, count: 0, device_ids, capabilities: None, options: None };
    (!request.device_ids.is_empty()).then(|| vec![request])
}

pub(super) fn host_config(
    record: &Record,
    spec: &ContainerSpec,
    stored: &ContainerRecord,
    grants: Grants,
    runtime: &str,
) -> HostConfig {
    let limits = &spec.resources;
    let modes = &spec.namespaces;
    let memory = limits.memory.unwrap_or(0);
    HostConfig {
        binds: spec.mounts.iter().filter_map(bind).collect(),
        cgroup_manager: grants.cgroup_manager.to_owned(),
        cgroup_mode: mode(&grants.cgroup, "private"),
        container_id_file: String::new(),
        log_config: log_config(record, spec),
        network_mode: network_mode(record, spec),
        port_bindings: port_bindings(&spec.network.ports),
        restart_policy: RestartPolicy {
            name: if spec.restart.name.is_empty() { "no".to_owned() } else { spec.restart.name.clone() },
            maximum_retry_count: spec.restart.max_retries,
        },
        auto_remove: spec.remove,
        auto_remove_image: spec.remove_image,
        annotations: spec.annotations.clone(),
        volume_driver: String::new(),
        volumes_from: spec.volumes_from.clone(),
        cap_add: spec.security.cap_add.clone(),
        cap_drop: spec.security.cap_drop.clone(),
        dns: spec.dns.clone(),
        dns_options: spec.dns_options.clone(),
        dns_search: spec.dns_search.clone(),
        extra_hosts: spec.add_hosts.clone(),
        hosts_file: spec.network.hosts_file.clone(),
        group_add: spec.process.groups.clone(),
        ipc_mode: mode(&modes.ipc, "shareable"),
        cgroup: String::new(),
        cgroupns_mode: mode(&grants.cgroup, "private"),
        cgroups: if spec.cgroups == "disabled" { "disabled" } else { "default" }.to_owned(),
        links: Vec::new(),
        oom_score_adj: limits.oom_score_adj.unwrap_or(0),
        pid_mode: mode(&modes.pid, "private"),
        privileged: spec.security.privileged,
        publish_all_ports: spec.network.publish_all,
        readonly_rootfs: spec.read_only,
        security_opt: security_options(spec),
        tmpfs: spec.mounts.iter().filter(|m| m.kind == MountKind::Tmpfs).map(tmpfs).collect(),
        uts_mode: mode(&modes.uts, "private"),
        userns_mode: userns(&modes.user),
        id_mappings: id_mappings(stored),
        shm_size: spec.shm_size.unwrap_or(64 << 20),
        storage_opt: spec.storage_options.clone(),
        runtime: runtime.to_owned(),
        console_size: [0, 0],
        isolation: String::new(),
        sysctls: spec.sysctls.clone(),
        cpu_shares: limits.cpu_shares.unwrap_or(0),
        memory,
        nano_cpus: limits.nano_cpus.unwrap_or(0),
        cgroup_parent: spec.cgroup_parent.clone(),
        blkio_weight: limits.blkio_weight.unwrap_or(0),
        blkio_weight_device: limits
            .blkio_weight_devices
            .iter()
            .map(|d| WeightDevice { path: d.path.clone(), weight: d.value })
            .collect(),
        blkio_device_read_bps: throttles(&limits.device_read_bps),
        blkio_device_write_bps: throttles(&limits.device_write_bps),
        blkio_device_read_iops: throttles(&limits.device_read_iops),
        blkio_device_write_iops: throttles(&limits.device_write_iops),
        cpu_period: limits.cpu_period.unwrap_or(0),
        cpu_quota: limits.cpu_quota.unwrap_or(0),
        cpu_realtime_period: limits.cpu_rt_period.unwrap_or(0),
        cpu_realtime_runtime: limits.cpu_rt_runtime.unwrap_or(0),
        cpuset_cpus: limits.cpuset_cpus.clone(),
        cpuset_mems: limits.cpuset_mems.clone(),
        devices: spec
            .devices
            .iter()
            .filter(|d| !is_qualified(&d.source))
            .map(|d| Device {
                path_on_host: d.source.clone(),
                path_in_container: d.target.clone(),
                cgroup_permissions: d.permissions.clone(),
            })
            .collect(),
        device_cgroup_rules: spec.device_cgroup_rules.clone(),
        device_requests: device_requests(spec),
        disk_quota: 0,
        kernel_memory: 0,
        kernel_memory_tcp: 0,
        memory_reservation: limits.memory_reservation.unwrap_or(0),
        // Unless given, swap is as much again as memory (docker run(1)).
        memory_swap: limits.memory_swap.unwrap_or(if memory > 0 { memory.saturating_mul(2) } else { 0 }),
        memory_swappiness: limits.memory_swappiness.and_then(|n| i64::try_from(n).ok()).unwrap_or(-1),
        oom_kill_disable: limits.oom_kill_disable,
        init: spec.init,
        pids_limit: limits.pids_limit.unwrap_or(0),
        ulimits: spec.rlimits.iter().map(ulimit).collect(),
        cpu_count: 0,
        cpu_percent: 0,
        io_maximum_iops: 0,
        io_maximum_bandwidth: 0,
        cgroup_conf: limits.unified.clone(),
        masked_paths: grants.masked_paths,
        readonly_paths: grants.readonly_paths,
    }
}

/// docker's: of a container on bridges, the first network's name.
fn network_mode(record: &Record, spec: &ContainerSpec) -> String {
    let mode = mode(&spec.namespaces.network, "none");
    let asked = spec.network.attachments.first().or_else(|| record.state.network.attachments.first());
    if mode == "bridge" { asked.map_or(mode, |a| a.network.clone()) } else { mode }
}

/// As asked for: a host port of the engine's choice is empty, a range to choose from is a range.
fn port_bindings(ports: &[PortMapping]) -> BTreeMap<String, Vec<HostPort>> {
    let mut found: BTreeMap<String, Vec<HostPort>> = BTreeMap::new();
    for port in ports {
        for offset in 0..port.range {
            let inside = format!("{}/{}", port.container_port.saturating_add(offset), port.protocol.as_str());
            let host_port = match (port.host_port, port.host_last) {
                (0, _) => String::new(),
                (first, 0) => first.saturating_add(offset).to_string(),
                (first, last) => format!("{first}-{last}"),
            };
            let host_ip = port.host_ip.map(|ip| ip.to_string()).unwrap_or_default();
            found.entry(inside).or_default().push(HostPort { host_ip, host_port });
        }
    }
    found
}

fn throttles(devices: &[BlkioDevice]) -> Vec<ThrottleDevice> {
    devices.iter().map(|d| ThrottleDevice { path: d.path.clone(), rate: d.value }).collect()
}

fn ulimit(limit: &Rlimit) -> Ulimit {
    let number = |n: u64| i64::try_from(n).unwrap_or(-1);
    Ulimit {
        name: format!("RLIMIT_{}", limit.name.to_uppercase()),
        soft: number(limit.soft),
        hard: number(limit.hard),
    }
}

fn log_config(record: &Record, spec: &ContainerSpec) -> LogConfig {
    let size = spec.log.max_size.map_or_else(|| "0B".to_owned(), |size| human::size_with(size, 4));
    LogConfig {
        kind: if spec.log.driver.is_empty() { "k8s-file".to_owned() } else { spec.log.driver.clone() },
        config: spec.log.options.clone(),
        path: text(&record.state.log_path),
        tag: spec.log.tag.clone(),
        size,
    }
}

fn security_options(spec: &ContainerSpec) -> Vec<String> {
    let security = &spec.security;
    let mut options = Vec::new();
    let mut add = |key: &str, value: &str| options.push(format!("{key}={value}"));
    if !security.seccomp.is_empty() {
        add("seccomp", &security.seccomp);
    }
    if !security.apparmor.is_empty() {
        add("apparmor", &security.apparmor);
    }
    security.label.iter().for_each(|label| add("label", label));
    security.mask.iter().for_each(|path| add("mask", path));
    security.unmask.iter().for_each(|path| add("unmask", path));
    if security.no_new_privileges {
        options.push("no-new-privileges".to_owned());
    }
    options
}

pub(super) fn mode(mode: &NamespaceMode, default: &str) -> String {
    match mode {
        NamespaceMode::Default => default.to_owned(),
        NamespaceMode::Private => "private".to_owned(),
        NamespaceMode::Host => "host".to_owned(),
        NamespaceMode::Container(id) => format!("container:{id}"),
        NamespaceMode::Path(path) => format!("ns:{path}"),
        NamespaceMode::None => "none".to_owned(),
        NamespaceMode::Shareable => "shareable".to_owned(),
        NamespaceMode::Network(name) => name.clone(),
    }
}

fn userns(mode: &UserNamespace) -> String {
    match mode {
        UserNamespace::Host => String::new(),
        UserNamespace::KeepId { .. } => "keep-id".to_owned(),
        UserNamespace::NoMap => "nomap".to_owned(),
        UserNamespace::Auto { .. } => "auto".to_owned(),
        UserNamespace::Container(id) => format!("container:{id}"),
        UserNamespace::Path(path) => format!("ns:{path}"),
        UserNamespace::Mapped { .. } | UserNamespace::Asked { .. } => "private".to_owned(),
    }
}

fn id_mappings(stored: &ContainerRecord) -> Option<IdMappings> {
    let row = |row: &IdMapping| format!("{}:{}:{}", row.container_id, row.host_id, row.size);
    if stored.uid_map.is_empty() && stored.gid_map.is_empty() {
        return None;
    }
    let rows = |map: &[IdMapping]| map.iter().map(row).collect();
    Some(IdMappings { uid_map: rows(&stored.uid_map), gid_map: rows(&stored.gid_map) })
}
