//! Through a tree, depth first, names in order. One descriptor is open for each level.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::engine::host::rooted;
use crate::engine::{Error, Result};

use super::node::{self, Node};

struct Level {
    fd: OwnedFd,
    names: std::vec::IntoIter<CString>,
    /// Length of the directory's path.
    path: usize,
}

/// A way through a tree.
pub struct Walk {
    levels: Vec<Level>,
    path: Vec<u8>,
}

impl Walk {
    /// At the root, nothing seen yet.
    pub fn new(root: BorrowedFd<'_>) -> Result<Self> {
        let fd = rooted::reopen(root, rustix::fs::OFlags::DIRECTORY)
            .map_err(|e| Error::io("open", "the root", e))?;
        let mut walk = Self { levels: Vec::new(), path: Vec::new() };
        walk.push(fd)?;
        Ok(walk)
    }

    /// The next file of the directory that was entered last, or of those above it; `None` at the end. What vanishes
    /// meanwhile is passed over.
    pub fn next(&mut self) -> Result<Option<Node>> {
        while let Some(level) = self.levels.last_mut() {
            self.path.truncate(level.path);
            let Some(name) = level.names.next() else {
                self.levels.pop();
                continue;
            };
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(name.to_bytes());
            if let Some(node) = node::open(level.fd.as_fd(), &name, &self.path)? {
                return Ok(Some(node));
            }
        }
        Ok(None)
    }

    /// The path of what [`Walk::next`] returned.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The descriptor of the directory that it is in.
    pub fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.levels.last().map(|level| level.fd.as_fd())
    }

    /// Goes on inside the directory that [`Walk::next`] returned.
    pub fn enter(&mut self, node: &Node) -> Result<()> {
        match node.read() {
            Ok(fd) => self.push(fd),
            Err(e) => Err(Node::error("open", &self.path, e)),
        }
    }

    fn push(&mut self, fd: OwnedFd) -> Result<()> {
        let names = names(fd.as_fd()).map_err(|e| Node::error("read directory", &self.path, e))?;
        self.levels.push(Level { fd, names: names.into_iter(), path: self.path.len() });
        Ok(())
    }
}

/// A directory's names, sorted.
pub fn names(fd: BorrowedFd<'_>) -> rustix::io::Result<Vec<CString>> {
    let mut names: Vec<CString> = rooted::names(fd)?.into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    Ok(names)
}
