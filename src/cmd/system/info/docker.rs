//! docker's report (api/types/system.Info, and what its client adds): every field, with what it is without a daemon.

use super::Counts;
use super::host::read;
use super::podman::{Podman, path};
use super::programs;
use crate::cmd::format::template::GoTime;
use crate::cmd::system::version::{API_VERSION, build_time, go_arch};
use crate::engine::config::registries::Registries;
use crate::engine::container::cdi::directories;
use crate::engine::{Engine, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Docker {
    #[serde(rename = "ID")]
    id: String,
    containers: usize,
    containers_running: usize,
    containers_paused: usize,
    containers_stopped: usize,
    images: usize,
    driver: String,
    driver_status: Vec<[String; 2]>,
    plugins: Plugins,
    memory_limit: bool,
    swap_limit: bool,
    kernel_memory: bool,
    #[serde(rename = "KernelMemoryTCP")]
    kernel_memory_tcp: bool,
    cpu_cfs_period: bool,
    cpu_cfs_quota: bool,
    #[serde(rename = "CPUShares")]
    cpu_shares: bool,
    #[serde(rename = "CPUSet")]
    cpu_set: bool,
    pids_limit: bool,
    #[serde(rename = "IPv4Forwarding")]
    ipv4_forwarding: bool,
    bridge_nf_iptables: bool,
    bridge_nf_ip6tables: bool,
    debug: bool,
    /// Open files of the daemon.
    #[serde(rename = "NFd")]
    open_files: u32,
    oom_kill_disable: bool,
    #[serde(rename = "NGoroutines")]
    goroutines: u32,
    system_time: GoTime,
    logging_driver: String,
    cgroup_driver: String,
    /// `1` or `2`, docker's way of writing it.
    cgroup_version: String,
    #[serde(rename = "NEventsListener")]
    event_listeners: u32,
    kernel_version: String,
    operating_system: String,
    #[serde(rename = "OSVersion")]
    os_version: String,
    #[serde(rename = "OSType")]
    os_type: String,
    architecture: String,
    index_server_address: String,
    registry_config: RegistryConfig,
    #[serde(rename = "NCPU")]
    ncpu: usize,
    mem_total: u64,
    generic_resources: Option<Vec<String>>,
    docker_root_dir: String,
    http_proxy: String,
    https_proxy: String,
    no_proxy: String,
    name: String,
    labels: Vec<String>,
    experimental_build: bool,
    server_version: String,
    runtimes: BTreeMap<String, Runtime>,
    default_runtime: String,
    swarm: Swarm,
    live_restore_enabled: bool,
    isolation: String,
    init_binary: String,
    containerd_commit: Commit,
    runc_commit: Commit,
    init_commit: Commit,
    security_options: Vec<String>,
    #[serde(rename = "CDISpecDirs")]
    cdi_spec_dirs: Vec<String>,
    warnings: Option<Vec<String>>,
    client_info: Client,
}

#[derive(Serialize)]
#[serde(rename = "PluginsInfo", rename_all = "PascalCase")]
struct Plugins {
    volume: Vec<String>,
    network: Vec<String>,
    authorization: Option<Vec<String>>,
    log: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename = "ServiceConfig", rename_all = "PascalCase")]
struct RegistryConfig {
    #[serde(rename = "AllowNondistributableArtifactsCIDRs")]
    nondistributable_networks: Vec<String>,
    #[serde(rename = "AllowNondistributableArtifactsHostnames")]
    nondistributable_hosts: Vec<String>,
    #[serde(rename = "InsecureRegistryCIDRs")]
    insecure_networks: Vec<String>,
    index_configs: BTreeMap<String, Index>,
    mirrors: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename = "IndexInfo", rename_all = "PascalCase")]
struct Index {
    name: String,
    mirrors: Vec<String>,
    secure: bool,
    official: bool,
}

#[derive(Serialize)]
struct Runtime {
    path: String,
}

#[derive(Serialize)]
#[serde(rename = "Info", rename_all = "PascalCase")]
struct Swarm {
    #[serde(rename = "NodeID")]
    node_id: String,
    node_addr: String,
    local_node_state: String,
    control_available: bool,
    error: String,
    remote_managers: Option<Vec<String>>,
}

#[derive(Serialize)]
struct Commit {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Expected")]
    expected: String,
}

impl Commit {
    fn of(id: &str) -> Commit {
        Commit { id: id.to_owned(), expected: id.to_owned() }
    }
}

#[derive(Serialize)]
#[serde(rename = "clientInfo", rename_all = "PascalCase")]
struct Client {
    debug: bool,
    version: String,
    #[serde(rename = "DefaultAPIVersion")]
    default_api_version: String,
    git_commit: String,
    go_version: String,
    os: String,
    arch: String,
    build_time: String,
    context: String,
    plugins: Vec<String>,
    warnings: Option<Vec<String>>,
}

/// Gathers it, as far as possible from podman's.
pub(super) fn report(engine: &Engine, podman: &Podman, counts: Counts) -> Result<Docker> {
    let (host, plugins) = (&podman.host, &podman.plugins);
    let has = |controller: &str| host.cgroup_controllers.iter().any(|c| c == controller);
    let v1 = |controller: &str, file: &str| {
        has(controller) && Path::new("/sys/fs/cgroup").join(controller).join(file).exists()
    };
    let v2 = host.cgroup_version == "v2";
    let sysctl = |name: &str| read(&format!("/proc/sys/net/{name}")).trim() == "1";
    let mut security_options = Vec::new();
    if host.security.apparmor_enabled {
        security_options.push("name=apparmor".to_owned());
    }
    security_options.push("name=seccomp,profile=default".to_owned());
    if host.security.rootless {
        security_options.push("name=rootless".to_owned());
    }
    if v2 {
        security_options.push("name=cgroupns".to_owned());
    }
    let runtimes = programs::runtimes(&engine.config).into_iter();
    Ok(Docker {
        id: String::new(),
        containers: counts.containers.number,
        containers_running: counts.containers.running,
        containers_paused: counts.containers.paused,
        containers_stopped: counts.containers.stopped,
        images: counts.images,
        driver: engine.store.driver_name().to_owned(),
        driver_status: podman.store.graph_status.iter().map(|(k, v)| [k.clone(), v.clone()]).collect(),
        plugins: Plugins {
            volume: plugins.volume.clone(),
            network: plugins.network.clone(),
            authorization: None,
            log: plugins.log.clone(),
        },
        memory_limit: has("memory"),
        swap_limit: has("memory") && (v2 || v1("memory", "memory.memsw.limit_in_bytes")),
        kernel_memory: v1("memory", "memory.kmem.limit_in_bytes"),
        kernel_memory_tcp: v1("memory", "memory.kmem.tcp.limit_in_bytes"),
        cpu_cfs_period: has("cpu"),
        cpu_cfs_quota: has("cpu"),
        cpu_shares: has("cpu"),
        cpu_set: has("cpuset"),
        pids_limit: has("pids"),
        ipv4_forwarding: sysctl("ipv4/ip_forward"),
        bridge_nf_iptables: sysctl("bridge/bridge-nf-call-iptables"),
        bridge_nf_ip6tables: sysctl("bridge/bridge-nf-call-ip6tables"),
        debug: false,
        open_files: 0,
        oom_kill_disable: v1("memory", "memory.oom_control"),
        goroutines: 0,
        system_time: GoTime(Some(jiff::Timestamp::now())),
        logging_driver: host.log_driver.clone(),
        cgroup_driver: host.cgroup_manager.clone(),
        cgroup_version: host.cgroup_version.trim_start_matches('v').to_owned(),
        event_listeners: 0,
        kernel_version: host.kernel.clone(),
        operating_system: host.distribution.pretty.clone(),
        os_version: host.distribution.version.clone(),
        os_type: host.os.clone(),
        architecture: std::env::consts::ARCH.to_owned(),
        index_server_address: "https://index.docker.io/v1/".to_owned(),
        registry_config: registry_config(engine)?,
        ncpu: host.cpus,
        mem_total: host.mem_total,
        generic_resources: None,
        docker_root_dir: path(engine.store.graph_root()),
        http_proxy: proxy(engine, "http_proxy"),
        https_proxy: proxy(engine, "https_proxy"),
        no_proxy: proxy(engine, "no_proxy"),
        name: host.hostname.clone(),
        labels: Vec::new(),
        experimental_build: false,
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
        runtimes: runtimes.map(|(name, file)| (name, Runtime { path: path(&file) })).collect(),
        default_runtime: host.oci_runtime.name.clone(),
        swarm: Swarm {
            node_id: String::new(),
            node_addr: String::new(),
            local_node_state: "inactive".to_owned(),
            control_available: false,
            error: String::new(),
            remote_managers: None,
        },
        live_restore_enabled: true,
        isolation: String::new(),
        init_binary: "catatonit".to_owned(),
        containerd_commit: Commit::of(""),
        runc_commit: Commit::of(host.oci_runtime.commit()),
        init_commit: Commit::of(""),
        security_options,
        cdi_spec_dirs: directories(engine).iter().map(|dir| dir.display().to_string()).collect(),
        warnings: None,
        client_info: Client {
            debug: false,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            default_api_version: API_VERSION.to_owned(),
            git_commit: option_env!("CORACLE_GIT_COMMIT").unwrap_or_default().to_owned(),
            go_version: String::new(),
            os: std::env::consts::OS.to_owned(),
            arch: go_arch().to_owned(),
            build_time: build_time(),
            context: "default".to_owned(),
            plugins: Vec::new(),
            warnings: None,
        },
    })
}

/// docker.io and what registries.conf says of other registries, in docker's words.
fn registry_config(engine: &Engine) -> Result<RegistryConfig> {
    let configured = Registries::load(&engine.config.env)?;
    let index = |name: &str, mirrors: Vec<String>, secure: bool| {
        let official = name == "docker.io";
        (name.to_owned(), Index { name: name.to_owned(), mirrors, secure, official })
    };
    let mut indexes = BTreeMap::from([index("docker.io", Vec::new(), true)]);
    for registry in configured.all() {
        let scheme = |insecure: bool| if insecure { "http" } else { "https" };
        let mirrors = registry.mirrors.iter().map(|m| format!("{}://{}/", scheme(m.insecure), m.location));
        indexes.extend([index(&registry.prefix, mirrors.collect(), !registry.insecure)]);
    }
    Ok(RegistryConfig {
        nondistributable_networks: Vec::new(),
        nondistributable_hosts: Vec::new(),
        insecure_networks: Vec::new(),
        mirrors: indexes.get("docker.io").map(|index| index.mirrors.clone()).unwrap_or_default(),
        index_configs: indexes,
    })
}

/// A proxy variable, in either case, without the password in it.
fn proxy(engine: &Engine, name: &str) -> String {
    let env = &engine.config.env;
    let value = env.var(name).or_else(|| env.var(&name.to_uppercase())).unwrap_or_default();
    without_password(value)
}

fn without_password(url: &str) -> String {
    match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1))) {
        Some((scheme, host)) => format!("{scheme}://xxxxx:xxxxx@{host}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::without_password;

    #[test]
    fn a_proxys_password_is_not_shown() {
        for (url, shown) in [
            ("http://user:p@ss@proxy:3128", "http://xxxxx:xxxxx@proxy:3128"),
            ("http://proxy:3128/", "http://proxy:3128/"),
            ("localhost,.example.com", "localhost,.example.com"),
            ("", ""),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
