//! A container's record: `state.json` as Rust, and the spec beside it, read when asked for.

use super::{State, StoredSpec, World, observe, read_optional};
use crate::engine::spec::{ContainerSpec, Health, NetworkState, RestartPolicy};
use crate::engine::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Where a container is in its life, in the words `ps --filter status=` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Never started, or its start was undone.
    #[default]
    Created,
    /// The runtime holds a created process that was not let go yet. Seen with the lock free: the start was
    /// interrupted.
    Starting,
    /// `init` had its process created, which waits to be let go.
    Initialized,
    /// Its first process runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Ended, and waiting for its restart policy's delay.
    Restarting,
    /// Its first process ended.
    Exited,
}

impl Status {
    /// The word, as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Starting => "starting",
            Self::Initialized => "initialized",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
        }
    }

    /// Whether a process of it should exist.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Starting | Self::Initialized | Self::Running | Self::Paused)
    }
}

/// What a listing shows of the immutable part: copied here so that `ps` reads one small file a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Head {
    /// The container's name.
    pub name: String,
    /// The image as resolved (`docker.io/library/debian:latest`), else as requested; empty for `--rootfs`.
    pub image: String,
    /// Image ID; empty for `--rootfs`.
    pub image_id: String,
    /// The whole argv: entrypoint and command.
    pub command: Vec<String>,
    /// `80/tcp` … from the image and `--expose`.
    #[serde(skip_serializing_if = "is_default")]
    pub exposed_ports: Vec<String>,
    /// All labels.
    #[serde(skip_serializing_if = "is_default")]
    pub labels: BTreeMap<String, String>,
    /// `--rm`.
    #[serde(skip_serializing_if = "is_default")]
    pub remove: bool,
    /// `--restart`.
    #[serde(skip_serializing_if = "is_default")]
    pub restart: RestartPolicy,
}

/// The mutable part: `state.json`, in which most of what has its default is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerState {
    /// For listings.
    pub head: Head,
    /// When the container was made.
    pub created: jiff::Timestamp,
    /// See [`Status`]. On the disk a live status means a cleanup is owed.
    pub status: Status,
    /// The boot in which `pid` means something.
    #[serde(skip_serializing_if = "is_default")]
    pub boot_id: String,
    /// The container's first process, in the host's PID namespace; 0: none.
    #[serde(skip_serializing_if = "is_default")]
    pub pid: u32,
    /// Its start time (clock ticks since boot).
    #[serde(skip_serializing_if = "is_default")]
    pub pid_start: u64,
    /// conmon; 0: none.
    #[serde(skip_serializing_if = "is_default")]
    pub conmon_pid: u32,
    /// Its start time.
    #[serde(skip_serializing_if = "is_default")]
    pub conmon_start: u64,
    /// Of the last run; 0 before the first.
    #[serde(skip_serializing_if = "is_default")]
    pub exit_code: i32,
    /// The kernel's OOM killer ended the last run.
    #[serde(skip_serializing_if = "is_default")]
    pub oom_killed: bool,
    /// When the last run began.
    #[serde(skip_serializing_if = "is_default")]
    pub started_at: Option<jiff::Timestamp>,
    /// When the last run ended.
    #[serde(skip_serializing_if = "is_default")]
    pub finished_at: Option<jiff::Timestamp>,
    /// How often the restart policy restarted it since the user last did.
    #[serde(skip_serializing_if = "is_default")]
    pub restart_count: u32,
    /// `stop` or `kill` asked for the last end: the restart policy does not apply.
    #[serde(skip_serializing_if = "is_default")]
    pub stopped_by_user: bool,
    /// `start` ran for it since it was made.
    #[serde(skip_serializing_if = "is_default")]
    pub started_before: bool,
    /// When it was checkpointed, if it was not started anew since.
    #[serde(skip_serializing_if = "is_default")]
    pub checkpointed_at: Option<jiff::Timestamp>,
    /// When it was restored from a checkpoint, if that was its last start.
    #[serde(skip_serializing_if = "is_default")]
    pub restored_at: Option<jiff::Timestamp>,
    /// It was made from an archive of a checkpoint, and its files and processes have not all been restored.
    #[serde(skip_serializing_if = "is_default")]
    pub unrestored: bool,
    /// Why the last start failed; empty: it did not.
    #[serde(skip_serializing_if = "is_default")]
    pub error: String,
    /// Path of the OCI runtime of the last start.
    #[serde(skip_serializing_if = "is_default")]
    pub runtime: String,
    /// Where the root filesystem is mounted while live.
    #[serde(skip_serializing_if = "is_default")]
    pub mountpoint: PathBuf,
    /// The resolved log file of the last start; empty: the driver has none.
    #[serde(skip_serializing_if = "is_default")]
    pub log_path: PathBuf,
    /// It is paused because a commit reads its files. The commit holds the lock for as long: seen with the lock free it
    /// was interrupted, and the container is to be thawed.
    #[serde(skip_serializing_if = "is_default")]
    pub frozen_by_commit: bool,
    /// What its health checks found in the last run.
    #[serde(skip_serializing_if = "is_default")]
    pub health: Health,
    /// cgroup of the last start, as given to the runtime.
    #[serde(skip_serializing_if = "is_default")]
    pub cgroup_path: String,
    /// Its layer in the store; empty for `--rootfs`.
    #[serde(skip_serializing_if = "is_default")]
    pub layer: String,
    /// Its networks, addresses and ports.
    #[serde(skip_serializing_if = "is_default")]
    pub network: NetworkState,
}

impl ContainerState {
    /// It has no processes: what named them is emptied.
    pub fn forget_processes(&mut self) {
        (self.pid, self.pid_start, self.conmon_pid, self.conmon_start) = (0, 0, 0, 0);
        self.boot_id.clear();
    }
}

/// A container as it is now.
#[derive(Debug)]
pub struct Record {
    /// 64 hex digits.
    pub id: String,
    /// When it was made.
    pub created: jiff::Timestamp,
    /// What is true now: the file, corrected by the world.
    pub state: ContainerState,
    /// What the file says. Live here and not in `state`: it ended, and nobody has cleaned up yet.
    pub stored: Status,
    /// `--rm`: the record is in the run root.
    pub ephemeral: bool,
    /// The record directory.
    pub dir: PathBuf,
    /// Boxed, as listings hold many records and need few specs.
    spec: OnceLock<Box<ContainerSpec>>,
}

impl Record {
    /// `None` when `state.json` is not there.
    pub(super) fn read(
        state: &State,
        id: &str,
        dir: PathBuf,
        ephemeral: bool,
        world: &World<'_>,
    ) -> Result<Option<Self>> {
        let Some(bytes) = read_optional(&dir.join("state.json"))? else { return Ok(None) };
        Self::parse(state, id.to_owned(), dir, ephemeral, &bytes, world).map(Some)
    }

    /// From what `state.json` holds.
    pub(super) fn parse(
        state: &State,
        id: String,
        dir: PathBuf,
        ephemeral: bool,
        bytes: &[u8],
        world: &World<'_>,
    ) -> Result<Self> {
        let mut read = match parse(bytes) {
            Ok(read) => read,
            // A power cut can leave an unsynced file empty: the container is known by its spec.
            Err(e) => rebuilt(&dir).ok_or_else(|| {
                Error::corrupt(format!("parse {}", dir.join("state.json").display())).with_source(e)
            })?,
        };
        let stored = read.status;
        observe::correct(&mut read, &id, || state.run_dir(&id), world);
        Ok(Self { id, created: read.created, state: read, stored, ephemeral, dir, spec: OnceLock::new() })
    }

    /// The container's name.
    pub fn name(&self) -> &str {
        &self.state.head.name
    }

    /// The directory of the record, in which what lives as long as the container may be.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The spec, read from `spec.json` the first time.
    pub fn spec(&self) -> Result<&ContainerSpec> {
        if let Some(spec) = self.spec.get() {
            return Ok(spec);
        }
        let mut spec = read_spec(&self.dir)?.spec;
        // What was asked for is written once; a name is given again by `rename`.
        if !self.state.head.name.is_empty() {
            spec.name.clone_from(&self.state.head.name);
        }
        Ok(self.spec.get_or_init(|| Box::new(spec)))
    }

    /// Something of the last start is left to clean up.
    pub fn needs_cleanup(&self) -> bool {
        self.stored.is_live() && !self.state.status.is_live()
    }
}

/// All text is checked at once, which is faster than string by string.
fn parse(bytes: &[u8]) -> serde_json::Result<ContainerState> {
    match std::str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(bytes),
    }
}

/// Whether these bytes are a `state.json`.
pub(super) fn readable(bytes: &[u8]) -> bool {
    parse(bytes).is_ok()
}

pub(super) fn read_spec(dir: &Path) -> Result<StoredSpec<ContainerSpec>> {
    let path = dir.join("spec.json");
    let missing = || match dir.join("state.json").exists() {
        true => Error::corrupt(format!("{} is missing", path.display())),
        // Removed a moment ago, or not made yet.
        false => Error::not_found(format!("no such container: {} is missing", path.display())),
    };
    let bytes = read_optional(&path)?.ok_or_else(missing)?;
    serde_json::from_slice(&bytes)
        .map_err(|e| Error::corrupt(format!("parse {}", path.display())).with_source(e))
}

/// What can be said of a container whose `state.json` is unreadable.
fn rebuilt(dir: &Path) -> Option<ContainerState> {
    let stored = read_spec(dir).ok()?;
    Some(ContainerState {
        head: Head::of(&stored.spec),
        created: stored.created,
        status: Status::Exited,
        exit_code: observe::EXIT_UNKNOWN,
        ..ContainerState::default()
    })
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Head {
    /// The listing's part of a completed spec.
    pub fn of(spec: &ContainerSpec) -> Self {
        let mut command = spec.process.entrypoint.clone().unwrap_or_default();
        command.extend(spec.process.command.iter().cloned());
        let image = if spec.image.name.is_empty() { &spec.image.requested } else { &spec.image.name };
        Self {
            name: spec.name.clone(),
            image: image.clone(),
            image_id: spec.image.id.clone(),
            command,
            exposed_ports: spec.exposed_ports.clone(),
            labels: spec.labels.clone(),
            remove: spec.remove,
            restart: spec.restart.clone(),
        }
    }
}
