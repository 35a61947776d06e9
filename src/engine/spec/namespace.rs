//! Which namespaces a container has of its own, and which it shares.

use serde::{Deserialize, Serialize};

/// One namespace's mode.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "mode", content = "value")]
pub enum NamespaceMode {
    /// What containers.conf says, else the kind's own default.
    #[default]
    Default,
    /// A new one. For the network: one with a loopback interface only, unless networks are attached.
    Private,
    /// The host's.
    Host,
    /// `container:NAME|ID`; resolved to the full ID at creation.
    Container(String),
    /// `ns:PATH`.
    Path(String),
    /// `none`: a new network namespace with a loopback interface only; for ipc: a new one without /dev/shm.
    None,
    /// ipc `shareable` (a private one others may join).
    Shareable,
    /// A network by name (`bridge`, `pasta`, a user-defined one) with its options; the network issue's.
    Network(String),
}

/// All modes of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamespacesSpec {
    /// `--pid`.
    pub pid: NamespaceMode,
    /// `--ipc`.
    pub ipc: NamespaceMode,
    /// `--uts`.
    pub uts: NamespaceMode,
    /// `--cgroupns`.
    pub cgroup: NamespaceMode,
    /// `--network`.
    pub network: NamespaceMode,
    /// `--userns`, `--uidmap`, `--gidmap`.
    pub user: UserNamespace,
}

/// The user namespace, which has modes of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "mode", content = "value")]
pub enum UserNamespace {
    /// The engine's own: none for root, the rootless namespace for a user.
    #[default]
    Host,
    /// `keep-id[:uid=…,gid=…,size=…]`: the caller's IDs are the same inside (rootless only).
    KeepId {
        /// UID inside; `None`: the caller's.
        uid: Option<u32>,
        /// GID inside; `None`: the caller's.
        gid: Option<u32>,
        /// How many IDs are mapped; `None`: all that there are.
        size: Option<u32>,
    },
    /// `nomap`: the caller's IDs do not exist inside (rootless only).
    NoMap,
    /// `auto[:size=…,uidmapping=…,gidmapping=…]`: a range of its own from the user's subordinate IDs.
    Auto {
        /// How many IDs; `None`: what the image needs, at least 1024.
        size: Option<u32>,
        /// Fixed user mappings.
        uid_maps: Vec<IdMapping>,
        /// Fixed group mappings.
        gid_maps: Vec<IdMapping>,
    },
    /// `container:NAME|ID`.
    Container(String),
    /// `ns:PATH`.
    Path(String),
    /// `private`, or given by `--uidmap`/`--gidmap`/`--subuidname`.
    Mapped {
        /// User mappings; empty: the same as `gid_maps`.
        uid_maps: Vec<IdMapping>,
        /// Group mappings; empty: the same as `uid_maps`.
        gid_maps: Vec<IdMapping>,
    },
}

/// One row of an ID map: `size` IDs from `container_id` inside are those from `host_id` outside. "Outside" is the
/// engine's own user namespace, which for a rootless engine is the one its pause process keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    /// First ID inside.
    pub container_id: u32,
    /// First ID outside.
    pub host_id: u32,
    /// How many.
    pub size: u32,
}
