//! A container's lock and what may be written while holding it.

use super::{ContainerState, Record, State, StoredSpec, World, no_such_container, read_optional};
use crate::engine::host::atomic::{self, Durability};
use crate::engine::spec::ContainerSpec;
use crate::engine::{Error, ErrorKind, Result};
use serde::Serialize;
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The exclusive lock of one container: a `flock` on its directory, released on drop or by the kernel.
#[derive(Debug)]
pub struct Locked {
    state: State,
    id: String,
    dir: PathBuf,
    ephemeral: bool,
    /// The name this container holds in `names/`, once known.
    name: Option<String>,
    /// Held for its lock; also what durable writes sync.
    file: File,
}

impl Locked {
    pub(super) fn take(state: State, id: &str, dir: PathBuf, ephemeral: bool) -> Result<Self> {
        let file = open_dir(&dir, id)?;
        file.lock().map_err(|e| Error::io("lock", &dir, e))?;
        if !same_directory(&file, &dir) {
            return Err(no_such_container(id));
        }
        Ok(Self { state, id: id.to_owned(), dir, ephemeral, name: None, file })
    }

    pub(super) fn try_take(state: State, id: &str, dir: PathBuf, ephemeral: bool) -> Result<Option<Self>> {
        let file = match open_dir(&dir, id) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(Error::io("lock", &dir, e)),
        }
        let there = same_directory(&file, &dir);
        Ok(there.then(|| Self { state, id: id.to_owned(), dir, ephemeral, name: None, file }))
    }

    /// The container's ID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether this is a `--rm` container, whose record need not outlive a reboot.
    pub fn ephemeral(&self) -> bool {
        self.ephemeral
    }

    /// The container's record directory: things that live as long as the container may be kept here (logs).
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The record, as it is now; `None` when create never finished or remove has begun.
    pub fn read(&self) -> Result<Option<Record>> {
        Record::read(&self.state, &self.id, self.dir.clone(), self.ephemeral, &World::now(&self.state))
    }

    pub(super) fn write_spec<S: Serialize>(&self, spec: &S, durability: Durability) -> Result<()> {
        let bytes =
            serde_json::to_vec(spec).map_err(|e| Error::corrupt("encode container spec").with_source(e))?;
        atomic::write(&self.dir.join("spec.json"), &bytes, 0o600, durability)
    }

    /// Replaces the spec (`update`), on the disk as well unless it is a `--rm` container's.
    pub fn respecify(&self, spec: &ContainerSpec) -> Result<()> {
        let created = super::record::read_spec(&self.dir)?.created;
        let durability = if self.ephemeral { Durability::None } else { Durability::Synced };
        self.write_spec(&StoredSpec { version: 1, created, spec }, durability)
    }

    /// The spec alone, of a container that need not be complete; `None` when it cannot be read.
    pub fn spec(&self) -> Option<ContainerSpec> {
        let bytes = read_optional(&self.dir.join("spec.json")).ok().flatten()?;
        serde_json::from_slice::<StoredSpec<ContainerSpec>>(&bytes).ok().map(|stored| stored.spec)
    }

    pub(super) fn claimed(&mut self, name: &str) {
        self.name = Some(name.to_owned());
    }

    /// Makes a claimed container exist.
    pub fn publish(&self, state: &ContainerState) -> Result<()> {
        self.save(state)
    }

    /// Replaces `state.json`. Not synced: what a power loss could take back is repaired from the world.
    pub fn save(&self, state: &ContainerState) -> Result<()> {
        let bytes =
            serde_json::to_vec(state).map_err(|e| Error::corrupt("encode container state").with_source(e))?;
        atomic::write(&self.dir.join("state.json"), &bytes, 0o600, Durability::None)
    }

    /// Takes another name for the container, records it, and gives up the one it had.
    ///
    /// # Errors
    /// `Conflict` if the name is taken, `Invalid` if it cannot be one; nothing has changed then.
    pub fn rename(&self, state: &ContainerState, name: &str) -> Result<()> {
        super::valid_name(name)?;
        // It is ours already if an earlier attempt was interrupted.
        if self.state.name_holder(name).as_ref() != Some(&self.id) {
            self.state.claim_name(name, &self.id)?;
        }
        crate::failpoint!("rename.claimed");
        let mut renamed = state.clone();
        let before = std::mem::replace(&mut renamed.head.name, name.to_owned());
        if let Err(e) = self.save(&renamed) {
            self.state.release_name(name, &self.id)?;
            return Err(e);
        }
        if !self.ephemeral {
            atomic::sync_directory(&self.dir)?;
        }
        crate::failpoint!("rename.recorded");
        self.state.release_name(&before, &self.id)
    }

    /// Puts a persistent container's record and name on the disk; nothing to do for a `--rm` one. Costs four fsyncs,
    /// so callers run it beside other work.
    pub fn syncer(&self) -> Option<Syncer> {
        (!self.ephemeral).then(|| Syncer {
            paths: vec![
                self.dir.join("spec.json"),
                self.dir.join("state.json"),
                self.dir.clone(),
                self.state.persistent(),
                self.state.names(),
            ],
        })
    }

    /// From here on the container does not exist: its `state.json` is gone, and whoever comes next finishes the
    /// removal should this process die.
    pub fn retire(&mut self) -> Result<()> {
        if self.name.is_none() {
            self.name = self.recorded_name();
        }
        remove_file(&self.dir.join("state.json"))
    }

    /// Removes the record and the name. The store's container must be gone already.
    pub fn discard(mut self) -> Result<()> {
        self.retire()?;
        if let Some(name) = self.name.take() {
            self.state.release_name(&name, &self.id)?;
        }
        crate::failpoint!("rm.after-name");
        fs::remove_dir_all(&self.dir).map_err(|e| Error::io("remove", &self.dir, e))
    }

    /// The name in `state.json`, or in `spec.json` when create did not come that far.
    fn recorded_name(&self) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct OnlyName {
            name: String,
        }
        #[derive(serde::Deserialize)]
        struct State {
            head: OnlyName,
        }
        let state = read_optional(&self.dir.join("state.json")).ok().flatten();
        if let Some(state) = state.and_then(|b| serde_json::from_slice::<State>(&b).ok()) {
            return Some(state.head.name);
        }
        let spec = read_optional(&self.dir.join("spec.json")).ok().flatten()?;
        let spec: super::StoredSpec<OnlyName> = serde_json::from_slice(&spec).ok()?;
        Some(spec.spec.name)
    }

    /// Lets the lock go.
    pub fn unlock(self) {
        drop(self.file);
    }
}

/// The fsyncs that make a new container survive a power loss.
#[derive(Debug)]
pub struct Syncer {
    paths: Vec<PathBuf>,
}

impl Syncer {
    /// Does them, all at once: what waits for the journal together is one commit of it. A file that went away meanwhile
    /// (the container was removed) is no error.
    pub fn run(self) -> Result<()> {
        let sync = |path: &PathBuf| match File::open(path).and_then(|f| f.sync_all()) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("fsync", path, e)),
            _ => Ok(()),
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = self.paths.iter().map(|path| scope.spawn(move || sync(path))).collect();
            others.into_iter().try_for_each(|sync| sync.join().unwrap_or(Ok(())))
        })
    }
}

fn open_dir(dir: &Path, id: &str) -> Result<File> {
    File::open(dir).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => no_such_container(id),
        _ => Error::io("open", dir, e),
    })
}

/// Whether the locked directory is still the one at its path: the last holder may have removed it.
fn same_directory(file: &File, dir: &Path) -> bool {
    match (file.metadata(), fs::metadata(dir)) {
        (Ok(a), Ok(b)) => a.ino() == b.ino() && a.dev() == b.dev(),
        _ => false,
    }
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("unlink", path, e)),
        _ => Ok(()),
    }
}
