//! Our own records: one directory per container, one file per name, no database and no lock table.
//!
//! ```text
//! <graphroot>/coracle/containers/<id>/spec.json    what was asked for; replaced only by `update`
//! <graphroot>/coracle/containers/<id>/state.json   what became of it; replaced by rename
//! <graphroot>/coracle/names/<name>                 a symbolic link whose text is the ID: its existence is the claim
//! <runroot>/coracle/ephemeral/<id>/…               the same two files of a `--rm` container, which a reboot may take
//! <runroot>/coracle/run/<id>/                      the bundle: config.json, sockets, pid files; exists while anything
//!                                                  of a start is left to clean up
//! <runroot>/coracle/exits/<id>                     conmon's exit file
//! ```
//!
//! A container exists when its `state.json` does: create writes that file last and remove unlinks it first, so a
//! directory without it is the rest of an interrupted create or remove, and whoever meets it (holding its lock)
//! throws it away. The lock is a `flock` on the container's directory. Readers take none; they read `state.json`,
//! look at the world (boot ID, exit file, process start times) and report what is true now, without writing.
//! Used by [`crate::engine::container`] only.

mod lock;
mod names;
mod observe;
mod record;
mod resolve;
mod users;

pub use lock::Locked;
pub use names::valid_name;
pub use observe::{EXIT_UNKNOWN, World};
pub use record::{ContainerState, Head, Record, Status};
pub use users::MountUser;

use crate::engine::host::atomic::Durability;
use crate::engine::spec::ContainerSpec;
use crate::engine::{Error, ErrorKind, Result};
use rustix::fs::{Access, AtFlags, Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A directory of a container, looked at from outside.
#[derive(Clone, Debug)]
pub struct RecordDir {
    /// The container's ID.
    pub id: String,
    /// Whether there is a `state.json`.
    pub complete: bool,
    /// Whether it can be read.
    pub readable: bool,
}

/// The records of one store.
#[derive(Debug, Clone)]
pub struct State {
    root: PathBuf,
    run: PathBuf,
}

/// `spec.json`: the container as it was asked for, with the moment it was made.
#[derive(Serialize, Deserialize)]
struct StoredSpec<S> {
    /// Layout of this file; 1.
    version: u32,
    created: jiff::Timestamp,
    spec: S,
}

impl State {
    /// The records below `state_root` (`<graphroot>/coracle`) and `run_state` (`<runroot>/coracle`). Touches nothing.
    pub fn open(state_root: &Path, run_state: &Path) -> Self {
        Self { root: state_root.to_owned(), run: run_state.to_owned() }
    }

    /// The bundle directory of a container; exists from its start until its cleanup.
    pub fn run_dir(&self, id: &str) -> PathBuf {
        self.run.join("run").join(id)
    }

    /// Where conmon leaves exit files.
    pub fn exit_dir(&self) -> PathBuf {
        self.run.join("exits")
    }

    /// Our volatile directory, `<runroot>/coracle`.
    pub fn run_state(&self) -> &Path {
        &self.run
    }

    fn persistent(&self) -> PathBuf {
        self.root.join("containers")
    }

    fn ephemeral(&self) -> PathBuf {
        self.run.join("ephemeral")
    }

    fn names(&self) -> PathBuf {
        self.root.join("names")
    }

    /// Where the record of `id` lives, and whether that is the volatile place.
    fn place(&self, id: &str) -> Option<(PathBuf, bool)> {
        let dir = self.persistent().join(id);
        if dir.is_dir() {
            return Some((dir, false));
        }
        let dir = self.ephemeral().join(id);
        dir.is_dir().then_some((dir, true))
    }

    /// Whether there is a record of `id`, complete or not.
    pub fn exists(&self, id: &str) -> bool {
        self.place(id).is_some()
    }

    /// Claims `id` and the spec's name for a new container, and returns its lock. The container exists for others
    /// only after [`Locked::publish`]; dropped before that, the next command removes what is left.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when the name is taken.
    pub fn claim(&self, id: &str, spec: &ContainerSpec, created: jiff::Timestamp) -> Result<Locked> {
        valid_name(&spec.name)?;
        let parent = if spec.remove { self.ephemeral() } else { self.persistent() };
        let dir = parent.join(id);
        let mut locked = loop {
            if let Err(e) = make_dir(&dir) {
                if e.kind() != ErrorKind::NotFound {
                    return Err(e);
                }
                make_dirs(&parent)?;
                make_dir(&dir)?;
            }
            match Locked::take(self.clone(), id, dir.clone(), spec.remove) {
                // Before it was locked, another command took it for what an interrupted create left.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                taken => break taken?,
            }
        };
        crate::failpoint!("create.after-directory");
        locked.write_spec(&StoredSpec { version: 1, created, spec }, Durability::None)?;
        crate::failpoint!("create.after-spec");
        if let Err(e) = self.claim_name(&spec.name, id) {
            // Nothing but the directory exists yet.
            let _ = locked.discard();
            return Err(e);
        }
        locked.claimed(&spec.name);
        crate::failpoint!("create.after-name");
        Ok(locked)
    }

    /// Waits for the lock of a container, complete or not.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such container, or it went away meanwhile.
    pub fn lock(&self, id: &str) -> Result<Locked> {
        let (dir, ephemeral) = self.place(id).ok_or_else(|| no_such_container(id))?;
        Locked::take(self.clone(), id, dir, ephemeral)
    }

    /// Like [`State::lock`], but `None` at once when somebody holds it, or the container is gone.
    pub fn try_lock(&self, id: &str) -> Result<Option<Locked>> {
        match self.place(id) {
            Some((dir, ephemeral)) => Locked::try_take(self.clone(), id, dir, ephemeral),
            None => Ok(None),
        }
    }

    /// Reads one container by its full ID, as it is now.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub fn load(&self, id: &str) -> Result<Record> {
        let (dir, ephemeral) = self.place(id).ok_or_else(|| no_such_container(id))?;
        Record::read(self, id, dir, ephemeral, &World::now(self))?.ok_or_else(|| no_such_container(id))
    }

    /// All containers, as they are now, oldest first. Specs are read only where a caller asks for them.
    pub fn list(&self) -> Result<Vec<Record>> {
        self.list_with_unfinished().map(|(records, _)| records)
    }

    /// [`State::list`], and whether there is anything [`State::unfinished`] would name.
    pub fn list_with_unfinished(&self) -> Result<(Vec<Record>, bool)> {
        let world = World::now(self).with_exits_listed();
        let mut records = Vec::new();
        let mut unfinished = false;
        let mut name = String::new();
        let mut bytes = Vec::new();
        for (parent, ephemeral) in [(self.persistent(), false), (self.ephemeral(), true)] {
            let Some(directory) = open_directory(&parent)? else { continue };
            let ids = ids_in(&parent)?;
            records.reserve(ids.len());
            for id in ids {
                state_file(&id, &mut name);
                match read_at(&directory, Path::new(&name), &mut bytes) {
                    Ok(true) => {}
                    Ok(false) => {
                        unfinished = true;
                        continue;
                    }
                    Err(e) => return Err(Error::io("read", parent.join(&name), e)),
                }
                let mut dir = PathBuf::with_capacity(parent.as_os_str().len() + 1 + id.len());
                dir.push(&parent);
                dir.push(&id);
                records.push(Record::parse(self, id, dir, ephemeral, &bytes, &world)?);
            }
        }
        records.sort_by_cached_key(|record| (record.created, record.id.clone()));
        Ok((records, unfinished))
    }

    /// Every container's directory, whatever is in it.
    pub fn directories(&self) -> Result<Vec<RecordDir>> {
        let mut found = Vec::new();
        for parent in [self.persistent(), self.ephemeral()] {
            for id in ids_in(&parent)? {
                let bytes = read_optional(&parent.join(&id).join("state.json"))?;
                let readable = bytes.as_ref().is_some_and(|bytes| record::readable(bytes));
                found.push(RecordDir { id, complete: bytes.is_some(), readable });
            }
        }
        Ok(found)
    }

    /// IDs of all containers, of those being made or removed as well.
    pub fn ids(&self) -> Result<Vec<String>> {
        let mut ids = ids_in(&self.persistent())?;
        ids.extend(ids_in(&self.ephemeral())?);
        Ok(ids)
    }

    /// The spec of a container, complete or not; `None` when it is gone, or was claimed a moment ago.
    pub fn spec(&self, id: &str) -> Result<Option<ContainerSpec>> {
        let Some((dir, _)) = self.place(id) else { return Ok(None) };
        match record::read_spec(&dir) {
            Ok(stored) => Ok(Some(stored.spec)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// IDs of directories without `state.json`: an interrupted create or remove, or one under way (then its lock
    /// is held).
    pub fn unfinished(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut name = String::new();
        for parent in [self.persistent(), self.ephemeral()] {
            let Some(directory) = open_directory(&parent)? else { continue };
            for id in ids_in(&parent)? {
                state_file(&id, &mut name);
                if rustix::fs::accessat(&directory, &name, Access::EXISTS, AtFlags::empty()).is_err() {
                    found.push(id);
                }
            }
        }
        Ok(found)
    }

    /// Bundle directories without a container.
    pub fn orphaned_run_dirs(&self) -> Result<Vec<String>> {
        let mut ids = ids_in(&self.run.join("run"))?;
        ids.retain(|id| self.place(id).is_none());
        Ok(ids)
    }
}

/// Docker's phrase, which scripts match.
pub(crate) fn no_such_container(name: &str) -> Error {
    Error::not_found(format!("No such container: {name}"))
}

/// Makes `name` the path of a container's `state.json` from the directory of its record's parent.
fn state_file(id: &str, name: &mut String) {
    name.clear();
    name.push_str(id);
    name.push_str("/state.json");
}

/// The entries of `dir` that look like container IDs; a missing directory is empty.
fn ids_in(dir: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("read directory", dir, e)),
    };
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| Error::io("read directory", dir, e))?.file_name();
        if let Some(name) = name.to_str().filter(|n| is_id(n)) {
            ids.push(name.to_owned());
        }
    }
    Ok(ids)
}

/// 64 lower-case hex digits.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn make_dir(dir: &Path) -> Result<()> {
    fs::DirBuilder::new().mode(0o700).create(dir).map_err(|e| Error::io("mkdir", dir, e))
}

/// Makes `dir` and its missing parents, private to the user.
fn make_dirs(dir: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| Error::io("mkdir", dir, e))
}

/// No record comes near; whoever made one this long meant harm.
const LONGEST_FILE: usize = 16 << 20;

/// The file's bytes, `None` when it does not exist.
fn read_optional(path: &Path) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let read = read_at(rustix::fs::CWD, path, &mut bytes).map_err(|e| Error::io("read", path, e))?;
    Ok(read.then_some(bytes))
}

/// Replaces `bytes` by a file's, `path` being seen from `directory`; `false` when it does not exist.
fn read_at(directory: impl AsFd, path: &Path, bytes: &mut Vec<u8>) -> std::io::Result<bool> {
    bytes.clear();
    let file = match rustix::fs::openat(directory, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => return Ok(false),
        Err(e) => return Err(e.into()),
    };
    // Less than there was room for is the end of a file: nobody is asked for its size, or for more, once for each of
    // many.
    while bytes.len() == bytes.capacity() || bytes.is_empty() {
        bytes.reserve(2048);
        let read =
            rustix::io::retry_on_intr(|| rustix::io::read(&file, rustix::buffer::spare_capacity(bytes)))?;
        if read == 0 || bytes.len() > LONGEST_FILE {
            break;
        }
    }
    Ok(true)
}

/// The directory as the place of names, `None` when it does not exist.
fn open_directory(path: &Path) -> Result<Option<OwnedFd>> {
    match rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(directory) => Ok(Some(directory)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(e) => Err(Error::io("open", path, e)),
    }
}

#[cfg(test)]
mod tests;
