//! Configuration files: containers.conf, storage.conf, registries.conf, credentials.
//!
//! Parsing and merging are here; nothing is written. [`Config`] is what an [`crate::engine::Engine`] is opened with;
//! the registries' files are read by [`crate::engine::registry`] only when a registry is spoken to.

pub mod auth;
pub mod certs;
pub mod containers;
pub mod environment;
pub mod registries;
pub mod storage;

pub use containers::ContainersConf;
pub use environment::Environment;
pub use storage::StorageConf;

use crate::engine::Result;
use std::path::PathBuf;

/// What the command line's global flags (or another front end) override.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--root`.
    pub root: Option<PathBuf>,
    /// `--runroot`.
    pub run_root: Option<PathBuf>,
    /// `--imagestore`.
    pub image_store: Option<PathBuf>,
    /// `--storage-driver`.
    pub storage_driver: Option<String>,
    /// `--storage-opt`; given at all, they replace the configured ones.
    pub storage_options: Vec<String>,
    /// `--pull-option`, KEY=VALUE each; what is not named stays as configured.
    pub pull_options: Vec<String>,
    /// `--transient-store`.
    pub transient_store: bool,
    /// `--runtime`.
    pub runtime: Option<String>,
    /// `--runtime-flag`, without the leading dashes.
    pub runtime_flags: Vec<String>,
    /// `--conmon`.
    pub conmon: Option<PathBuf>,
    /// `--cgroup-manager`.
    pub cgroup_manager: Option<String>,
    /// `--events-backend`.
    pub events_backend: Option<String>,
    /// `--network-config-dir`.
    pub network_config_dir: Option<PathBuf>,
    /// `--volumepath`.
    pub volume_path: Option<PathBuf>,
    /// `--hooks-dir`.
    pub hooks_dir: Vec<PathBuf>,
    /// `--tmpdir`.
    pub tmp_dir: Option<PathBuf>,
    /// docker's `--config`: the directory with `config.json`.
    pub docker_config: Option<PathBuf>,
    /// `--module`: containers.conf modules, read after the other files.
    pub modules: Vec<String>,
    /// `--log-level`, passed on to conmon and the exit command.
    pub log_level: Option<String>,
}

/// Where our own files are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Paths {
    /// The store, shared with podman and others.
    pub graph_root: PathBuf,
    /// The store's volatile files.
    pub run_root: PathBuf,
    /// Our records: `<graph root>/coracle`.
    pub state: PathBuf,
    /// Our volatile files: `<run root>/coracle`, or `--tmpdir`.
    pub run_state: PathBuf,
    /// Named volumes.
    pub volumes: PathBuf,
    /// Network definitions.
    pub networks: PathBuf,
}

/// Everything that was configured, merged.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The caller.
    pub env: Environment,
    /// The front end's overrides, kept to be repeated to the exit command.
    pub overrides: Overrides,
    /// containers.conf.
    pub containers: ContainersConf,
    /// storage.conf with the overrides applied.
    pub storage: StorageConf,
    /// Where our own files are.
    pub paths: Paths,
}

impl Config {
    /// Reads containers.conf and storage.conf and applies the overrides.
    ///
    /// Fails when a file cannot be read or understood; the error names file, line and key.
    pub fn load(mut env: Environment, overrides: Overrides) -> Result<Self> {
        if let Some(directory) = &overrides.docker_config {
            env.vars.insert("DOCKER_CONFIG".to_owned(), directory.to_string_lossy().into_owned());
        }
        let containers = ContainersConf::load(&env, &overrides.modules)?;
        let mut storage = override_storage(StorageConf::load(&env)?, &overrides);
        overrides.pull_options.iter().try_for_each(|option| storage.pull_options.set(option))?;
        let state = storage.graph_root.join("coracle");
        let configured = |path: &Option<String>| path.as_deref().map(|path| env.expand(path));
        let paths = Paths {
            graph_root: storage.graph_root.clone(),
            run_root: storage.run_root.clone(),
            run_state: overrides.tmp_dir.clone().unwrap_or_else(|| storage.run_root.join("coracle")),
            volumes: (overrides.volume_path.clone())
                .or_else(|| configured(&containers.engine.volume_path))
                .unwrap_or_else(|| state.join("volumes")),
            networks: (overrides.network_config_dir.clone())
                .or_else(|| configured(&containers.network.network_config_dir))
                .unwrap_or_else(|| state.join("networks")),
            state,
        };
        Ok(Self { env, overrides, containers, storage, paths })
    }

    /// Whether the engine works as an ordinary user.
    pub fn rootless(&self) -> bool {
        self.env.rootless()
    }

    /// Directories with helper programs (catatonit, netavark …): configured ones, then where distributions put them
    /// (containers.conf(5), `helper_binaries_dir`).
    pub fn helper_directories(&self) -> Vec<PathBuf> {
        let configured = self.containers.engine.helper_binaries_dir.values.iter().map(PathBuf::from);
        let usual =
            ["/usr/local/libexec/podman", "/usr/local/lib/podman", "/usr/libexec/podman", "/usr/lib/podman"];
        configured.chain(usual.map(PathBuf::from)).collect()
    }
}

/// `--root` moves the graph root and, as in podman, forgets the configured driver's options only when a driver is
/// named, too.
fn override_storage(mut storage: StorageConf, overrides: &Overrides) -> StorageConf {
    if let Some(root) = &overrides.root {
        storage.graph_root.clone_from(root);
    }
    if let Some(root) = &overrides.run_root {
        storage.run_root.clone_from(root);
    }
    if let Some(store) = &overrides.image_store {
        storage.image_store = Some(store.clone());
    }
    if let Some(driver) = &overrides.storage_driver {
        storage.driver = Some(if driver == "overlay2" { "overlay".to_owned() } else { driver.clone() });
        storage.driver_options.clear();
    }
    if !overrides.storage_options.is_empty() {
        storage.driver_options.clone_from(&overrides.storage_options);
    }
    storage.transient |= overrides.transient_store;
    storage
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn global_flags_move_everything_below_two_directories() {
        let tmp = tempfile::tempdir().unwrap();
        let env = Environment { home: tmp.path().into(), ..Environment::default() };
        let overrides = Overrides {
            root: Some("/t/root".into()),
            run_root: Some("/t/run".into()),
            storage_driver: Some("overlay2".into()),
            ..Overrides::default()
        };
        let config = Config::load(env, overrides).unwrap();
        assert_eq!(config.paths.state, PathBuf::from("/t/root/coracle"));
        assert_eq!(config.paths.run_state, PathBuf::from("/t/run/coracle"));
        assert_eq!(config.paths.volumes, PathBuf::from("/t/root/coracle/volumes"));
        assert_eq!(config.storage.driver.as_deref(), Some("overlay"));
    }
}
