//! containers.conf (containers.conf(5)): defaults for containers and the engine.
//!
//! Files are read in podman's order and each overrides the ones before, key by key; a list is replaced unless the
//! file says `{append=true}`. Keys we do not know are told once at debug level: the file is shared with podman and
//! buildah, which know others.

use super::Environment;
use crate::engine::{Error, Result};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A list that a later file replaces or, with `{append=true}` as an element, extends
/// (containers.conf(5), "FORMAT").
#[derive(Clone, Debug, Default, PartialEq)]
pub struct List {
    /// The strings.
    pub values: Vec<String>,
    append: bool,
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Element {
            Text(String),
            Attribute { append: bool },
        }
        let mut list = Self::default();
        for element in Vec::<Element>::deserialize(deserializer)? {
            match element {
                Element::Text(text) => list.values.push(text),
                Element::Attribute { append } => list.append = append,
            }
        }
        Ok(list)
    }
}

/// How a later file's value joins an earlier one.
trait Merge {
    fn take_later(&mut self, later: Self);
}

impl<T> Merge for Option<T> {
    fn take_later(&mut self, later: Self) {
        if later.is_some() {
            *self = later;
        }
    }
}

impl<K: Ord, V> Merge for BTreeMap<K, V> {
    fn take_later(&mut self, mut later: Self) {
        self.append(&mut later);
    }
}

impl Merge for List {
    fn take_later(&mut self, later: Self) {
        if later.append {
            self.values.extend(later.values);
        } else if !later.values.is_empty() {
            self.values = later.values;
        }
        self.append |= later.append;
    }
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Deserialize)]
        #[serde(default)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
            #[serde(flatten)]
            unknown: BTreeMap<String, toml::Value>,
        }

        impl Merge for $name {
            fn take_later(&mut self, later: Self) {
                $(Merge::take_later(&mut self.$field, later.$field);)*
                self.unknown.take_later(later.unknown);
            }
        }
    };
}

section! {
/// `[containers]`: what a container gets when its command line says nothing.
Containers {
    /// Annotations as `key=value`.
    annotations: List,
    /// AppArmor profile name.
    apparmor_profile: Option<String>,
    /// What /etc/hosts starts from: a path, `image` or `none`; the host's when unset.
    base_hosts_file: Option<String>,
    /// `host` or `private`.
    cgroupns: Option<String>,
    /// `enabled`, `disabled`, `no-conmon`, `split`.
    cgroups: Option<String>,
    /// Whether the hostname is the container's name.
    container_name_as_hostname: Option<bool>,
    /// Capabilities without `--cap-add`.
    default_capabilities: List,
    /// Sysctls as `key=value`.
    default_sysctls: List,
    /// Ulimits as `name=soft:hard`.
    default_ulimits: List,
    /// Devices as `host:container:permissions`.
    devices: List,
    /// resolv.conf options.
    dns_options: List,
    /// resolv.conf search domains.
    dns_searches: List,
    /// resolv.conf name servers.
    dns_servers: List,
    /// Environment as `NAME=VALUE`.
    env: List,
    /// Whether the host's environment is passed on.
    env_host: Option<bool>,
    /// What host.containers.internal resolves to.
    host_containers_internal_ip: Option<String>,
    /// Whether proxy variables are passed on (default: yes).
    http_proxy: Option<bool>,
    /// Whether an init process is PID 1.
    init: Option<bool>,
    /// The init program.
    init_path: Option<String>,
    /// `device`: on a macvlan or ipvlan an interface is called as its parent; else `ethN`.
    interface_name: Option<String>,
    /// `shareable`, `private`, `host`, `none`.
    ipcns: Option<String>,
    /// Whether conmon makes a new keyring (default: yes).
    keyring: Option<bool>,
    /// Whether SELinux labels are used.
    label: Option<bool>,
    /// Log driver.
    log_driver: Option<String>,
    /// Log directory or file.
    log_path: Option<String>,
    /// Largest log file in bytes; -1: unlimited.
    log_size_max: Option<i64>,
    /// Log tag.
    log_tag: Option<String>,
    /// Mounts in `--mount` syntax.
    mounts: List,
    /// Network mode.
    netns: Option<String>,
    /// Whether /etc/hosts is left alone.
    no_hosts: Option<bool>,
    /// OOM score adjustment.
    oom_score_adj: Option<i32>,
    /// Most processes in a container (default 2048; 0 or -1: unlimited).
    pids_limit: Option<i64>,
    /// `private` or `host`.
    pidns: Option<String>,
    /// Whether a new volume is filled at creation.
    prepare_volume_on_create: Option<bool>,
    /// Whether containers are privileged.
    privileged: Option<bool>,
    /// Whether root filesystems are read-only.
    read_only: Option<bool>,
    /// `pasta` or `slirp4netns`.
    rootless_networking: Option<String>,
    /// Seccomp profile path.
    seccomp_profile: Option<String>,
    /// Size of /dev/shm with a unit.
    shm_size: Option<String>,
    /// Time zone.
    tz: Option<String>,
    /// umask, octal.
    umask: Option<String>,
    /// User namespace mode.
    userns: Option<String>,
    /// `private` or `host`.
    utsns: Option<String>,
    /// Volumes in `-v` syntax.
    volumes: List,
}
}

section! {
/// `[engine]`: where things are and how they are run.
Engine {
    /// Directories with descriptions of CDI devices.
    cdi_spec_dirs: List,
    /// `systemd` or `cgroupfs`.
    cgroup_manager: Option<String>,
    /// How pushed layers are compressed: `gzip`, `zstd`, `zstd:chunked`.
    compression_format: Option<String>,
    /// How hard.
    compression_level: Option<i32>,
    /// conmon's environment.
    conmon_env_vars: List,
    /// Candidates for conmon.
    conmon_path: List,
    /// Keys that detach from a terminal.
    detach_keys: Option<String>,
    /// The engine's environment (proxies, above all).
    env: List,
    /// Event backend.
    events_logger: Option<String>,
    /// Event log file.
    events_logfile_path: Option<String>,
    /// Directories with netavark, aardvark-dns, catatonit …
    helper_binaries_dir: List,
    /// OCI hook directories.
    hooks_dir: List,
    /// `oci` or `docker`.
    image_default_format: Option<String>,
    /// Layers pulled at once.
    image_parallel_copies: Option<u32>,
    /// `anonymous`, `tmpfs`, `ignore`.
    image_volume_mode: Option<String>,
    /// The init program.
    init_path: Option<String>,
    /// Options for slirp4netns.
    network_cmd_options: List,
    /// slirp4netns.
    network_cmd_path: Option<String>,
    /// Whether pivot_root is avoided (ramdisk roots).
    no_pivot_root: Option<bool>,
    /// Runtime for a platform.
    platform_to_oci_runtime: BTreeMap<String, String>,
    /// `always`, `missing`, `newer`, `never`.
    pull_policy: Option<String>,
    /// Directory for archives on their way; `storage`: the graph root.
    image_copy_tmp_dir: Option<String>,
    /// Attempts after a failed pull.
    retry: Option<u32>,
    /// Time between them, with a unit.
    retry_delay: Option<String>,
    /// The OCI runtime, a name or a path.
    runtime: Option<String>,
    /// Candidates for each runtime's program.
    runtimes: BTreeMap<String, Vec<String>>,
    /// Runtimes that work without cgroups.
    runtime_supports_nocgroups: List,
    /// Seconds between stop signal and SIGKILL.
    stop_timeout: Option<u32>,
    /// Volatile files.
    tmp_dir: Option<String>,
    /// Volumes.
    volume_path: Option<String>,
}
}

section! {
/// `[network]`: bridges and rootless networking.
Network {
    /// netavark or cni.
    network_backend: Option<String>,
    /// Directories with netavark and its helpers.
    netavark_plugin_dirs: List,
    /// Firewall driver: iptables, nftables, none.
    firewall_driver: Option<String>,
    /// Name of the default bridge network.
    default_network: Option<String>,
    /// Its subnet.
    default_subnet: Option<String>,
    /// Where the subnets of other networks come from.
    default_subnet_pools: Option<Vec<SubnetPool>>,
    /// `pasta` or `slirp4netns`.
    default_rootless_network_cmd: Option<String>,
    /// Where networks are kept.
    network_config_dir: Option<String>,
    /// Port aardvark-dns listens on.
    dns_bind_port: Option<u16>,
    /// Options for pasta.
    pasta_options: List,
}
}

/// Addresses that are divided into subnets: `{"base" = "10.89.0.0/16", "size" = 24}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct SubnetPool {
    /// All of them, as address and prefix length.
    pub base: String,
    /// Prefix length of one subnet.
    pub size: u8,
}

/// The merged file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ContainersConf {
    /// `[containers]`.
    pub containers: Containers,
    /// `[engine]`.
    pub engine: Engine,
    /// `[network]`.
    pub network: Network,
}

impl ContainersConf {
    /// Reads and merges every file that concerns this caller, in podman's order: /usr/share, /etc, /etc drop-ins,
    /// the user's, the user's drop-ins; `CONTAINERS_CONF` replaces them all, `CONTAINERS_CONF_OVERRIDE` comes last.
    ///
    /// `modules` are read before that override, each found as a path or by name in `containers.conf.modules` of the
    /// user's, the system's or the distribution's directory (podman(1), `--module`).
    ///
    /// A missing file is skipped unless a variable or a module names it. A syntax error names file, line and key.
    pub fn load(env: &Environment, modules: &[String]) -> Result<Self> {
        let mut conf = Self::default();
        if let Some(path) = env.var("CONTAINERS_CONF") {
            conf.read(Path::new(path), true)?;
        } else {
            conf.read(Path::new("/usr/share/containers/containers.conf"), false)?;
            let mut directories = vec![PathBuf::from("/etc/containers")];
            if env.rootless() {
                directories.push(env.config_home().join("containers"));
            }
            for directory in directories {
                conf.read(&directory.join("containers.conf"), false)?;
                for file in drop_ins(&directory.join("containers.conf.d"))? {
                    conf.read(&file, false)?;
                }
            }
        }
        for module in modules {
            conf.read(&find_module(env, module)?, true)?;
        }
        if let Some(path) = env.var("CONTAINERS_CONF_OVERRIDE") {
            conf.read(Path::new(path), true)?;
        }
        Ok(conf)
    }

    fn read(&mut self, path: &Path, required: bool) -> Result<()> {
        match fs::read_to_string(path) {
            Ok(text) => self.merge_text(&text, path),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !required => Ok(()),
            // A rootless user may not read root's configuration; podman skips it too.
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied && !required => Ok(()),
            Err(e) => Err(Error::io("read", path, e)),
        }
    }

    fn merge_text(&mut self, text: &str, path: &Path) -> Result<()> {
        let file: Self = parse_toml(text, path)?;
        for (section, keys) in [
            ("containers", &file.containers.unknown),
            ("engine", &file.engine.unknown),
            ("network", &file.network.unknown),
        ] {
            for key in keys.keys() {
                tracing::debug!("{}: key {section}.{key} is not used by this program", path.display());
            }
        }
        self.containers.take_later(file.containers);
        self.engine.take_later(file.engine);
        self.network.take_later(file.network);
        Ok(())
    }
}

fn find_module(env: &Environment, module: &str) -> Result<PathBuf> {
    if module.starts_with('/') {
        return Ok(PathBuf::from(module));
    }
    let directories =
        [env.config_home().join("containers"), "/etc/containers".into(), "/usr/share/containers".into()];
    let candidates = directories.map(|directory| directory.join("containers.conf.modules").join(module));
    candidates.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        Error::not_found(format!("no containers.conf module {module}"))
            .with_hint("modules are files in containers.conf.modules below ~/.config/containers, /etc/containers or /usr/share/containers")
    })
}

/// Parses a TOML configuration file; the error names file, line and what the parser found there.
pub(super) fn parse_toml<T: serde::de::DeserializeOwned>(text: &str, path: &Path) -> Result<T> {
    let bare = without_comments(text);
    toml::from_str(&bare).map_err(|e| {
        let line = e.span().map_or(1, |span| 1 + bare[..span.start.min(bare.len())].matches('\n').count());
        let key = text.lines().nth(line - 1).and_then(|l| l.split_once('=')).map(|(key, _)| key.trim());
        let key = key.map(|key| format!(" (key {key})")).unwrap_or_default();
        Error::invalid(format!("{}, line {line}{key}: {}", path.display(), e.message()))
    })
}

/// `text` with an empty line for each comment: distributions ship files with hundreds of them, which the parser would
/// examine letter by letter at every start.
fn without_comments(text: &str) -> Cow<'_, str> {
    let mut bare = String::new();
    for line in text.split_inclusive('\n') {
        let blanks = line.bytes().take_while(|b| matches!(b, b' ' | b'\t')).count();
        if line.as_bytes().get(blanks) == Some(&b'#') {
            bare.push('\n');
        } else {
            bare.push_str(line);
        }
    }
    // In a string of several lines it would be no comment.
    match bare.contains("\"\"\"") || bare.contains("'''") {
        true => Cow::Borrowed(text),
        false => Cow::Owned(bare),
    }
}

/// The `*.conf` files of a drop-in directory in name order; none if there is no such directory.
pub(super) fn drop_ins(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied) => {
            return Ok(Vec::new());
        }
        Err(e) => return Err(Error::io("read directory", directory, e)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::io("read directory", directory, e))?.path();
        if path.extension().is_some_and(|extension| extension == "conf") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn merged(texts: &[&str]) -> Result<ContainersConf> {
        let mut conf = ContainersConf::default();
        for text in texts {
            conf.merge_text(text, Path::new("/etc/containers/containers.conf"))?;
        }
        Ok(conf)
    }

    #[test]
    fn later_files_override_key_by_key_and_lists_append_when_asked() {
        let conf = merged(&[
            "[containers]\nenv=[\"A=1\"]\npids_limit=10\n[engine]\nruntime=\"runc\"\n[engine.runtimes]\nx=[\"/x\"]",
            "[containers]\nenv=[\"B=2\", {append=true}]\n[engine.runtimes]\ny=[\"/y\"]",
            "[containers]\npids_limit=20\ndns_servers=[\"::1\"]",
        ])
        .unwrap();
        assert_eq!(conf.containers.env.values, ["A=1", "B=2"]);
        assert_eq!(conf.containers.pids_limit, Some(20));
        assert_eq!(conf.engine.runtime.as_deref(), Some("runc"));
        assert_eq!(conf.engine.runtimes.len(), 2);
        let replaced = merged(&["[containers]\nenv=[\"A=1\"]", "[containers]\nenv=[\"B=2\"]"]).unwrap();
        assert_eq!(replaced.containers.env.values, ["B=2"]);
    }

    #[test]
    fn pools_of_subnets_are_tables() {
        let pools = r#"[network]
default_subnet_pools = [{"base" = "10.200.0.0/16", "size" = 24}, {"base"="192.168.0.0/20", "size"=26}]"#;
        let conf = merged(&["[network]\ndefault_subnet_pools = []", pools]).unwrap();
        let found = conf.network.default_subnet_pools.unwrap();
        assert_eq!((found[0].base.as_str(), found[1].size), ("10.200.0.0/16", 26));
    }

    #[test]
    fn a_syntax_error_names_file_line_and_key() {
        let e = merged(&["[containers]\npids_limit = \"many\"\n"]).unwrap_err().to_string();
        assert!(e.starts_with("/etc/containers/containers.conf, line 2 (key pids_limit): "), "{e}");
    }

    #[test]
    fn comments_count_as_lines_and_only_outside_of_strings() {
        let e = merged(&["# one\n[containers]\n  # three\npids_limit = \"many\"\n"]).unwrap_err().to_string();
        assert!(e.contains("line 4 (key pids_limit)"), "{e}");
        let conf = merged(&[
            "# x\n[containers]\nenv = [\n# y\n\"A=#1\", # z\n]\ninit_path = \"\"\"\n# not one\"\"\"",
        ]);
        let containers = conf.unwrap().containers;
        assert_eq!(containers.env.values, ["A=#1"]);
        assert_eq!(containers.init_path.as_deref(), Some("# not one"));
    }

    #[test]
    fn unknown_keys_and_sections_do_no_harm() {
        let conf = merged(&["[containers]\nfuture = 1\n[machine]\ncpus=2\n"]).unwrap();
        assert_eq!(conf.containers.unknown.len(), 1);
    }
}
