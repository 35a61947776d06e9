//! The mount list: what every container has, what the host's namespaces force, what the user asked for.

use super::process::INIT_PATH;
use super::{Resolved, cdi, idmap, linux, masks, namespaces};
use crate::engine::spec::{
    BindOptions, ContainerSpec, HostFacts, IdMapping, MountKind, MountSpec, NamespaceMode, Propagation,
};
use crate::engine::{Error, Result};
use oci_spec::runtime::Mount;
use std::path::{Path, PathBuf};

/// Parents before children; a user's mount replaces a default one at its place.
pub(super) fn mounts(spec: &ContainerSpec, host: &HostFacts, resolved: &Resolved) -> Result<Vec<Mount>> {
    let mut list: Vec<Mount> = Vec::new();
    // An artifact's files are among the extra mounts: how many there are is seen at the start.
    for asked in spec.mounts.iter().filter(|m| m.kind != MountKind::Artifact) {
        place(&mut list, user_mount(asked, in_user_namespace(spec, host, resolved), resolved)?);
    }
    for extra in &resolved.extra_mounts {
        place(&mut list, extra.clone());
    }
    for mount in cdi::mounts(&resolved.cdi) {
        place(&mut list, mount);
    }
    let user_dev = list.iter().any(|m| m.destination() == Path::new("/dev"));
    let mut defaults = kernel_mounts(spec, host, resolved);
    defaults.extend(own_files(spec, resolved));
    defaults.extend(scratch(spec));
    if in_user_namespace(spec, host, resolved) {
        defaults.extend(bound_devices(spec, host, resolved));
    }
    for default in defaults {
        let taken = list.iter().any(|m| m.destination() == default.destination());
        let hidden = user_dev && default.destination().starts_with("/dev");
        if !taken && !hidden {
            list.push(default);
        }
    }
    list.sort_by_key(|m| m.destination().components().count());
    Ok(list)
}

fn place(list: &mut Vec<Mount>, mount: Mount) {
    list.retain(|m| m.destination() != mount.destination());
    list.push(mount);
}

/// The container's processes live in a user namespace other than the host's first one.
pub(super) fn in_user_namespace(spec: &ContainerSpec, host: &HostFacts, resolved: &Resolved) -> bool {
    host.rootless || own_user_namespace(spec, resolved)
}

fn own_user_namespace(spec: &ContainerSpec, resolved: &Resolved) -> bool {
    use crate::engine::spec::UserNamespace as U;
    resolved.id_maps.is_some() || matches!(spec.namespaces.user, U::Container(_) | U::Path(_))
}

/// sysfs can be mounted only by who owns the network namespace it shows.
pub(super) fn can_mount_sys(spec: &ContainerSpec, host: &HostFacts, resolved: &Resolved) -> bool {
    let network = &spec.namespaces.network;
    let nested = own_user_namespace(spec, resolved);
    if namespaces::is_host(network) && (host.rootless || nested) {
        return false;
    }
    !nested || (namespaces::is_own(network) && !resolved.joined.contains_key(&super::Kind::Net))
}

fn mount(target: &str, kind: &str, source: impl Into<PathBuf>, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(PathBuf::from(target))
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(source.into()))
        .set_options(Some(options.iter().map(|o| (*o).to_owned()).collect()));
    mount
}

/// /proc, /dev, /dev/pts, /dev/mqueue, /sys and its cgroups.
fn kernel_mounts(spec: &ContainerSpec, host: &HostFacts, resolved: &Resolved) -> Vec<Mount> {
    let nested = in_user_namespace(spec, host, resolved);
    let privileged = spec.security.privileged;
    let mut list = Vec::new();
    if nested && spec.namespaces.pid == NamespaceMode::Host {
        list.push(mount("/proc", "bind", "/proc", &["rbind", "nosuid", "noexec", "nodev"]));
    } else {
        let mut options = vec!["nosuid", "noexec", "nodev"];
        options.extend(spec.security.proc_opts.iter().map(String::as_str));
        list.push(mount("/proc", "proc", "proc", &options));
    }
    let mut dev = vec!["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"];
    if spec.read_only && !spec.read_only_tmpfs {
        dev.push("ro");
    }
    list.push(mount("/dev", "tmpfs", "tmpfs", &dev));
    let mut pts = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    if has_gid_5(host, resolved) {
        pts.push("gid=5");
    }
    list.push(mount("/dev/pts", "devpts", "devpts", &pts));
    if !host.no_mqueue {
        if nested && namespaces::is_host(&spec.namespaces.ipc) {
            if host.shared_mqueue {
                list.push(mount(
                    "/dev/mqueue",
                    "bind",
                    "/dev/mqueue",
                    &["rbind", "nosuid", "noexec", "nodev"],
                ));
            }
        } else {
            list.push(mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
        }
    }
    let access = if privileged { "rw" } else { "ro" };
    if can_mount_sys(spec, host, resolved) {
        let cgroup =
            if privileged || masks::unmasked("/sys/fs/cgroup", &spec.security.unmask) || systemd_mode(spec) {
                "rw"
            } else {
                "ro"
            };
        list.push(mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access]));
        let options = ["rprivate", "nosuid", "noexec", "nodev", "relatime", cgroup];
        list.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &options));
    } else {
        let options = ["rprivate", "nosuid", "noexec", "nodev", access, "rbind"];
        list.push(mount("/sys", "bind", "/sys", &options));
        list.push(mount("/sys/fs/cgroup", "cgroup", "/sys/fs/cgroup", &options[..5]));
    }
    list
}

/// tty (5) owns pseudo terminals where that group exists in the container.
fn has_gid_5(host: &HostFacts, resolved: &Resolved) -> bool {
    match &resolved.id_maps {
        Some(maps) => maps.maps_gid(5),
        None => {
            !host.rootless || host.gid_map.iter().any(|r| r.container_id <= 5 && 5 - r.container_id < r.size)
        }
    }
}

/// /etc/hosts and its kin, /dev/shm, the init program.
fn own_files(spec: &ContainerSpec, resolved: &Resolved) -> Vec<Mount> {
    let files = &resolved.files;
    let mut list = Vec::new();
    for (target, source) in [
        ("/etc/hosts", &files.hosts),
        ("/etc/hostname", &files.hostname),
        ("/etc/resolv.conf", &files.resolv_conf),
        ("/etc/passwd", &files.passwd),
        ("/etc/group", &files.group),
        ("/etc/localtime", &files.localtime),
        ("/run/.containerenv", &files.containerenv),
    ] {
        // Nothing is made in a directory of the user's.
        if target.starts_with("/run/")
            && spec.mounts.iter().any(|m| m.target == "/run" && !m.kind.is_of_its_own())
        {
            continue;
        }
        if let Some(source) = source {
            let mut options = vec!["bind", "rprivate"];
            if spec.read_only {
                options.extend(["ro", "nosuid", "noexec", "nodev"]);
            }
            list.push(mount(target, "bind", source, &options));
            // `--chrootdirs`.
            for root in &spec.chroot_dirs {
                list.push(mount(&format!("{root}{target}"), "bind", source, &options));
            }
        }
    }
    if let Some(shm) = &files.shm {
        let mut options = vec!["bind", "rprivate", "nosuid", "noexec", "nodev"];
        if spec.read_only && !spec.read_only_tmpfs {
            options.push("ro");
        }
        list.push(mount("/dev/shm", "bind", shm, &options));
    }
    for (target, source) in &files.secrets {
        list.push(mount(target, "bind", source, &["bind", "rprivate", "ro", "nosuid", "noexec", "nodev"]));
    }
    if let (true, Some(init)) = (spec.init, &resolved.init) {
        list.push(mount(INIT_PATH, "bind", init, &["bind", "ro", "rprivate"]));
    }
    list
}

const TMPFS: [&str; 5] = ["rw", "rprivate", "nosuid", "nodev", "tmpcopyup"];

/// The tmpfs of a read-only container, and those systemd expects.
fn scratch(spec: &ContainerSpec) -> Vec<Mount> {
    let mut targets = Vec::new();
    if spec.read_only && spec.read_only_tmpfs {
        targets.extend(["/tmp", "/var/tmp", "/run"]);
    }
    if systemd_mode(spec) {
        targets.extend(["/run", "/run/lock", "/tmp", "/var/log/journal"]);
    }
    let mut list: Vec<Mount> = Vec::new();
    for target in targets {
        if list.iter().any(|m| m.destination() == Path::new(target)) {
            continue;
        }
        let mut tmpfs = mount(target, "tmpfs", "tmpfs", &TMPFS);
        let sized = systemd_mode(spec) && matches!(target, "/run" | "/run/lock" | "/var/log/journal");
        if let (true, Some(size), Some(options)) = (sized, spec.systemd_shm_size, tmpfs.options_mut()) {
            options.push(format!("size={size}"));
        }
        list.push(tmpfs);
    }
    list
}

/// `--systemd=always`, or by default a command that is systemd by its name (podman-run(1)).
pub fn systemd_mode(spec: &ContainerSpec) -> bool {
    let first = spec.process.entrypoint.iter().flatten().chain(&spec.process.command).next();
    match (spec.systemd.as_str(), first) {
        ("always", _) => true,
        ("false", _) | (_, None) => false,
        (_, Some(command)) => {
            command == "systemd"
                || command.ends_with("/systemd")
                || matches!(command.as_str(), "/sbin/init" | "/usr/sbin/init" | "/usr/local/sbin/init")
        }
    }
}

/// Devices where mknod is not allowed.
fn bound_devices(spec: &ContainerSpec, host: &HostFacts, resolved: &Resolved) -> Vec<Mount> {
    linux::all_devices(spec, host, resolved)
        .map(|d| {
            let access = if d.permissions.is_empty() || d.permissions.contains('w') { "rw" } else { "ro" };
            mount(&d.target, "bind", &d.source, &["slave", "nosuid", "noexec", access, "rbind"])
        })
        .collect()
}

fn user_mount(asked: &MountSpec, nested: bool, resolved: &Resolved) -> Result<Mount> {
    if !asked.target.starts_with('/') {
        return Err(Error::invalid(format!("the mount target {:?} is not an absolute path", asked.target)));
    }
    let target = asked.target.as_str();
    match asked.kind {
        MountKind::Bind => {
            let source =
                resolved.sources.get(target).cloned().unwrap_or_else(|| PathBuf::from(&asked.source));
            if asked.bind.overlay {
                overlay(asked, &source, nested, resolved)
            } else {
                bind(asked, source, resolved)
            }
        }
        MountKind::Volume | MountKind::Image | MountKind::Glob | MountKind::Artifact => {
            let source = resolved.sources.get(target).cloned().ok_or_else(|| {
                Error::invalid(format!("the source of the mount at {target} has not been prepared"))
            })?;
            if asked.kind == MountKind::Image && !asked.read_only {
                return overlay(asked, &source, nested, resolved);
            }
            bind(asked, source, resolved)
        }
        MountKind::Tmpfs => Ok(mount(target, "tmpfs", "tmpfs", &refs(&tmpfs_options(asked, resolved)))),
        MountKind::Ramfs => Ok(mount(target, "ramfs", "ramfs", &refs(&tmpfs_options(asked, resolved)))),
        MountKind::Devpts => {
            let mut options = vec!["nosuid".to_owned(), "noexec".to_owned(), "newinstance".to_owned()];
            options.extend(asked.options.iter().cloned());
            Ok(mount(target, "devpts", "devpts", &refs(&options)))
        }
    }
}

fn refs(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}

fn tmpfs_options(asked: &MountSpec, resolved: &Resolved) -> Vec<String> {
    let has = |name: &str| asked.options.iter().any(|o| o == name);
    let mut options: Vec<String> = vec![if asked.read_only { "ro" } else { "rw" }.to_owned()];
    options.push(asked.bind.propagation.map_or("rprivate", Propagation::as_str).to_owned());
    for (negative, positive) in [("nosuid", "suid"), ("nodev", "dev")] {
        if !has(negative) && !has(positive) {
            options.push(negative.to_owned());
        }
    }
    if asked.bind.chown {
        options.push(format!("uid={}", resolved.user.uid));
        options.push(format!("gid={}", resolved.user.gid));
    }
    let not_for_runtimes = ["rw", "ro", "notmpcopyup"];
    options.extend(asked.options.iter().filter(|o| !not_for_runtimes.contains(&o.as_str())).cloned());
    let copy_up = asked.kind == MountKind::Tmpfs && !has("notmpcopyup") && !has("tmpcopyup");
    if copy_up && asked.target != "/dev" {
        options.push("tmpcopyup".to_owned());
    }
    options
}

fn bind(asked: &MountSpec, source: PathBuf, resolved: &Resolved) -> Result<Mount> {
    let BindOptions { non_recursive, propagation: mode, idmap, .. } = &asked.bind;
    let mut options: Vec<String> = vec![if asked.read_only { "ro" } else { "rw" }.to_owned()];
    let default = if *non_recursive { "private" } else { "rprivate" };
    options.push(mode.map_or(default, Propagation::as_str).to_owned());
    let not_for_runtimes = ["rw", "ro", "copy", "nocopy"];
    let prepared = |o: &String| {
        not_for_runtimes.contains(&o.as_str()) || o.starts_with("upperdir=") || o.starts_with("workdir=")
    };
    options.extend(asked.options.iter().filter(|o| !prepared(o)).cloned());
    for flag in resolved.inherited_flags.get(&asked.target).into_iter().flatten() {
        let positive = flag.trim_start_matches("no");
        if !options.iter().any(|o| o == flag || o == positive) {
            options.push(flag.clone());
        }
    }
    options.push(if *non_recursive { "bind" } else { "rbind" }.to_owned());
    let mut out = mount(&asked.target, "bind", source, &refs(&options));
    if let Some(text) = idmap {
        let (uids, gids) = idmap_rows(text, resolved)?;
        out.set_uid_mappings(Some(linux::mappings(&uids)?)).set_gid_mappings(Some(linux::mappings(&gids)?));
    }
    Ok(out)
}

/// The option `O`: the source below, the container's writes in directories of its own. The runtime mounts it inside
/// the container's mount namespace, so that nothing is left to unmount.
fn overlay(asked: &MountSpec, source: &Path, nested: bool, resolved: &Resolved) -> Result<Mount> {
    let named = |key: &str| asked.options.iter().find_map(|o| o.strip_prefix(key)).map(PathBuf::from);
    let own = resolved.overlays.get(&asked.target);
    let upper = named("upperdir=").or_else(|| own.map(|(upper, _)| upper.clone()));
    let work = named("workdir=").or_else(|| own.map(|(_, work)| work.clone()));
    let (Some(upper), Some(work)) = (upper, work) else {
        return Err(Error::invalid(format!("the overlay at {} has not been prepared", asked.target)));
    };
    let mut options = vec![
        format!("lowerdir={}", overlay_path(source, true)?),
        format!("upperdir={}", overlay_path(&upper, false)?),
        format!("workdir={}", overlay_path(&work, false)?),
        "private".to_owned(),
    ];
    if nested {
        // trusted.* attributes are not for user namespaces.
        options.push("userxattr".to_owned());
    }
    let directory = |o: &&String| !o.starts_with("upperdir=") && !o.starts_with("workdir=");
    options.extend(asked.options.iter().filter(directory).cloned());
    Ok(mount(&asked.target, "overlay", "overlay", &refs(&options)))
}

/// A path as overlayfs's option text has it: a colon would begin another layer, a comma another option.
fn overlay_path(path: &Path, is_lower: bool) -> Result<String> {
    let text = path.to_str().ok_or_else(|| {
        Error::invalid(format!("{} is not valid UTF-8 and cannot be part of an overlay", path.display()))
    })?;
    // Runtimes split and join options at commas, whatever stands before them.
    if text.contains(',') {
        return Err(Error::invalid(format!(
            "an overlay cannot be made of {text:?}: the path contains a comma"
        )));
    }
    let text = text.replace('\\', "\\\\");
    Ok(if is_lower { text.replace(':', "\\:") } else { text })
}

/// `idmap`: the container's own maps; `idmap=uids=0-1-10#10-11-10;gids=…` (podman-run(1)): `inside-outside-count` rows.
fn idmap_rows(text: &str, resolved: &Resolved) -> Result<(Vec<IdMapping>, Vec<IdMapping>)> {
    let own = resolved.id_maps.clone().unwrap_or_default();
    let idmap::IdMaps { mut uids, mut gids } = own;
    for part in text.split(';').filter(|p| !p.is_empty()) {
        match part.split_once('=') {
            Some(("uids", rows)) => uids = parse_rows(rows)?,
            Some(("gids", rows)) => gids = parse_rows(rows)?,
            _ => return Err(bad_idmap(text)),
        }
    }
    if uids.is_empty() || gids.is_empty() {
        return Err(Error::invalid(
            "the mount option idmap needs a container with a user namespace of its own",
        )
        .with_hint("give the maps (idmap=uids=0-1000-1;gids=0-1000-1), or add --userns"));
    }
    Ok((uids, gids))
}

fn parse_rows(text: &str) -> Result<Vec<IdMapping>> {
    text.split('#')
        .map(|row| {
            // A leading @ (relative to the container) is crun's extension and is not offered.
            let numbers: Option<Vec<u32>> = row.split('-').map(|n| n.parse().ok()).collect();
            match numbers.as_deref() {
                Some([container_id, host_id, size]) => {
                    Ok(IdMapping { container_id: *container_id, host_id: *host_id, size: *size })
                }
                _ => Err(bad_idmap(text)),
            }
        })
        .collect()
}

fn bad_idmap(text: &str) -> Error {
    Error::invalid(format!("invalid mount option idmap={text}"))
        .with_hint("idmap=uids=INSIDE-OUTSIDE-COUNT[#…];gids=INSIDE-OUTSIDE-COUNT[#…]")
}
