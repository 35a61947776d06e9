//! `config.dump` of an archive: what podman keeps of a container (`libpod/container_config.go`), as far as it restores one from
//! it, and beside it, under a name podman passes over, our own spec, from which we do.

use crate::engine::spec::{ContainerSpec, MountKind, MountSpec, NamespaceMode, PortMapping, signal};
use crate::engine::state::Record;
use crate::engine::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Where our own spec is.
pub(super) const OWN: &str = "coracle";

/// Our own part.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Own {
    /// Of this format.
    pub version: u32,
    /// Completed, with the networks it was on last.
    pub spec: ContainerSpec,
}

/// The file's contents.
pub(super) fn config(record: &Record) -> Result<Value> {
    let mut spec = record.spec()?.clone();
    spec.network.attachments.clone_from(&record.state.network.attachments);
    let process = &spec.process;
    let image = if spec.image.name.is_empty() { &spec.image.requested } else { &spec.image.name };
    let connected = matches!(spec.namespaces.network, NamespaceMode::Network(_));
    // podman mounts no resolv.conf, which CRIU expects, where it makes no network namespace; on no network it has a loopback only.
    let own_network = connected || spec.namespaces.network == NamespaceMode::None;
    let mut config = merged([
        json!({
            "id": record.id,
            "name": record.name(),
            "lockID": 0,
            "CreateCommand": spec.create_command,
            "RawImageName": spec.image.requested,
            "idMappingsOptions": {"HostUIDMapping": true, "HostGIDMapping": true},
            "rootfsImageID": spec.image.id,
            "rootfsImageName": image,
            // /dev/shm is a tmpfs in the container, of which CRIU takes care.
            "NoShm": !spec.shm_bind,
            "NOShmShare": !spec.shm_bind,
            "shmSize": spec.shm_size,
            "staticDir": "",
            "mounts": spec.mounts.iter().filter(|m| m.kind == MountKind::Bind).map(|m| &m.target).collect::<Vec<_>>(),
            "namedVolumes": spec.mounts.iter().filter(|m| m.kind == MountKind::Volume).map(volume).collect::<Vec<_>>(),
        }),
        json!({
            "userVolumes": spec.mounts.iter().map(|m| &m.target).collect::<Vec<_>>(),
            "privileged": spec.security.privileged,
            "user": process.user,
            "groups": process.groups,
            "createNetNS": own_network,
            "networkMode": network_mode(&spec.namespaces.network),
            "newPortMappings": spec.network.ports.iter().map(port).collect::<Vec<_>>(),
            "dnsServer": spec.dns,
            "dnsSearch": spec.dns_search,
            "dnsOption": spec.dns_options,
            "hostsAdd": spec.add_hosts,
            "entrypoint": process.entrypoint,
            "command": process.command,
            "stdin": process.open_stdin,
        }),
        json!({
            "labels": spec.labels,
            "stopSignal": signal::parse(&spec.stop_signal).unwrap_or(libc::SIGTERM),
            "stopTimeout": spec.stop_timeout.unwrap_or(10),
            "timeout": spec.timeout,
            "createdTime": record.created.to_string(),
            "cgroupParent": spec.cgroup_parent,
            "cgroupsMode": if spec.cgroups.is_empty() { "enabled" } else { &spec.cgroups },
            "logDriver": if spec.log.is_file() { "k8s-file" } else { &spec.log.driver },
            "logPath": "",
            "logTag": spec.log.tag,
            "logSize": spec.log.max_size.unwrap_or(0),
            "restart_policy": spec.restart.name,
            "restart_retries": spec.restart.max_retries,
            "sdnotifyMode": "ignore",
            "healthcheck": spec.healthcheck,
            "timezone": spec.timezone,
            "umask": spec.process.umask,
            "readWriteTmpfs": spec.read_only_tmpfs,
            "volatile": spec.remove,
            "runtime": runtime_name(&record.state.runtime),
        }),
    ]);
    if connected {
        config["newNetworks"] = json!(networks(&spec));
    }
    config[OWN] = serde_json::to_value(Own { version: 1, spec })
        .map_err(|e| Error::corrupt("encode the container's spec").with_source(e))?;
    Ok(config)
}

/// How podman calls the runtime, and only restores with the same one.
pub(super) fn runtime_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// One object of all.
fn merged<const N: usize>(parts: [Value; N]) -> Value {
    let parts = parts.into_iter().filter_map(|part| match part {
        Value::Object(fields) => Some(fields),
        _ => None,
    });
    Value::Object(parts.flatten().collect())
}

/// podman's words for it; whose namespace is another's is not written into an archive.
fn network_mode(mode: &NamespaceMode) -> String {
    match mode {
        NamespaceMode::None => "none".to_owned(),
        NamespaceMode::Host => "host".to_owned(),
        NamespaceMode::Path(path) => format!("ns:{path}"),
        NamespaceMode::Network(word) => word.clone(),
        _ => "bridge".to_owned(),
    }
}

fn volume(mount: &MountSpec) -> Value {
    let mut options = mount.options.clone();
    options.push(if mount.read_only { "ro" } else { "rw" }.to_owned());
    json!({"volumeName": mount.source, "dest": mount.target, "options": options})
}

fn port(port: &PortMapping) -> Value {
    json!({
        "host_ip": port.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        "container_port": port.container_port,
        "host_port": port.host_port,
        "range": port.range.max(1),
        "protocol": port.protocol,
    })
}

fn networks(spec: &ContainerSpec) -> BTreeMap<&str, Value> {
    let attachments = spec.network.attachments.iter().enumerate();
    let options = attachments.map(|(index, attachment)| {
        let interface = match attachment.interface.as_str() {
            "" => format!("eth{index}"),
            given => given.to_owned(),
        };
        let mut options = json!({"aliases": attachment.aliases, "interface_name": interface});
        if !attachment.ips.is_empty() {
            options["static_ips"] = json!(attachment.ips);
        }
        if let Some(mac) = &attachment.mac {
            options["static_mac"] = json!(mac);
        }
        (attachment.network.as_str(), options)
    });
    options.collect()
}
