//! Namespaces that belong to another container, and user namespace maps.

use super::prepare::KINDS;
use crate::engine::host::userns::subordinate_ranges;
use crate::engine::oci::{self, IdMaps, Kind};
use crate::engine::spec::{ContainerSpec, HostFacts, NamespaceMode, NamespacesSpec, UserNamespace};
use crate::engine::state::Status;
use crate::engine::{Engine, Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::path::PathBuf;

fn mode(modes: &NamespacesSpec, kind: Kind) -> Option<&NamespaceMode> {
    Some(match kind {
        Kind::Ipc => &modes.ipc,
        Kind::Net => &modes.network,
        Kind::Pid => &modes.pid,
        Kind::Uts => &modes.uts,
        Kind::Cgroup => &modes.cgroup,
        Kind::User => return None,
    })
}

/// Turns `container:NAME`, and the names of `--requires`, into full IDs.
pub(super) fn resolve(engine: &Engine, spec: &mut ContainerSpec) -> Result<()> {
    let modes = &mut spec.namespaces;
    for mode in [&mut modes.ipc, &mut modes.network, &mut modes.pid, &mut modes.uts, &mut modes.cgroup] {
        if let NamespaceMode::Container(name) = mode {
            *name = engine.state.resolve(name)?;
        }
    }
    if let UserNamespace::Container(name) = &mut modes.user {
        *name = engine.state.resolve(name)?;
    }
    for name in &mut spec.requires {
        *name = engine.state.resolve(name)?;
    }
    Ok(())
}

/// The full IDs of the containers that this one needs: for their namespaces, or started before it.
pub(super) fn needed(spec: &ContainerSpec) -> Vec<String> {
    let modes = KINDS.iter().filter_map(|kind| mode(&spec.namespaces, *kind));
    let mut owners: Vec<String> = modes
        .filter_map(|mode| match mode {
            NamespaceMode::Container(id) => Some(id.clone()),
            _ => None,
        })
        .collect();
    if let UserNamespace::Container(id) = &spec.namespaces.user {
        owners.push(id.clone());
    }
    owners.extend_from_slice(&spec.requires);
    owners.sort();
    owners.dedup();
    owners
}

/// `/proc/PID/ns/…` of the containers whose namespaces are joined.
pub(super) fn joined(engine: &Engine, spec: &ContainerSpec) -> Result<BTreeMap<Kind, PathBuf>> {
    let mut joined = BTreeMap::new();
    for kind in KINDS {
        if let Some(NamespaceMode::Container(id)) = mode(&spec.namespaces, kind) {
            joined.insert(kind, path_of(engine, id, kind)?);
        }
    }
    match &spec.namespaces.user {
        UserNamespace::Container(id) => drop(joined.insert(Kind::User, path_of(engine, id, Kind::User)?)),
        UserNamespace::Path(path) => drop(joined.insert(Kind::User, PathBuf::from(path))),
        _ => {}
    }
    Ok(joined)
}

fn path_of(engine: &Engine, id: &str, kind: Kind) -> Result<PathBuf> {
    let record = engine.state.load(id)?;
    if !matches!(record.state.status, Status::Running | Status::Paused) {
        return Err(Error::new(
            ErrorKind::InUse,
            format!(
                "cannot join the {} namespace of container {}: it is not running",
                kind.proc_name(),
                record.name()
            ),
        )
        .with_hint(format!("coracle start {}", record.name())));
    }
    Ok(PathBuf::from(format!("/proc/{}/ns/{}", record.state.pid, kind.proc_name())))
}

/// The maps of the container's user namespace; `None`: the engine's own. `auto` has been settled at creation.
pub(super) fn id_maps(engine: &Engine, spec: &ContainerSpec, host: &HostFacts) -> Result<Option<IdMaps>> {
    let _ = engine;
    oci::idmap::maps(&spec.namespaces.user, host, &oci::idmap::AutoPool::default())
}

/// Settles once and for all which IDs the container has: `--userns=auto` takes a range nobody else has, names and IDs of the
/// host become IDs of the engine's namespace.
pub(super) fn settle_user(engine: &Engine, spec: &mut ContainerSpec, host: &HostFacts) -> Result<()> {
    let maps = match &spec.namespaces.user {
        mode @ UserNamespace::Auto { .. } => oci::idmap::maps(mode, host, &auto_pool(engine, host)?)?,
        UserNamespace::Asked { uids, gids, subuid, subgid } => {
            let named = oci::idmap::NamedRanges {
                uids: named(subuid, "/etc/subuid")?,
                gids: named(subgid, "/etc/subgid")?,
            };
            Some(oci::idmap::asked(uids, gids, &named, host)?)
        }
        _ => None,
    };
    if let Some(maps) = maps {
        spec.namespaces.user = UserNamespace::Mapped { uid_maps: maps.uids, gid_maps: maps.gids };
    }
    Ok(())
}

/// The ranges that `name` has in subuid(5) or subgid(5); none for an empty one.
fn named(name: &str, path: &str) -> Result<Vec<(u32, u32)>> {
    if name.is_empty() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    let found = subordinate_ranges(&text, name, u32::MAX);
    if found.is_empty() {
        return Err(Error::not_found(format!("no subordinate IDs found for {name:?} in {path}"))
            .with_hint(format!("a line such as {name}:100000:65536 there gives it some")));
    }
    Ok(found)
}

/// IDs `--userns=auto` may hand out, and those other containers have: ours and podman's, whose maps the store knows.
pub(super) fn auto_pool(engine: &Engine, host: &HostFacts) -> Result<oci::idmap::AutoPool> {
    let available = if host.rootless {
        let rows = host.uid_map.iter().filter(|row| row.container_id > 0);
        rows.map(|row| (row.container_id, row.size)).collect()
    } else {
        let text = std::fs::read_to_string("/etc/subuid").unwrap_or_default();
        subordinate_ranges(&text, "containers", u32::MAX)
    };
    if available.is_empty() {
        return Err(Error::unsupported(
            "--userns=auto: the user \"containers\" has no subordinate IDs in /etc/subuid",
        )
        .with_hint("echo containers:2147483647:2147483648 >> /etc/subuid, and the same for /etc/subgid"));
    }
    let containers = engine.store.containers()?;
    let used = containers.iter().flat_map(|c| &c.uid_map).map(|row| (row.host_id, row.size));
    Ok(oci::idmap::AutoPool { available, used: used.collect(), image_size: 0 })
}
