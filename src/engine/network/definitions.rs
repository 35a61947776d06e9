//! The networks there are: a file each in the network directory, and the default one, which needs none.
//!
//! Files are named after their network and replaced as a whole, so that readers take no lock; who makes or changes one
//! holds the directory's `flock`. Files of podman's networks are of the same form: a directory that both are configured
//! with (`network_config_dir`) is shared.

use super::{Network, Subnet};
use crate::engine::config::Config;
use crate::engine::events::{Events, Kind};
use crate::engine::host::atomic::{self, Durability};
use crate::engine::host::lock::DirLock;
use crate::engine::{Context, Error, ErrorKind, Result};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The name under which the default network is listed; `default`, `podman` and containers.conf's `default_network`
/// mean it, too.
pub const DEFAULT_NETWORK: &str = "bridge";

/// Its bridge.
const DEFAULT_INTERFACE: &str = "coracle0";

/// Its subnet unless containers.conf's `default_subnet` says otherwise: neither podman's (10.88.0.0/16) nor docker's
/// (172.17.0.0/16), as all three may be in use on one host.
const DEFAULT_SUBNET: &str = "10.127.0.0/16";

/// SHA-256 of `coracle default network`: the same everywhere and for ever.
const DEFAULT_ID: &str = "cc7ae359e610927efff2999992fb690dabf5d3f94210ffe502929dd5dc15e155";

/// The definitions in one network directory.
#[derive(Debug)]
pub struct Networks<'a> {
    pub(super) config: &'a Config,
    dir: PathBuf,
}

impl<'a> Networks<'a> {
    /// Those of the configured directory. Reads nothing yet.
    pub fn open(config: &'a Config) -> Self {
        Self { config, dir: config.paths.networks.clone() }
    }

    /// All networks by name, the default one among them. A file that cannot be understood is left out with a warning: one
    /// broken definition must not stand in the way of the others.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn list(&self) -> Result<Vec<Network>> {
        let mut found = BTreeMap::new();
        for path in definition_files(&self.dir)? {
            match read(&path) {
                Ok(Some(network)) => _ = found.insert(network.name.clone(), network),
                Ok(None) => {}
                Err(e) => tracing::warn!("network left out: {e}"),
            }
        }
        let default = self.default_network()?;
        found.insert(default.name.clone(), default);
        Ok(found.into_values().collect())
    }

    /// Files that cannot be understood, and why.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn damaged(&self) -> Result<Vec<(PathBuf, String)>> {
        let files = definition_files(&self.dir)?.into_iter();
        Ok(files.filter_map(|path| read(&path).err().map(|e| (path, e.to_string()))).collect())
    }

    /// Moves a file that cannot be understood to another directory.
    ///
    /// # Errors
    /// It cannot be moved.
    pub fn set_aside(&self, path: &Path, to: &Path) -> Result<()> {
        let _lock = DirLock::exclusive(&self.dir)?;
        fs::create_dir_all(to).map_err(|e| Error::io("mkdir", to, e))?;
        let target = to.join(path.file_name().unwrap_or_default());
        match fs::rename(path, &target) {
            // network_config_dir may lie on another file system than the store.
            Err(e) if e.kind() == std::io::ErrorKind::CrossesDevices => {
                fs::copy(path, &target).map_err(|e| Error::io("write", &target, e))?;
                fs::remove_file(path).map_err(|e| Error::io("remove", path, e))
            }
            moved => moved.map_err(|e| Error::io("rename to", &target, e)),
        }
    }

    /// The network of that name or ID, or with an ID that begins so.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; [`ErrorKind::Conflict`] when several IDs begin so; [`ErrorKind::Corrupt`] if its file cannot
    /// be understood.
    pub fn resolve(&self, name: &str) -> Result<Network> {
        if self.means_default(name) {
            return self.default_network();
        }
        if let Some(network) = self.named(name)? {
            return Ok(network);
        }
        let hex = name.bytes().all(|b| b.is_ascii_hexdigit()) && !name.is_empty() && name.len() <= 64;
        let mut matching = if hex { self.list()? } else { Vec::new() };
        matching.retain(|n| n.id.starts_with(name));
        match (matching.pop(), matching.is_empty()) {
            (Some(network), true) => Ok(network),
            (Some(_), false) => Err(Error::new(
                ErrorKind::Conflict,
                format!("more than one network has an ID that begins with {name}"),
            )
            .with_hint("give more digits of the ID, or the name")),
            (None, _) => Err(Error::not_found(format!("network {name} not found"))),
        }
    }

    /// Whether a name means the default network.
    pub fn means_default(&self, name: &str) -> bool {
        let configured = self.config.containers.network.default_network.as_deref();
        matches!(name, DEFAULT_NETWORK | "default" | "podman") || configured == Some(name)
    }

    /// The default network: that of containers.conf's `default_network` if there is one of that name, else one that needs
    /// no file and has one only when it was changed.
    pub fn default_network(&self) -> Result<Network> {
        let configured = self.config.containers.network.default_network.as_deref();
        let of_conf = configured.map_or(Ok(None), |name| self.named(name))?;
        if let Some(network) = of_conf {
            return Ok(network);
        }
        match self.named(DEFAULT_NETWORK)? {
            Some(network) => Ok(network),
            None => self.built_in(),
        }
    }

    fn built_in(&self) -> Result<Network> {
        let text = self.config.containers.network.default_subnet.as_deref().unwrap_or(DEFAULT_SUBNET);
        let subnet: IpNet = text.parse().map_err(|_| {
            Error::invalid(format!("containers.conf: default_subnet {text:?} is not a subnet"))
                .with_hint("ADDRESS/PREFIX, for example 10.127.0.0/16")
        })?;
        let subnet = subnet.trunc();
        // As old as the records: the directory was there before the first container.
        let created = fs::metadata(&self.config.paths.state).and_then(|m| m.created()).ok();
        let created = created.and_then(|time| jiff::Timestamp::try_from(time).ok());
        Ok(Network {
            name: DEFAULT_NETWORK.to_owned(),
            id: DEFAULT_ID.to_owned(),
            driver: "bridge".to_owned(),
            network_interface: DEFAULT_INTERFACE.to_owned(),
            created: created.unwrap_or(jiff::Timestamp::UNIX_EPOCH),
            subnets: vec![Subnet { subnet, gateway: subnet.hosts().next(), lease_range: None }],
            routes: Vec::new(),
            ipv6_enabled: matches!(subnet, IpNet::V6(_)),
            internal: false,
            dns_enabled: false,
            network_dns_servers: Vec::new(),
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
            ipam_options: BTreeMap::from([("driver".to_owned(), "host-local".to_owned())]),
            attachable: false,
        })
    }

    /// The network in the file of that name.
    pub(super) fn named(&self, name: &str) -> Result<Option<Network>> {
        if valid_name(name) { read(&self.path(name)) } else { Ok(None) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.json"))
    }

    /// Waits until nobody else makes, changes or removes a network; makes the directory if it is not there.
    pub(super) fn lock(&self) -> Result<DirLock> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|e| Error::io("mkdir", &self.dir, e))?;
        DirLock::exclusive(&self.dir)
    }

    /// Writes a network's file, durably. The caller holds the lock.
    pub(super) fn save(&self, network: &Network, _held: &DirLock) -> Result<()> {
        let mut text = serde_json::to_vec_pretty(network)
            .map_err(|e| Error::corrupt("encode a network").with_source(e))?;
        text.push(b'\n');
        atomic::write(&self.path(&network.name), &text, 0o644, Durability::Synced)
    }

    /// Tells that something happened to a network; `container` joined it, or left it.
    pub fn tell(&self, action: &str, network: &Network, container: Option<&str>) {
        let mut attributes = network.labels.clone();
        attributes.extend(container.map(|id| ("container".to_owned(), id.to_owned())));
        attributes.insert("name".to_owned(), network.name.clone());
        attributes.insert("type".to_owned(), network.driver.clone());
        Events::open(self.config).emit(Kind::Network, action, &network.id, attributes);
    }

    /// Removes a network's file. The caller holds the lock. `false`: there was none.
    pub(super) fn delete(&self, name: &str, _held: &DirLock) -> Result<bool> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Ok(()) => atomic::sync_directory(&self.dir).map(|()| true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::io("remove", &path, e)),
        }
    }
}

/// Whether a network can have this name; `.json` has to find room behind it.
pub(super) fn valid_name(name: &str) -> bool {
    name.len() <= 250 && crate::engine::spec::is_name(name)
}

/// The files in a directory of networks; none if there is no such directory.
pub(super) fn definition_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("read directory", dir, e)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("read directory", dir, e))?;
        let name = entry.file_name();
        if name.to_str().and_then(|n| n.strip_suffix(".json")).is_some_and(valid_name) {
            files.push(entry.path());
        }
    }
    Ok(files)
}

/// A network from its file; `None` if there is none (any more).
pub(super) fn read(path: &Path) -> Result<Option<Network>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("read", path, e)),
    };
    let network = Network::parse(&text).with_context(|| format!("read {}", path.display()))?;
    if path.file_stem().is_none_or(|stem| stem != network.name.as_str()) {
        let found = format!("{} defines a network of another name, {:?}", path.display(), network.name);
        return Err(Error::corrupt(found).with_hint("name the file after the network"));
    }
    Ok(Some(network))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn config(dir: &Path) -> Config {
        let mut config = Config::default();
        config.paths.networks = dir.join("networks");
        config.paths.state = dir.to_owned();
        config
    }

    fn made(networks: &Networks<'_>, name: &str, id: &str) {
        let network = Network { name: name.to_owned(), id: id.repeat(32), ..networks.built_in().unwrap() };
        networks.save(&network, &networks.lock().unwrap()).unwrap();
    }

    #[test]
    fn names_ids_and_their_beginnings() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let networks = Networks::open(&config);
        made(&networks, "app", "ab");
        made(&networks, "db", "ac");
        made(&networks, "abab", "de");
        let of = |name: &str| networks.resolve(name).map(|n| n.name);
        assert_eq!(of("app").unwrap(), "app");
        assert_eq!(of(&"ac".repeat(32)).unwrap(), "db");
        assert_eq!(of("de").unwrap(), "abab");
        // A name goes before the beginning of an ID.
        assert_eq!(of("abab").unwrap(), "abab");
        assert_eq!(of("a").unwrap_err().kind(), ErrorKind::Conflict);
        for name in ["nope", "", "../app", "app.json", ".", "ABAB", "f"] {
            let e = of(name).unwrap_err();
            assert_eq!((e.kind(), e.to_string()), (ErrorKind::NotFound, format!("network {name} not found")));
        }
        let names: Vec<_> = networks.list().unwrap().into_iter().map(|n| n.name).collect();
        assert_eq!(names, ["abab", "app", "bridge", "db"]);
        assert!(networks.delete("app", &networks.lock().unwrap()).unwrap());
        assert!(!networks.delete("app", &networks.lock().unwrap()).unwrap());
        assert_eq!(of("app").unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn the_default_network_has_many_names_and_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        config.containers.network.default_network = Some("main".into());
        config.containers.network.default_subnet = Some("192.0.2.77/25".into());
        let networks = Networks::open(&config);
        for name in ["bridge", "default", "podman", "main", &DEFAULT_ID[..12]] {
            assert_eq!(networks.resolve(name).unwrap().id, DEFAULT_ID, "{name}");
        }
        assert!(!config.paths.networks.exists());
        let default = networks.default_network().unwrap();
        assert_eq!(default.subnets[0].subnet.to_string(), "192.0.2.0/25");
        assert_eq!(default.subnets[0].gateway.unwrap().to_string(), "192.0.2.1");
        assert!(!default.dns_enabled);
        // One that the user made of the configured name is the default from then on.
        made(&networks, "main", "ab");
        for name in ["bridge", "default", "main"] {
            assert_eq!(networks.resolve(name).unwrap().name, "main", "{name}");
        }
        config.containers.network.default_subnet = Some("nonsense".into());
        config.containers.network.default_network = None;
        assert!(
            Networks::open(&config).default_network().unwrap_err().to_string().contains("default_subnet")
        );
    }

    #[test]
    fn a_broken_file_hides_no_other_network() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let networks = Networks::open(&config);
        made(&networks, "app", "ab");
        let file = |name: &str| config.paths.networks.join(name);
        fs::write(file("broken.json"), "{").unwrap();
        fs::copy(file("app.json"), file("copy.json")).unwrap();
        fs::write(file(".tmp-x.json-1"), "{").unwrap();
        let names: Vec<_> = networks.list().unwrap().into_iter().map(|n| n.name).collect();
        assert_eq!(names, ["app", "bridge"]);
        for name in ["broken", "copy"] {
            let e = networks.resolve(name).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Corrupt);
            assert!(e.to_string().contains(&format!("{name}.json")), "{e}");
        }
    }

    #[test]
    fn podmans_files_are_understood() {
        let text = r#"{"name":"app","id":"f4f9b9e3f2e6a1d9b0a0e3d7c1e6f1a2b3c4d5e6f708192a3b4c5d6e7f809102","driver":"bridge",
            "network_interface":"podman1","created":"2026-01-02T03:04:05.678901234+02:00",
            "subnets":[{"subnet":"10.89.0.0/24","gateway":"10.89.0.1","lease_range":{"start_ip":"10.89.0.8"}}],
            "ipv6_enabled":false,"internal":false,"dns_enabled":true,"ipam_options":{"driver":"host-local"}}"#;
        let network = Network::parse(text).unwrap();
        assert_eq!(network.created.to_string(), "2026-01-02T01:04:05.678901234Z");
        assert_eq!(network.subnets[0].lease_range.as_ref().unwrap().end_ip, None);
        let again = Network::parse(&serde_json::to_string(&network).unwrap()).unwrap();
        assert_eq!(again, network);
    }
}
