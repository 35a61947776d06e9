//! Which namespaces the runtime makes and which it joins.

use super::{Kind, Resolved};
use crate::engine::spec::{CgroupMode, ContainerSpec, HostFacts, NamespaceMode, UserNamespace};
use crate::engine::{Error, Result};
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType};
use std::path::PathBuf;

/// The list of config.json; a kind that is missing from it is the host's.
pub(super) fn namespaces(
    spec: &ContainerSpec,
    host: &HostFacts,
    resolved: &Resolved,
) -> Result<Vec<LinuxNamespace>> {
    let modes = &spec.namespaces;
    let (private, cgroup) = (NamespaceMode::Private, cgroup(spec, host));
    let mut list = vec![entry(LinuxNamespaceType::Mount, None)];
    for (kind, mode, default) in [
        (Kind::Pid, &modes.pid, &private),
        (Kind::Net, &modes.network, &private),
        (Kind::Ipc, &modes.ipc, &private),
        (Kind::Uts, &modes.uts, &private),
        (Kind::Cgroup, &cgroup, &private),
    ] {
        let mode = if *mode == NamespaceMode::Default { default } else { mode };
        match mode {
            NamespaceMode::Host => {}
            NamespaceMode::Container(_) | NamespaceMode::Path(_) => {
                list.push(entry(kind.oci(), Some(joined(kind, mode, resolved)?)));
            }
            _ => list.push(entry(kind.oci(), resolved.joined.get(&kind).cloned())),
        }
    }
    match &modes.user {
        UserNamespace::Container(_) | UserNamespace::Path(_) => {
            let path = resolved.joined.get(&Kind::User).cloned().ok_or_else(|| unresolved(Kind::User))?;
            list.push(entry(LinuxNamespaceType::User, Some(path)));
        }
        _ if resolved.id_maps.is_some() => list.push(entry(LinuxNamespaceType::User, None)),
        _ => {}
    }
    Ok(list)
}

/// The cgroup namespace's mode, with the default that depends on the host.
pub fn cgroup(spec: &ContainerSpec, host: &HostFacts) -> NamespaceMode {
    match (&spec.namespaces.cgroup, host.cgroup.mode) {
        (NamespaceMode::Default, CgroupMode::V2) => NamespaceMode::Private,
        // Docker's and podman's choice: without v2 the view below /sys/fs/cgroup does not shrink with it.
        (NamespaceMode::Default, _) => NamespaceMode::Host,
        (mode, _) => mode.clone(),
    }
}

/// Whether the container shares the host's namespace of this kind.
pub(super) fn is_host(mode: &NamespaceMode) -> bool {
    *mode == NamespaceMode::Host
}

/// Whether the container has a namespace of this kind that nobody else made.
pub(super) fn is_own(mode: &NamespaceMode) -> bool {
    !matches!(mode, NamespaceMode::Host | NamespaceMode::Container(_) | NamespaceMode::Path(_))
}

fn joined(kind: Kind, mode: &NamespaceMode, resolved: &Resolved) -> Result<PathBuf> {
    match (resolved.joined.get(&kind), mode) {
        (Some(path), _) => Ok(path.clone()),
        (None, NamespaceMode::Path(path)) => Ok(PathBuf::from(path)),
        (None, _) => Err(unresolved(kind)),
    }
}

fn unresolved(kind: Kind) -> Error {
    Error::invalid(format!(
        "the {} namespace to join is unknown: its container is not running",
        kind.proc_name()
    ))
}

fn entry(kind: LinuxNamespaceType, path: Option<PathBuf>) -> LinuxNamespace {
    let mut entry = LinuxNamespace::default();
    entry.set_typ(kind).set_path(path);
    entry
}
