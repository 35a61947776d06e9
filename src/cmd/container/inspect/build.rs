//! From a container's record, spec and store entry to what `inspect` shows.

use super::data::{
    Config, Container, Device, Endpoint, GraphDriver, HostConfig, IdMappings, LogConfig, Mount,
    NetworkSettings, RestartPolicy, State, Texts, ThrottleDevice, Ulimit, WeightDevice, set,
};
use crate::cmd::format::template::GoTime;
use crate::engine::conmon::RunDir;
use crate::engine::container::exec::sessions;
use crate::engine::spec::{
    BlkioDevice, ContainerSpec, IdMapping, MountKind, MountSpec, NamespaceMode, Propagation, Rlimit,
    UserNamespace,
};
use crate::engine::state::{Record, Status};
use crate::engine::store::ContainerRecord;
use crate::engine::{Engine, Result};
use std::path::Path;

/// Gathers everything; with `sizes` also what was written, which walks the container's layer.
pub(super) fn container(engine: &Engine, record: &Record, sizes: bool) -> Result<Container> {
    let spec = record.spec()?;
    let (state, head) = (&record.state, &record.state.head);
    let run = RunDir::new(engine.state.run_dir(&record.id));
    let file = |name: &str| existing(&run.path().join(name));
    let stored = engine.store.container(&record.id).unwrap_or_default();
    let (bounding, effective) = capabilities(&run.config());
    let (size_rw, size_root_fs) = if sizes { measure(engine, record)? } else { (None, None) };
    let mut argv = head.command.iter().cloned();
    Ok(Container {
        id: record.id.clone(),
        created: GoTime(Some(record.created)),
        path: argv.next().unwrap_or_default(),
        args: argv.collect(),
        state: lifecycle(record),
        image: spec.image.id.clone(),
        image_digest: spec.image.digest.clone(),
        image_name: if spec.image.name.is_empty() { &spec.image.requested } else { &spec.image.name }.clone(),
        rootfs: spec.image.rootfs.clone().unwrap_or_default(),
        pod: String::new(),
        resolv_conf_path: file("resolv.conf"),
        hostname_path: file("hostname"),
        hosts_path: file("hosts"),
        log_path: text(&state.log_path),
        static_dir: text(&record.dir),
        oci_config_path: existing(&run.config()),
        oci_runtime: if state.runtime.is_empty() { spec.runtime.clone() } else { base_name(&state.runtime) },
        conmon_pid_file: spec.conmon_pidfile.clone().unwrap_or_default(),
        pid_file: spec.pidfile.clone().unwrap_or_else(|| existing(&run.pidfile())),
        name: head.name.clone(),
        restart_count: state.restart_count,
        driver: engine.store.driver_name().to_owned(),
        platform: "linux".to_owned(),
        mount_label: stored.mount_label().to_owned(),
        process_label: String::new(),
        app_armor_profile: spec.security.apparmor.clone(),
        effective_caps: effective,
        bounding_caps: bounding,
        exec_ids: sessions(engine, &record.id).into_iter().map(|(id, _)| id).collect(),
        graph_driver: graph_driver(engine, &stored, &state.mountpoint),
        size_rw,
        size_root_fs,
        mounts: spec.mounts.iter().filter(|m| is_listed(m)).map(|m| mount(engine, m)).collect(),
        dependencies: dependencies(spec),
        network_settings: network(spec, state.pid),
        namespace: String::new(),
        is_infra: false,
        is_service: false,
        kube_exit_code_propagation: "invalid".to_owned(),
        lock_number: 0,
        config: config(engine, record, spec),
        host_config: host_config(engine, record, spec, &stored),
        use_image_hosts: false,
        use_image_hostname: false,
    })
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn existing(path: &Path) -> String {
    if path.exists() { text(path) } else { String::new() }
}

fn base_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

fn measure(engine: &Engine, record: &Record) -> Result<(Option<u64>, Option<u64>)> {
    let written = engine.store.container_rw_size(&record.id)?;
    let image = &record.state.head.image_id;
    let below = if image.is_empty() { 0 } else { engine.store.image_size(image)? };
    Ok((Some(written), Some(written + below)))
}

fn lifecycle(record: &Record) -> State {
    let state = &record.state;
    let status = if state.status == Status::Starting { Status::Created } else { state.status };
    State {
        oci_version: "1.0.2".to_owned(),
        status: status.as_str().to_owned(),
        running: matches!(status, Status::Running | Status::Paused),
        paused: status == Status::Paused,
        restarting: status == Status::Restarting,
        oom_killed: state.oom_killed,
        dead: false,
        pid: state.pid,
        conmon_pid: state.conmon_pid,
        exit_code: state.exit_code,
        error: state.error.clone(),
        started_at: GoTime(state.started_at),
        finished_at: GoTime(state.finished_at),
        health: None,
        checkpointed: false,
        cgroup_path: state.cgroup_path.clone(),
        checkpointed_at: GoTime(None),
        restored_at: GoTime(None),
        stopped_by_user: state.stopped_by_user,
    }
}

/// Bounding and effective set, from the runtime's `config.json` while there is one.
fn capabilities(config: &Path) -> (Vec<String>, Vec<String>) {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Capabilities {
        bounding: Vec<String>,
        effective: Vec<String>,
    }
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Process {
        capabilities: Capabilities,
    }
    #[derive(serde::Deserialize)]
    struct Spec {
        #[serde(default)]
        process: Process,
    }
    let spec = std::fs::read(config).ok().and_then(|bytes| serde_json::from_slice::<Spec>(&bytes).ok());
    let mut sets = spec.map(|s| s.process.capabilities).unwrap_or_default();
    sets.bounding.sort();
    sets.effective.sort();
    (sets.bounding, sets.effective)
}

/// The directories of a layer and of those below it, for overlay.
pub(crate) fn layer_data(engine: &Engine, layer: &str, skip: usize) -> (Texts, Vec<String>) {
    let mut data = Texts::new();
    if engine.store.driver_name() != "overlay" || layer.is_empty() {
        return (data, Vec::new());
    }
    let directory = |id: &str| engine.store.graph_root().join("overlay").join(id);
    data.insert("UpperDir".to_owned(), text(&directory(layer).join("diff")));
    data.insert("WorkDir".to_owned(), text(&directory(layer).join("work")));
    let mut chain = Vec::new();
    let mut next = Some(layer.to_owned());
    while let Some(record) = next.and_then(|id| engine.store.layer(&id).ok()) {
        chain.push(text(&directory(&record.id).join("diff")));
        next = record.parent;
    }
    let lower = chain.get(skip..).unwrap_or_default().join(":");
    if !lower.is_empty() {
        data.insert("LowerDir".to_owned(), lower);
    }
    (data, chain)
}

fn graph_driver(engine: &Engine, stored: &ContainerRecord, mountpoint: &Path) -> GraphDriver {
    let (mut data, _) = layer_data(engine, &stored.layer, 1);
    if !mountpoint.as_os_str().is_empty() {
        data.insert("MergedDir".to_owned(), text(mountpoint));
    }
    GraphDriver { name: engine.store.driver_name().to_owned(), data }
}

/// As podman: what is only memory stands in HostConfig.Tmpfs.
fn is_listed(mount: &MountSpec) -> bool {
    matches!(mount.kind, MountKind::Bind | MountKind::Volume | MountKind::Image)
}

fn mount(engine: &Engine, mount: &MountSpec) -> Mount {
    let volume = mount.kind == MountKind::Volume;
    let source = match volume {
        true => text(&engine.config.paths.volumes.join(&mount.source).join("_data")),
        false => mount.source.clone(),
    };
    let mut options = mount.options.clone();
    if mount.kind == MountKind::Bind {
        options.push(if mount.bind.non_recursive { "bind" } else { "rbind" }.to_owned());
    }
    Mount {
        kind: kind(mount.kind).to_owned(),
        name: if volume { mount.source.clone() } else { String::new() },
        source,
        destination: mount.target.clone(),
        driver: if volume { "local" } else { "" }.to_owned(),
        mode: String::new(),
        options,
        rw: !mount.read_only,
        propagation: propagation(mount.bind.propagation).to_owned(),
    }
}

fn kind(kind: MountKind) -> &'static str {
    match kind {
        MountKind::Bind => "bind",
        MountKind::Volume => "volume",
        MountKind::Tmpfs => "tmpfs",
        MountKind::Ramfs => "ramfs",
        MountKind::Devpts => "devpts",
        MountKind::Image => "image",
    }
}

fn propagation(propagation: Option<Propagation>) -> &'static str {
    match propagation.unwrap_or(Propagation::RPrivate) {
        Propagation::Private => "private",
        Propagation::RPrivate => "rprivate",
        Propagation::Shared => "shared",
        Propagation::RShared => "rshared",
        Propagation::Slave => "slave",
        Propagation::RSlave => "rslave",
        Propagation::Unbindable => "unbindable",
        Propagation::RUnbindable => "runbindable",
    }
}

/// The containers whose namespaces it shares.
fn dependencies(spec: &ContainerSpec) -> Vec<String> {
    let modes = &spec.namespaces;
    let mut ids = Vec::new();
    for mode in [&modes.pid, &modes.ipc, &modes.uts, &modes.cgroup, &modes.network] {
        if let NamespaceMode::Container(id) = mode
            && !ids.contains(id)
        {
            ids.push(id.clone());
        }
    }
    ids
}

fn network(spec: &ContainerSpec, pid: u32) -> NetworkSettings {
    let mode = mode(&spec.namespaces.network, "none");
    let networks = match &spec.namespaces.network {
        NamespaceMode::Container(_) | NamespaceMode::Path(_) => Vec::new(),
        _ => vec![(mode, Endpoint::default())],
    };
    NetworkSettings {
        ports: spec.exposed_ports.iter().map(|port| (port.clone(), None)).collect(),
        sandbox_key: if pid == 0 { String::new() } else { format!("/proc/{pid}/ns/net") },
        networks: networks.into_iter().collect(),
        ..NetworkSettings::default()
    }
}

fn config(engine: &Engine, record: &Record, spec: &ContainerSpec) -> Config {
    let process = &spec.process;
    let words = |words: &[String]| if words.is_empty() { None } else { Some(words.to_vec()) };
    let hostname = match spec.hostname.is_empty() {
        true if spec.namespaces.uts == NamespaceMode::Host => String::new(),
        true => record.id.get(..12).unwrap_or_default().to_owned(),
        false => spec.hostname.clone(),
    };
    let volumes: Vec<&str> =
        spec.mounts.iter().filter(|m| m.kind == MountKind::Volume).map(|m| m.target.as_str()).collect();
    let default_timeout = engine.config.containers.engine.stop_timeout.unwrap_or(10);
    Config {
        hostname,
        domainname: spec.domainname.clone(),
        user: process.user.clone(),
        attach_stdin: false,
        attach_stdout: false,
        attach_stderr: false,
        exposed_ports: set(&spec.exposed_ports),
        tty: process.terminal,
        open_stdin: process.open_stdin,
        stdin_once: false,
        env: process.env.clone(),
        cmd: words(&process.command),
        image: if spec.image.name.is_empty() { &spec.image.requested } else { &spec.image.name }.clone(),
        volumes: if volumes.is_empty() { None } else { Some(set(&volumes)) },
        working_dir: if process.workdir.is_empty() { "/".to_owned() } else { process.workdir.clone() },
        entrypoint: process.entrypoint.as_deref().and_then(words),
        on_build: None,
        labels: spec.labels.clone(),
        annotations: spec.annotations.clone(),
        stop_signal: spec.stop_signal.clone(),
        healthcheck: spec.healthcheck.clone(),
        healthcheck_on_failure_action: "none".to_owned(),
        create_command: spec.create_command.clone(),
        timezone: spec.timezone.clone(),
        systemd_mode: spec.systemd == "always",
        umask: if process.umask.is_empty() { "0022".to_owned() } else { process.umask.clone() },
        timeout: spec.timeout,
        stop_timeout: spec.stop_timeout.unwrap_or(default_timeout),
        passwd: !spec.passwd.disabled,
        sd_notify_mode: spec.sdnotify.clone(),
    }
}

fn host_config(
    engine: &Engine,
    record: &Record,
    spec: &ContainerSpec,
    stored: &ContainerRecord,
) -> HostConfig {
    let limits = &spec.resources;
    let modes = &spec.namespaces;
    let memory = limits.memory.unwrap_or(0);
    HostConfig {
        binds: spec.mounts.iter().filter_map(bind).collect(),
        cgroup_manager: engine.config.overrides.cgroup_manager.clone().unwrap_or_default(),
        cgroup_mode: mode(&modes.cgroup, "private"),
        container_id_file: String::new(),
        log_config: log_config(record, spec),
        network_mode: mode(&modes.network, "none"),
        port_bindings: Default::default(),
        restart_policy: RestartPolicy {
            name: if spec.restart.name.is_empty() { "no".to_owned() } else { spec.restart.name.clone() },
            maximum_retry_count: spec.restart.max_retries,
        },
        auto_remove: spec.remove,
        auto_remove_image: spec.remove_image,
        annotations: spec.annotations.clone(),
        volume_driver: String::new(),
        volumes_from: Vec::new(),
        cap_add: spec.security.cap_add.clone(),
        cap_drop: spec.security.cap_drop.clone(),
        dns: spec.dns.clone(),
        dns_options: spec.dns_options.clone(),
        dns_search: spec.dns_search.clone(),
        extra_hosts: spec.add_hosts.clone(),
        hosts_file: String::new(),
        group_add: spec.process.groups.clone(),
        ipc_mode: mode(&modes.ipc, "shareable"),
        cgroup: String::new(),
        cgroupns_mode: mode(&modes.cgroup, "private"),
        cgroups: if spec.cgroups.is_empty() { "default".to_owned() } else { spec.cgroups.clone() },
        links: Vec::new(),
        oom_score_adj: limits.oom_score_adj.unwrap_or(0),
        pid_mode: mode(&modes.pid, "private"),
        privileged: spec.security.privileged,
        publish_all_ports: false,
        readonly_rootfs: spec.read_only,
        security_opt: security_options(spec),
        tmpfs: spec.mounts.iter().filter(|m| m.kind == MountKind::Tmpfs).map(tmpfs).collect(),
        uts_mode: mode(&modes.uts, "private"),
        userns_mode: userns(&modes.user),
        id_mappings: id_mappings(stored),
        shm_size: spec.shm_size.unwrap_or(64 << 20),
        runtime: if record.state.runtime.is_empty() {
            "oci".to_owned()
        } else {
            base_name(&record.state.runtime)
        },
        console_size: [0, 0],
        isolation: String::new(),
        sysctls: spec.sysctls.clone(),
        cpu_shares: limits.cpu_shares.unwrap_or(0),
        memory,
        nano_cpus: limits.nano_cpus.unwrap_or(0),
        cgroup_parent: spec.cgroup_parent.clone(),
        blkio_weight: limits.blkio_weight.unwrap_or(0),
        blkio_weight_device: limits
            .blkio_weight_devices
            .iter()
            .map(|d| WeightDevice { path: d.path.clone(), weight: d.value })
            .collect(),
        blkio_device_read_bps: throttles(&limits.device_read_bps),
        blkio_device_write_bps: throttles(&limits.device_write_bps),
        blkio_device_read_iops: throttles(&limits.device_read_iops),
        blkio_device_write_iops: throttles(&limits.device_write_iops),
        cpu_period: limits.cpu_period.unwrap_or(0),
        cpu_quota: limits.cpu_quota.unwrap_or(0),
        cpu_realtime_period: limits.cpu_rt_period.unwrap_or(0),
        cpu_realtime_runtime: limits.cpu_rt_runtime.unwrap_or(0),
        cpuset_cpus: limits.cpuset_cpus.clone(),
        cpuset_mems: limits.cpuset_mems.clone(),
        devices: spec
            .devices
            .iter()
            .map(|d| Device {
                path_on_host: d.source.clone(),
                path_in_container: d.target.clone(),
                cgroup_permissions: d.permissions.clone(),
            })
            .collect(),
        device_cgroup_rules: spec.device_cgroup_rules.clone(),
        disk_quota: 0,
        kernel_memory: limits.kernel_memory.unwrap_or(0),
        memory_reservation: limits.memory_reservation.unwrap_or(0),
        // Unless given, swap is as much again as memory (docker run(1)).
        memory_swap: limits.memory_swap.unwrap_or(if memory > 0 { memory.saturating_mul(2) } else { 0 }),
        memory_swappiness: limits.memory_swappiness.and_then(|n| i64::try_from(n).ok()).unwrap_or(-1),
        oom_kill_disable: limits.oom_kill_disable,
        init: spec.init,
        pids_limit: limits.pids_limit.unwrap_or(0),
        ulimits: spec.rlimits.iter().map(ulimit).collect(),
        cpu_count: 0,
        cpu_percent: 0,
        io_maximum_iops: 0,
        io_maximum_bandwidth: 0,
        cgroup_conf: limits.unified.clone(),
    }
}

fn throttles(devices: &[BlkioDevice]) -> Vec<ThrottleDevice> {
    devices.iter().map(|d| ThrottleDevice { path: d.path.clone(), rate: d.value }).collect()
}

fn ulimit(limit: &Rlimit) -> Ulimit {
    let number = |n: u64| i64::try_from(n).unwrap_or(-1);
    Ulimit {
        name: format!("RLIMIT_{}", limit.name.to_uppercase()),
        soft: number(limit.soft),
        hard: number(limit.hard),
    }
}

/// `source:target:options`.
fn bind(mount: &MountSpec) -> Option<String> {
    if !matches!(mount.kind, MountKind::Bind | MountKind::Volume) {
        return None;
    }
    let mut options = vec![if mount.read_only { "ro" } else { "rw" }.to_owned()];
    options.push(propagation(mount.bind.propagation).to_owned());
    options.extend(mount.options.iter().cloned());
    if mount.kind == MountKind::Bind {
        options.push(if mount.bind.non_recursive { "bind" } else { "rbind" }.to_owned());
    }
    Some(format!("{}:{}:{}", mount.source, mount.target, options.join(",")))
}

fn tmpfs(mount: &MountSpec) -> (String, String) {
    let mut options = vec![if mount.read_only { "ro" } else { "rw" }.to_owned()];
    options.extend(mount.options.iter().cloned());
    (mount.target.clone(), options.join(","))
}

fn log_config(record: &Record, spec: &ContainerSpec) -> LogConfig {
    let size = spec.log.max_size.map_or_else(|| "0B".to_owned(), crate::cmd::format::human::size);
    LogConfig {
        kind: if spec.log.driver.is_empty() { "k8s-file".to_owned() } else { spec.log.driver.clone() },
        config: spec.log.options.clone(),
        path: text(&record.state.log_path),
        tag: spec.log.tag.clone(),
        size,
    }
}

fn security_options(spec: &ContainerSpec) -> Vec<String> {
    let security = &spec.security;
    let mut options = Vec::new();
    let mut add = |key: &str, value: &str| options.push(format!("{key}={value}"));
    if !security.seccomp.is_empty() {
        add("seccomp", &security.seccomp);
    }
    if !security.apparmor.is_empty() {
        add("apparmor", &security.apparmor);
    }
    security.label.iter().for_each(|label| add("label", label));
    security.mask.iter().for_each(|path| add("mask", path));
    security.unmask.iter().for_each(|path| add("unmask", path));
    if security.no_new_privileges {
        options.push("no-new-privileges".to_owned());
    }
    options
}

fn mode(mode: &NamespaceMode, default: &str) -> String {
    match mode {
        NamespaceMode::Default => default.to_owned(),
        NamespaceMode::Private => "private".to_owned(),
        NamespaceMode::Host => "host".to_owned(),
        NamespaceMode::Container(id) => format!("container:{id}"),
        NamespaceMode::Path(path) => format!("ns:{path}"),
        NamespaceMode::None => "none".to_owned(),
        NamespaceMode::Shareable => "shareable".to_owned(),
        NamespaceMode::Network(name) => name.clone(),
    }
}

fn userns(mode: &UserNamespace) -> String {
    match mode {
        UserNamespace::Host => String::new(),
        UserNamespace::KeepId { .. } => "keep-id".to_owned(),
        UserNamespace::NoMap => "nomap".to_owned(),
        UserNamespace::Auto { .. } => "auto".to_owned(),
        UserNamespace::Container(id) => format!("container:{id}"),
        UserNamespace::Path(path) => format!("ns:{path}"),
        UserNamespace::Mapped { .. } => "private".to_owned(),
    }
}

fn id_mappings(stored: &ContainerRecord) -> Option<IdMappings> {
    let row = |row: &IdMapping| format!("{}:{}:{}", row.container_id, row.host_id, row.size);
    if stored.uid_map.is_empty() && stored.gid_map.is_empty() {
        return None;
    }
    let rows = |map: &[IdMapping]| map.iter().map(row).collect();
    Some(IdMappings { uid_map: rows(&stored.uid_map), gid_map: rows(&stored.gid_map) })
}
