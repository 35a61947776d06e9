//! From a [`ContainerSpec`] to an OCI runtime configuration (`config.json`). Pure: no I/O, tested without root.
//!
//! [`crate::engine::container`] calls [`complete()`] once, at creation, which settles in the spec what the image and
//! containers.conf decide; at each start it gathers [`HostFacts`] and a [`Resolved`], calls [`spec()`] and writes the
//! result into the bundle. Nothing else edits that file. The texts of /etc/hosts and its kin come from [`files`].

pub mod apparmor;
pub mod caps;
pub mod cdi;
pub mod complete;
pub mod files;
pub mod hooks;
pub mod idmap;
mod linux;
mod masks;
mod mounts;
mod namespaces;
mod network;
mod process;
mod resources;
pub mod rlimits;
pub mod seccomp;
mod seccomp_default;
mod selinux;
pub mod user;

pub use complete::complete;
pub use idmap::IdMaps;
pub use resources::limits;

use crate::engine::Result;
use crate::engine::spec::{ContainerSpec, HostDevice, HostFacts, User};
use oci_spec::runtime::{LinuxNamespaceType, RootBuilder, Spec};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What only looking at the world at start can tell; filled by `container::start`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The container's ID, 64 hex digits.
    pub id: String,
    /// The mounted root filesystem on the host.
    pub rootfs: PathBuf,
    /// The host name inside (see [`files::hostname`]); set by the runtime where the UTS namespace is new, and
    /// `$HOSTNAME` in any case; empty: unknown.
    pub hostname: String,
    /// From [`user::resolve`] over the container's own files, `--group-add` included.
    pub user: User,
    /// `--group-add keep-groups`: the annotation crun understands is set.
    pub keep_groups: bool,
    /// From [`idmap::maps`]; `None`: the engine's own user namespace (or one that is joined).
    pub id_maps: Option<IdMaps>,
    /// Namespaces to join by path: `container:` as `/proc/PID/ns/…`, `ns:` paths, a prepared network namespace.
    pub joined: BTreeMap<Kind, PathBuf>,
    /// Files and directories of the container's own that are bound into it.
    pub files: SystemFiles,
    /// Host directories of the mounts whose source the spec does not name, by their target: volumes (anonymous ones
    /// and the image's VOLUMEs too), images, overlays (`:O`). A bind mount listed here uses this path instead of its own.
    pub sources: BTreeMap<String, PathBuf>,
    /// For mounts with the option `O`, by target: two empty directories of the container's own on one filesystem, for
    /// what is written and for overlayfs. Not needed where the user named them.
    pub overlays: BTreeMap<String, (PathBuf, PathBuf)>,
    /// `nodev`, `nosuid`, `noexec` where a bind mount's source lies on a filesystem mounted so (statfs(2)), by
    /// target. A rootless container must keep them; may stay empty for root.
    pub inherited_flags: BTreeMap<String, Vec<String>>,
    /// The text of the seccomp profile to use: the user's, or the first of [`seccomp::PATHS`] that exists; `None`:
    /// the built-in one.
    pub seccomp: Option<String>,
    /// catatonit or the like on the host, when `spec.init`.
    pub init: Option<PathBuf>,
    /// The nodes of every `--device`, directories expanded, in order.
    pub devices: Vec<HostDevice>,
    /// The host's hooks, for all containers.
    pub hooks: Vec<hooks::HookFile>,
    /// What the `--device`s with CDI names need beside their nodes, which are among `devices`.
    pub cdi: cdi::Edits,
    /// Numbers of the block devices named by `--device-read-bps` and its kin.
    pub block_devices: BTreeMap<String, (u32, u32)>,
    /// From [`cgroups_path`]; empty: the runtime chooses none.
    pub cgroups_path: String,
    /// Environment the start adds (`LISTEN_FDS` …), as `NAME=VALUE`.
    pub env: Vec<String>,
    /// Devices, mounts and environment wanted by others (networks, secrets …) are given as mounts.
    pub extra_mounts: Vec<oci_spec::runtime::Mount>,
}

/// A namespace's kind, ordered as the kernel lists them in /proc/PID/ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `cgroup`
    Cgroup,
    /// `ipc`
    Ipc,
    /// `net`
    Net,
    /// `pid`
    Pid,
    /// `user`
    User,
    /// `uts`
    Uts,
}

impl Kind {
    /// The file name in /proc/PID/ns.
    pub fn proc_name(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Ipc => "ipc",
            Self::Net => "net",
            Self::Pid => "pid",
            Self::User => "user",
            Self::Uts => "uts",
        }
    }

    fn oci(self) -> LinuxNamespaceType {
        match self {
            Self::Cgroup => LinuxNamespaceType::Cgroup,
            Self::Ipc => LinuxNamespaceType::Ipc,
            Self::Net => LinuxNamespaceType::Network,
            Self::Pid => LinuxNamespaceType::Pid,
            Self::User => LinuxNamespaceType::User,
            Self::Uts => LinuxNamespaceType::Uts,
        }
    }
}

/// Host paths of the container's own files; `None`: not mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemFiles {
    /// /etc/hosts, text from [`files::hosts`].
    pub hosts: Option<PathBuf>,
    /// /etc/hostname.
    pub hostname: Option<PathBuf>,
    /// /etc/resolv.conf, text from [`files::resolv_conf`].
    pub resolv_conf: Option<PathBuf>,
    /// /run/.containerenv, text from [`files::containerenv`].
    pub containerenv: Option<PathBuf>,
    /// /etc/passwd with the added entry, when one was needed.
    pub passwd: Option<PathBuf>,
    /// /etc/group, likewise.
    pub group: Option<PathBuf>,
    /// The directory mounted at /dev/shm: a tmpfs of the container's own, another container's, or the host's.
    pub shm: Option<PathBuf>,
    /// /etc/localtime for `--tz`.
    pub localtime: Option<PathBuf>,
    /// Secrets: the path in the container, the file.
    pub secrets: Vec<(String, PathBuf)>,
}

/// The OCI runtime configuration of a completed `spec`.
///
/// # Errors
/// The request is not possible on this host (a limit above the hard one, a sysctl of a shared namespace …), or the
/// seccomp profile cannot be understood.
pub fn spec(spec: &ContainerSpec, host: &HostFacts, resolved: &Resolved) -> Result<Spec> {
    let mut out = Spec::default();
    let linux = linux::linux(spec, host, resolved)?;
    let own_uts = namespaces::is_own(&spec.namespaces.uts) && !resolved.joined.contains_key(&Kind::Uts);
    let root = RootBuilder::default().path(&resolved.rootfs).readonly(spec.read_only);
    let mut annotations: std::collections::HashMap<String, String> =
        spec.annotations.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    if resolved.keep_groups {
        annotations.insert("run.oci.keep_original_groups".to_owned(), "1".to_owned());
    }
    out.set_version("1.0.2".to_owned())
        .set_root(Some(root.build().map_err(built)?))
        .set_process(Some(process::process(spec, host, resolved)?))
        .set_mounts(Some(mounts::mounts(spec, host, resolved)?))
        .set_hostname(Some(resolved.hostname.clone()).filter(|h| !h.is_empty() && own_uts))
        .set_annotations(Some(annotations).filter(|a| !a.is_empty()))
        .set_linux(Some(linux));
    if !spec.domainname.is_empty() && own_uts {
        out.set_domainname(Some(spec.domainname.clone()));
    }
    let hooks = hooks::hooks(spec, &out, resolved)?;
    out.set_hooks(hooks);
    Ok(out)
}

pub use linux::{SPLIT_SIBLING, cgroup_manager, cgroups_path};
pub use mounts::systemd_mode;

/// Whether the container has a host name that is nobody else's.
pub fn has_own_hostname(spec: &ContainerSpec) -> bool {
    namespaces::is_own(&spec.namespaces.uts)
}
pub use namespaces::cgroup as cgroup_namespace;

/// `maskedPaths` and `readonlyPaths` of `spec`, where /sys can be mounted anew.
pub fn masked_paths(spec: &ContainerSpec, host: &HostFacts) -> (Vec<String>, Vec<String>) {
    masks::paths(spec, host, false)
}

/// The builders of oci-spec fail on missing fields only, which these calls never leave.
fn built(e: oci_spec::OciSpecError) -> crate::engine::Error {
    crate::engine::Error::invalid(format!("OCI runtime configuration: {e}"))
}

#[cfg(test)]
mod tests;
