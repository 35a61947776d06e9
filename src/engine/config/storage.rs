//! storage.conf (containers-storage.conf(5)): where images and containers are, and by which driver.

use super::Environment;
use super::containers::parse_toml;
use crate::engine::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What the store is opened with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StorageConf {
    /// Graph root, expanded and absolute.
    pub graph_root: PathBuf,
    /// Run root, expanded and absolute.
    pub run_root: PathBuf,
    /// Graph driver; `None`: the first that works.
    pub driver: Option<String>,
    /// Driver options as `driver.key=value`.
    pub driver_options: Vec<String>,
    /// Read-only image stores.
    pub image_stores: Vec<PathBuf>,
    /// A separate store for images.
    pub image_store: Option<PathBuf>,
    /// Containers are recorded in the run root only.
    pub transient: bool,
    /// User whose subordinate IDs root's `--userns auto` takes; default `containers`.
    pub root_auto_userns_user: Option<String>,
    /// Smallest automatic user namespace.
    pub auto_userns_min_size: Option<u32>,
    /// Largest automatic user namespace.
    pub auto_userns_max_size: Option<u32>,
    /// How images are pulled.
    pub pull_options: PullOptions,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
}

/// storage.conf's `pull_options`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PullOptions {
    /// `enable_partial_images`: what other layers have is not fetched.
    pub partial: bool,
    /// `use_hard_links`: it may be a link to theirs.
    pub hard_links: bool,
    /// `convert_images`: layers without a table of contents get one, for the same.
    pub convert: bool,
}

impl PullOptions {
    /// Takes podman's `--pull-option KEY=VALUE`.
    ///
    /// # Errors
    /// `Invalid` if it is not of that form, or nothing that is known.
    pub fn set(&mut self, option: &str) -> Result<()> {
        let bad = || Error::invalid(format!("invalid pull option {option:?}"));
        let (key, value) = option.split_once('=').ok_or_else(|| bad().with_hint("KEY=true or KEY=false"))?;
        let value = value.parse().map_err(|_| bad().with_hint("KEY=true or KEY=false"))?;
        match self.option(key) {
            Some(known) => *known = value,
            None => {
                let hint = "options are enable_partial_images, use_hard_links and convert_images";
                return Err(bad().with_hint(hint));
            }
        }
        Ok(())
    }

    fn option(&mut self, key: &str) -> Option<&mut bool> {
        match key {
            "enable_partial_images" => Some(&mut self.partial),
            "use_hard_links" => Some(&mut self.hard_links),
            "convert_images" => Some(&mut self.convert),
            _ => None,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    storage: Storage,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Storage {
    driver: Option<String>,
    graphroot: Option<String>,
    runroot: Option<String>,
    rootless_storage_path: Option<String>,
    imagestore: Option<String>,
    transient_store: Option<bool>,
    options: Options,
    #[serde(flatten)]
    unknown: BTreeMap<String, toml::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Options {
    additionalimagestores: Vec<String>,
    root_auto_userns_user: Option<String>,
    auto_userns_min_size: Option<u32>,
    auto_userns_max_size: Option<u32>,
    overlay: BTreeMap<String, toml::Value>,
    vfs: BTreeMap<String, toml::Value>,
    #[serde(rename = "mount_program")]
    mount_program: Option<String>,
    mountopt: Option<String>,
    #[serde(rename = "pull_options")]
    pull_options: BTreeMap<String, toml::Value>,
    #[serde(rename = "ignore_chown_errors")]
    ignore_chown_errors: Option<toml::Value>,
    #[serde(flatten)]
    unknown: BTreeMap<String, toml::Value>,
}

/// Root's defaults (storage.conf(5), "graphroot", "runroot").
const GRAPH_ROOT: &str = "/var/lib/containers/storage";
const RUN_ROOT: &str = "/run/containers/storage";

impl StorageConf {
    /// Finds and reads the file that concerns this caller, as containers/storage's `types/options.go` does:
    /// `CONTAINERS_STORAGE_CONF`; else for a user `~/.config/containers/storage.conf`; else /etc, else /usr/share. A
    /// user without a file of their own takes driver and rootless path, but no roots, from the system's.
    ///
    /// A missing file is no error unless the variable names it. A syntax error names file, line and key.
    pub fn load(env: &Environment) -> Result<Self> {
        let mut conf = match env.var("CONTAINERS_STORAGE_CONF") {
            Some(path) => Self::from_file(Path::new(path), env, true)?.ok_or_else(|| {
                Error::not_found(format!("CONTAINERS_STORAGE_CONF names {path}, which does not exist"))
            })?,
            None => Self::find(env)?,
        };
        if let Some(driver) = env.var("STORAGE_DRIVER") {
            conf.driver = Some(driver.to_owned());
            conf.driver_options.clear();
        }
        if let Some(options) = env.var("STORAGE_OPTS") {
            conf.driver_options = options.split(',').map(str::to_owned).collect();
        }
        if conf.driver.as_deref() == Some("overlay2") {
            conf.driver = Some("overlay".to_owned());
        }
        Ok(conf)
    }

    fn find(env: &Environment) -> Result<Self> {
        if env.rootless() {
            let own = env.config_home().join("containers/storage.conf");
            if let Some(conf) = Self::from_file(&own, env, true)? {
                return Ok(conf);
            }
        }
        for path in ["/etc/containers/storage.conf", "/usr/share/containers/storage.conf"] {
            if let Some(conf) = Self::from_file(Path::new(path), env, !env.rootless())? {
                return Ok(conf);
            }
        }
        Self::from_parts(Storage::default(), env, None, false)
    }

    fn from_file(path: &Path, env: &Environment, roots: bool) -> Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("read", path, e)),
        };
        let file: File = parse_toml(&text, path)?;
        for key in file.storage.unknown.keys().chain(file.storage.options.unknown.keys()) {
            tracing::debug!("{}: key {key} is not used by this program", path.display());
        }
        Self::from_parts(file.storage, env, Some(path), roots).map(Some)
    }

    /// `roots`: whether the file's graphroot and runroot concern this caller.
    fn from_parts(storage: Storage, env: &Environment, path: Option<&Path>, roots: bool) -> Result<Self> {
        let configured = |value: &Option<String>| {
            value.as_deref().filter(|value| roots && !value.is_empty()).map(|value| env.expand(value))
        };
        let rootless_path = storage.rootless_storage_path.as_deref().filter(|p| !p.is_empty());
        let graph_root = match configured(&storage.graphroot) {
            Some(root) => root,
            None if env.rootless() => rootless_path
                .map_or_else(|| env.data_home().join("containers/storage"), |path| env.expand(path)),
            None => PathBuf::from(GRAPH_ROOT),
        };
        let run_root = match configured(&storage.runroot) {
            Some(root) => root,
            None if env.rootless() => env.runtime_dir()?.join("containers"),
            None => PathBuf::from(RUN_ROOT),
        };
        let options = &storage.options;
        let stores = options.additionalimagestores.iter().map(|s| env.expand(s)).collect();
        Ok(Self {
            graph_root,
            run_root,
            driver_options: if roots || path.is_none() { driver_options(options) } else { Vec::new() },
            driver: storage.driver.filter(|driver| !driver.is_empty()),
            image_stores: stores,
            image_store: storage.imagestore.filter(|s| !s.is_empty()).map(|s| env.expand(&s)),
            transient: storage.transient_store.unwrap_or(false),
            root_auto_userns_user: options.root_auto_userns_user.clone(),
            auto_userns_min_size: options.auto_userns_min_size,
            auto_userns_max_size: options.auto_userns_max_size,
            pull_options: pull_options(&options.pull_options),
            file: path.map(Path::to_owned),
        })
    }
}

/// Values are texts (`"true"`) to containers/storage; what is meant is taken.
fn pull_options(table: &BTreeMap<String, toml::Value>) -> PullOptions {
    let is_true = |value: &toml::Value| match value {
        toml::Value::String(text) => text.eq_ignore_ascii_case("true"),
        other => other.as_bool().unwrap_or(false),
    };
    let mut options = PullOptions::default();
    for (key, value) in table {
        match options.option(key) {
            Some(known) => *known = is_true(value),
            None => tracing::debug!("pull option {key} is not used by this program"),
        }
    }
    options
}

/// `[storage.options]` and its driver tables as the `driver.key=value` words the drivers take.
fn driver_options(options: &Options) -> Vec<String> {
    let mut words = Vec::new();
    let mut push = |driver: &str, key: &str, value: &toml::Value| {
        let text = match value {
            toml::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if !text.is_empty() {
            words.push(format!("{driver}.{key}={text}"));
        }
    };
    let string = |text: &Option<String>| text.clone().map(toml::Value::String);
    for (key, value) in [
        ("mount_program", string(&options.mount_program)),
        ("mountopt", string(&options.mountopt)),
        ("ignore_chown_errors", options.ignore_chown_errors.clone()),
    ] {
        if let Some(value) = value.filter(|_| !options.overlay.contains_key(key)) {
            push("overlay", key, &value);
        }
    }
    for (driver, table) in [("overlay", &options.overlay), ("vfs", &options.vfs)] {
        for (key, value) in table {
            push(driver, key, value);
        }
    }
    words
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn user(tmp: &Path) -> Environment {
        Environment {
            uid: 1000,
            home: tmp.into(),
            vars: BTreeMap::from([("XDG_RUNTIME_DIR".into(), tmp.to_string_lossy().into_owned())]),
            ..Environment::default()
        }
    }

    #[test]
    fn a_users_file_gives_roots_driver_and_options() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join(".config/containers");
        fs::create_dir_all(&dir).unwrap();
        let text = "[storage]\ndriver=\"overlay2\"\ngraphroot=\"$HOME/graph\"\n[storage.options]\n\
                    additionalimagestores=[\"/srv/images\"]\n[storage.options.overlay]\nmount_program=\"/usr/bin/fuse-overlayfs\"\nignore_chown_errors=\"true\"\n";
        let text = text.replace("[storage.options.overlay]", "pull_options={enable_partial_images=\"true\", use_hard_links=\"false\", ostree_repos=\"\"}\n[storage.options.overlay]");
        fs::write(dir.join("storage.conf"), text).unwrap();
        let conf = StorageConf::load(&user(tmp.path())).unwrap();
        assert_eq!(conf.graph_root, tmp.path().join("graph"));
        assert_eq!(conf.pull_options, PullOptions { partial: true, ..PullOptions::default() });
        assert!(conf.run_root.ends_with("containers"));
        assert_eq!(conf.driver.as_deref(), Some("overlay"));
        assert_eq!(
            conf.driver_options,
            ["overlay.ignore_chown_errors=true", "overlay.mount_program=/usr/bin/fuse-overlayfs"]
        );
        assert_eq!(conf.image_stores, [PathBuf::from("/srv/images")]);
    }

    #[test]
    fn pull_options_are_set_one_by_one() {
        let mut options = PullOptions::default();
        for option in ["enable_partial_images=true", "convert_images=true", "convert_images=false"] {
            options.set(option).unwrap();
        }
        assert_eq!(options, PullOptions { partial: true, ..PullOptions::default() });
        for bad in ["convert_images", "convert_images=perhaps", "speed=true", ""] {
            assert!(options.set(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_variable_must_name_a_file_and_errors_name_the_line() {
        let tmp = tempfile::tempdir().unwrap();
        let mut env = user(tmp.path());
        let path = tmp.path().join("s.conf");
        env.vars.insert("CONTAINERS_STORAGE_CONF".into(), path.to_string_lossy().into_owned());
        assert!(StorageConf::load(&env).unwrap_err().to_string().contains("does not exist"));
        fs::write(&path, "[storage]\n\ndriver = 3\n").unwrap();
        let e = StorageConf::load(&env).unwrap_err().to_string();
        assert!(e.contains("s.conf, line 3 (key driver)"), "{e}");
    }
}
