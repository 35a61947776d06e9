//! Which namespaces a container has of its own, and which it shares.

use serde::{Deserialize, Serialize};

/// One namespace's mode.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "mode", content = "value")]
pub enum NamespaceMode {
    /// What containers.conf says, else the kind's own default.
    #[default]
    Default,
    /// A new one. For the network: the default network.
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
    /// A new network namespace that is connected: `bridge` (to the networks in [`super::NetworkSpec::attachments`]), `pasta` or
    /// `slirp4netns` (through a user-mode network stack, with [`super::NetworkSpec::options`]).
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
    /// `--uidmap` and `--gidmap` with podman's marks, `--subuidname` and `--subgidname`: becomes [`Self::Mapped`] when the
    /// container is created.
    Asked {
        /// User mappings.
        uids: Vec<MapRow>,
        /// Group mappings.
        gids: Vec<MapRow>,
        /// Whose ranges in /etc/subuid are mapped; empty: nobody's.
        subuid: String,
        /// Whose ranges in /etc/subgid are mapped; empty: nobody's.
        subgid: String,
    },
}

/// A row with podman's marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapRow {
    /// The row.
    pub row: IdMapping,
    /// `@`: the IDs outside are the host's, not those of the engine's namespace.
    pub of_host: bool,
    /// `+`: it takes its place among the rows before it.
    pub extends: bool,
}

impl UserNamespace {
    /// Whether the container gets a user namespace that nobody else made.
    pub fn is_own(&self) -> bool {
        !matches!(self, Self::Host | Self::Container(_) | Self::Path(_))
    }
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

/// The two maps of a user namespace. Both empty: no mapping, IDs are the same on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdMappings {
    /// User IDs.
    pub uids: Vec<IdMapping>,
    /// Group IDs.
    pub gids: Vec<IdMapping>,
}

impl IdMappings {
    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.uids.is_empty() && self.gids.is_empty()
    }

    /// Where root (ID 0 inside) is outside: user and group. `None` if either is not mapped.
    pub fn root(&self) -> Option<(u32, u32)> {
        Some((to_host(&self.uids, 0)?, to_host(&self.gids, 0)?))
    }
}

/// The ID outside for `id` inside; an empty map maps every ID to itself, an ID in no range is `None`.
pub fn to_host(map: &[IdMapping], id: u32) -> Option<u32> {
    if map.is_empty() {
        return Some(id);
    }
    map.iter().find_map(|row| {
        let offset = id.checked_sub(row.container_id).filter(|o| *o < row.size)?;
        row.host_id.checked_add(offset)
    })
}

/// The ID inside for `id` outside; the inverse of [`to_host`].
pub fn to_container(map: &[IdMapping], id: u32) -> Option<u32> {
    if map.is_empty() {
        return Some(id);
    }
    map.iter().find_map(|row| {
        let offset = id.checked_sub(row.host_id).filter(|o| *o < row.size)?;
        row.container_id.checked_add(offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_map_both_ways_and_outside_the_ranges_not_at_all() {
        let map = [
            IdMapping { container_id: 0, host_id: 1000, size: 1 },
            IdMapping { container_id: 1, host_id: 100_000, size: 65536 },
        ];
        assert_eq!(to_host(&map, 0), Some(1000));
        assert_eq!(to_host(&map, 1), Some(100_000));
        assert_eq!(to_host(&map, 65537), None);
        assert_eq!(to_container(&map, 100_001), Some(2));
        assert_eq!(to_container(&map, 0), None);
        assert_eq!(to_host(&[], 7), Some(7));
        let maps = IdMappings { uids: map.to_vec(), gids: map.to_vec() };
        assert_eq!(maps.root(), Some((1000, 1000)));
    }
}
