//! A container's changes as overlay keeps them: what is in the upper directory.

use rustix::fs::Stat;

use crate::engine::Result;

use super::super::Whiteouts;
use super::below::Below;
use super::node::Node;
use super::walk::Walk;
use super::{ChangeKind, Sink, Upper};

/// fuse-overlayfs's mark in an opaque directory: a whiteout of this name, which as a file of an archive would be called
/// `.wh..wh..opq`.
const FUSE_OPAQUE: &[u8] = b".wh..opq";

/// Sends what was added, changed and deleted to `sink`.
///
/// # Errors
/// A directory cannot be read, or the sink failed.
pub fn overlay(upper: &Upper<'_>, sink: &mut dyn Sink) -> Result<()> {
    let mut walk = Walk::new(upper.root)?;
    let mut below = Below::new(upper.lowers, upper.whiteouts);
    while let Some(node) = walk.next()? {
        let name = super::super::parents::split(walk.path()).1;
        if node.is_whiteout() && name != FUSE_OPAQUE {
            sink.deleted(walk.path(), Some(&node))?;
            continue;
        }
        let mark = if node.is_whiteout() { Some(name) } else { name.strip_prefix(b".wh.") };
        if let Some(mark) = mark {
            literal_mark(upper.whiteouts, &walk, &node, mark, sink)?;
            continue;
        }
        if node.is_dir() {
            directory(upper, &walk, &node, &mut below, sink)?;
            walk.enter(&node)?;
        } else {
            let kind = match sink.wants_kinds() && below.find(walk.path())?.is_some() {
                true => ChangeKind::Modified,
                false => ChangeKind::Added,
            };
            sink.present(walk.path(), &node, kind)?;
        }
    }
    Ok(())
}

fn directory(
    upper: &Upper<'_>,
    walk: &Walk,
    node: &Node,
    below: &mut Below<'_>,
    sink: &mut dyn Sink,
) -> Result<()> {
    let path = walk.path();
    let opaque = node.is_opaque(upper.whiteouts).map_err(|e| Node::error("read an attribute of", path, e))?;
    let there = if opaque || sink.wants_kinds() { below.find(path)? } else { None };
    // The kernel marks every directory it makes; only one that takes another's place hides something.
    let hides = opaque && there.is_some();
    if !sink.wants_kinds() {
        sink.present(path, node, ChangeKind::Added)?;
        return if hides { sink.opaque(path, node) } else { Ok(()) };
    }
    match there {
        Some(_) if hides => sink.opaque(path, node),
        Some(there) if same_directory(&there, &node.stat) => Ok(()),
        Some(_) => sink.present(path, node, ChangeKind::Modified),
        None => sink.present(path, node, ChangeKind::Added),
    }
}

/// What containers/storage takes for the same (`pkg/archive`: `changes`).
fn same_directory(old: &Stat, new: &Stat) -> bool {
    (old.st_mode, old.st_size) == (new.st_mode, new.st_size) && super::compare::same_time(old, new)
}

/// fuse-overlayfs keeps marks as files where it cannot make device nodes. Anywhere else a file of such a name is the
/// user's own, and no archive could bring it: it would delete something.
fn literal_mark(
    whiteouts: Whiteouts,
    walk: &Walk,
    node: &Node,
    deleted: &[u8],
    sink: &mut dyn Sink,
) -> Result<()> {
    let path = walk.path();
    if whiteouts != Whiteouts::Literal {
        let path = String::from_utf8_lossy(path);
        tracing::warn!("/{path} has a name that no layer can have; it is left out");
        return Ok(());
    }
    let directory = super::super::parents::split(path).0;
    match deleted {
        b".wh..opq" => {
            let in_directory = walk.directory().and_then(|fd| Node::open(fd, c".").ok().flatten());
            // One that says so by an attribute too has been told of.
            match in_directory {
                Some(parent) if !parent.is_opaque(whiteouts).unwrap_or(false) => {
                    sink.opaque(directory, &parent)
                }
                _ => Ok(()),
            }
        }
        _ if deleted.is_empty() || deleted.starts_with(b".wh.") => Ok(()),
        _ => {
            let mut target = directory.to_vec();
            if !target.is_empty() {
                target.push(b'/');
            }
            target.extend_from_slice(deleted);
            sink.deleted(&target, Some(node))
        }
    }
}
