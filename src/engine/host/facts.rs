//! Gathers [`HostFacts`]: a handful of small reads, no more than a millisecond; devices only when they are wanted.

use super::process::read_proc;
use super::{apparmor, cgroup, limits};
use crate::engine::spec::{CgroupManager, HostDevice, HostFacts, IdMapping};
use crate::engine::{Error, Result};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// What [`gather`] cannot find out by itself.
#[derive(Clone, Debug, Default)]
pub struct Query<'a> {
    /// The engine runs in the user namespace of an ordinary user, with these maps (`container_id` inside it).
    pub rootless: Option<(&'a [IdMapping], &'a [IdMapping])>,
    /// The caller's IDs outside of it.
    pub caller: (u32, u32),
    /// `--cgroup-manager` or containers.conf's.
    pub cgroup_manager: Option<&'a str>,
    /// The caller's systemd instance can be reached (rootless).
    pub user_bus: bool,
    /// Also list /dev, for `--privileged`.
    pub devices: bool,
}

/// The facts config.json depends on.
pub fn gather(query: &Query<'_>) -> HostFacts {
    let status = read_proc("/proc/self/status").unwrap_or_default();
    let rootless = query.rootless.is_some();
    let cgroup = cgroup::facts(rootless, query.caller.0);
    let cgroup_manager = cgroup::manager(query.cgroup_manager, &cgroup, rootless, query.user_bus);
    let effective = capability_set(&status, "CapEff");
    let (uid_map, gid_map) = query.rootless.unwrap_or_default();
    HostFacts {
        rootless,
        caller_uid: query.caller.0,
        caller_gid: query.caller.1,
        uid_map: uid_map.to_vec(),
        gid_map: gid_map.to_vec(),
        cgroup,
        cgroup_manager,
        limits: limits::facts(effective, !rootless && in_first_user_namespace()),
        bounding: capability_set(&status, "CapBnd"),
        apparmor: apparmor::facts(rootless),
        selinux: Path::new("/sys/fs/selinux/enforce").exists(),
        no_mqueue: !read_proc("/proc/filesystems").is_ok_and(|t| t.lines().any(|l| l.ends_with("\tmqueue"))),
        shared_mqueue: Path::new("/dev/mqueue").is_dir(),
        arch: std::env::consts::ARCH.to_owned(),
        kernel: kernel(),
        devices: if query.devices { host_devices() } else { Vec::new() },
    }
}

/// No cgroups at all: what [`HostFacts::cgroup_manager`] becomes with `--cgroup-manager disabled` or a runtime that
/// cannot use this host's hierarchies.
pub fn without_cgroups(mut facts: HostFacts) -> HostFacts {
    facts.cgroup_manager = CgroupManager::Disabled;
    facts
}

fn capability_set(status: &str, field: &str) -> u64 {
    let value = status.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
    value.and_then(|v| u64::from_str_radix(v.trim(), 16).ok()).unwrap_or(0)
}

fn in_first_user_namespace() -> bool {
    let map = read_proc("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

fn kernel() -> (u32, u32) {
    let release = read_proc("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// A `--device` of the host: the node itself, or every node below a directory.
///
/// # Errors
/// The path does not exist, or holds no device.
pub fn devices(source: &str, target: &str, permissions: &str) -> Result<Vec<HostDevice>> {
    let meta = fs::metadata(source).map_err(|e| Error::io("stat device", source, e))?;
    let mut found = Vec::new();
    if meta.is_dir() {
        walk(Path::new(source), target, permissions, &mut found, 0);
    } else if let Some(device) = node(source, target, permissions, &meta) {
        found.push(device);
    }
    if found.is_empty() {
        return Err(Error::invalid(format!("--device {source}: not a device")));
    }
    Ok(found)
}

/// Major and minor number of a block device.
///
/// # Errors
/// The path does not exist or is no block device.
pub fn block_device(path: &str) -> Result<(u32, u32)> {
    let meta = fs::metadata(path).map_err(|e| Error::io("stat", path, e))?;
    if !meta.file_type().is_block_device() {
        return Err(Error::invalid(format!("{path} is not a block device")));
    }
    Ok((rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev())))
}

fn node(source: &str, target: &str, permissions: &str, meta: &fs::Metadata) -> Option<HostDevice> {
    let kind = meta.file_type();
    if !kind.is_block_device() && !kind.is_char_device() {
        return None;
    }
    Some(HostDevice {
        source: source.to_owned(),
        target: target.to_owned(),
        block: kind.is_block_device(),
        major: rustix::fs::major(meta.rdev()),
        minor: rustix::fs::minor(meta.rdev()),
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        permissions: permissions.to_owned(),
    })
}

/// /dev without what every container has of its own: terminals, shared memory, message queues, the runtime's nodes.
fn host_devices() -> Vec<HostDevice> {
    const OWN: [&str; 8] = ["console", "full", "null", "ptmx", "random", "tty", "urandom", "zero"];
    let mut found = Vec::new();
    walk(Path::new("/dev"), "/dev", "rwm", &mut found, 0);
    found.retain(|d| {
        let name = d.target.strip_prefix("/dev/").unwrap_or(&d.target);
        !OWN.contains(&name) && !name.starts_with("pts/") && !name.starts_with(".")
    });
    found
}

/// Symbolic links are left alone; /dev is shallow, the bound is for directories named by mistake.
fn walk(directory: &Path, target: &str, permissions: &str, found: &mut Vec<HostDevice>, depth: u32) {
    const SKIP: [&str; 5] = ["pts", "shm", "mqueue", "fd", ".udev"];
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else { continue };
        let inside = format!("{}/{name}", target.trim_end_matches('/'));
        if kind.is_dir() {
            if depth < 8 && !SKIP.contains(&name.as_str()) {
                walk(&entry.path(), &inside, permissions, found, depth + 1);
            }
        } else if let (false, Ok(meta)) = (kind.is_symlink(), entry.metadata()) {
            found.extend(node(&entry.path().to_string_lossy(), &inside, permissions, &meta));
        }
    }
}

/// `nodev`, `nosuid`, `noexec` as the filesystem of `path` is mounted (statvfs(3)): a bind of it in a user namespace
/// must keep them.
pub fn mount_flags(path: &Path) -> Vec<String> {
    use rustix::fs::StatVfsMountFlags as F;
    let Ok(stat) = rustix::fs::statvfs(path) else { return Vec::new() };
    [(F::NODEV, "nodev"), (F::NOSUID, "nosuid"), (F::NOEXEC, "noexec")]
        .into_iter()
        .filter(|(flag, _)| stat.f_flag.contains(*flag))
        .map(|(_, name)| name.to_owned())
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn this_host() {
        let facts = gather(&Query { devices: true, ..Query::default() });
        assert!(facts.kernel.0 >= 4 && !facts.arch.is_empty());
        assert!(facts.devices.iter().all(|d| d.target.starts_with("/dev/") && d.target != "/dev/null"));
    }

    #[test]
    fn devices_by_path() {
        let null = &devices("/dev/null", "/dev/mine", "rw").unwrap()[0];
        assert_eq!((null.major, null.minor, null.block, null.target.as_str()), (1, 3, false, "/dev/mine"));
        assert!(devices("/etc/hostname", "/x", "r").is_err());
        assert!(devices("/no/such/device", "/x", "r").is_err());
        assert!(block_device("/dev/null").is_err());
    }

    #[test]
    fn capability_lines() {
        assert_eq!(capability_set("CapPrm:\t01\nCapEff:\t000001ffff\n", "CapEff"), 0x1_ffff_ffff & 0x1ffff);
        assert_eq!(capability_set("", "CapEff"), 0);
    }
}
