//! What [`crate::engine::oci`] must know of this host, gathered for one create or start.

use crate::engine::host::apparmor;
use crate::engine::host::facts::{self, Query};
use crate::engine::oci::{self, cdi::is_qualified};
use crate::engine::spec::{ContainerSpec, HostDevice, HostFacts};
use crate::engine::{Engine, Error, Result};
use std::collections::BTreeMap;

/// What the host offers a container of this engine without wishes of its own.
pub fn host(engine: &Engine) -> HostFacts {
    host_facts(engine, &ContainerSpec::default())
}

/// Gathers the facts. Devices of the host are walked only for a privileged container.
pub(super) fn host_facts(engine: &Engine, spec: &ContainerSpec) -> HostFacts {
    let config = &engine.config;
    let given = config.overrides.cgroup_manager.as_ref();
    let configured = given.or(config.containers.engine.cgroup_manager.as_ref());
    facts::gather(&Query {
        rootless: engine.id_maps.as_ref().map(|maps| (maps.uids.as_slice(), maps.gids.as_slice())),
        caller: (config.env.uid, config.env.gid),
        cgroup_manager: configured.map(String::as_str),
        user_bus: config.env.user_bus().is_some(),
        devices: spec.security.privileged,
    })
}

/// Makes sure that the container's AppArmor profile, if it gets one, is loaded.
pub(super) fn apparmor(engine: &Engine, spec: &ContainerSpec, host: &HostFacts) -> Result<()> {
    match oci::apparmor::profile(spec, host)? {
        Some(profile) => apparmor::provide(profile, &engine.config.env.path()),
        None => Ok(()),
    }
}

/// Whether the host can have the container's `--rdt-class`.
///
/// # Errors
/// [`crate::engine::ErrorKind::Unsupported`]: it cannot.
pub(super) fn rdt(engine: &Engine, spec: &ContainerSpec) -> Result<()> {
    if spec.rdt_class.is_empty() {
        return Ok(());
    }
    if engine.rootless() {
        return Err(Error::unsupported("--rdt-class needs root"));
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if !mounts.contains(" - resctrl ") {
        return Err(Error::unsupported(
            "--rdt-class needs Resource Director Technology, and this host has no resctrl file system mounted",
        )
        .with_hint("where the processor has it: mount -t resctrl resctrl /sys/fs/resctrl"));
    }
    Ok(())
}

/// The nodes of every `--device` that is named by its path.
pub(super) fn devices(spec: &ContainerSpec) -> Result<Vec<HostDevice>> {
    let mut found = Vec::new();
    for asked in spec.devices.iter().filter(|asked| !is_qualified(&asked.source)) {
        found.extend(facts::devices(&asked.source, &asked.target, &asked.permissions)?);
    }
    Ok(found)
}

/// Numbers of the block devices that limits name.
pub(super) fn block_devices(spec: &ContainerSpec) -> Result<BTreeMap<String, (u32, u32)>> {
    let limits = &spec.resources;
    let lists = [
        &limits.blkio_weight_devices,
        &limits.device_read_bps,
        &limits.device_write_bps,
        &limits.device_read_iops,
        &limits.device_write_iops,
    ];
    lists.into_iter().flatten().map(|d| Ok((d.path.clone(), facts::block_device(&d.path)?))).collect()
}
