//! The `linux` section: namespaces, maps, devices, sysctls, masks, seccomp, cgroup.

use super::{Kind, Resolved, built, caps, cdi, masks, mounts, namespaces, resources, seccomp};
use crate::engine::spec::{
    CgroupManager, ContainerSpec, HostDevice, HostFacts, IdMapping, MountKind, NamespacesSpec, Propagation,
};
use crate::engine::{Error, Result};
use oci_spec::runtime::{
    Linux, LinuxDevice, LinuxDeviceType, LinuxIdMapping, LinuxIdMappingBuilder, LinuxPersonality,
    LinuxPersonalityDomain,
};
use std::collections::HashMap;
use std::path::PathBuf;

pub(super) fn linux(spec: &ContainerSpec, host: &HostFacts, resolved: &Resolved) -> Result<Linux> {
    let mut linux = Linux::default();
    let (masked, read_only) = masks::paths(spec, host, !mounts::can_mount_sys(spec, host, resolved));
    linux
        .set_namespaces(Some(namespaces::namespaces(spec, host, resolved)?))
        .set_masked_paths(Some(masked))
        .set_readonly_paths(Some(read_only))
        .set_sysctl(sysctls(spec, host, resolved)?)
        .set_resources(resources::resources(spec, host, resolved)?)
        .set_devices(Some(devices(spec, host, resolved)).filter(|d| !d.is_empty()))
        .set_seccomp(seccomp_profile(spec, host, resolved)?)
        .set_rootfs_propagation(rootfs_propagation(spec))
        .set_intel_rdt(cdi::intel_rdt(&resolved.cdi, &spec.rdt_class))
        .set_personality(personality(spec));
    if !resolved.cgroups_path.is_empty() {
        linux.set_cgroups_path(Some(PathBuf::from(&resolved.cgroups_path)));
    }
    if let Some(maps) = &resolved.id_maps {
        linux.set_uid_mappings(Some(mappings(&maps.uids)?)).set_gid_mappings(Some(mappings(&maps.gids)?));
    }
    Ok(linux)
}

/// `--personality`; what the spec holds has been checked.
fn personality(spec: &ContainerSpec) -> Option<LinuxPersonality> {
    let domain = match spec.personality.as_str() {
        "LINUX32" => LinuxPersonalityDomain::PerLinux32,
        "LINUX" => LinuxPersonalityDomain::PerLinux,
        _ => return None,
    };
    let mut personality = LinuxPersonality::default();
    personality.set_domain(domain);
    Some(personality)
}

pub(super) fn mappings(rows: &[IdMapping]) -> Result<Vec<LinuxIdMapping>> {
    rows.iter()
        .map(|row| {
            LinuxIdMappingBuilder::default()
                .container_id(row.container_id)
                .host_id(row.host_id)
                .size(row.size)
                .build()
                .map_err(built)
        })
        .collect()
}

/// Who makes the container's cgroup: with `--cgroups` `disabled` nobody, and not systemd with `split`, which stays below
/// the caller's own.
pub fn cgroup_manager(spec: &ContainerSpec, host: &HostFacts) -> CgroupManager {
    match (spec.cgroups.as_str(), host.cgroup_manager) {
        ("disabled", _) => CgroupManager::Disabled,
        ("split", CgroupManager::Systemd) => CgroupManager::Cgroupfs,
        (_, manager) => manager,
    }
}

/// With `--cgroups=split` on cgroup v2 processes may only be in leaves: the caller moves here, beside the container.
pub const SPLIT_SIBLING: &str = "runtime";

/// The cgroup of container `id`: a path for cgroupfs, `slice:prefix:name` for systemd, empty for none.
pub fn cgroups_path(spec: &ContainerSpec, host: &HostFacts, id: &str) -> Result<String> {
    let manager = cgroup_manager(spec, host);
    if manager == CgroupManager::Disabled {
        return Ok(String::new());
    }
    let parent = spec.cgroup_parent.as_str();
    if parent.split('/').any(|part| part == "..") {
        return Err(Error::invalid(format!("invalid --cgroup-parent {parent:?}: it may not contain \"..\"")));
    }
    if manager == CgroupManager::Systemd {
        let slice = match parent {
            "" if host.rootless => "user.slice",
            "" => "machine.slice",
            parent => parent.rsplit('/').next().unwrap_or(parent),
        };
        if !slice.ends_with(".slice") {
            return Err(Error::invalid(format!("invalid --cgroup-parent {parent:?}: not a systemd slice"))
                .with_hint("name a slice such as work.slice, or use --cgroup-manager cgroupfs"));
        }
        return Ok(format!("{slice}:coracle:{id}"));
    }
    let own = host.cgroup.own.trim_end_matches('/');
    let own = own.strip_suffix(SPLIT_SIBLING).map_or(own, |own| own.trim_end_matches('/'));
    Ok(match parent {
        _ if spec.cgroups == "split" => format!("{own}/coracle-payload-{id}"),
        "" if host.rootless => format!("{own}/coracle-{id}"),
        "" => format!("/coracle/coracle-{id}"),
        parent => format!("/{}/coracle-{id}", parent.trim_matches('/')),
    })
}

/// The nodes the runtime makes (or binds). A privileged container gets the host's, `--device` comes on top.
fn devices(spec: &ContainerSpec, host: &HostFacts, resolved: &Resolved) -> Vec<LinuxDevice> {
    if mounts::in_user_namespace(spec, host, resolved) {
        // mknod(2) is not allowed there; `mounts` binds them.
        return Vec::new();
    }
    all_devices(spec, host, resolved).map(device).collect()
}

/// Every device of the container; a later one replaces an earlier one at its path.
pub(super) fn all_devices<'a>(
    spec: &ContainerSpec,
    host: &'a HostFacts,
    resolved: &'a Resolved,
) -> impl Iterator<Item = &'a HostDevice> {
    let from_host = if spec.security.privileged { host.devices.as_slice() } else { &[] };
    let replaced = |d: &&HostDevice| !resolved.devices.iter().any(|r| r.target == d.target);
    // systemd would start logins on the host's consoles (podman-run(1), --privileged).
    let console = |d: &&HostDevice| {
        d.target
            .strip_prefix("/dev/tty")
            .is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()))
    };
    let systemd = mounts::systemd_mode(spec);
    let wanted = move |d: &&HostDevice| !(systemd && console(d));
    from_host.iter().filter(replaced).filter(wanted).chain(&resolved.devices)
}

fn device(device: &HostDevice) -> LinuxDevice {
    let mut out = LinuxDevice::default();
    out.set_path(PathBuf::from(&device.target))
        .set_typ(if device.block { LinuxDeviceType::B } else { LinuxDeviceType::C })
        .set_major(i64::from(device.major))
        .set_minor(i64::from(device.minor))
        .set_file_mode(Some(device.mode & 0o7777))
        .set_uid(Some(device.uid))
        .set_gid(Some(device.gid));
    out
}

/// Refuses the sysctls of a namespace that is the host's: the runtime would change the host's.
fn sysctls(
    spec: &ContainerSpec,
    host: &HostFacts,
    resolved: &Resolved,
) -> Result<Option<HashMap<String, String>>> {
    for name in spec.sysctls.keys() {
        if let Some(kind) = host_sysctl(name, &spec.namespaces) {
            return Err(Error::invalid(format!(
                "sysctl {name} cannot be set: the container shares the host's {kind} namespace"
            )));
        }
    }
    let mut all: HashMap<String, String> = spec.sysctls.clone().into_iter().collect();
    // The configuration has a field for it that runtimes before crun 1.9 and runc 1.2 do not know; a user namespace may not
    // set it in this way.
    let own_uts = namespaces::is_own(&spec.namespaces.uts) && !resolved.joined.contains_key(&Kind::Uts);
    if own_uts && !spec.domainname.is_empty() && !mounts::in_user_namespace(spec, host, resolved) {
        all.entry("kernel.domainname".to_owned()).or_insert_with(|| spec.domainname.clone());
    }
    Ok(Some(all).filter(|all| !all.is_empty()))
}

/// The host namespace that `name` would change, if the container shares it.
pub(super) fn host_sysctl(name: &str, modes: &NamespacesSpec) -> Option<&'static str> {
    const IPC: [&str; 8] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
        "kernel.shm_rmid_forced",
    ];
    let uts = matches!(name, "kernel.domainname" | "kernel.hostname");
    if name.starts_with("net.") && namespaces::is_host(&modes.network) {
        Some("network")
    } else if (name.starts_with("fs.mqueue.") || IPC.contains(&name)) && namespaces::is_host(&modes.ipc) {
        Some("IPC")
    } else if uts && namespaces::is_host(&modes.uts) {
        Some("UTS")
    } else {
        None
    }
}

fn seccomp_profile(
    spec: &ContainerSpec,
    host: &HostFacts,
    resolved: &Resolved,
) -> Result<Option<oci_spec::runtime::LinuxSeccomp>> {
    let asked = spec.security.seccomp.as_str();
    if asked == "unconfined" || (spec.security.privileged && asked.is_empty()) {
        return Ok(None);
    }
    let bounding = caps::bounding(spec, host.bounding)?;
    seccomp::profile(resolved.seccomp.as_deref(), bounding, &host.arch, host.kernel)
}

/// A bind mount that propagates needs a root that lets it through (mount_namespaces(7)).
fn rootfs_propagation(spec: &ContainerSpec) -> Option<String> {
    use Propagation::{RShared, RSlave, Shared, Slave};
    let of = |wanted: &[Propagation]| {
        spec.mounts
            .iter()
            .filter(|m| matches!(m.kind, MountKind::Bind | MountKind::Volume))
            .any(|m| m.bind.propagation.is_some_and(|p| wanted.contains(&p)))
    };
    if of(&[Shared, RShared]) {
        Some("shared".to_owned())
    } else if of(&[Slave, RSlave]) {
        Some("rslave".to_owned())
    } else {
        None
    }
}
