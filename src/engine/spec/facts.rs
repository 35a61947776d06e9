//! What the pure code must know of the host, the configuration and the image: plain data, gathered by
//! [`crate::engine::host`] and the callers of [`crate::engine::oci`], never here.

use super::{Healthcheck, IdMapping, Rlimit};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How the host's cgroups are mounted below /sys/fs/cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CgroupMode {
    /// Nothing is mounted there.
    #[default]
    None,
    /// One hierarchy a controller.
    V1,
    /// cgroup v1 with a cgroup v2 mount at `unified`.
    Hybrid,
    /// The unified hierarchy.
    V2,
}

/// Who makes the container's cgroup (`--cgroup-manager`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CgroupManager {
    /// The runtime writes cgroupfs.
    #[default]
    Cgroupfs,
    /// The runtime asks systemd for a scope.
    Systemd,
    /// No cgroup of its own: rootless without delegation.
    Disabled,
}

/// Our own AppArmor profile, which root's containers get where it can be loaded.
pub const DEFAULT_APPARMOR_PROFILE: &str = concat!("coracle-default-", env!("CARGO_PKG_VERSION"));

/// What AppArmor can do for a container here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppArmor {
    /// The kernel does without it.
    #[default]
    Off,
    /// A profile that somebody has loaded can be named.
    Explicit,
    /// And [`DEFAULT_APPARMOR_PROFILE`] is there when none is named.
    Default,
}

/// The host's cgroups as this process sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupFacts {
    /// See [`CgroupMode`].
    pub mode: CgroupMode,
    /// Controllers a container's cgroup can use: of v2 those delegated to us, of v1 those mounted.
    pub controllers: BTreeSet<String>,
    /// This process's cgroup in the v2 hierarchy, or in v1's `memory` (else first) hierarchy.
    pub own: String,
    /// v2: this process may create cgroups beside its own; v1 and hybrid: it is root.
    pub writable: bool,
    /// Memory plus swap can be limited (v1: `memory.memsw.*` exists).
    pub swap: bool,
    /// Shares of block I/O cannot be given: v1 has no `blkio.weight` of any scheduler.
    pub no_io_weight: bool,
}

/// Why limits may be refused: the hard limits of this process (getrlimit(2)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitFacts {
    /// Lower-case name without `RLIMIT_` to (soft, hard); `u64::MAX`: unlimited.
    pub current: BTreeMap<String, (u64, u64)>,
    /// CAP_SYS_RESOURCE in the initial user namespace: hard limits may be raised.
    pub may_raise: bool,
    /// /proc/sys/fs/nr_open: the kernel's ceiling for `nofile`.
    pub nr_open: u64,
}

/// A device node of the host (stat(2)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostDevice {
    /// Path on the host.
    pub source: String,
    /// Path inside the container.
    pub target: String,
    /// A block device; else a character device.
    pub block: bool,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner, in the engine's user namespace.
    pub uid: u32,
    /// Group, in the engine's user namespace.
    pub gid: u32,
    /// A subset of `rwm` the container gets.
    pub permissions: String,
}

/// The host as far as it decides over config.json.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// The engine runs in the user namespace of an ordinary user.
    pub rootless: bool,
    /// The caller's IDs outside of it.
    pub caller_uid: u32,
    /// See `caller_uid`.
    pub caller_gid: u32,
    /// Rootless: the engine's own UID map (`container_id` is inside the engine's namespace). Empty for root.
    pub uid_map: Vec<IdMapping>,
    /// See `uid_map`.
    pub gid_map: Vec<IdMapping>,
    /// See [`CgroupFacts`].
    pub cgroup: CgroupFacts,
    /// The manager in use.
    pub cgroup_manager: CgroupManager,
    /// See [`LimitFacts`].
    pub limits: LimitFacts,
    /// This process's capability bounding set (CapBnd in proc_pid_status(5)), bit N is capability N.
    pub bounding: u64,
    /// See [`AppArmor`].
    pub apparmor: AppArmor,
    /// SELinux is enabled.
    pub selinux: bool,
    /// The kernel lacks mqueue filesystems.
    pub no_mqueue: bool,
    /// /dev/mqueue is mounted on the host, to be shared with who shares its IPC namespace.
    pub shared_mqueue: bool,
    /// `uname -m` in Rust's words: `x86_64`, `aarch64` …
    pub arch: String,
    /// Kernel version: major, minor.
    pub kernel: (u32, u32),
    /// Every device below /dev; gathered only for `--privileged`.
    pub devices: Vec<HostDevice>,
}

/// What containers.conf contributes to a container at its creation. [`Default`] is what holds without any file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// `default_capabilities`, with `CAP_`.
    pub capabilities: Vec<String>,
    /// `default_sysctls`.
    pub sysctls: BTreeMap<String, String>,
    /// `default_ulimits`.
    pub rlimits: Vec<Rlimit>,
    /// `env`, as `NAME=VALUE`.
    pub env: Vec<String>,
    /// `http_proxy`: the proxy variables of the caller, as `NAME=VALUE`; empty when switched off.
    pub proxy_env: Vec<String>,
    /// `shm_size`, bytes.
    pub shm_size: u64,
    /// `pids_limit`; 0: unlimited.
    pub pids_limit: i64,
    /// `umask`, octal.
    pub umask: String,
    /// `tz`.
    pub timezone: String,
    /// `log_driver`.
    pub log_driver: String,
    /// `log_tag`.
    pub log_tag: String,
    /// `log_size_max`; `None`: unlimited.
    pub log_size_max: Option<u64>,
    /// `stop_timeout`, seconds.
    pub stop_timeout: u32,
    /// `cgroupns`.
    pub cgroupns: String,
    /// `ipcns`.
    pub ipcns: String,
    /// `pidns`.
    pub pidns: String,
    /// `utsns`.
    pub utsns: String,
    /// `netns`.
    pub netns: String,
    /// An ordinary user's way out: `pasta` or `slirp4netns`.
    pub rootless_network: String,
    /// `cgroups`.
    pub cgroups: String,
    /// `oom_score_adj`.
    pub oom_score_adj: Option<i32>,
    /// `label = false`: SELinux labels are not used.
    pub no_labels: bool,
    /// `container_name_as_hostname`.
    pub name_as_hostname: bool,
    /// `apparmor_profile`; empty: none.
    pub apparmor_profile: String,
    /// `no_hosts`.
    pub no_hosts: bool,
    /// `annotations`, as `NAME=VALUE`.
    pub annotations: Vec<String>,
    /// `dns_servers`.
    pub dns: Vec<String>,
    /// `dns_searches`.
    pub dns_search: Vec<String>,
    /// `dns_options`.
    pub dns_options: Vec<String>,
}

impl Default for Defaults {
    fn default() -> Self {
        let rlimit = |name: &str, n| Rlimit { name: name.into(), soft: n, hard: n };
        Self {
            capabilities: [
                "CHOWN",
                "DAC_OVERRIDE",
                "FOWNER",
                "FSETID",
                "KILL",
                "NET_BIND_SERVICE",
                "SETFCAP",
                "SETGID",
                "SETPCAP",
                "SETUID",
                "SYS_CHROOT",
            ]
            .map(|c| format!("CAP_{c}"))
            .to_vec(),
            sysctls: BTreeMap::from([("net.ipv4.ping_group_range".to_owned(), "0 0".to_owned())]),
            rlimits: vec![rlimit("nofile", 1 << 20), rlimit("nproc", 1 << 20)],
            env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
            proxy_env: Vec::new(),
            shm_size: 64 << 20,
            pids_limit: 2048,
            umask: "0022".to_owned(),
            timezone: String::new(),
            log_driver: "k8s-file".to_owned(),
            log_tag: String::new(),
            log_size_max: None,
            stop_timeout: 10,
            cgroupns: String::new(),
            ipcns: "shareable".to_owned(),
            pidns: "private".to_owned(),
            utsns: "private".to_owned(),
            netns: String::new(),
            rootless_network: "pasta".to_owned(),
            cgroups: "enabled".to_owned(),
            oom_score_adj: None,
            no_labels: false,
            name_as_hostname: false,
            apparmor_profile: String::new(),
            no_hosts: false,
            annotations: Vec::new(),
            dns: Vec::new(),
            dns_search: Vec::new(),
            dns_options: Vec::new(),
        }
    }
}

/// The `config` object of an image's configuration: Docker image spec v1.2 and OCI image-spec `config.md`
/// (the former's fields are a superset). Unknown fields are dropped here; who needs them keeps the raw bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageConfig {
    /// `USER`, unresolved.
    #[serde(deserialize_with = "null_is_default")]
    pub user: String,
    /// Keys such as `80/tcp`.
    #[serde(deserialize_with = "null_is_default")]
    pub exposed_ports: BTreeMap<String, serde_json::Value>,
    /// `NAME=VALUE`; an entry without `=` is kept here and means nothing (it never reads the host's).
    #[serde(deserialize_with = "null_is_default")]
    pub env: Vec<String>,
    /// `ENTRYPOINT`.
    #[serde(deserialize_with = "null_is_default")]
    pub entrypoint: Vec<String>,
    /// `CMD`.
    #[serde(deserialize_with = "null_is_default")]
    pub cmd: Vec<String>,
    /// Keys are paths.
    #[serde(deserialize_with = "null_is_default")]
    pub volumes: BTreeMap<String, serde_json::Value>,
    /// `WORKDIR`.
    #[serde(deserialize_with = "null_is_default")]
    pub working_dir: String,
    /// `LABEL`.
    #[serde(deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    /// `STOPSIGNAL`.
    #[serde(deserialize_with = "null_is_default")]
    pub stop_signal: String,
    /// Seconds; Docker only.
    pub stop_timeout: Option<u32>,
    /// `HEALTHCHECK`; Docker only.
    pub healthcheck: Option<Healthcheck>,
    /// `SHELL`; Docker only.
    #[serde(deserialize_with = "null_is_default")]
    pub shell: Vec<String>,
    /// `ONBUILD`; Docker only.
    #[serde(deserialize_with = "null_is_default")]
    pub on_build: Vec<String>,
    /// Windows only; recorded.
    pub args_escaped: Option<bool>,
}

/// Go writes empty lists and maps as `null`.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
