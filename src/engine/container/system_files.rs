//! The container's own /etc/hosts, /etc/resolv.conf, /etc/hostname, /etc/passwd …: files of the bundle, bound into the
//! container. Their texts come from [`files`]; those that follow the networks are written anew when these change.

use crate::engine::conmon::RunDir;
use crate::engine::oci::{self, Resolved, SystemFiles, files};
use crate::engine::spec::{ContainerSpec, HostFacts, NamespaceMode};
use crate::engine::{Engine, Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The users' databases of the image.
pub(super) struct Databases<'a> {
    /// /etc/passwd.
    pub passwd: &'a [u8],
    /// /etc/group.
    pub group: &'a [u8],
}

/// Writes them all into the bundle.
pub(super) fn write(
    engine: &Engine,
    run_dir: &RunDir,
    spec: &ContainerSpec,
    host: &HostFacts,
    resolved: &Resolved,
    databases: &Databases<'_>,
    addresses: &files::Addresses,
) -> Result<SystemFiles> {
    let owner = resolved.id_maps.as_ref().map(oci::IdMaps::root);
    let write = |name: &str, text: &[u8]| -> Result<Option<PathBuf>> {
        let path = run_dir.path().join(name);
        fs::write(&path, text).map_err(|e| Error::io("write", &path, e))?;
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::chown(&path, Some(uid), Some(gid))
                .map_err(|e| Error::io("chown", &path, e))?;
        }
        Ok(Some(path))
    };
    // Who shares a network namespace shares its names.
    let shared = match &spec.namespaces.network {
        NamespaceMode::Container(id) => Some(engine.state.run_dir(id)),
        _ => None,
    };
    let from_owner = |name: &str| shared.as_ref().map(|dir| dir.join(name)).filter(|path| path.exists());
    let mounted = |target: &str| is_mounted(spec, target);
    let mut out = SystemFiles::default();
    if has_hosts(spec) {
        out.hosts = match from_owner("hosts") {
            Some(path) => Some(path),
            None => write("hosts", hosts(engine, spec, &resolved.hostname, addresses)?.as_bytes())?,
        };
    }
    if !spec.no_hostname && !resolved.hostname.is_empty() && !mounted("/etc/hostname") {
        out.hostname = write("hostname", format!("{}\n", resolved.hostname).as_bytes())?;
    }
    if has_resolv_conf(spec) {
        out.resolv_conf = match from_owner("resolv.conf") {
            Some(path) => Some(path),
            None => write("resolv.conf", resolv_conf(spec, addresses).as_bytes())?,
        };
    }
    out.containerenv =
        write("containerenv", files::containerenv(spec, &resolved.id, host.rootless).as_bytes())?;
    if let Some(line) = files::passwd_entry(spec, &resolved.user, &spec.process.workdir)
        && !mounted("/etc/passwd")
    {
        out.passwd = write("passwd", &with_line(databases.passwd, &line))?;
    }
    if let Some(line) = files::group_entry(spec, &resolved.user)
        && !mounted("/etc/group")
    {
        out.group = write("group", &with_line(databases.group, &line))?;
    }
    out.localtime = localtime(&spec.timezone)?;
    Ok(out)
}

/// Writes hosts and resolv.conf of a container that has been created anew: into the same files, as these are what it sees.
pub(super) fn rewrite(
    engine: &Engine,
    run_dir: &RunDir,
    id: &str,
    spec: &ContainerSpec,
    addresses: &files::Addresses,
) -> Result<()> {
    let hostname = files::hostname(spec, &super::prepare::host_name(), id);
    let write = |name: &str, text: &str| {
        let path = run_dir.path().join(name);
        fs::write(&path, text).map_err(|e| Error::io("write", &path, e))
    };
    if has_hosts(spec) {
        write("hosts", &hosts(engine, spec, &hostname, addresses)?)?;
    }
    if has_resolv_conf(spec) {
        write("resolv.conf", &resolv_conf(spec, addresses))?;
    }
    Ok(())
}

fn is_mounted(spec: &ContainerSpec, target: &str) -> bool {
    spec.mounts.iter().any(|m| m.target == target)
}

fn has_hosts(spec: &ContainerSpec) -> bool {
    spec.no_hosts != Some(true) && !is_mounted(spec, "/etc/hosts")
}

fn has_resolv_conf(spec: &ContainerSpec) -> bool {
    !is_mounted(spec, "/etc/resolv.conf") && spec.dns.first().is_none_or(|d| d != "none")
}

fn hosts(
    engine: &Engine,
    spec: &ContainerSpec,
    hostname: &str,
    addresses: &files::Addresses,
) -> Result<String> {
    let configured = engine.config.containers.containers.base_hosts_file.as_deref().unwrap_or_default();
    let base = match spec.network.hosts_file.as_str() {
        "" => configured,
        given => given,
    };
    let base = match base {
        "none" | "image" => String::new(),
        "" => host_text("/etc/hosts"),
        path => {
            let path = engine.config.env.cwd.join(path);
            fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?
        }
    };
    let mut addresses = addresses.clone();
    addresses.host_network = spec.namespaces.network == NamespaceMode::Host;
    if let Some(ip) = engine.config.containers.containers.host_containers_internal_ip.as_deref()
        && ip.parse::<std::net::IpAddr>().is_ok()
    {
        ip.clone_into(&mut addresses.gateway);
    }
    let mut text = files::hosts(spec, &base, hostname, &addresses)?;
    for link in &spec.network.links {
        text.push_str(&linked(engine, &link.container, &link.alias));
    }
    Ok(text)
}

/// docker's `--link` on the default network: the other container's address under its alias, its name and its ID.
fn linked(engine: &Engine, id: &str, alias: &str) -> String {
    let Ok(record) = engine.state.load(id) else { return String::new() };
    let address = record.state.network.endpoints.values().flat_map(|e| &e.addresses).next();
    let short: String = id.chars().take(12).collect();
    address.map(|a| format!("{}\t{alias} {short} {}\n", a.addr(), record.name())).unwrap_or_default()
}

fn resolv_conf(spec: &ContainerSpec, addresses: &files::Addresses) -> String {
    let mut addresses = addresses.clone();
    addresses.host_network = spec.namespaces.network == NamespaceMode::Host;
    files::resolv_conf(spec, &host_resolv_conf(), &addresses)
}

/// The host's resolv.conf; where it names only systemd's own resolver, which listens on loopback, the servers that one asks
/// (systemd-resolved.service(8), "/etc/resolv.conf").
fn host_resolv_conf() -> String {
    let text = host_text("/etc/resolv.conf");
    let servers: Vec<&str> =
        text.lines().filter_map(|l| l.trim().strip_prefix("nameserver")).map(str::trim).collect();
    if servers == ["127.0.0.53"] {
        let upstream = host_text("/run/systemd/resolve/resolv.conf");
        if !upstream.is_empty() {
            return upstream;
        }
    }
    text
}

fn host_text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn with_line(database: &[u8], line: &str) -> Vec<u8> {
    let mut out = database.to_vec();
    if out.last().is_some_and(|b| *b != b'\n') {
        out.push(b'\n');
    }
    out.extend_from_slice(line.as_bytes());
    out
}

/// `--tz`: the host's file of that zone.
fn localtime(zone: &str) -> Result<Option<PathBuf>> {
    if zone.is_empty() {
        return Ok(None);
    }
    let path = match zone {
        "local" => PathBuf::from("/etc/localtime"),
        zone if zone.split('/').any(|part| part == "..") || zone.starts_with('/') => {
            return Err(Error::invalid(format!("invalid time zone {zone:?}")));
        }
        zone => Path::new("/usr/share/zoneinfo").join(zone),
    };
    fs::canonicalize(&path).map(Some).map_err(|_| Error::invalid(format!("unknown time zone {zone:?}")))
}
