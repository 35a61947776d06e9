//! mountpoints.json in the run root: which layers are mounted where, and how often (upstream's `loadMounts`,
//! `saveMounts`).
//!
//! Everything happens under `mountpoints.lock`. An entry may outlive its mount (reboot, somebody's umount), and a
//! mount its entry (an older podman drops entries of layers it does not know), so the kernel has the last word.

use super::Store;
use super::file;
use crate::engine::Result;
use crate::engine::host::atomic::Durability;
use crate::engine::host::lock::FileLock;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    id: String,
    path: PathBuf,
    count: i64,
}

/// The mount counts, locked.
#[derive(Debug)]
pub(super) struct Mounts {
    lock: FileLock,
    path: PathBuf,
    entries: Vec<Entry>,
}

impl Mounts {
    /// Waits for the lock and reads the counts.
    pub(super) fn lock(store: &Store) -> Result<Self> {
        let lock = FileLock::exclusive(&store.layout.mounts_lock())?;
        let path = store.layout.mounts_json();
        let entries = file::read_list(&path)?;
        Ok(Self { lock, path, entries })
    }

    /// Where the layer is mounted and how often, as far as the file knows.
    pub(super) fn get(&self, id: &str) -> Option<(&Path, i64)> {
        let entry = self.entries.iter().find(|e| e.id == id)?;
        (entry.count > 0).then_some((entry.path.as_path(), entry.count))
    }

    /// Every entry: the layer, where, how often.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Path, i64)> {
        self.entries.iter().map(|e| (e.id.as_str(), e.path.as_path(), e.count))
    }

    /// Records a count; zero drops the entry.
    pub(super) fn set(&mut self, id: &str, path: &Path, count: i64) -> Result<()> {
        let before = self.entries.len();
        self.entries.retain(|e| e.id != id);
        if count <= 0 && self.entries.len() == before {
            return Ok(());
        }
        if count > 0 {
            self.entries.push(Entry { id: id.to_owned(), path: path.to_owned(), count });
        }
        self.lock.record_write()?;
        let bytes = serde_json::to_vec(&self.entries).unwrap_or_else(|_| b"[]".to_vec());
        file::write(&self.path, &bytes, Durability::None)
    }
}
