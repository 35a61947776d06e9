//! What the user asked for: [`ContainerSpec`] and its parts.
//!
//! Front ends build it from flags (or an API body), [`crate::engine::container`] completes and persists it verbatim as
//! `spec.json`; inspect, restart, clone and export start from it, and [`crate::engine::oci`] derives `config.json`
//! from it at each start. No I/O here. A field that is `None` or empty means "not asked for": the image's
//! configuration or containers.conf decides when the container is created, never later.

mod csv;
mod facts;
mod health;
mod limits;
mod mount;
mod name;
mod namespace;
mod network;
mod network_words;
mod pattern;
mod process;
mod secret;
mod security;
pub mod signal;
mod size;

pub use csv::csv;
pub use facts::{
    AppArmor, CgroupFacts, CgroupManager, CgroupMode, DEFAULT_APPARMOR_PROFILE, Defaults, HostDevice,
    HostFacts, ImageConfig, LimitFacts,
};
pub use health::{Health, HealthPolicy, Healthcheck, StartupCheck};
pub use limits::{BlkioDevice, DeviceSpec, Resources, Rlimit, layer_limits};
pub use mount::{
    ArtifactOptions, BindOptions, ImageOptions, MountKind, MountSpec, Propagation, SelinuxRelabel,
    VolumeOptions,
};
pub use name::is_name;
pub use namespace::{
    IdMapping, IdMappings, MapRow, NamespaceMode, NamespacesSpec, UserNamespace, to_container, to_host,
};
pub use network::{Attachment, Endpoint, Link, NetworkSpec, NetworkState, PortMapping, Protocol};
pub use network_words::{NetworkRequest, mac_address};
pub use pattern::glob;
pub use process::{ProcessSpec, User};
pub use secret::{SecretPlace, SecretUse};
pub use security::SecuritySpec;
pub use size::{bytes, decimal_bytes};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A container as it was asked for, completed at creation with what the image and the configuration decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// Where the root filesystem comes from.
    pub image: ImageSource,
    /// Unique name; generated at creation when empty.
    pub name: String,
    /// User, arguments, environment, terminal.
    pub process: ProcessSpec,
    /// One mode per namespace.
    pub namespaces: NamespacesSpec,
    /// Networks and published ports.
    pub network: NetworkSpec,
    /// Host name inside; empty: the short container ID (or the host's with `--uts host`).
    pub hostname: String,
    /// NIS domain name.
    pub domainname: String,
    /// Bind, tmpfs, volume, image … mounts asked for by `-v`, `--mount`, `--tmpfs`, in order.
    pub mounts: Vec<MountSpec>,
    /// `--volumes-from`: containers, as typed, whose mounts were added to `mounts`.
    pub volumes_from: Vec<String>,
    /// `--image-volume`: what becomes of the image's VOLUMEs.
    pub image_volumes: ImageVolumes,
    /// `--read-only`: the root filesystem is mounted read-only.
    pub read_only: bool,
    /// With `read_only`: tmpfs on /dev, /dev/shm, /run, /tmp, /var/tmp (podman's `--read-only-tmpfs`, default on).
    pub read_only_tmpfs: bool,
    /// `--storage-opt`: `size` and `inodes` of its layer; see [`layer_limits`].
    pub storage_options: BTreeMap<String, String>,
    /// Size of /dev/shm in bytes; `None`: containers.conf, else 64 MiB.
    pub shm_size: Option<u64>,
    /// /dev/shm is mounted outside and bound into the container, as podman does it: of containers that were restored from an archive
    /// of podman's, in which CRIU expects it so.
    pub shm_bind: bool,
    /// `--shm-size-systemd`: bytes that /run and the others of systemd's tmpfs may have; 0: unlimited; `None`: half the memory.
    pub systemd_shm_size: Option<u64>,
    /// Capabilities, seccomp, labels, masks.
    pub security: SecuritySpec,
    /// Devices added with `--device`.
    pub devices: Vec<DeviceSpec>,
    /// `--rdt-class`; empty: the host's default.
    pub rdt_class: String,
    /// `--personality`: `LINUX` or `LINUX32`; empty: the host's.
    pub personality: String,
    /// `--requires`: full IDs of the containers that are started before this one.
    pub requires: Vec<String>,
    /// `--chrootdirs`: directories inside that get what of our own is mounted below `/etc`, too.
    pub chroot_dirs: Vec<String>,
    /// Raw `--device-cgroup-rule` values.
    pub device_cgroup_rules: Vec<String>,
    /// Memory, CPU, pids, block I/O limits.
    pub resources: Resources,
    /// `--ulimit`.
    pub rlimits: Vec<Rlimit>,
    /// containers.conf's `default_ulimits` at creation, lowered at each start to what the host grants.
    pub default_rlimits: Vec<Rlimit>,
    /// `--sysctl`.
    pub sysctls: BTreeMap<String, String>,
    /// `--cgroup-parent`; empty: the manager's default.
    pub cgroup_parent: String,
    /// `--cgroups`: `enabled`, `disabled`, `no-conmon`, `split`; empty: enabled where the host can.
    pub cgroups: String,
    /// `--init`: catatonit is PID 1.
    pub init: bool,
    /// `--init-path`.
    pub init_path: Option<String>,
    /// Signal `stop` sends first; empty: the image's, else SIGTERM.
    pub stop_signal: String,
    /// Seconds between the stop signal and SIGKILL.
    pub stop_timeout: Option<u32>,
    /// `--timeout`: seconds after which conmon kills the container; 0: never.
    pub timeout: u32,
    /// `--restart`; recorded, and applied by `container cleanup`.
    pub restart: RestartPolicy,
    /// `--rm`.
    pub remove: bool,
    /// `--rmi`: the image goes with the container unless something else uses it.
    pub remove_image: bool,
    /// Labels; the image's are merged in at creation.
    pub labels: BTreeMap<String, String>,
    /// OCI annotations.
    pub annotations: BTreeMap<String, String>,
    /// Log driver and its options.
    pub log: LogSpec,
    /// The image's HEALTHCHECK and `--health-*`.
    pub healthcheck: Option<Healthcheck>,
    /// `--health-startup-*`.
    pub startup_check: Option<StartupCheck>,
    /// What follows from both.
    pub health: HealthPolicy,
    /// `--secret`.
    pub secrets: Vec<SecretUse>,
    /// The OCI runtime asked for by `--runtime`, a name or a path; empty: containers.conf.
    pub runtime: String,
    /// `--detach-keys` the container was created with; empty: containers.conf.
    pub detach_keys: String,
    /// `--add-host` entries as `NAME:IP`.
    pub add_hosts: Vec<String>,
    /// `--dns`.
    pub dns: Vec<String>,
    /// `--dns-search`.
    pub dns_search: Vec<String>,
    /// `--dns-option`.
    pub dns_options: Vec<String>,
    /// `--no-hosts`; `None` until completed: containers.conf decides.
    pub no_hosts: Option<bool>,
    /// `--no-hostname`.
    pub no_hostname: bool,
    /// Ports the image or `--expose` names, as `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// `--pidfile`.
    pub pidfile: Option<String>,
    /// `--conmon-pidfile`.
    pub conmon_pidfile: Option<String>,
    /// `--tz`.
    pub timezone: String,
    /// `--systemd`: `true`, `false` or `always`.
    pub systemd: String,
    /// `--sdnotify`: `container`, `conmon`, `healthy` or `ignore`.
    pub sdnotify: String,
    /// `--passwd-entry`, `--group-entry`, and whether `--passwd` adds entries at all.
    pub passwd: PasswdSpec,
    /// The `coracle create …` command line, shown by inspect as `CreateCommand`.
    pub create_command: Vec<String>,
}

/// Where the root filesystem comes from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageSource {
    /// As the user wrote it (`debian`).
    pub requested: String,
    /// The fully qualified name it resolved to (`docker.io/library/debian:latest`); empty when run by ID.
    pub name: String,
    /// Image ID, 64 hex digits.
    pub id: String,
    /// Manifest digest, `sha256:…`; empty when unknown.
    pub digest: String,
    /// `--rootfs DIR` instead of an image.
    pub rootfs: Option<String>,
    /// `--rootfs DIR:O`: what a run writes is kept beside the directory, and gone with the run.
    pub rootfs_overlay: bool,
}

/// `--image-volume`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageVolumes {
    /// An anonymous volume each, filled from the image (docker's and podman's default).
    #[default]
    Anonymous,
    /// A tmpfs each.
    Tmpfs,
    /// Left alone.
    Ignore,
}

/// `--restart`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RestartPolicy {
    /// `no`, `on-failure`, `always`, `unless-stopped`; empty: `no`.
    pub name: String,
    /// With `on-failure`: how often; 0: without limit.
    pub max_retries: u32,
}

/// Log driver and options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogSpec {
    /// `k8s-file` (`json-file` and `local` are the same, inspect shows what was said), `journald`, `none`, `passthrough`,
    /// `passthrough-tty`; empty: the configuration's.
    pub driver: String,
    /// `--log-opt path=`.
    pub path: Option<String>,
    /// `--log-opt max-size=`, bytes.
    pub max_size: Option<u64>,
    /// `--log-opt tag=`.
    pub tag: String,
    /// Every other `--log-opt`.
    pub options: BTreeMap<String, String>,
}

impl LogSpec {
    /// Whether the log is a file.
    pub fn is_file(&self) -> bool {
        matches!(self.driver.as_str(), "" | "k8s-file" | "json-file" | "local")
    }
}

/// Entries for the container's /etc/passwd and /etc/group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PasswdSpec {
    /// `--passwd=false`: leave both files alone.
    pub disabled: bool,
    /// `--passwd-entry`.
    pub passwd_entry: String,
    /// `--group-entry`.
    pub group_entry: String,
    /// `--hostuser`.
    pub host_users: Vec<String>,
}
