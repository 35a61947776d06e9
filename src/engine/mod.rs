//! The library: everything Coracle does, without a terminal.
//!
//! Nothing here prints, exits, or reads the environment or argv: front ends pass in a [`config::Config`] and render
//! what comes back. Calls are synchronous and take `&self`; each is lock, read, act, write, unlock, and nothing is
//! cached beyond its lock. Dependencies point one way: nouns (`container`, `image`, `artifact`, `account`, `check`, `reset`) -> {`store`, `state`, `registry`,
//! `oci`, `conmon`} -> {`spec`, `config`}; `host` (system calls) is used by the effectful modules only.

pub mod account;
pub mod artifact;
pub mod check;
pub mod config;
pub mod conmon;
pub mod container;
pub mod digest;
pub mod error;
pub mod events;
pub mod filter;
pub mod host;
pub mod image;
pub mod moment;
pub mod network;
pub mod oci;
pub mod registry;
pub mod reset;
pub mod secret;
pub mod spec;
pub mod state;
pub mod store;
pub mod transport;
pub mod trust;
pub mod volume;

pub use digest::Digest;
pub use error::{Context, Error, ErrorKind, Result};

use config::Config;
use host::userns;
use spec::IdMappings;
use state::State;
use store::{Store, StoreOptions};

/// One opened engine: what every verb is given first.
#[derive(Debug)]
pub struct Engine {
    /// What was configured.
    pub config: Config,
    /// Images, layers and the containers' root filesystems.
    pub store: Store,
    /// Our records.
    pub state: State,
    /// The rootless user namespace this process is in now; `None` for root.
    pub id_maps: Option<IdMappings>,
}

impl Engine {
    /// Joins the rootless user namespace if the caller is not root, and opens records and store. Nothing is read before
    /// it is asked for.
    ///
    /// Must be called before any thread is started. Fails as [`userns::enter`] does.
    pub fn open(config: Config) -> Result<Self> {
        let id_maps = enter_userns(&config)?;
        let store = Store::open(store_options(&config))?;
        let state = State::open(&config.paths.state, &config.paths.run_state);
        Ok(Self { config, store, state, id_maps })
    }

    /// Whether the engine works as an ordinary user.
    pub fn rootless(&self) -> bool {
        self.config.rootless()
    }
}

fn store_options(config: &Config) -> StoreOptions {
    let storage = config.storage.clone();
    StoreOptions {
        graph_root: storage.graph_root,
        run_root: storage.run_root,
        driver: storage.driver,
        driver_opts: storage.driver_options,
        image_stores: storage.image_stores,
        image_store: storage.image_store,
        transient: storage.transient,
        rootless: config.rootless(),
    }
}

/// The conmon of every container that runs: they are in the user namespace that their containers were started from.
fn conmons(config: &Config) -> Vec<u32> {
    let records = State::open(&config.paths.state, &config.paths.run_state).list().unwrap_or_default();
    let running = records.into_iter().map(|record| (record.state.conmon_pid, record.state.conmon_start));
    running.filter(|&(pid, start)| host::process::alive(pid, start)).map(|(pid, _)| pid).collect()
}

fn enter_userns(config: &Config) -> Result<Option<IdMappings>> {
    let env = &config.env;
    if !env.rootless() {
        return Ok(None);
    }
    if env.in_userns {
        return userns::current_maps().map(Some);
    }
    let single = |option: &String| option.ends_with("ignore_chown_errors=true");
    let request = userns::Request {
        uid: env.uid,
        gid: env.gid,
        run_state: &config.paths.run_state,
        program: &env.program,
        path: &env.path(),
        allow_single_id: config.storage.driver_options.iter().any(single),
        survivors: &|| conmons(config),
        bus: &|| env.user_bus(),
    };
    userns::enter(&request).map(Some)
}
