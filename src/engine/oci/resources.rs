//! cgroup limits. A limit whose controller this host lacks is left out with a warning, as docker does: the container
//! is more useful than none.

use super::{Resolved, built, linux, mounts};
use crate::engine::spec::{CgroupManager, CgroupMode, ContainerSpec, HostDevice, HostFacts, Resources};
use crate::engine::{Error, Result};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxDeviceType, LinuxMemory, LinuxPids, LinuxResources,
    LinuxThrottleDevice, LinuxThrottleDeviceBuilder, LinuxWeightDeviceBuilder,
};
use std::collections::BTreeMap;
use tracing::warn;

/// Microseconds: docker's and podman's CPU period when `--cpus` sets the quota.
const CPU_PERIOD: u64 = 100_000;

/// `linux.resources`; `None`: the container has no cgroup of its own.
pub(super) fn resources(
    spec: &ContainerSpec,
    host: &HostFacts,
    resolved: &Resolved,
) -> Result<Option<LinuxResources>> {
    let asked = &spec.resources;
    if resolved.cgroups_path.is_empty() {
        if spec.cgroups != "disabled" && host.cgroup_manager == CgroupManager::Disabled && has_limits(asked) {
            warn!("resource limits are ignored: this user may not use cgroups on this host");
        }
        return Ok(None);
    }
    let mut out = LinuxResources::default();
    out.set_devices(Some(device_rules(spec, host, resolved)?).filter(|d| !d.is_empty()));
    if has(host, "memory", memory_is_set(asked), "memory limits") {
        out.set_memory(memory(asked, host));
    }
    if has(host, "cpu", cpu_is_set(asked) || cpuset_is_set(asked), "CPU limits") {
        out.set_cpu(Some(cpu(asked, host)).filter(|c| *c != LinuxCpu::default()));
    }
    if has(host, "pids", false, "") {
        out.set_pids(asked.pids_limit.map(|limit| {
            let mut pids = LinuxPids::default();
            pids.set_limit(if limit == 0 { -1 } else { limit });
            pids
        }));
    }
    let io = if host.cgroup.mode == CgroupMode::V2 { "io" } else { "blkio" };
    if has(host, io, block_io_is_set(asked), "block I/O limits") {
        out.set_block_io(block_io(asked, host, resolved)?);
    }
    if !asked.unified.is_empty() {
        if host.cgroup.mode != CgroupMode::V2 {
            return Err(Error::unsupported("--cgroup-conf needs cgroup v2, and this host uses v1"));
        }
        out.set_unified(Some(asked.unified.iter().map(|(k, v)| (k.clone(), v.clone())).collect()));
    }
    Ok(Some(out))
}

/// The limits of a container that runs in the cgroup `cgroups_path`, for the runtime's update: those of `linux.resources`
/// but for devices, which stay. `block_devices`: major and minor numbers by path.
///
/// # Errors
/// [`crate::engine::ErrorKind::Unsupported`] when it has no cgroup.
pub fn limits(
    spec: &ContainerSpec,
    host: &HostFacts,
    cgroups_path: &str,
    block_devices: BTreeMap<String, (u32, u32)>,
) -> Result<LinuxResources> {
    let resolved = Resolved { cgroups_path: cgroups_path.to_owned(), block_devices, ..Resolved::default() };
    let mut out = resources(spec, host, &resolved)?.ok_or_else(|| {
        Error::unsupported("the container has no cgroup of its own whose limits could be changed")
            .with_hint("an ordinary user's containers have one where cgroups are version 2 and delegated")
    })?;
    out.set_devices(None);
    Ok(out)
}

fn has(host: &HostFacts, controller: &str, asked: bool, what: &str) -> bool {
    let there = host.cgroup.controllers.contains(controller);
    if asked && !there {
        warn!("{what} are ignored: the cgroup controller {controller} is not available");
    }
    there
}

/// Whether something is limited that was asked for.
pub(super) fn has_limits(r: &Resources) -> bool {
    memory_is_set(r) || cpu_is_set(r) || cpuset_is_set(r) || block_io_is_set(r) || !r.unified.is_empty()
}

fn memory_is_set(r: &Resources) -> bool {
    r.memory.is_some() || r.memory_reservation.is_some() || r.memory_swap.is_some_and(|s| s > 0)
}

fn cpu_is_set(r: &Resources) -> bool {
    r.nano_cpus.is_some() || r.cpu_shares.is_some() || r.cpu_quota.is_some() || r.cpu_period.is_some()
}

fn cpuset_is_set(r: &Resources) -> bool {
    !r.cpuset_cpus.is_empty() || !r.cpuset_mems.is_empty()
}

fn block_io_is_set(r: &Resources) -> bool {
    let lists = [&r.blkio_weight_devices, &r.device_read_bps, &r.device_write_bps, &r.device_read_iops];
    r.blkio_weight.is_some() || lists.iter().any(|l| !l.is_empty()) || !r.device_write_iops.is_empty()
}

fn memory(asked: &Resources, host: &HostFacts) -> Option<LinuxMemory> {
    let mut memory = LinuxMemory::default();
    memory.set_limit(asked.memory).set_reservation(asked.memory_reservation);
    if host.cgroup.swap {
        memory.set_swap(asked.memory_swap);
    } else if asked.memory_swap.is_some() && asked.memory_swap != asked.memory.map(|m| m.saturating_mul(2)) {
        warn!("--memory-swap is ignored: this kernel does not account swap");
    }
    memory.set_swappiness(asked.memory_swappiness);
    if asked.oom_kill_disable {
        memory.set_disable_oom_killer(Some(true));
    }
    Some(memory).filter(|m| *m != LinuxMemory::default())
}

fn cpu(asked: &Resources, host: &HostFacts) -> LinuxCpu {
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(asked.cpu_shares.filter(|s| *s > 0))
        .set_quota(asked.cpu_quota.filter(|q| *q != 0))
        .set_period(asked.cpu_period.filter(|p| *p != 0))
        .set_realtime_runtime(asked.cpu_rt_runtime.filter(|r| *r != 0))
        .set_realtime_period(asked.cpu_rt_period.filter(|p| *p != 0));
    if let Some(nano) = asked.nano_cpus.filter(|n| *n > 0) {
        let quota = i64::try_from(nano / (1_000_000_000 / CPU_PERIOD)).unwrap_or(i64::MAX);
        cpu.set_quota(Some(quota)).set_period(Some(CPU_PERIOD));
    }
    if cpuset_is_set(asked) {
        if host.cgroup.controllers.contains("cpuset") {
            cpu.set_cpus(Some(asked.cpuset_cpus.clone()).filter(|c| !c.is_empty()));
            cpu.set_mems(Some(asked.cpuset_mems.clone()).filter(|m| !m.is_empty()));
        } else {
            warn!(
                "--cpuset-cpus and --cpuset-mems are ignored: the cgroup controller cpuset is not available"
            );
        }
    }
    cpu
}

fn block_io(asked: &Resources, host: &HostFacts, resolved: &Resolved) -> Result<Option<LinuxBlockIo>> {
    let numbers = |path: &str| {
        resolved
            .block_devices
            .get(path)
            .copied()
            .ok_or_else(|| Error::not_found(format!("{path} is not a block device of this host")))
    };
    let throttle = |list: &[crate::engine::spec::BlkioDevice]| -> Result<Option<Vec<LinuxThrottleDevice>>> {
        let mut out = Vec::new();
        for device in list {
            let (major, minor) = numbers(&device.path)?;
            let limit = LinuxThrottleDeviceBuilder::default().major(major).minor(minor).rate(device.value);
            out.push(limit.build().map_err(built)?);
        }
        Ok(Some(out).filter(|o: &Vec<_>| !o.is_empty()))
    };
    let mut weights = Vec::new();
    for device in &asked.blkio_weight_devices {
        let (major, minor) = numbers(&device.path)?;
        let weight = u16::try_from(device.value)
            .map_err(|_| Error::invalid(format!("the weight of {} is not from 10 to 1000", device.path)))?;
        let entry = LinuxWeightDeviceBuilder::default().major(major).minor(minor).weight(weight);
        weights.push(entry.build().map_err(built)?);
    }
    let mut weight = asked.blkio_weight;
    if host.cgroup.no_io_weight && (weight.is_some() || !weights.is_empty()) {
        warn!("block I/O weights are ignored: this kernel does not support them");
        (weight, weights) = (None, Vec::new());
    }
    let mut io = LinuxBlockIo::default();
    io.set_weight(weight)
        .set_weight_device(Some(weights).filter(|w| !w.is_empty()))
        .set_throttle_read_bps_device(throttle(&asked.device_read_bps)?)
        .set_throttle_write_bps_device(throttle(&asked.device_write_bps)?)
        .set_throttle_read_iops_device(throttle(&asked.device_read_iops)?)
        .set_throttle_write_iops_device(throttle(&asked.device_write_iops)?);
    Ok(Some(io).filter(|io| *io != LinuxBlockIo::default()))
}

/// The device controller's rules: everything denied, then what is given; the runtime adds the usual nodes.
fn device_rules(
    spec: &ContainerSpec,
    host: &HostFacts,
    resolved: &Resolved,
) -> Result<Vec<LinuxDeviceCgroup>> {
    if mounts::in_user_namespace(spec, host, resolved) {
        if host.rootless && !spec.device_cgroup_rules.is_empty() {
            return Err(Error::unsupported("--device-cgroup-rule needs root: a user cannot grant devices"));
        }
        return Ok(Vec::new());
    }
    if spec.security.privileged {
        return Ok(vec![rule(true, None, None, None, "rwm")]);
    }
    let mut rules = vec![rule(false, None, None, None, "rwm")];
    for device in linux::all_devices(spec, host, resolved) {
        rules.push(device_rule(device));
    }
    for text in &spec.device_cgroup_rules {
        rules.push(parse_rule(text)?);
    }
    Ok(rules)
}

fn device_rule(device: &HostDevice) -> LinuxDeviceCgroup {
    let kind = if device.block { LinuxDeviceType::B } else { LinuxDeviceType::C };
    let permissions = if device.permissions.is_empty() { "rwm" } else { &device.permissions };
    rule(true, Some(kind), Some(device.major.into()), Some(device.minor.into()), permissions)
}

fn rule(
    allow: bool,
    kind: Option<LinuxDeviceType>,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(allow).set_typ(kind).set_major(major).set_minor(minor).set_access(Some(access.to_owned()));
    rule
}

/// `c 5:* rw` (docker's `--device-cgroup-rule`, the kernel's devices.allow).
///
/// # Errors
/// It has not that form.
pub(super) fn parse_rule(text: &str) -> Result<LinuxDeviceCgroup> {
    let bad = || {
        Error::invalid(format!("invalid --device-cgroup-rule {text:?}"))
            .with_hint("TYPE MAJOR:MINOR ACCESS, for example 'c 189:* rmw'")
    };
    let words: Vec<&str> = text.split_whitespace().collect();
    let [kind, numbers, access] = words[..] else { return Err(bad()) };
    let kind = match kind {
        "a" => LinuxDeviceType::A,
        "b" => LinuxDeviceType::B,
        "c" => LinuxDeviceType::C,
        _ => return Err(bad()),
    };
    let number = |text: &str| match text {
        "*" => Ok(None),
        digits => digits.parse::<u32>().map(|n| Some(i64::from(n))).map_err(|_| bad()),
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(bad)?;
    if access.is_empty() || !access.bytes().all(|b| matches!(b, b'r' | b'w' | b'm')) {
        return Err(bad());
    }
    Ok(rule(true, Some(kind), number(major)?, number(minor)?, access))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn device_rules_are_parsed_strictly() {
        let rule = parse_rule("c 5:* rw").unwrap();
        assert_eq!((rule.major(), rule.minor(), rule.access().as_deref()), (Some(5), None, Some("rw")));
        for bad in ["", "c 5 rw", "x 5:1 r", "c 5:1", "c 5:1 rwx", "c -1:1 r", "c 5:1 r extra"] {
            assert!(parse_rule(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cpus_become_a_quota() {
        let asked = Resources { nano_cpus: Some(1_500_000_000), ..Resources::default() };
        let got = cpu(&asked, &HostFacts::default());
        assert_eq!((got.quota(), got.period()), (Some(150_000), Some(100_000)));
    }
}
