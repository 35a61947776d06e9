//! podman's report (libpod/define/info.go).

use super::host::{
    CpuUtilization, Distribution, backing_file_system, cpu_utilization, distribution, hostname, memory, read,
    uptime,
};
use super::programs::{self, Program};
use super::{Containers, Counts};
use crate::cmd::system::version::{Part, go_arch, kernel};
use crate::engine::config::registries::{PullFromMirror, Registries};
use crate::engine::container::{self, defaults::defaults};
use crate::engine::spec::{AppArmor, CgroupManager, CgroupMode, IdMapping};
use crate::engine::{Engine, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// podman's (libpod/define/info.go).
#[derive(Serialize)]
#[serde(rename = "Info")]
pub(super) struct Podman {
    pub host: Host,
    pub store: Store,
    registries: BTreeMap<String, Registry>,
    pub plugins: Plugins,
    version: Part,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Host {
    pub arch: String,
    buildah_version: String,
    pub cgroup_manager: String,
    pub cgroup_version: String,
    pub cgroup_controllers: Vec<String>,
    pub conmon: Program,
    pub cpus: usize,
    cpu_utilization: CpuUtilization,
    database_backend: String,
    pub distribution: Distribution,
    event_logger: String,
    pub hostname: String,
    id_mappings: IdMappings,
    pub kernel: String,
    pub log_driver: String,
    mem_free: u64,
    pub mem_total: u64,
    network_backend: String,
    network_backend_info: NetworkBackend,
    pub oci_runtime: Program,
    pub os: String,
    /// Where a service would listen: there is none.
    remote_socket: Socket,
    rootless_network_cmd: String,
    service_is_remote: bool,
    pub security: Security,
    slirp4netns: Executable,
    pasta: Executable,
    swap_free: u64,
    swap_total: u64,
    uptime: String,
    variant: String,
    linkmode: String,
}

#[derive(Serialize)]
struct Socket {
    path: String,
    exists: bool,
}

#[derive(Serialize)]
struct NetworkBackend {
    backend: String,
    version: String,
    package: String,
    path: String,
    /// The name server of bridge networks.
    dns: Program,
}

#[derive(Serialize)]
struct Executable {
    executable: String,
    package: String,
    version: String,
}

impl Executable {
    fn of(program: &Program) -> Executable {
        let Program { package, path, version, .. } = program.clone();
        Executable { executable: path, package, version }
    }
}

/// `search` is a list of names, every other key a registry of registries.conf.
#[derive(Serialize)]
#[serde(untagged)]
enum Registry {
    Search(Vec<String>),
    Location(Location),
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Location {
    prefix: String,
    location: String,
    insecure: bool,
    pull_from_mirror: &'static str,
    mirrors: Vec<Mirror>,
    blocked: bool,
    mirror_by_digest_only: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Mirror {
    location: String,
    insecure: bool,
    pull_from_mirror: &'static str,
}

#[derive(Serialize)]
struct ImageStore {
    number: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
struct IdMappings {
    gidmap: Option<Vec<Mapping>>,
    uidmap: Option<Vec<Mapping>>,
}

#[derive(Serialize)]
struct Mapping {
    container_id: u32,
    host_id: u32,
    size: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Security {
    pub apparmor_enabled: bool,
    capabilities: String,
    pub rootless: bool,
    seccomp_enabled: bool,
    seccomp_profile_path: String,
    selinux_enabled: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Store {
    config_file: String,
    container_store: Containers,
    graph_driver_name: String,
    graph_options: BTreeMap<String, String>,
    graph_root: String,
    graph_root_allocated: u64,
    graph_root_used: u64,
    pub graph_status: BTreeMap<String, String>,
    image_copy_tmp_dir: String,
    image_store: ImageStore,
    run_root: String,
    volume_path: String,
    transient_store: bool,
}

#[derive(Serialize)]
pub(super) struct Plugins {
    pub volume: Vec<String>,
    pub network: Vec<String>,
    pub log: Vec<String>,
    pub authorization: Option<Vec<String>>,
}

/// Gathers it.
pub(super) fn report(engine: &Engine, counts: Counts) -> Result<Podman> {
    let plugins = Plugins {
        volume: vec!["local".to_owned()],
        network: ["bridge", "macvlan", "ipvlan"].map(str::to_owned).to_vec(),
        log: ["k8s-file", "none", "passthrough", "journald"].map(str::to_owned).to_vec(),
        authorization: None,
    };
    Ok(Podman {
        host: host(engine),
        store: store(engine, counts),
        registries: registries(engine)?,
        plugins,
        version: Part::new(),
    })
}

fn store(engine: &Engine, counts: Counts) -> Store {
    let config = &engine.config;
    let space = rustix::fs::statvfs(engine.store.graph_root()).ok();
    let bytes =
        |blocks: fn(&rustix::fs::StatVfs) -> u64| space.as_ref().map_or(0, |s| blocks(s) * s.f_frsize);
    Store {
        config_file: config.storage.file.as_deref().map(path).unwrap_or_default(),
        container_store: counts.containers,
        graph_driver_name: engine.store.driver_name().to_owned(),
        graph_options: options(&config.storage.driver_options),
        graph_root: path(engine.store.graph_root()),
        graph_root_allocated: bytes(|s| s.f_blocks),
        graph_root_used: bytes(|s| s.f_blocks - s.f_bfree),
        graph_status: graph_status(engine),
        image_copy_tmp_dir: config.env.var("TMPDIR").unwrap_or("/var/tmp").to_owned(),
        image_store: ImageStore { number: counts.images },
        run_root: path(engine.store.run_root()),
        volume_path: path(&config.paths.volumes),
        transient_store: config.storage.transient,
    }
}

/// What containers/storage's overlay driver tells of itself. Layers are made by unpacking archives and never by the
/// kernel's metacopy or ID shifting.
fn graph_status(engine: &Engine) -> BTreeMap<String, String> {
    let backing = backing_file_system(engine.store.graph_root());
    let mut status = vec![("Backing Filesystem", backing.as_str())];
    if engine.store.driver_name() == "overlay" {
        let native = if engine.store.native_overlay().unwrap_or(false) { "true" } else { "false" };
        status.extend([
            ("Native Overlay Diff", native),
            ("Supports d_type", "true"),
            ("Supports shifting", "false"),
            ("Supports volatile", native),
            ("Using metacopy", "false"),
        ]);
    }
    status.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn registries(engine: &Engine) -> Result<BTreeMap<String, Registry>> {
    let configured = Registries::load(&engine.config.env)?;
    let mut registries: BTreeMap<String, Registry> = configured
        .all()
        .iter()
        .map(|registry| {
            let mirrors = registry.mirrors.iter().map(|mirror| Mirror {
                location: mirror.location.clone(),
                insecure: mirror.insecure,
                pull_from_mirror: match mirror.pull_from_mirror {
                    None => "",
                    Some(PullFromMirror::All) => "all",
                    Some(PullFromMirror::DigestOnly) => "digest-only",
                    Some(PullFromMirror::TagOnly) => "tag-only",
                },
            });
            let location = Location {
                prefix: registry.prefix.clone(),
                location: registry.location.clone(),
                insecure: registry.insecure,
                pull_from_mirror: "",
                mirrors: mirrors.collect(),
                blocked: registry.blocked,
                mirror_by_digest_only: registry.mirror_by_digest_only,
            };
            (registry.prefix.clone(), Registry::Location(location))
        })
        .collect();
    registries.insert("search".to_owned(), Registry::Search(configured.search()));
    Ok(registries)
}

/// conmon, runtime, netavark, aardvark-dns, slirp4netns, pasta.
fn programs(engine: &Engine) -> [Program; 6] {
    let config = &engine.config;
    let mut found = vec![programs::conmon(config), programs::runtime(config)];
    found.extend(
        ["netavark", "aardvark-dns", "slirp4netns", "pasta"].map(|name| programs::helper(config, name)),
    );
    let mut found = programs::versions(found).into_iter();
    let mut all: [Program; 6] = std::array::from_fn(|_| found.next().unwrap_or_default());
    // As podman: on one line.
    all[0].version = all[0].version.replace('\n', ", ");
    all
}

fn host(engine: &Engine) -> Host {
    let config = &engine.config;
    let memory = memory();
    let facts = container::host(engine);
    let cgroup_version = if facts.cgroup.mode == CgroupMode::V2 { "v2" } else { "v1" };
    // Those a container's limits can use.
    let usable = facts.cgroup_manager != CgroupManager::Disabled;
    let controllers = facts.cgroup.controllers.into_iter().filter(|_| usable).collect();
    let [conmon, oci_runtime, netavark, dns, slirp4netns, pasta] = programs(engine);
    let maps = engine.id_maps.as_ref();
    let network = &config.containers.network;
    let backend = network.network_backend.clone().unwrap_or_else(|| "netavark".to_owned());
    Host {
        arch: go_arch().to_owned(),
        buildah_version: String::new(),
        cgroup_manager: cgroup_manager(facts.cgroup_manager).to_owned(),
        cgroup_version: cgroup_version.to_owned(),
        cgroup_controllers: controllers,
        conmon,
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        cpu_utilization: cpu_utilization(),
        database_backend: "files".to_owned(),
        distribution: distribution(),
        event_logger: (config.overrides.events_backend.clone())
            .or_else(|| config.containers.engine.events_logger.clone())
            .unwrap_or_else(|| "file".to_owned()),
        hostname: hostname(),
        id_mappings: IdMappings {
            gidmap: maps.map(|m| mappings(&m.gids)),
            uidmap: maps.map(|m| mappings(&m.uids)),
        },
        kernel: kernel(),
        log_driver: config.containers.containers.log_driver.clone().unwrap_or_else(|| "k8s-file".to_owned()),
        mem_free: memory.free,
        mem_total: memory.total,
        network_backend: backend.clone(),
        network_backend_info: NetworkBackend {
            backend,
            version: netavark.version,
            package: netavark.package,
            path: netavark.path,
            dns,
        },
        oci_runtime,
        os: std::env::consts::OS.to_owned(),
        remote_socket: Socket { path: String::new(), exists: false },
        rootless_network_cmd: (network.default_rootless_network_cmd.clone())
            .unwrap_or_else(|| "pasta".to_owned()),
        service_is_remote: false,
        security: security(engine, facts.apparmor),
        slirp4netns: Executable::of(&slirp4netns),
        pasta: Executable::of(&pasta),
        swap_free: memory.swap_free,
        swap_total: memory.swap_total,
        uptime: uptime(),
        variant: String::new(),
        linkmode: if cfg!(target_feature = "crt-static") { "static" } else { "dynamic" }.to_owned(),
    }
}

fn options(words: &[String]) -> BTreeMap<String, String> {
    words.iter().filter_map(|w| w.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn mappings(rows: &[IdMapping]) -> Vec<Mapping> {
    let row =
        |row: &IdMapping| Mapping { container_id: row.container_id, host_id: row.host_id, size: row.size };
    rows.iter().map(row).collect()
}

/// docker calls an engine without cgroups `none`.
fn cgroup_manager(manager: CgroupManager) -> &'static str {
    match manager {
        CgroupManager::Systemd => "systemd",
        CgroupManager::Cgroupfs => "cgroupfs",
        CgroupManager::Disabled => "none",
    }
}

fn security(engine: &Engine, apparmor: AppArmor) -> Security {
    let configured = engine.config.containers.containers.seccomp_profile.clone();
    let capabilities = defaults(&engine.config).map(|defaults| defaults.capabilities).unwrap_or_default();
    let usual = ["/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json"];
    let found = usual.into_iter().find(|p| Path::new(p).exists()).map(str::to_owned);
    Security {
        apparmor_enabled: apparmor == AppArmor::Default,
        capabilities: capabilities.join(","),
        rootless: engine.rootless(),
        seccomp_enabled: read("/proc/self/status").contains("\nSeccomp:"),
        seccomp_profile_path: configured.or(found).unwrap_or_else(|| "built-in".to_owned()),
        selinux_enabled: Path::new("/sys/fs/selinux/enforce").exists(),
    }
}

pub(super) fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
