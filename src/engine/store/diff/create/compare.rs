//! What differs between two trees (containers/storage `pkg/archive`: `ChangesDirs`).
//!
//! Both are walked at once, directory by directory. A file is another if type, mode, owner, device, size, time,
//! attributes or link differ; of a directory size and time do not count. A directory that only holds changes is sent
//! before them.

use std::cmp::Ordering;
use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, OFlags, Stat};

use crate::engine::host::rooted;
use crate::engine::spec::{IdMappings, to_container};
use crate::engine::{Error, Result};

use super::node::{self, Node};
use super::walk::names;
use super::{ChangeKind, Sink};

/// A tree, and the maps of the user namespace that its owners are outside of.
#[derive(Clone, Copy, Debug)]
pub struct Tree<'a> {
    /// Its root directory.
    pub root: BorrowedFd<'a>,
    /// Empty: owners count as they are.
    pub id_maps: &'a IdMappings,
}

/// Sends to `sink` what makes `old` into `new`; without `old`, everything is new.
///
/// # Errors
/// A directory cannot be read, or the sink failed.
pub fn compare(new: Tree<'_>, old: Option<Tree<'_>>, sink: &mut dyn Sink) -> Result<()> {
    let Some(old) = old else { return super::everything(new.root, sink) };
    let mut comparison =
        Comparison { maps: [new.id_maps, old.id_maps], path: Vec::new(), waiting: Vec::new() };
    let mut levels = vec![comparison.level(directory(new.root)?, Some(directory(old.root)?), 0)?];
    while let Some(level) = levels.last_mut() {
        comparison.path.truncate(level.path);
        let Some(name) = level.names.next() else {
            let path = level.path;
            comparison.waiting.retain(|(length, _)| *length < path || path == 0);
            levels.pop();
            continue;
        };
        if !comparison.path.is_empty() {
            comparison.path.push(b'/');
        }
        comparison.path.extend_from_slice(name.to_bytes());
        if let Some(deeper) = comparison.entry(level, &name, sink)? {
            levels.push(deeper);
        }
    }
    Ok(())
}

fn directory(root: BorrowedFd<'_>) -> Result<OwnedFd> {
    rooted::reopen(root, OFlags::DIRECTORY).map_err(|e| Error::io("open", "the root", e))
}

struct Level {
    new: OwnedFd,
    /// `None`: all of it is new.
    old: Option<OwnedFd>,
    names: std::vec::IntoIter<CString>,
    path: usize,
}

struct Comparison<'a> {
    maps: [&'a IdMappings; 2],
    path: Vec<u8>,
    /// Directories on the current path that are sent if something in them is, by the length of their paths.
    waiting: Vec<(usize, Node)>,
}

impl Comparison<'_> {
    fn level(&self, new: OwnedFd, old: Option<OwnedFd>, path: usize) -> Result<Level> {
        let read = |fd: BorrowedFd<'_>| names(fd).map_err(|e| Node::error("read directory", &self.path, e));
        let mut all = read(new.as_fd())?;
        if let Some(old) = &old {
            all = merged(all, read(old.as_fd())?);
        }
        Ok(Level { new, old, names: all.into_iter(), path })
    }

    fn entry(&mut self, level: &Level, name: &CString, sink: &mut dyn Sink) -> Result<Option<Level>> {
        let new = node::open(level.new.as_fd(), name, &self.path)?;
        let old = match &level.old {
            Some(old) => node::open(old.as_fd(), name, &self.path)?,
            None => None,
        };
        let (new, old) = match (new, old) {
            (None, None) => return Ok(None),
            (None, Some(_)) => {
                self.send_waiting(sink)?;
                sink.deleted(&self.path, None)?;
                return Ok(None);
            }
            (Some(new), old) => (new, old),
        };
        let changed = match &old {
            None => Some(ChangeKind::Added),
            Some(old) => self.differ(&new, old)?.then_some(ChangeKind::Modified),
        };
        if let Some(kind) = changed {
            self.send_waiting(sink)?;
            sink.present(&self.path, &new, kind)?;
        }
        if !new.is_dir() {
            return Ok(None);
        }
        let read = |node: &Node| node.read().map_err(|e| Node::error("open", &self.path, e));
        let fd = read(&new)?;
        let old = old.filter(Node::is_dir).map(|old| read(&old)).transpose()?;
        let length = self.path.len();
        if changed.is_none() {
            self.waiting.push((length, new));
        }
        self.level(fd, old, length).map(Some)
    }

    fn send_waiting(&mut self, sink: &mut dyn Sink) -> Result<()> {
        for (length, node) in self.waiting.drain(..) {
            sink.present(&self.path[..length], &node, ChangeKind::Modified)?;
        }
        Ok(())
    }

    fn differ(&self, new: &Node, old: &Node) -> Result<bool> {
        let (a, b) = (&new.stat, &old.stat);
        if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino) {
            return Ok(false);
        }
        let owner = |stat: &Stat, maps: &IdMappings| {
            (to_container(&maps.uids, stat.st_uid), to_container(&maps.gids, stat.st_gid))
        };
        if a.st_mode != b.st_mode
            || a.st_rdev != b.st_rdev
            || owner(a, self.maps[0]) != owner(b, self.maps[1])
            || !new.is_dir() && (a.st_size != b.st_size || !same_time(a, b))
        {
            return Ok(true);
        }
        let failed = |e| Node::error("read", &self.path, e);
        if new.kind() == FileType::Symlink && new.link().map_err(failed)? != old.link().map_err(failed)? {
            return Ok(true);
        }
        Ok(new.travelling_xattrs().map_err(failed)? != old.travelling_xattrs().map_err(failed)?)
    }
}

/// Names of both lists, sorted, once each.
fn merged(a: Vec<CString>, b: Vec<CString>) -> Vec<CString> {
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    let mut all = Vec::new();
    loop {
        let order = match (a.peek(), b.peek()) {
            (Some(x), Some(y)) => x.cmp(y),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return all,
        };
        let next = match order {
            Ordering::Less => a.next(),
            Ordering::Greater => b.next(),
            Ordering::Equal => {
                b.next();
                a.next()
            }
        };
        all.extend(next);
    }
}

/// Modification times as containers/storage compares them: one that passed through a tar of whole seconds counts as
/// the same.
pub fn same_time(a: &Stat, b: &Stat) -> bool {
    a.st_mtime == b.st_mtime
        && (a.st_mtime_nsec == b.st_mtime_nsec || a.st_mtime_nsec == 0 || b.st_mtime_nsec == 0)
}
