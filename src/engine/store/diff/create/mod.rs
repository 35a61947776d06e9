//! Files on disk become a tar stream, or a list of what changed.
//!
//! Three ways lead through a tree: everything that is there ([`everything`]); what a container wrote, as overlay keeps
//! it in the upper directory, deletions turned into the archive's marks ([`overlay`]); and what differs between two
//! trees ([`compare()`]), for drivers that keep copies and for layers that are not on top of each other. What they find
//! goes to a [`Sink`]: an [`Archive`], or a [`List`].
//!
//! Directories are read entry by entry in the order of their names, so the same files give the same bytes. Each file is
//! opened below its directory without following a link, looked at, and only a regular one opened for reading: a device
//! that a container puts in a file's place is never opened. Memory holds the names of the directories on the way, and
//! the files that have several names.
//!
//! Formats and choices are containers/storage's (`pkg/archive`): `user.*`, `security.capability` and `security.ima` are
//! the attributes that travel, times are whole seconds unless asked for, sockets stay behind.

mod archive;
mod below;
mod compare;
mod node;
mod upper;
mod walk;

use std::os::fd::{BorrowedFd, OwnedFd};

use crate::engine::Result;
use crate::engine::spec::IdMappings;

use super::Whiteouts;

pub use archive::Archive;
pub use compare::{Tree, compare};
pub use node::Node;
pub use upper::overlay;

/// How an archive describes files.
#[derive(Clone, Debug, Default)]
pub struct ArchiveOptions {
    /// Owners on disk are those of this user namespace's outside; the archive has its inside. One that is not mapped
    /// becomes 65534, as inside.
    pub id_maps: IdMappings,
    /// Times with nanoseconds.
    pub subsecond: bool,
    /// Owner, mode and type come from `user.containers.override_stat` where a file has it (storage.conf `force_mask`).
    pub overrides: bool,
    /// Holes of files stay holes, for who unpacks it with GNU tar or [`super::unpack()`].
    pub sparse: bool,
}

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It is another than below, or has other attributes.
    Modified,
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
}

/// A changed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Absolute; bytes as on disk.
    pub path: Vec<u8>,
    /// What happened.
    pub kind: ChangeKind,
}

/// Takes what a way through a tree finds. Paths are relative to the root, without a slash at their ends.
pub trait Sink {
    /// Whether it matters if a file is new or modified, and directories that only hold changes do not count.
    fn wants_kinds(&self) -> bool;

    /// A file or directory is there.
    fn present(&mut self, path: &[u8], node: &Node, kind: ChangeKind) -> Result<()>;

    /// What was at this path is gone; `mark` is overlay's sign of it.
    fn deleted(&mut self, path: &[u8], mark: Option<&Node>) -> Result<()>;

    /// The directory hides what the one below had in it.
    fn opaque(&mut self, path: &[u8], node: &Node) -> Result<()>;
}

/// Passes on to a sink what is not to be left out. A directory that is left out has its files all the same.
pub struct Without<'a> {
    /// Whether a file stays behind.
    pub leave_out: &'a dyn Fn(&[u8], &Node) -> bool,
    /// Where the rest goes.
    pub sink: &'a mut dyn Sink,
}

impl Sink for Without<'_> {
    fn wants_kinds(&self) -> bool {
        self.sink.wants_kinds()
    }

    fn present(&mut self, path: &[u8], node: &Node, kind: ChangeKind) -> Result<()> {
        if (self.leave_out)(path, node) { Ok(()) } else { self.sink.present(path, node, kind) }
    }

    fn deleted(&mut self, path: &[u8], mark: Option<&Node>) -> Result<()> {
        self.sink.deleted(path, mark)
    }

    fn opaque(&mut self, path: &[u8], node: &Node) -> Result<()> {
        self.sink.opaque(path, node)
    }
}

/// Where a container's changes are.
#[derive(Debug)]
pub struct Upper<'a> {
    /// The upper directory.
    pub root: BorrowedFd<'a>,
    /// The layers below, the uppermost first.
    pub lowers: &'a [OwnedFd],
    /// The form of deletions.
    pub whiteouts: Whiteouts,
}

/// Sends everything below `root` to `sink`, the root itself left out.
///
/// # Errors
/// A directory cannot be read, or the sink failed.
pub fn everything(root: BorrowedFd<'_>, sink: &mut dyn Sink) -> Result<()> {
    let mut walk = walk::Walk::new(root)?;
    while let Some(node) = walk.next()? {
        sink.present(walk.path(), &node, ChangeKind::Added)?;
        if node.is_dir() {
            walk.enter(&node)?;
        }
    }
    Ok(())
}

/// Collects changes, those that podman and docker show: a directory counts if itself changed, or if something in it
/// came or went.
#[derive(Debug, Default)]
pub struct List {
    changes: Vec<Change>,
    /// Directories of the current path that are listed, by the length of their paths.
    listed: Vec<usize>,
    last: Vec<u8>,
}

impl List {
    /// The changes in the order of their paths: parents before what is in them.
    pub fn into_changes(mut self) -> Vec<Change> {
        self.changes.sort_by(|one, other| one.path.cmp(&other.path));
        self.changes
    }

    fn push(&mut self, path: &[u8], kind: ChangeKind, is_dir: bool) {
        let shared = shared_prefix(&self.last, path);
        self.listed.retain(|length| *length <= shared);
        if kind != ChangeKind::Modified {
            let parents = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
            for parent in parents.collect::<Vec<_>>() {
                if !self.listed.contains(&parent) {
                    self.changes.push(Change { path: absolute(&path[..parent]), kind: ChangeKind::Modified });
                    self.listed.push(parent);
                }
            }
        }
        self.changes.push(Change { path: absolute(path), kind });
        if is_dir {
            self.listed.push(path.len());
        }
        path.clone_into(&mut self.last);
    }
}

impl Sink for List {
    fn wants_kinds(&self) -> bool {
        true
    }

    fn present(&mut self, path: &[u8], node: &Node, kind: ChangeKind) -> Result<()> {
        self.push(path, kind, node.is_dir());
        Ok(())
    }

    fn deleted(&mut self, path: &[u8], _: Option<&Node>) -> Result<()> {
        self.push(path, ChangeKind::Deleted, false);
        Ok(())
    }

    /// containers/storage shows a directory that was removed and made again as deleted.
    fn opaque(&mut self, path: &[u8], _: &Node) -> Result<()> {
        self.push(path, ChangeKind::Deleted, true);
        Ok(())
    }
}

fn absolute(path: &[u8]) -> Vec<u8> {
    [b"/", path].concat()
}

/// The length of the longest directory path that both are in, or are.
fn shared_prefix(a: &[u8], b: &[u8]) -> usize {
    let same = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let ends = |text: &[u8]| text.len() == same || text[same] == b'/';
    if ends(a) && ends(b) {
        return same;
    }
    a[..same].iter().rposition(|&b| b == b'/').unwrap_or(0)
}
