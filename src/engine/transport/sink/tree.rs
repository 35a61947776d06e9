//! Files in a directory: each beside its place first, then renamed to its digest's name.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Order, lock};
use crate::engine::registry::Uploaded;
use crate::engine::{Context, Error, Result};

/// A directory that is written to.
pub(super) struct Tree {
    pub(super) path: PathBuf,
    /// What was not there before, the latest last.
    made: Mutex<Vec<PathBuf>>,
    number: AtomicU64,
}

impl Tree {
    /// A directory, which is made if need be.
    pub(super) fn new(path: PathBuf) -> Result<Self> {
        let mut made = Vec::new();
        let missing: Vec<_> =
            path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists()).collect();
        for directory in missing.into_iter().rev() {
            fs::create_dir(directory).map_err(|e| Error::io("mkdir", directory, e))?;
            made.push(directory.to_owned());
        }
        if !path.is_dir() {
            return Err(Error::invalid(format!("{} is not a directory", path.display())));
        }
        Ok(Self { path, made: Mutex::new(made), number: AtomicU64::new(0) })
    }

    /// Whether a file of this name and size is there.
    pub(super) fn has(&self, name: &str, size: u64) -> bool {
        fs::symlink_metadata(self.path.join(name)).is_ok_and(|m| m.is_file() && m.len() == size)
    }

    /// Removes what was not there before.
    pub(super) fn undo(&self) {
        for path in lock(&self.made).iter().rev() {
            // A directory goes only if nothing else is in it.
            let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
        }
    }

    pub(super) fn put(&self, order: &Order<'_>) -> Result<Uploaded> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let beside = self.path.join(format!(".tmp-{}-{number}", std::process::id()));
        let made = File::options().write(true).create_new(true).mode(0o644).open(&beside);
        let file = made.map_err(|e| Error::io("create", &beside, e))?;
        let placed = order.write(&file, None).and_then(|written| {
            let path = self.path.join((order.naming)(&written.digest));
            self.place(&beside, &path)?;
            Ok(written)
        });
        if placed.is_err() {
            let _ = fs::remove_file(&beside);
        }
        placed.with_context(|| format!("write to {}", self.path.display()))
    }

    fn place(&self, beside: &Path, path: &Path) -> Result<()> {
        let mut made = lock(&self.made);
        let parents: Vec<_> =
            path.ancestors().skip(1).take_while(|p| **p != *self.path && !p.exists()).collect();
        for parent in parents.into_iter().rev() {
            fs::create_dir(parent).map_err(|e| Error::io("mkdir", parent, e))?;
            made.push(parent.to_owned());
        }
        let existed = fs::symlink_metadata(path).is_ok();
        fs::rename(beside, path).map_err(|e| Error::io("rename to", path, e))?;
        if !existed {
            made.push(path.to_owned());
        }
        Ok(())
    }
}
