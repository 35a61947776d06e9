//! Entries become files.
//!
//! Each is made with `O_EXCL` or its like below a directory that is already open, so the usual entry costs no look
//! before the leap; only when something is in its place already (an entry that comes twice, a layer below on vfs) is
//! that looked at, and removed or merged as containers/storage does (`pkg/archive`: Unpack, UnpackLayer).

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io::BufRead;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::engine::host::{rooted, writeback};
use crate::engine::{Error, Result};

use super::contents::Contents;
use super::metadata::{Metadata, Place, cstring, set_xattr, times};
use super::parents::{Dir, Parents, is_whiteout, split, stat};
use super::path::{self, Mark};
use super::tar::{Entry, Kind};
use super::{ApplyOptions, Whiteouts};

/// Files of so many bytes are on their way to the disk as soon as they are complete. Smaller ones the kernel writes better
/// together.
const WRITTEN_EARLY: u64 = 64 << 10;

/// Unpacks one layer.
pub struct Extractor<'a> {
    options: &'a ApplyOptions,
    parents: Parents<'a>,
    metadata: Metadata<'a>,
    root: BorrowedFd<'a>,
    /// The root's own value for `force_mask`.
    root_override: Option<String>,
    told_of_loss: bool,
    /// On vfs: what this layer has brought, which its own whiteouts spare. Keyed hashes.
    brought: HashSet<u64>,
    keys: RandomState,
}

impl<'a> Extractor<'a> {
    /// Into the directory `root`.
    pub fn new(root: BorrowedFd<'a>, options: &'a ApplyOptions) -> Self {
        let metadata = Metadata::new(options);
        Self {
            options,
            parents: Parents::new(root, metadata.root_owner(), options.merge.is_none()),
            metadata,
            root,
            root_override: None,
            told_of_loss: false,
            brought: HashSet::new(),
            keys: RandomState::new(),
        }
    }

    /// Makes one entry; `path` is its cleaned name.
    pub fn entry<R: BufRead>(
        &mut self,
        entry: &Entry,
        path: &[u8],
        contents: &mut Contents<'_, R>,
    ) -> Result<()> {
        if entry.kind == Kind::Global {
            return Ok(());
        }
        if path.is_empty() {
            return self.root_entry(entry);
        }
        let (parent, name) = split(path);
        let mark = if self.options.whiteouts == Whiteouts::Literal { None } else { path::mark(name)? };
        let dir = self.parents.get(parent)?;
        match mark {
            Some(Mark::Aufs) => return Ok(()),
            Some(Mark::Opaque) => return self.opaque(&dir),
            Some(Mark::Whiteout(deleted)) => return self.whiteout(entry, dir, deleted),
            None => {}
        }
        if self.options.whiteouts == Whiteouts::Raw {
            self.remember(path);
        }
        match entry.kind {
            Kind::Directory => self.directory(entry, dir, path, name),
            Kind::Symlink => self.symlink(entry, dir, name),
            Kind::HardLink => self.hard_link(entry, dir, name),
            Kind::File => self.file(entry, dir, name, contents),
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo if self.options.force_mask.is_some() => {
                self.file(entry, dir, name, contents)
            }
            Kind::CharDevice | Kind::BlockDevice if self.options.in_userns => {
                tracing::debug!("{}: a device node cannot be made in a user namespace", dir.join(name));
                Ok(())
            }
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => self.node(entry, dir, name),
            Kind::Global => Ok(()),
        }
    }

    /// Gives the directories their times. Call it after the last entry.
    pub fn finish(mut self) -> Result<()> {
        self.parents.flush()?;
        if self.options.force_mask.is_some() {
            let value = self.root_override.unwrap_or_else(|| "0:0:0755:dir".to_owned());
            rustix::fs::fsetxattr(
                self.root,
                "user.containers.override_stat",
                value.as_bytes(),
                rustix::fs::XattrFlags::empty(),
            )
            .map_err(|e| Error::io("set override of", "the layer's root", e))?;
        }
        Ok(())
    }

    /// Overlay takes the root's owner and mode from the layer's directory, which is the store's to make: `.` says
    /// nothing there. On vfs, and as `/`, it counts.
    fn root_entry(&mut self, entry: &Entry) -> Result<()> {
        if entry.kind != Kind::Directory {
            return Err(Error::corrupt("an entry in the layer's root's place is no directory"));
        }
        if self.options.force_mask.is_some() {
            self.root_override = Some(self.metadata.override_value(entry)?);
        }
        if self.options.whiteouts != Whiteouts::Raw && !entry.name.starts_with(b"/") {
            return Ok(());
        }
        self.parents.flush()?;
        let root = self.parents.get(b"")?;
        let place = Place { dir: &root, name: b".", fd: Some(root.change()), fresh: false };
        self.metadata.apply(entry, place)?;
        root.set_times(times(entry));
        Ok(())
    }

    fn directory(&mut self, entry: &Entry, mut dir: Rc<Dir>, path: &[u8], name: &[u8]) -> Result<()> {
        let mode = self.metadata.creation_mode(entry);
        let mut opaque = false;
        let fresh = loop {
            match rustix::fs::mkdirat(dir.change(), name, mode) {
                Ok(()) => break true,
                Err(Errno::EXIST) => {}
                Err(e) => return Err(Error::io("mkdir", dir.join(name), e)),
            }
            dir = self.reopen(dir)?;
            let there = stat(&dir, name)?;
            if there.is_some_and(|s| FileType::from_raw_mode(s.st_mode).is_dir()) {
                break false;
            }
            // The whiteout deletes what the layers below have; this layer's directory must go on hiding it.
            opaque |= there.is_some_and(|s| is_whiteout(&s));
            if let Some(there) = &there {
                self.check_kinds(&dir, name, there, true)?;
                self.tell_of_loss(&dir, name, there);
            }
            remove(&dir, name)?;
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(dir.fd(), name, flags, Mode::empty())
            .map_err(|e| Error::io("open directory", dir.join(name), e))?;
        let place = Place { dir: &dir, name, fd: Some(fd.as_fd()), fresh };
        self.metadata.apply(entry, place)?;
        if opaque {
            self.set_opaque(place)?;
        }
        let set_gid = entry.mode & 0o2000 != 0;
        self.parents.insert(path, fd, times(entry), set_gid)?.changed();
        Ok(())
    }

    fn file<R: BufRead>(
        &mut self,
        entry: &Entry,
        mut dir: Rc<Dir>,
        name: &[u8],
        contents: &mut Contents<'_, R>,
    ) -> Result<()> {
        let mode = self.metadata.creation_mode(entry);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = loop {
            match rustix::fs::openat(dir.change(), name, flags, mode) {
                Ok(fd) => break fd,
                Err(Errno::EXIST) => dir = self.replace(dir, name)?,
                Err(e) => return Err(Error::io("create", dir.join(name), e)),
            }
        };
        let write = |e: Errno| Error::io("write", dir.join(name), e);
        if entry.kind == Kind::File {
            match &entry.sparse {
                None => contents.pass(|bytes, _| write_all(&fd, bytes).map_err(write))?,
                Some(map) => write_sparse(&fd, entry.size, map, contents, &write)?,
            }
        }
        self.metadata.apply(entry, Place { dir: &dir, name, fd: Some(fd.as_fd()), fresh: true })?;
        // The syncfs at the end of a pull, which everybody waits for, would have all of it to write.
        if entry.size >= WRITTEN_EARLY && self.options.merge.is_none() {
            writeback::begin(&fd);
        }
        Ok(())
    }

    fn symlink(&mut self, entry: &Entry, mut dir: Rc<Dir>, name: &[u8]) -> Result<()> {
        loop {
            match rustix::fs::symlinkat(&entry.link[..], dir.change(), name) {
                Ok(()) => break,
                Err(Errno::EXIST) => dir = self.replace(dir, name)?,
                Err(e) => return Err(Error::io("symlink", dir.join(name), e)),
            }
        }
        self.metadata.apply(entry, Place { dir: &dir, name, fd: None, fresh: true })
    }

    /// The target is a path in the layer; a symbolic link in its last place is linked to itself, not followed.
    fn hard_link(&mut self, entry: &Entry, mut dir: Rc<Dir>, name: &[u8]) -> Result<()> {
        let target = path::clean(&entry.link)?;
        let (target_parent, target_name) = split(&target);
        let refuse = |dir: &Dir, why: &str| {
            let target = String::from_utf8_lossy(&target);
            Error::corrupt(format!("{} is a hard link to {target:?}, which {why}", dir.join(name)))
        };
        if target.is_empty() {
            return Err(refuse(&dir, "is a directory"));
        }
        let mut from = self.parents.get(target_parent)?;
        // Opening that one may have flushed this one.
        dir = self.parents.get(&dir.path.clone())?;
        loop {
            match rustix::fs::linkat(from.fd(), target_name, dir.change(), name, AtFlags::empty()) {
                Ok(()) => break,
                Err(Errno::EXIST) => {
                    let same = |a: Stat, b: Stat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
                    match (stat(&dir, name)?, stat(&from, target_name)?) {
                        (Some(a), Some(b)) if same(a, b) => break,
                        (_, None) => return Err(refuse(&dir, "does not exist")),
                        _ => {}
                    }
                    dir = self.replace(dir, name)?;
                    from = self.parents.get(target_parent)?;
                    dir = self.parents.get(&dir.path.clone())?;
                }
                Err(Errno::NOENT) => return Err(refuse(&dir, "does not exist")),
                Err(Errno::PERM) => return Err(refuse(&dir, "cannot be linked to")),
                Err(e) => return Err(Error::io("link", dir.join(name), e)),
            }
        }
        self.linked(entry, &dir, name)
    }

    /// The link's entry normally repeats what its target's said; a change of owner would drop capabilities.
    fn linked(&self, entry: &Entry, dir: &Dir, name: &[u8]) -> Result<()> {
        let Some(there) = stat(dir, name)? else { return Ok(()) };
        let kind = FileType::from_raw_mode(there.st_mode);
        let (uid, gid) = self.metadata.owner(entry)?;
        let same_owner = self.options.force_mask.is_some() || (there.st_uid, there.st_gid) == (uid, gid);
        let same = same_owner && (kind.is_symlink() || there.st_mode & 0o7777 == entry.mode);
        let (_, mtime) = times(entry);
        let same_time = (there.st_mtime, there.st_mtime_nsec.cast_signed()) == (mtime.tv_sec, mtime.tv_nsec);
        if same && same_time && entry.xattrs.is_empty() || self.options.force_mask.is_some() {
            return Ok(());
        }
        let place = Place { dir, name, fd: None, fresh: false };
        if kind.is_symlink() {
            return self.metadata.chown(entry, place);
        }
        self.metadata.apply(entry, place)
    }

    fn node(&mut self, entry: &Entry, mut dir: Rc<Dir>, name: &[u8]) -> Result<()> {
        let kind = match entry.kind {
            Kind::CharDevice => FileType::CharacterDevice,
            Kind::BlockDevice => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let number = |n: i64| u32::try_from(n).map_err(|_| Error::corrupt("a device number is too large"));
        let device = match kind {
            FileType::Fifo => 0,
            _ => rustix::fs::makedev(number(entry.device.0)?, number(entry.device.1)?),
        };
        let mode = self.metadata.creation_mode(entry);
        loop {
            match rustix::fs::mknodat(dir.change(), name, kind, mode, device) {
                Ok(()) => break,
                Err(Errno::EXIST) => dir = self.replace(dir, name)?,
                Err(e) => return Err(Error::io("mknod", dir.join(name), e)),
            }
        }
        self.metadata.apply(entry, Place { dir: &dir, name, fd: None, fresh: true })
    }

    fn whiteout(&mut self, entry: &Entry, dir: Rc<Dir>, name: &[u8]) -> Result<()> {
        if self.options.whiteouts == Whiteouts::Raw {
            return self.delete(&dir, name);
        }
        let made = rustix::fs::mknodat(dir.change(), name, FileType::CharacterDevice, Mode::empty(), 0);
        match made {
            Ok(()) => self.metadata.chown(entry, Place { dir: &dir, name, fd: None, fresh: true }),
            // Whiteouts are about the layers below: what this layer brought stays. A file hides what is below it,
            // a directory has to be told to.
            Err(Errno::EXIST) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                match rustix::fs::openat(dir.fd(), name, flags, Mode::empty()) {
                    Ok(fd) => self.set_opaque(Place { dir: &dir, name, fd: Some(fd.as_fd()), fresh: false }),
                    Err(Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => Ok(()),
                    Err(e) => Err(Error::io("open directory", dir.join(name), e)),
                }
            }
            Err(e @ Errno::PERM) => Err(Error::io("make whiteout", dir.join(name), e)
                .with_hint("whiteouts need Linux 5.8 or fuse-overlayfs in a user namespace")),
            Err(e) => Err(Error::io("make whiteout", dir.join(name), e)),
        }
    }

    fn opaque(&mut self, dir: &Rc<Dir>) -> Result<()> {
        if self.options.whiteouts == Whiteouts::Raw {
            return self.delete_others(dir.path.clone());
        }
        self.set_opaque(Place { dir, name: b".", fd: Some(dir.fd()), fresh: false })
    }

    fn set_opaque(&self, place: Place<'_>) -> Result<()> {
        let key: &[u8] = match self.options.whiteouts {
            Whiteouts::Native => b"trusted.overlay.opaque",
            Whiteouts::UserXattr => b"user.overlay.opaque",
            Whiteouts::Literal | Whiteouts::Raw => return Ok(()),
        };
        set_xattr(place, key, b"y").map_err(|e| Error::io("make opaque", place.dir.join(place.name), e))
    }

    /// Removes what stands in an entry's place. Whatever was cached may lead elsewhere now.
    fn replace(&mut self, dir: Rc<Dir>, name: &[u8]) -> Result<Rc<Dir>> {
        let dir = self.reopen(dir)?;
        if let Some(there) = stat(&dir, name)? {
            self.check_kinds(&dir, name, &there, false)?;
            self.tell_of_loss(&dir, name, &there);
        }
        remove(&dir, name)?;
        Ok(dir)
    }

    /// docker's words for what [`super::Merge::keep_kinds`] forbids.
    fn check_kinds(&self, dir: &Dir, name: &[u8], there: &Stat, directory: bool) -> Result<()> {
        let is_dir = FileType::from_raw_mode(there.st_mode).is_dir();
        if is_dir == directory || !self.options.merge.is_some_and(|merge| merge.keep_kinds) {
            return Ok(());
        }
        let path = dir.join(name);
        Err(Error::invalid(match directory {
            true => format!("cannot overwrite non-directory {path:?} with directory"),
            false => format!("cannot overwrite directory {path:?} with non-directory"),
        }))
    }

    /// A file's contents are where the tar would be made from again. docker and podman refuse such a layer.
    fn tell_of_loss(&mut self, dir: &Dir, name: &[u8], there: &Stat) {
        let kind = FileType::from_raw_mode(there.st_mode);
        let has_contents = kind.is_dir() || kind.is_file() && there.st_size > 0;
        let layer = self.options.whiteouts != Whiteouts::Raw && self.options.merge.is_none();
        if has_contents && layer && !self.told_of_loss {
            self.told_of_loss = true;
            let path = dir.join(name);
            tracing::warn!(
                "{path} is in a layer more than once; the image can be used, but not pushed or saved"
            );
        }
    }

    fn reopen(&mut self, dir: Rc<Dir>) -> Result<Rc<Dir>> {
        let path = dir.path.clone();
        drop(dir);
        self.parents.flush()?;
        self.parents.get(&path)
    }

    fn remember(&mut self, path: &[u8]) {
        for end in (0..=path.len()).rev() {
            if (end == path.len() || path[end] == b'/')
                && !self.brought.insert(self.keys.hash_one(&path[..end]))
            {
                break;
            }
        }
    }

    fn has_brought(&self, path: &[u8]) -> bool {
        self.brought.contains(&self.keys.hash_one(path))
    }

    /// vfs: `name` of a layer below is deleted.
    fn delete(&mut self, dir: &Rc<Dir>, name: &[u8]) -> Result<()> {
        let path = if dir.path.is_empty() { name.to_vec() } else { [&dir.path, &b"/"[..], name].concat() };
        if !self.has_brought(&path) {
            let dir = self.reopen(Rc::clone(dir))?;
            return remove(&dir, name);
        }
        self.delete_others(path)
    }

    /// vfs: removes from the directory `path` what this layer did not bring. Nothing, if it is no directory.
    fn delete_others(&mut self, path: Vec<u8>) -> Result<()> {
        let mut todo = vec![path];
        while let Some(path) = todo.pop() {
            let (parent, name) = split(&path);
            let parent = self.parents.get(parent)?;
            let is_dir = |s: Stat| FileType::from_raw_mode(s.st_mode).is_dir();
            if !path.is_empty() && !stat(&parent, name)?.is_some_and(is_dir) {
                continue;
            }
            self.parents.flush()?;
            let dir = self.parents.get(&path)?;
            for child in names(dir.fd(), &dir)? {
                let child_path =
                    if path.is_empty() { child.clone() } else { [&path, &b"/"[..], &child].concat() };
                if self.has_brought(&child_path) {
                    todo.push(child_path);
                } else {
                    remove(&dir, &child)?;
                }
            }
        }
        Ok(())
    }
}

fn names(fd: BorrowedFd<'_>, dir: &Dir) -> Result<Vec<Vec<u8>>> {
    let error = |e| Error::io("read directory", dir.join(b""), e);
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(fd).map_err(error)? {
        let entry = entry.map_err(error)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

fn remove(dir: &Dir, name: &[u8]) -> Result<()> {
    rooted::remove_all_at(dir.change(), &cstring(name)?).map_err(|e| Error::io("remove", dir.join(name), e))
}

fn write_all(fd: &OwnedFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Data go where the map says; what is between is never written.
fn write_sparse<R: BufRead>(
    fd: &OwnedFd,
    size: u64,
    map: &[super::tar::Region],
    contents: &mut Contents<'_, R>,
    error: &impl Fn(Errno) -> Error,
) -> Result<()> {
    let mut regions = map.iter();
    let mut region = regions.next();
    // Bytes stored before the current region.
    let mut before = 0;
    contents.pass(|mut bytes, mut at| {
        while !bytes.is_empty() {
            let Some(current) = region else { return Err(Error::corrupt("a sparse file has too many data")) };
            let done = at - before;
            let n = usize::try_from(current.length - done).unwrap_or(usize::MAX).min(bytes.len());
            let mut offset = current.offset + done;
            let (mut now, later) = bytes.split_at(n);
            while !now.is_empty() {
                let written = rustix::io::pwrite(fd, now, offset).map_err(error)?;
                now = &now[written..];
                offset += written as u64;
            }
            (bytes, at) = (later, at + n as u64);
            if at - before == current.length {
                before = at;
                region = regions.next();
            }
        }
        Ok(())
    })?;
    rustix::fs::ftruncate(fd, size).map_err(error)
}
