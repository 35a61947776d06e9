//! What is found goes into a tar.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::Write;
use std::os::fd::AsFd;

use rustix::fs::{FileType, Stat};

use crate::engine::Result;
use crate::engine::spec::{IdMapping, to_container};

use super::super::tar::write::{Header, Writer, data_of};
use super::super::tar::{Kind, Time};
use super::{ArchiveOptions, ChangeKind, Node, Sink};

/// The kernel's and everybody's overflow ID.
const NOBODY: u32 = 65534;

/// containers/storage `pkg/idtools`: what `force_mask` hides.
const OVERRIDE: &std::ffi::CStr = c"user.containers.override_stat";

/// A tar of what is found. Whiteouts are as the OCI image specification has them (layer.md, "Whiteouts").
pub struct Archive<W> {
    writer: Writer<W>,
    options: ArchiveOptions,
    /// Files with several names by device and inode: the first name, and how many are still to come.
    links: HashMap<(u64, u64), (Vec<u8>, u64)>,
    told_of_owner: Cell<bool>,
}

/// What an entry says of a file, before IDs are mapped.
struct Facts {
    kind: Kind,
    uid: u32,
    gid: u32,
    mode: u32,
    device: (u32, u32),
}

impl<W: Write> Archive<W> {
    /// An empty one.
    pub fn new(out: W, options: ArchiveOptions) -> Self {
        let (links, told_of_owner) = (HashMap::new(), Cell::new(false));
        Self { writer: Writer::new(out), options, links, told_of_owner }
    }

    /// Ends it.
    ///
    /// # Errors
    /// What is left cannot be written.
    pub fn finish(self) -> Result<W> {
        self.writer.finish()
    }

    fn facts(&self, node: &Node, path: &[u8]) -> Result<Option<Facts>> {
        let stat = &node.stat;
        let Some(kind) = kind(node.kind()) else { return Ok(None) };
        let mut facts = Facts {
            kind,
            uid: self.id(&self.options.id_maps.uids, stat.st_uid, path),
            gid: self.id(&self.options.id_maps.gids, stat.st_gid, path),
            mode: stat.st_mode & 0o7777,
            device: (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)),
        };
        if self.options.overrides
            && let Some(text) = node.xattr(OVERRIDE).map_err(|e| Node::error("read", path, e))?
        {
            hidden(&mut facts, &String::from_utf8_lossy(&text));
        }
        Ok(Some(facts))
    }

    fn id(&self, map: &[IdMapping], id: u32, path: &[u8]) -> u32 {
        to_container(map, id).unwrap_or_else(|| {
            if !self.told_of_owner.replace(true) {
                let path = String::from_utf8_lossy(path);
                tracing::warn!(
                    "/{path} belongs to ID {id}, which the container does not have; nobody's it is"
                );
            }
            NOBODY
        })
    }

    fn time(&self, stat: &Stat) -> Time {
        let nanoseconds = if self.options.subsecond { stat.st_mtime_nsec.cast_signed() } else { 0 };
        Time { seconds: stat.st_mtime, nanoseconds }
    }

    /// The first name of a file that has another one in the archive.
    fn earlier_name(&mut self, path: &[u8], stat: &Stat) -> Option<Vec<u8>> {
        if stat.st_nlink < 2 || FileType::from_raw_mode(stat.st_mode).is_dir() {
            return None;
        }
        let key = (stat.st_dev, stat.st_ino);
        let Some((name, left)) = self.links.get_mut(&key) else {
            let more: u64 = stat.st_nlink - 1;
            self.links.insert(key, (path.to_vec(), more));
            return None;
        };
        let name = name.clone();
        *left -= 1;
        if *left == 0 {
            self.links.remove(&key);
        }
        Some(name)
    }

    /// A mark: an empty file in a directory.
    fn mark(&mut self, directory: &[u8], name: &[u8], stat: Option<&Stat>) -> Result<()> {
        let mut path = directory.to_vec();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(b".wh.");
        path.extend_from_slice(name);
        let mtime = stat.map(|stat| self.time(stat)).unwrap_or_default();
        self.writer.header(&Header { mtime, ..Header::file(&path) })
    }
}

impl<W: Write> Sink for Archive<W> {
    fn wants_kinds(&self) -> bool {
        false
    }

    fn present(&mut self, path: &[u8], node: &Node, _: ChangeKind) -> Result<()> {
        let Some(facts) = self.facts(node, path)? else {
            tracing::debug!("{}: a socket is left out", String::from_utf8_lossy(path));
            return Ok(());
        };
        let failed = |e| Node::error("read", path, e);
        let mut xattrs = node.travelling_xattrs().map_err(failed)?;
        for (key, value) in &mut xattrs {
            if key == b"security.capability" {
                self.inside(value);
            }
        }
        let mut name = path.to_vec();
        if facts.kind == Kind::Directory {
            name.push(b'/');
        }
        let mut header = Header {
            kind: facts.kind,
            mode: facts.mode,
            uid: facts.uid,
            gid: facts.gid,
            mtime: self.time(&node.stat),
            device: facts.device,
            xattrs: &xattrs,
            ..Header::file(&name)
        };
        if let Some(first) = self.earlier_name(path, &node.stat) {
            return self.writer.header(&Header { kind: Kind::HardLink, link: &first, ..header });
        }
        if facts.kind == Kind::Symlink {
            let link = node.link().map_err(failed)?;
            return self.writer.header(&Header { link: &link, mode: 0o777, ..header });
        }
        let size = u64::try_from(node.stat.st_size).unwrap_or(0);
        if facts.kind != Kind::File || size == 0 || node.kind() != FileType::RegularFile {
            return self.writer.header(&header);
        }
        let file = match node.read() {
            Ok(file) => file,
            Err(e) => return Err(Node::error("open", path, e)),
        };
        let stored = u64::try_from(node.stat.st_blocks).unwrap_or(0).saturating_mul(512);
        let holes = stored < size;
        let regions = if holes && self.options.sparse { data_of(file.as_fd(), size) } else { None };
        let whole = if let Some(regions) = &regions {
            header.size = regions.iter().map(|region| region.length).sum();
            header.sparse = Some((regions, size));
            self.writer.header(&header)?;
            self.writer.regions(file.as_fd(), regions)?
        } else {
            header.size = size;
            self.writer.header(&header)?;
            self.writer.contents(file.as_fd(), size, holes)?
        };
        if !whole {
            let path = String::from_utf8_lossy(path);
            tracing::warn!("/{path} became shorter while it was read; it is filled up with zeros");
        }
        Ok(())
    }

    fn deleted(&mut self, path: &[u8], mark: Option<&Node>) -> Result<()> {
        let (directory, name) = super::super::parents::split(path);
        self.mark(directory, name, mark.map(|node| &node.stat))
    }

    fn opaque(&mut self, path: &[u8], node: &Node) -> Result<()> {
        self.mark(path, b".wh..opq", Some(&node.stat))
    }
}

impl<W> Archive<W> {
    /// File capabilities of a user namespace's root are everybody's root's inside of it: revision 3 with the root's ID
    /// becomes revision 2 without (linux/capability.h, `vfs_ns_cap_data`).
    fn inside(&self, value: &mut Vec<u8>) {
        const REVISION_MASK: u32 = 0xff00_0000;
        let word = |at: usize| value.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
        let (Some(magic), Some(root)) = (word(0), word(20)) else { return };
        if magic & REVISION_MASK == 0x0300_0000 && to_container(&self.options.id_maps.uids, root) == Some(0) {
            let magic = magic & !REVISION_MASK | 0x0200_0000;
            value.truncate(20);
            value[..4].copy_from_slice(&magic.to_le_bytes());
        }
    }
}

/// `None`: a socket.
fn kind(kind: FileType) -> Option<Kind> {
    Some(match kind {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket | FileType::Unknown => return None,
    })
}

/// `UID:GID:MODE[:TYPE]`, the IDs as in the archive; a type may be `file`, `dir`, `symlink`, `pipe`,
/// `block-MAJOR-MINOR` or `char-MAJOR-MINOR`. Anything else says nothing.
fn hidden(facts: &mut Facts, text: &str) {
    let mut parts = text.split(':');
    let mut next = || parts.next();
    let (Some(uid), Some(gid), Some(mode)) = (next(), next(), next()) else { return };
    let (Ok(uid), Ok(gid), Ok(mode)) = (uid.parse(), gid.parse(), u32::from_str_radix(mode, 8)) else {
        return;
    };
    (facts.uid, facts.gid, facts.mode) = (uid, gid, mode & 0o7777);
    let Some(kind) = next() else { return };
    let mut words = kind.split('-');
    let name = words.next().unwrap_or_default();
    let mut number = || words.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    match name {
        "pipe" => facts.kind = Kind::Fifo,
        "block" => (facts.kind, facts.device) = (Kind::BlockDevice, (number(), number())),
        "char" => (facts.kind, facts.device) = (Kind::CharDevice, (number(), number())),
        _ => {}
    }
}
