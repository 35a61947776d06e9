//! Layers being unpacked, before they have a name.
//!
//! Each has a directory `<graphroot>/coracle/staging/<random>` with `diff`, `tar-split.gz` and a `lock` that its owner
//! holds; one whose lock is free belonged to a process that died, and is removed by the next that stages something.
//! It is not upstream's `overlay/staging`, because podman 4 empties that at the end of any command.

use super::{Store, file};
use crate::engine::host::lock::{DirLock, FileLock};
use crate::engine::host::mount;
use crate::engine::host::rooted::open_directory;
use crate::engine::{Error, Result};
use rustix::fs::{AtFlags, renameat};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Mode of a staged root that no entry of the layer has set yet: nobody would choose it.
const UNSET_MODE: u32 = 0o1501;
/// What is being deleted is called so.
const TRASH_PREFIX: &str = "trash-";
/// Held while somebody is at it; upstream's name.
const TRASH_LOCK: &str = "staging.lock";

/// A private directory in which a layer is unpacked. Dropping it removes it; after a crash the next command does.
#[derive(Debug)]
pub struct StagedLayer {
    path: PathBuf,
    graph_root: PathBuf,
    directory: File,
    lock: Option<FileLock>,
}

impl StagedLayer {
    /// The directory that becomes the layer's `diff`.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// The same as a path, for programs.
    pub fn dir_path(&self) -> PathBuf {
        self.path.join("diff")
    }

    /// Where the gzip-compressed tar-split goes.
    pub fn tar_split_path(&self) -> PathBuf {
        self.path.join("tar-split.gz")
    }

    /// Where the table of contents goes, if the layer has one.
    pub fn toc_path(&self) -> PathBuf {
        self.path.join("toc.json")
    }

    /// Where an image's big data waits to be moved to its place.
    pub(super) fn image_path(&self) -> PathBuf {
        self.path.join("image")
    }

    /// Moves the directory to its place; `mode` and `owner` are for a root that the layer itself did not describe.
    pub(super) fn place(&self, target: &Path, mode: u32, owner: (u32, u32)) -> Result<()> {
        self.settle_root(mode, owner)?;
        self.move_out("diff", target)
    }

    /// Gives the root its mode and owner, unless the layer did.
    pub(super) fn settle_root(&self, mode: u32, owner: (u32, u32)) -> Result<()> {
        let meta = self.directory.metadata().map_err(|e| Error::io("stat", &self.path, e))?;
        if meta.mode() & 0o7777 == UNSET_MODE {
            if (meta.uid(), meta.gid()) != owner {
                std::os::unix::fs::fchown(&self.directory, Some(owner.0), Some(owner.1))
                    .map_err(|e| Error::io("chown", &self.path, e))?;
            }
            let permissions = fs::Permissions::from_mode(mode);
            self.directory.set_permissions(permissions).map_err(|e| Error::io("chmod", &self.path, e))?;
        }
        Ok(())
    }

    /// Moves `diff` or the tar-split file to its place.
    pub(super) fn move_out(&self, name: &str, target: &Path) -> Result<()> {
        let source = self.path.join(name);
        match fs::rename(&source, target) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::CrossesDevices => self.move_across(&source, target),
            Err(e) => Err(Error::io("rename to", target, e)),
        }
    }

    /// podman binds the driver's directory onto itself, and rename(2) refuses to cross a mount point even within one
    /// file system: a copy of the graph root's mount without those below it has both sides.
    fn move_across(&self, source: &Path, target: &Path) -> Result<()> {
        let failed = |e| Error::io("rename to", target, e);
        let (Ok(from), Ok(to)) =
            (source.strip_prefix(&self.graph_root), target.strip_prefix(&self.graph_root))
        else {
            return Err(failed(rustix::io::Errno::XDEV));
        };
        let tree = mount::clone_tree(&self.graph_root)?;
        // What lies below a mount of something else entirely must not be mistaken for it.
        let parent = to.parent().unwrap_or(Path::new(""));
        let below = rustix::fs::statat(&tree, parent, AtFlags::empty()).map_err(failed)?;
        let shown = fs::metadata(self.graph_root.join(parent)).map_err(|e| Error::io("stat", target, e))?;
        if (below.st_dev, below.st_ino) != (shown.dev(), shown.ino()) {
            return Err(failed(rustix::io::Errno::XDEV));
        }
        renameat(&tree, from, &tree, to).map_err(failed)
    }
}

impl Drop for StagedLayer {
    fn drop(&mut self) {
        if let Err(e) = file::remove_tree(&self.path) {
            tracing::debug!("{e}");
        }
        drop(self.lock.take());
    }
}

impl Store {
    /// A fresh private directory for a layer. Those of dead processes are removed on the way.
    pub fn stage_layer(&self) -> Result<StagedLayer> {
        // Decides, for a fresh store, how layers in it are written for ever.
        self.backend()?;
        let staging = &self.layout.staging;
        file::make_dirs(staging, 0o700)?;
        self.sweep_staging();
        let path = staging.join(super::random_name()?);
        let lock = {
            // Keeps a sweeper away until the new directory is locked.
            let _making = DirLock::shared(staging)?;
            fs::create_dir(&path).map_err(|e| Error::io("mkdir", &path, e))?;
            FileLock::exclusive(&path.join("lock"))?
        };
        let diff = path.join("diff");
        super::overlay::make_dir(&diff, UNSET_MODE, (0, 0))?;
        let directory = open_directory(&diff)?;
        let graph_root = self.options.graph_root.clone();
        Ok(StagedLayer { path, graph_root, directory: directory.into(), lock: Some(lock) })
    }

    /// Removes staged layers whose owner is gone.
    fn sweep_staging(&self) {
        let staging = &self.layout.staging;
        let Ok(Some(_sweeping)) = DirLock::try_exclusive(staging) else { return };
        let Ok(entries) = fs::read_dir(staging) else { return };
        for path in entries.flatten().map(|e| e.path()) {
            if let Ok(Some(_dead)) = FileLock::try_exclusive(&path.join("lock")) {
                tracing::debug!("removing the abandoned layer {}", path.display());
                let _ = file::remove_tree(&path);
            }
        }
        self.sweep_trash();
    }

    /// Removes what somebody left or died before removing.
    pub fn sweep_trash(&self) {
        let Ok(entries) = fs::read_dir(self.layout.home.join("staging")) else { return };
        for entry in entries.flatten() {
            if !entry.file_name().as_encoded_bytes().starts_with(TRASH_PREFIX.as_bytes()) {
                continue;
            }
            if let Ok(Some(_dead)) = FileLock::try_exclusive(&entry.path().join(TRASH_LOCK)) {
                let _ = file::remove_tree(&entry.path());
            }
        }
    }
}

/// A place for what is being deleted: `overlay/staging/<random>`, which every generation of podman empties too. Its
/// content is removed when it is dropped, which is best after the locks.
#[derive(Debug)]
pub struct Trash {
    pub(super) path: PathBuf,
    left: bool,
    _lock: FileLock,
}

impl Trash {
    /// Leaves the content to whoever calls [`Store::sweep_trash`] next.
    pub fn leave(mut self) {
        self.left = true;
    }

    pub(super) fn new(store: &Store) -> Result<Self> {
        let base = store.layout.home.join("staging");
        let path = base.join(format!("{TRASH_PREFIX}{}", super::random_name()?));
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                file::make_dirs(&base, 0o700)?;
                fs::create_dir(&path).map_err(|e| Error::io("mkdir", &path, e))?;
            }
            Err(e) => return Err(Error::io("mkdir", &path, e)),
        }
        let lock = FileLock::exclusive(&path.join(TRASH_LOCK))?;
        Ok(Self { path, left: false, _lock: lock })
    }
}

impl Drop for Trash {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        if let Err(e) = file::remove_tree(&self.path) {
            tracing::debug!("{e}");
        }
    }
}
