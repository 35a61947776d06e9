//! A container of podman's, as an archive describes it, as a spec of ours: `config.dump` is podman's record of it
//! (`libpod/container_config.go`), `spec.dump` the configuration it ran with.
//!
//! The processes come from the checkpoint with their capabilities, seccomp filters and open files. What is wanted here are the
//! mounts that CRIU expects, limits, networks, and what a later start needs.

use crate::engine::spec::{
    Attachment, ContainerSpec, DeviceSpec, IdMapping, ImageSource, LogSpec, MountKind, MountSpec,
    NamespaceMode, PortMapping, Propagation, Protocol, Rlimit, UserNamespace, VolumeOptions, signal,
};
use crate::engine::{Error, Result};
use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType, Mount, Spec};
use serde_json::Value;
use std::path::Path;

/// Where something of the engine's own is mounted in every container, or nothing but the kernel's.
const OURS: [&str; 15] = [
    "/proc",
    "/dev",
    "/dev/pts",
    "/dev/shm",
    "/dev/mqueue",
    "/dev/console",
    "/sys",
    "/sys/fs/cgroup",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/etc/passwd",
    "/etc/group",
    "/run/.containerenv",
    "/run/notify",
];

/// The spec of podman's container.
///
/// # Errors
/// It is part of a pod, depends on another container, or has no image.
pub(super) fn spec(config: &Value, oci: &Spec) -> Result<ContainerSpec> {
    let config = Config(config);
    for (key, what) in [
        ("pod", "part of a pod"),
        ("ipcNsCtr", "in another container's namespace"),
        ("netNsCtr", "in another container's namespace"),
        ("pidNsCtr", "in another container's namespace"),
        ("utsNsCtr", "in another container's namespace"),
        ("userNsCtr", "in another container's namespace"),
        ("cgroupNsCtr", "in another container's namespace"),
    ] {
        if !config.text(key).is_empty() {
            return Err(Error::unsupported(format!("the archive's container is {what}")));
        }
    }
    if !config.list("dependencies").is_empty() {
        return Err(Error::unsupported("cannot import checkpoints of containers with dependencies"));
    }
    if !config.text("rootfs").is_empty() {
        return Err(Error::unsupported("the archive's container has no image but a directory (--rootfs)"));
    }
    let mut spec = ContainerSpec {
        name: config.text("name"),
        image: ImageSource {
            requested: config.text("RawImageName"),
            name: config.text("rootfsImageName"),
            id: config.text("rootfsImageID"),
            ..ImageSource::default()
        },
        shm_bind: !config.text("ShmDir").is_empty(),
        shm_size: config.0["shmSize"].as_u64().filter(|size| *size > 0),
        stop_signal: config.0["stopSignal"]
            .as_i64()
            .and_then(|n| i32::try_from(n).ok())
            .map_or_else(String::new, signal::name),
        stop_timeout: config.number("stopTimeout"),
        timeout: config.number("timeout").unwrap_or(0),
        dns: config.list("dnsServer"),
        dns_search: config.list("dnsSearch"),
        dns_options: config.list("dnsOption"),
        add_hosts: config.list("hostsAdd"),
        create_command: config.list("CreateCommand"),
        timezone: config.text("timezone"),
        cgroups: config.text("cgroupsMode"),
        healthcheck: serde_json::from_value(config.0["healthcheck"].clone()).unwrap_or_default(),
        hostname: oci.hostname().clone().unwrap_or_default(),
        read_only: oci.root().as_ref().and_then(oci_spec::runtime::Root::readonly).unwrap_or(false),
        read_only_tmpfs: config.0["readWriteTmpfs"].as_bool().unwrap_or(false),
        remove: config.0["volatile"].as_bool().unwrap_or(false),
        ..ContainerSpec::default()
    };
    spec.restart.name = config.text("restart_policy");
    spec.restart.max_retries = config.number("restart_retries").unwrap_or(0);
    spec.labels = serde_json::from_value(config.0["labels"].clone()).unwrap_or_default();
    spec.security.privileged = config.0["privileged"].as_bool().unwrap_or(false);
    let driver = config.text("logDriver");
    let max_size = config.0["logSize"].as_u64().filter(|size| *size > 0);
    spec.log = LogSpec { driver, max_size, tag: config.text("logTag"), ..LogSpec::default() };
    process(&config, oci, &mut spec);
    namespaces(&config, oci, &mut spec);
    limits(oci, &mut spec);
    networks(&config, &mut spec)?;
    mounts(&config, oci, &mut spec);
    Ok(spec)
}

/// podman's JSON, in which Go writes `null` for what is empty.
struct Config<'a>(&'a Value);

impl Config<'_> {
    fn text(&self, key: &str) -> String {
        self.0[key].as_str().unwrap_or_default().to_owned()
    }

    fn list(&self, key: &str) -> Vec<String> {
        let words = self.0[key].as_array().into_iter().flatten();
        words.filter_map(|word| word.as_str().map(str::to_owned)).collect()
    }

    fn number(&self, key: &str) -> Option<u32> {
        self.0[key].as_u64().and_then(|number| number.try_into().ok())
    }

    fn objects(&self, key: &str) -> impl Iterator<Item = Config<'_>> {
        self.0[key].as_array().into_iter().flatten().map(Config)
    }
}

fn process(config: &Config<'_>, oci: &Spec, spec: &mut ContainerSpec) {
    let Some(process) = oci.process() else { return };
    let args = process.args().clone().unwrap_or_default();
    let (entrypoint, command) = (config.list("entrypoint"), config.list("command"));
    let own = &mut spec.process;
    // With an init program, or a command of the image's, the arguments say more.
    let told = [entrypoint.as_slice(), &command].concat();
    (own.entrypoint, own.command) = match told.is_empty() {
        true => (Some(Vec::new()), args),
        false => (Some(entrypoint), command),
    };
    own.env = process.env().clone().unwrap_or_default();
    own.unset_env_all = true;
    own.workdir = process.cwd().display().to_string();
    own.user = config.text("user");
    own.groups = config.list("groups");
    own.terminal = process.terminal().unwrap_or(false);
    own.open_stdin = config.0["stdin"].as_bool().unwrap_or(false);
    own.umask = config.text("umask");
    spec.security.no_new_privileges = process.no_new_privileges().unwrap_or(false);
    spec.resources.oom_score_adj = process.oom_score_adj();
    if let Some(bounding) = process.capabilities().as_ref().and_then(|c| c.bounding().as_ref()) {
        let mut names: Vec<String> = bounding.iter().map(|name| format!("CAP_{name}")).collect();
        names.sort();
        spec.security.base_capabilities = Some(names);
    }
    let limit = |limit: &oci_spec::runtime::PosixRlimit| Rlimit {
        name: limit.typ().to_string().trim_start_matches("RLIMIT_").to_ascii_lowercase(),
        soft: limit.soft(),
        hard: limit.hard(),
    };
    spec.rlimits = process.rlimits().iter().flatten().map(limit).collect();
}

fn namespaces(config: &Config<'_>, oci: &Spec, spec: &mut ContainerSpec) {
    let linux = oci.linux().as_ref();
    let mode = |kind: LinuxNamespaceType| {
        let found =
            linux.and_then(|l| l.namespaces().as_ref()).into_iter().flatten().find(|n| n.typ() == kind);
        match found.map(|namespace| namespace.path()) {
            None => NamespaceMode::Host,
            Some(None) => NamespaceMode::Private,
            Some(Some(path)) => NamespaceMode::Path(path.display().to_string()),
        }
    };
    let own = &mut spec.namespaces;
    own.pid = mode(LinuxNamespaceType::Pid);
    own.uts = mode(LinuxNamespaceType::Uts);
    own.cgroup = mode(LinuxNamespaceType::Cgroup);
    own.ipc = match mode(LinuxNamespaceType::Ipc) {
        NamespaceMode::Private if !config.0["NOShmShare"].as_bool().unwrap_or(false) => {
            NamespaceMode::Shareable
        }
        mode => mode,
    };
    let word = config.text("networkMode");
    own.network = match word.split(':').next().unwrap_or_default() {
        "none" => NamespaceMode::None,
        "host" => NamespaceMode::Host,
        word @ ("pasta" | "slirp4netns") => NamespaceMode::Network(word.to_owned()),
        _ if config.0["createNetNS"].as_bool() == Some(true) => NamespaceMode::Network("bridge".to_owned()),
        _ => match mode(LinuxNamespaceType::Network) {
            NamespaceMode::Private => NamespaceMode::None,
            mode => mode,
        },
    };
    let maps = |list: Option<&Vec<LinuxIdMapping>>| {
        let row = |m: &LinuxIdMapping| IdMapping {
            container_id: m.container_id(),
            host_id: m.host_id(),
            size: m.size(),
        };
        list.into_iter().flatten().map(row).collect::<Vec<_>>()
    };
    let uid_maps = maps(linux.and_then(|l| l.uid_mappings().as_ref()));
    let gid_maps = maps(linux.and_then(|l| l.gid_mappings().as_ref()));
    if !uid_maps.is_empty() || !gid_maps.is_empty() {
        own.user = UserNamespace::Mapped { uid_maps, gid_maps };
    }
}

fn limits(oci: &Spec, spec: &mut ContainerSpec) {
    let Some(linux) = oci.linux() else { return };
    spec.sysctls = linux.sysctl().clone().unwrap_or_default().into_iter().collect();
    let device = |device: &oci_spec::runtime::LinuxDevice| {
        let path = device.path().display().to_string();
        DeviceSpec { source: path.clone(), target: path, permissions: "rwm".to_owned() }
    };
    spec.devices = linux.devices().iter().flatten().map(device).collect();
    let Some(resources) = linux.resources() else { return };
    let own = &mut spec.resources;
    if let Some(memory) = resources.memory() {
        own.memory = memory.limit().filter(|limit| *limit > 0);
        own.memory_swap = memory.swap().filter(|limit| *limit != 0);
        own.memory_reservation = memory.reservation().filter(|limit| *limit > 0);
    }
    if let Some(cpu) = resources.cpu() {
        own.cpu_shares = cpu.shares().filter(|shares| *shares > 0);
        own.cpu_quota = cpu.quota().filter(|quota| *quota != 0);
        own.cpu_period = cpu.period().filter(|period| *period > 0);
        own.cpuset_cpus = cpu.cpus().clone().unwrap_or_default();
        own.cpuset_mems = cpu.mems().clone().unwrap_or_default();
    }
    own.pids_limit = resources.pids().as_ref().map(oci_spec::runtime::LinuxPids::limit);
}

/// The networks, and the ports.
fn networks(config: &Config<'_>, spec: &mut ContainerSpec) -> Result<()> {
    let attachment = |network: &str, options: &Config<'_>| Attachment {
        network: network.to_owned(),
        aliases: options.list("aliases"),
        ips: options.list("static_ips").iter().filter_map(|ip| ip.parse().ok()).collect(),
        mac: Some(options.text("static_mac")).filter(|mac| !mac.is_empty()),
        interface: options.text("interface_name"),
        ..Attachment::default()
    };
    // podman 6 has a list, those before a table.
    let listed = config.objects("orderedNetworks").map(|network| attachment(&network.text("name"), &network));
    let mut attachments: Vec<Attachment> = listed.filter(|a| !a.network.is_empty()).collect();
    if let (true, Some(table)) = (attachments.is_empty(), config.0["newNetworks"].as_object()) {
        attachments = table.iter().map(|(name, options)| attachment(name, &Config(options))).collect();
        attachments.sort_by(|a, b| a.interface.cmp(&b.interface));
    }
    if spec.namespaces.network == NamespaceMode::Network("bridge".to_owned()) {
        spec.network.attachments = attachments;
    }
    for port in config.objects("newPortMappings") {
        let number = |key| port.0[key].as_u64().and_then(|n| u16::try_from(n).ok()).unwrap_or(0);
        let protocol = port.text("protocol");
        spec.network.ports.push(PortMapping {
            host_ip: port.text("host_ip").parse().ok(),
            host_port: number("host_port"),
            host_last: 0,
            container_port: number("container_port"),
            range: number("range").max(1),
            protocol: Protocol::parse(&protocol).ok_or_else(|| {
                Error::corrupt(format!("the archive publishes a port of the protocol {protocol:?}"))
            })?,
        });
    }
    Ok(())
}

fn mounts(config: &Config<'_>, oci: &Spec, spec: &mut ContainerSpec) {
    for volume in config.objects("namedVolumes") {
        let options = volume.list("options");
        spec.mounts.push(MountSpec {
            kind: MountKind::Volume,
            source: volume.text("volumeName"),
            target: volume.text("dest"),
            read_only: options.iter().any(|option| option == "ro"),
            options: options
                .into_iter()
                .filter(|o| !matches!(o.as_str(), "ro" | "rw" | "rbind" | "bind"))
                .collect(),
            volume: VolumeOptions::default(),
            ..MountSpec::default()
        });
    }
    for mount in oci.mounts().iter().flatten() {
        let target = mount.destination().display().to_string();
        let is_ours = OURS.contains(&target.as_str()) || mount.destination().starts_with("/run/secrets");
        if is_ours || spec.mounts.iter().any(|m| m.target == target) {
            continue;
        }
        spec.mounts.extend(own_mount(mount, target));
    }
}

/// A bind or a tmpfs; others are the engine's.
fn own_mount(mount: &Mount, target: String) -> Option<MountSpec> {
    let kind = mount.typ().as_deref().unwrap_or_default();
    let given = mount.options().clone().unwrap_or_default();
    let has = |word: &str| given.iter().any(|option| option == word);
    let mut made = MountSpec { target, read_only: has("ro"), ..MountSpec::default() };
    if kind == "bind" || has("bind") || has("rbind") {
        made.source = mount.source().as_deref().map(Path::display).map(|path| path.to_string())?;
        made.bind.non_recursive = !has("rbind");
        made.bind.propagation = given.iter().find_map(|option| Propagation::parse(option));
        made.options = given
            .into_iter()
            .filter(|o| matches!(o.as_str(), "noexec" | "nodev" | "nosuid" | "noatime"))
            .collect();
        return Some(made);
    }
    if kind != "tmpfs" {
        return None;
    }
    made.kind = MountKind::Tmpfs;
    made.options = given
        .into_iter()
        .filter(|o| !matches!(o.as_str(), "ro" | "rw" | "rprivate" | "private" | "tmpcopyup"))
        .collect();
    Some(made)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn oci() -> Spec {
        serde_json::from_value(serde_json::json!({
            "ociVersion": "1.0.2",
            "process": {"terminal": true, "user": {"uid": 0, "gid": 0}, "args": ["sh", "-c", "true"], "env": ["A=1"],
                "cwd": "/srv", "capabilities": {"bounding": ["CAP_KILL", "CAP_CHOWN"]},
                "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 10, "soft": 5}]},
            "root": {"path": "/x"},
            "hostname": "box",
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/etc/hosts", "type": "bind", "source": "/run/x/hosts", "options": ["bind"]},
                {"destination": "/data", "type": "bind", "source": "/srv/data", "options": ["rbind", "ro", "rslave", "nosuid"]},
                {"destination": "/cache", "type": "tmpfs", "source": "tmpfs", "options": ["rprivate", "size=4k"]},
                {"destination": "/vol", "type": "bind", "source": "/var/lib/v/_data", "options": ["rbind"]},
            ],
            "linux": {"resources": {"memory": {"limit": 1048576}, "pids": {"limit": 7}},
                "namespaces": [{"type": "pid"}, {"type": "network", "path": "/run/netns/x"}, {"type": "ipc"}, {"type": "mount"}]},
        }))
        .unwrap()
    }

    #[test]
    fn podman_s_container_becomes_one_of_ours() {
        let config = serde_json::json!({
            "id": "a".repeat(64), "name": "web", "rootfsImageID": "b".repeat(64), "rootfsImageName": "docker.io/library/busybox:latest",
            "RawImageName": "busybox", "ShmDir": "/var/x/shm", "shmSize": 65_536_000, "entrypoint": null, "command": ["sh", "-c", "true"],
            "createNetNS": true, "networkMode": "bridge", "stopSignal": 15, "stopTimeout": 10, "user": "7",
            "newNetworks": {"b": {"interface_name": "eth1"}, "a": {"interface_name": "eth0", "static_ips": ["10.0.0.7"], "aliases": ["x"]}},
            "newPortMappings": [{"host_ip": "", "container_port": 80, "host_port": 8080, "range": 1, "protocol": "tcp"}],
            "namedVolumes": [{"volumeName": "v", "dest": "/vol", "options": ["ro", "nodev"]}],
            "labels": {"l": "1"}, "logDriver": "journald", "restart_policy": "always", "timeout": 0,
        });
        let spec = spec(&config, &oci()).unwrap();
        assert_eq!((spec.name.as_str(), spec.hostname.as_str(), spec.shm_bind), ("web", "box", true));
        assert_eq!(spec.process.entrypoint, Some(vec![]));
        assert_eq!(spec.process.command, ["sh", "-c", "true"]);
        assert_eq!((spec.process.user.as_str(), spec.process.workdir.as_str()), ("7", "/srv"));
        assert_eq!(spec.security.base_capabilities.unwrap(), ["CAP_CHOWN", "CAP_KILL"]);
        assert_eq!(spec.rlimits, [Rlimit { name: "nofile".into(), soft: 5, hard: 10 }]);
        assert_eq!(spec.namespaces.pid, NamespaceMode::Private);
        assert_eq!(spec.namespaces.ipc, NamespaceMode::Shareable);
        assert_eq!(spec.namespaces.uts, NamespaceMode::Host);
        assert_eq!(spec.namespaces.network, NamespaceMode::Network("bridge".into()));
        let networks: Vec<_> = spec.network.attachments.iter().map(|a| a.network.as_str()).collect();
        assert_eq!(networks, ["a", "b"]);
        assert_eq!(spec.network.ports[0].container_port, 80);
        assert_eq!((spec.resources.memory, spec.resources.pids_limit), (Some(1 << 20), Some(7)));
        let mounts: Vec<_> = spec.mounts.iter().map(|m| (m.kind, m.target.as_str(), m.read_only)).collect();
        let want = [
            (MountKind::Volume, "/vol", true),
            (MountKind::Bind, "/data", true),
            (MountKind::Tmpfs, "/cache", false),
        ];
        assert_eq!(mounts, want);
        assert_eq!(spec.mounts[1].bind.propagation, Some(Propagation::RSlave));
        assert_eq!(spec.stop_signal, "SIGTERM");
    }

    #[test]
    fn what_stands_on_others_is_refused() {
        for config in [
            serde_json::json!({"pod": "x"}),
            serde_json::json!({"netNsCtr": "x"}),
            serde_json::json!({"dependencies": ["x"]}),
            serde_json::json!({"rootfs": "/x"}),
        ] {
            assert!(spec(&config, &oci()).is_err(), "{config}");
        }
    }
}
