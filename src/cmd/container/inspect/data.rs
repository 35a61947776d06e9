//! What `inspect` shows of a container: podman's fields in podman's order (libpod/define/container_inspect.go), with
//! docker's own (api/types/container.InspectResponse) among them. Time stamps are RFC 3339, as docker's.

use crate::cmd::format::template::GoTime;
use serde::Serialize;
use std::collections::BTreeMap;

/// Go's `struct{}`: `{}` in JSON.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Empty {}

/// Go's `map[string]struct{}`.
pub(crate) type Set = BTreeMap<String, Empty>;

/// Texts by text.
pub(crate) type Texts = BTreeMap<String, String>;

/// Makes a [`Set`].
pub(crate) fn set<S: AsRef<str>>(keys: &[S]) -> Set {
    keys.iter().map(|key| (key.as_ref().to_owned(), Empty {})).collect()
}

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
    #[serde(rename = "OCIConfigPath", skip_serializing_if = "String::is_empty")]
    pub oci_config_path: String,
    #[serde(rename = "OCIRuntime", skip_serializing_if = "String::is_empty")]
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
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cgroup_path: String,
    pub checkpointed_at: GoTime,
    pub restored_at: GoTime,
    pub stopped_by_user: bool,
}

/// Filled by the health machinery; its place is here so that templates may ask for it.
#[derive(Debug, Serialize)]
#[serde(rename = "HealthCheckResults", rename_all = "PascalCase")]
pub(super) struct Health {
    pub status: String,
    pub failing_streak: u32,
    pub log: Vec<Empty>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GraphDriver {
    pub name: String,
    pub data: Texts,
}

#[derive(Debug, Serialize)]
#[serde(rename = "InspectMount", rename_all = "PascalCase")]
pub(super) struct Mount {
    #[serde(rename = "Type")]
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    pub source: String,
    pub destination: String,
    pub driver: String,
    pub mode: String,
    pub options: Vec<String>,
    #[serde(rename = "RW")]
    pub rw: bool,
    pub propagation: String,
}

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
    pub cmd: Option<Vec<String>>,
    pub image: String,
    pub volumes: Option<Set>,
    pub working_dir: String,
    pub entrypoint: Option<Vec<String>>,
    pub on_build: Option<Vec<String>>,
    pub labels: Texts,
    pub annotations: Texts,
    pub stop_signal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<crate::engine::spec::Healthcheck>,
    pub healthcheck_on_failure_action: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub create_command: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub timezone: String,
    pub systemd_mode: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub umask: String,
    pub timeout: u32,
    pub stop_timeout: u32,
    pub passwd: bool,
    #[serde(rename = "sdNotifyMode", skip_serializing_if = "String::is_empty")]
    pub sd_notify_mode: String,
}

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
    pub disk_quota: u64,
    pub kernel_memory: i64,
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

/// The addresses of one network; of the first one also on top of [`NetworkSettings`].
#[derive(Debug, Default, Serialize)]
#[serde(rename = "InspectAdditionalNetwork")]
pub(super) struct Endpoint {
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    #[serde(rename = "Gateway")]
    pub gateway: String,
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: u32,
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: u32,
    #[serde(rename = "MacAddress")]
    pub mac_address: String,
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    #[serde(rename = "DriverOpts")]
    pub driver_opts: Option<Texts>,
    #[serde(rename = "IPAMConfig")]
    pub ipam_config: Option<Texts>,
    #[serde(rename = "Links")]
    pub links: Option<Vec<String>>,
    #[serde(rename = "Aliases")]
    pub aliases: Option<Vec<String>>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename = "InspectNetworkSettings")]
pub(super) struct NetworkSettings {
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    #[serde(rename = "Gateway")]
    pub gateway: String,
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: u32,
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: u32,
    #[serde(rename = "MacAddress")]
    pub mac_address: String,
    #[serde(rename = "Bridge")]
    pub bridge: String,
    #[serde(rename = "SandboxID")]
    pub sandbox_id: String,
    #[serde(rename = "HairpinMode")]
    pub hairpin_mode: bool,
    #[serde(rename = "LinkLocalIPv6Address")]
    pub link_local_ipv6_address: String,
    #[serde(rename = "LinkLocalIPv6PrefixLen")]
    pub link_local_ipv6_prefix_len: u32,
    /// A port that is exposed and not published has `null`.
    #[serde(rename = "Ports")]
    pub ports: BTreeMap<String, Option<Vec<HostPort>>>,
    #[serde(rename = "SandboxKey")]
    pub sandbox_key: String,
    #[serde(rename = "Networks")]
    pub networks: BTreeMap<String, Endpoint>,
}
