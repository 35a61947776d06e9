//! What the layers below have at a path.
//!
//! Overlay merges a directory with those of the same path below it, down to the first that is none, is deleted, or is
//! opaque itself. For each directory on the current path it is found out once how far down that is.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{OFlags, Stat};
use rustix::io::Errno;

use crate::engine::Result;
use crate::engine::host::rooted;

use super::super::Whiteouts;
use super::node::Node;

/// The layers below.
pub struct Below<'a> {
    lowers: &'a [OwnedFd],
    whiteouts: Whiteouts,
    /// For each directory from below the root to the current one: its path's length, and how many layers it reaches.
    reach: Vec<(usize, usize)>,
    last: Vec<u8>,
}

impl<'a> Below<'a> {
    /// The uppermost first.
    pub fn new(lowers: &'a [OwnedFd], whiteouts: Whiteouts) -> Self {
        Self { lowers, whiteouts, reach: Vec::new(), last: Vec::new() }
    }

    /// What is seen at `path` without the layer on top; `None`: nothing.
    pub fn find(&mut self, path: &[u8]) -> Result<Option<Stat>> {
        let parent = path.iter().rposition(|&b| b == b'/').unwrap_or(0);
        let reach = self.reach_of(&path[..parent])?;
        for lower in 0..reach {
            if let Some(node) = self.look(lower, path)? {
                return Ok((!node.is_whiteout()).then_some(node.stat));
            }
        }
        Ok(None)
    }

    /// How many layers take part in the directory `path`.
    fn reach_of(&mut self, path: &[u8]) -> Result<usize> {
        let same = super::shared_prefix(&self.last, path);
        self.reach.retain(|(length, _)| *length <= same);
        let known = self.reach.last().map_or(0, |(length, _)| *length);
        let mut reach = self.reach.last().map_or(self.lowers.len(), |(_, reach)| *reach);
        let ends = (known + 1..=path.len()).filter(|&at| at == path.len() || path[at] == b'/');
        for end in ends.collect::<Vec<_>>() {
            reach = self.reach_within(&path[..end], reach)?;
            self.reach.push((end, reach));
        }
        path.clone_into(&mut self.last);
        Ok(reach)
    }

    fn reach_within(&self, path: &[u8], most: usize) -> Result<usize> {
        for lower in 0..most {
            let Some(node) = self.look(lower, path)? else { continue };
            if !node.is_dir() {
                return Ok(lower);
            }
            if node.is_opaque(self.whiteouts).map_err(|e| Node::error("read an attribute of", path, e))? {
                return Ok(lower + 1);
            }
        }
        Ok(most)
    }

    fn look(&self, lower: usize, path: &[u8]) -> Result<Option<Node>> {
        let shown = Path::new(OsStr::from_bytes(path));
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        match rooted::open_without_links(self.lowers[lower].as_fd(), shown, flags) {
            Ok(fd) => Node::of(fd).map(Some).map_err(|e| Node::error("stat", path, e)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(e) => Err(Node::error("open", path, e)),
        }
    }
}
