//! `coracle info`, `system info`.

use super::version::{Part, go_arch, kernel, render};
use crate::cmd::format::template::{Value, to_value};
use crate::cmd::{Context, Exit};
use crate::engine::config::registries::Registries;
use crate::engine::conmon;
use crate::engine::spec::IdMapping;
use crate::engine::state::Status;
use crate::engine::{Engine, Result};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// Show the host, the store and the configuration
#[derive(Args, Clone, Debug)]
pub struct InfoArgs {
    /// "json" or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

/// Prints it.
pub fn run(cx: &Context, args: InfoArgs) -> Result<Exit> {
    let info = Info::gather(cx.engine()?)?;
    cx.print(match args.format.as_deref() {
        None => yaml(&to_value(&info.podman)),
        Some(format) => {
            render(&Value::joined("Info", [to_value(&info.podman), to_value(&info.docker)]), format)?
        }
    })?;
    Ok(Exit::OK)
}

/// podman's report, and docker's fields beside it.
struct Info {
    podman: Podman,
    docker: Docker,
}

/// podman's (libpod/define/info.go).
#[derive(Serialize)]
#[serde(rename = "Info")]
struct Podman {
    host: Host,
    store: Store,
    registries: BTreeMap<String, Vec<String>>,
    plugins: Plugins,
    version: Part,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Host {
    arch: String,
    buildah_version: String,
    cgroup_manager: String,
    cgroup_version: String,
    cgroup_controllers: Vec<String>,
    conmon: Program,
    cpus: usize,
    cpu_utilization: CpuUtilization,
    database_backend: String,
    distribution: Distribution,
    event_logger: String,
    hostname: String,
    id_mappings: IdMappings,
    kernel: String,
    log_driver: String,
    mem_free: u64,
    mem_total: u64,
    network_backend: String,
    oci_runtime: Program,
    os: String,
    rootless_network_cmd: String,
    service_is_remote: bool,
    security: Security,
    swap_free: u64,
    swap_total: u64,
    uptime: String,
    variant: String,
    linkmode: String,
}

#[derive(Clone, Default, Serialize)]
struct Program {
    name: String,
    package: String,
    path: String,
    version: String,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct CpuUtilization {
    user_percent: f64,
    system_percent: f64,
    idle_percent: f64,
}

#[derive(Default, Serialize)]
struct Distribution {
    distribution: String,
    version: String,
    codename: String,
    #[serde(skip)]
    pretty: String,
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
struct Security {
    apparmor_enabled: bool,
    capabilities: String,
    rootless: bool,
    seccomp_enabled: bool,
    seccomp_profile_path: String,
    selinux_enabled: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Store {
    config_file: String,
    container_store: Containers,
    graph_driver_name: String,
    graph_options: BTreeMap<String, String>,
    graph_root: String,
    graph_root_allocated: u64,
    graph_root_used: u64,
    graph_status: BTreeMap<String, String>,
    image_copy_tmp_dir: String,
    image_store: Images,
    run_root: String,
    volume_path: String,
    transient_store: bool,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Containers {
    number: usize,
    paused: usize,
    running: usize,
    stopped: usize,
}

#[derive(Serialize)]
struct Images {
    number: usize,
}

#[derive(Serialize)]
struct Plugins {
    volume: Vec<String>,
    network: Vec<String>,
    log: Vec<String>,
    authorization: Option<Vec<String>>,
}

/// Those of docker's fields (api/types/system.Info) that mean something without a daemon.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Docker {
    #[serde(rename = "ID")]
    id: String,
    containers: usize,
    containers_running: usize,
    containers_paused: usize,
    containers_stopped: usize,
    images: usize,
    driver: String,
    driver_status: Vec<[String; 2]>,
    memory_limit: bool,
    swap_limit: bool,
    pids_limit: bool,
    #[serde(rename = "IPv4Forwarding")]
    ipv4_forwarding: bool,
    debug: bool,
    logging_driver: String,
    cgroup_driver: String,
    /// `1` or `2`, docker's way of writing it.
    cgroup_version: String,
    kernel_version: String,
    operating_system: String,
    #[serde(rename = "OSVersion")]
    os_version: String,
    #[serde(rename = "OSType")]
    os_type: String,
    architecture: String,
    #[serde(rename = "NCPU")]
    ncpu: usize,
    mem_total: u64,
    docker_root_dir: String,
    name: String,
    labels: Vec<String>,
    server_version: String,
    default_runtime: String,
    init_binary: String,
    security_options: Vec<String>,
    warnings: Vec<String>,
}

impl Info {
    fn gather(engine: &Engine) -> Result<Info> {
        let config = &engine.config;
        let mut containers = Containers::default();
        for record in engine.state.list()? {
            containers.number += 1;
            match record.state.status {
                Status::Running => containers.running += 1,
                Status::Paused => containers.paused += 1,
                _ => containers.stopped += 1,
            }
        }
        let images = engine.store.images()?.len();
        let host = host(engine);
        let registries = Registries::load(&config.env)?;
        let space = rustix::fs::statvfs(engine.store.graph_root()).ok();
        let bytes =
            |blocks: fn(&rustix::fs::StatVfs) -> u64| space.as_ref().map_or(0, |s| blocks(s) * s.f_frsize);
        let backing = backing_file_system(engine.store.graph_root());
        let driver = engine.store.driver_name().to_owned();
        let graph_status = BTreeMap::from([("Backing Filesystem".to_owned(), backing)]);
        let store = Store {
            config_file: config.storage.file.as_deref().map(path).unwrap_or_default(),
            container_store: containers,
            graph_driver_name: driver.clone(),
            graph_options: options(&config.storage.driver_options),
            graph_root: path(engine.store.graph_root()),
            graph_root_allocated: bytes(|s| s.f_blocks),
            graph_root_used: bytes(|s| s.f_blocks - s.f_bfree),
            graph_status: graph_status.clone(),
            image_copy_tmp_dir: config.env.var("TMPDIR").unwrap_or("/var/tmp").to_owned(),
            image_store: Images { number: images },
            run_root: path(engine.store.run_root()),
            volume_path: path(&config.paths.volumes),
            transient_store: config.storage.transient,
        };
        let docker = docker(engine, &host, containers, images, graph_status);
        let version = Part::new();
        let plugins = Plugins {
            volume: vec!["local".to_owned()],
            network: ["bridge", "macvlan", "ipvlan"].map(str::to_owned).to_vec(),
            log: ["k8s-file", "none", "passthrough", "journald"].map(str::to_owned).to_vec(),
            authorization: None,
        };
        let registries = BTreeMap::from([("search".to_owned(), registries.search())]);
        Ok(Info { podman: Podman { host, store, registries, plugins, version }, docker })
    }
}

fn host(engine: &Engine) -> Host {
    let config = &engine.config;
    let memory = memory();
    let (cgroup_version, controllers) = cgroups();
    let maps = engine.id_maps.as_ref();
    Host {
        arch: go_arch().to_owned(),
        buildah_version: String::new(),
        cgroup_manager: cgroup_manager(engine),
        cgroup_version: cgroup_version.to_owned(),
        cgroup_controllers: controllers,
        conmon: conmon::find(config).ok().map(|path| program("conmon", &path)).unwrap_or_default(),
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
        network_backend: config
            .containers
            .network
            .network_backend
            .clone()
            .unwrap_or_else(|| "netavark".to_owned()),
        oci_runtime: conmon::Runtime::find(config, "")
            .ok()
            .map(|runtime| program(&runtime.name, &runtime.path))
            .unwrap_or_default(),
        os: std::env::consts::OS.to_owned(),
        rootless_network_cmd: (config.containers.network.default_rootless_network_cmd.clone())
            .unwrap_or_else(|| "pasta".to_owned()),
        service_is_remote: false,
        security: security(engine),
        swap_free: memory.swap_free,
        swap_total: memory.swap_total,
        uptime: uptime(),
        variant: String::new(),
        linkmode: if cfg!(target_feature = "crt-static") { "static" } else { "dynamic" }.to_owned(),
    }
}

fn docker(
    engine: &Engine,
    host: &Host,
    containers: Containers,
    images: usize,
    status: BTreeMap<String, String>,
) -> Docker {
    let mut security_options = vec!["name=seccomp,profile=default".to_owned()];
    if host.security.rootless {
        security_options.push("name=rootless".to_owned());
    }
    let has = |controller: &str| host.cgroup_controllers.iter().any(|c| c == controller);
    Docker {
        id: String::new(),
        containers: containers.number,
        containers_running: containers.running,
        containers_paused: containers.paused,
        containers_stopped: containers.stopped,
        images,
        driver: engine.store.driver_name().to_owned(),
        driver_status: status.into_iter().map(|(k, v)| [k, v]).collect(),
        memory_limit: has("memory"),
        swap_limit: has("memory"),
        pids_limit: has("pids"),
        ipv4_forwarding: read("/proc/sys/net/ipv4/ip_forward").trim() == "1",
        debug: false,
        logging_driver: host.log_driver.clone(),
        cgroup_driver: host.cgroup_manager.clone(),
        cgroup_version: host.cgroup_version.trim_start_matches('v').to_owned(),
        kernel_version: host.kernel.clone(),
        operating_system: host.distribution.pretty.clone(),
        os_version: host.distribution.version.clone(),
        os_type: host.os.clone(),
        architecture: std::env::consts::ARCH.to_owned(),
        ncpu: host.cpus,
        mem_total: host.mem_total,
        docker_root_dir: path(engine.store.graph_root()),
        name: host.hostname.clone(),
        labels: Vec::new(),
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
        default_runtime: host.oci_runtime.name.clone(),
        init_binary: "catatonit".to_owned(),
        security_options,
        warnings: Vec::new(),
    }
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn options(words: &[String]) -> BTreeMap<String, String> {
    words.iter().filter_map(|w| w.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn mappings(rows: &[IdMapping]) -> Vec<Mapping> {
    let row =
        |row: &IdMapping| Mapping { container_id: row.container_id, host_id: row.host_id, size: row.size };
    rows.iter().map(row).collect()
}

/// A program's version, as it says it itself.
fn program(name: &str, file: &Path) -> Program {
    let said =
        Command::new(file).arg("--version").env_clear().stdin(Stdio::null()).stderr(Stdio::null()).output();
    let version = said.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default();
    Program { name: name.to_owned(), package: "Unknown".to_owned(), path: path(file), version }
}

fn cgroup_manager(engine: &Engine) -> String {
    let configured = engine.config.containers.engine.cgroup_manager.clone();
    let asked = engine.config.overrides.cgroup_manager.clone().or(configured);
    let systemd = Path::new("/run/systemd/system").is_dir() && cgroups().0 == "v2";
    asked.unwrap_or_else(|| if systemd { "systemd" } else { "cgroupfs" }.to_owned())
}

/// The version, and the controllers that can be used.
fn cgroups() -> (&'static str, Vec<String>) {
    let unified = read("/sys/fs/cgroup/cgroup.controllers");
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return ("v2", unified.split_whitespace().map(str::to_owned).collect());
    }
    let table = read("/proc/cgroups");
    let enabled = table.lines().filter(|l| !l.starts_with('#')).filter_map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        (words.nth(2)? == "1").then(|| name.to_owned())
    });
    ("v1", enabled.collect())
}

fn security(engine: &Engine) -> Security {
    let configured = engine.config.containers.containers.seccomp_profile.clone();
    let usual = ["/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json"];
    let found = usual.into_iter().find(|p| Path::new(p).exists()).map(str::to_owned);
    Security {
        apparmor_enabled: read("/sys/module/apparmor/parameters/enabled").starts_with('Y'),
        capabilities: engine.config.containers.containers.default_capabilities.values.join(","),
        rootless: engine.rootless(),
        seccomp_enabled: read("/proc/self/status").contains("\nSeccomp:"),
        seccomp_profile_path: configured.or(found).unwrap_or_else(|| "built-in".to_owned()),
        selinux_enabled: Path::new("/sys/fs/selinux/enforce").exists(),
    }
}

#[derive(Default)]
struct Memory {
    total: u64,
    free: u64,
    swap_total: u64,
    swap_free: u64,
}

fn memory() -> Memory {
    let text = read("/proc/meminfo");
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        number.unwrap_or(0) * 1024
    };
    Memory {
        total: field("MemTotal:"),
        free: field("MemFree:"),
        swap_total: field("SwapTotal:"),
        swap_free: field("SwapFree:"),
    }
}

/// Since boot, in percent with two decimals.
fn cpu_utilization() -> CpuUtilization {
    let text = read("/proc/stat");
    let numbers: Vec<f64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|n| n.parse().ok())
        .collect();
    let [user, nice, system, idle, ..] = numbers[..] else { return CpuUtilization::default() };
    let all = user + nice + system + idle;
    let percent = |part: f64| if all > 0.0 { (part * 10_000.0 / all).round() / 100.0 } else { 0.0 };
    CpuUtilization {
        user_percent: percent(user),
        system_percent: percent(system),
        idle_percent: percent(idle),
    }
}

fn distribution() -> Distribution {
    let text = ["/etc/os-release", "/usr/lib/os-release"]
        .into_iter()
        .map(read)
        .find(|t| !t.is_empty())
        .unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    Distribution {
        distribution: field("ID"),
        version: field("VERSION_ID"),
        codename: field("VERSION_CODENAME"),
        pretty: field("PRETTY_NAME"),
    }
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn uptime() -> String {
    let text = read("/proc/uptime");
    let seconds: f64 = text.split_whitespace().next().and_then(|s| s.parse().ok()).unwrap_or(0.0);
    let whole = seconds as u64;
    let (days, hours) = (whole / 86_400, whole / 3600);
    let text = format!("{hours}h {}m {:.2}s", whole / 60 % 60, (whole % 60) as f64);
    if days > 0 { format!("{text} (Approximately {:.2} days)", seconds / 86_400.0) } else { text }
}

/// The names docker and podman give file systems.
fn backing_file_system(path: &Path) -> String {
    let magic = rustix::fs::statfs(path).map_or(0, |s| s.f_type as u64);
    let name = match magic {
        0xEF53 => "extfs",
        0x5846_5342 => "xfs",
        0x9123_683E => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794C_7630 => "overlayfs",
        0x2FC1_2FC1 => "zfs",
        0xF2F5_2010 => "f2fs",
        0x6969 => "nfs",
        _ => return format!("{magic:#x}"),
    };
    name.to_owned()
}

/// Block-style YAML, keys sorted as podman prints them.
fn yaml(value: &Value) -> String {
    let mut out = String::new();
    write_yaml(&mut out, value, 0);
    out
}

fn write_yaml(out: &mut String, value: &Value, depth: usize) {
    let entries: Vec<(String, &Value)> = match value {
        Value::Struct(record) => {
            let mut fields: Vec<_> =
                record.fields.iter().filter(|f| !f.hidden).map(|f| (f.name.to_owned(), &f.value)).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            fields
        }
        Value::Map(map) => map.entries.iter().map(|(k, v)| (k.to_string(), v)).collect(),
        _ => return,
    };
    for (key, value) in entries {
        out.push_str(&"  ".repeat(depth));
        out.push_str(&key);
        out.push(':');
        match value {
            Value::Struct(record) if !record.fields.is_empty() => {
                out.push('\n');
                write_yaml(out, value, depth + 1);
            }
            Value::Map(map) if !map.entries.is_empty() => {
                out.push('\n');
                write_yaml(out, value, depth + 1);
            }
            Value::List(list) if !list.items.is_empty() => {
                out.push('\n');
                for item in &list.items {
                    let mut text = String::new();
                    write_yaml(&mut text, item, depth + 1);
                    let text = if text.is_empty() {
                        scalar(item, depth) + "\n"
                    } else {
                        text.trim_start().to_owned()
                    };
                    out.push_str(&format!("{}- {text}", "  ".repeat(depth)));
                }
            }
            value => out.push_str(&format!(" {}\n", scalar(value, depth))),
        }
    }
}

fn scalar(value: &Value, depth: usize) -> String {
    match value {
        Value::Struct(_) | Value::Map(_) => "{}".to_owned(),
        Value::List(_) => "[]".to_owned(),
        Value::Str(s) if s.contains('\n') => {
            let indent = "  ".repeat(depth + 1);
            format!("|-\n{indent}{}", s.trim_end().replace('\n', &format!("\n{indent}")))
        }
        Value::Str(s) if needs_quotes(s) => format!("'{}'", s.replace('\'', "''")),
        Value::NilPointer | Value::Nil | Value::Missing => "null".to_owned(),
        other => crate::cmd::format::template::display(other),
    }
}

fn needs_quotes(s: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "/._-+@%, ()=".contains(c);
    s.is_empty()
        || s.parse::<f64>().is_ok()
        || matches!(s, "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "~")
        || !s.chars().all(plain)
        || s.starts_with(|c: char| " -,@%=.".contains(c))
        || s.ends_with(' ')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn yaml_looks_like_podmans() {
        #[derive(Serialize)]
        struct Inner {
            version: &'static str,
            lines: &'static str,
        }
        #[derive(Serialize)]
        struct Outer {
            name: &'static str,
            inner: Inner,
            list: Vec<&'static str>,
            maps: Vec<Mapping>,
            empty: Vec<String>,
            none: Option<u8>,
            map: BTreeMap<String, String>,
        }
        let value = to_value(&Outer {
            name: "conmon version 2, commit: x",
            inner: Inner { version: "12", lines: "a\nb" },
            list: vec!["x", "y"],
            maps: vec![Mapping { container_id: 0, host_id: 1, size: 2 }],
            empty: Vec::new(),
            none: None,
            map: BTreeMap::new(),
        });
        let expected = "empty: []\ninner:\n  lines: |-\n    a\n    b\n  version: '12'\nlist:\n- x\n- y\nmap: {}\nmaps:\n- container_id: 0\n  host_id: 1\n  size: 2\nname: 'conmon version 2, commit: x'\nnone: null\n";
        assert_eq!(yaml(&value), expected);
    }
}
