//! The directories that entries are made in, kept open.
//!
//! A tar comes directory by directory, so the next entry's parent is nearly always among the last few. Making or
//! removing an entry changes its parent's modification time; each directory remembers the time it is to have and
//! gets it back when it leaves the cache, so that nothing has to be remembered to the archive's end.

use std::cell::Cell;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use crate::engine::host::rooted;
use crate::engine::{Error, Result};

/// How many directories are kept open.
const KEPT: usize = 24;

/// An open directory below the root.
pub struct Dir {
    /// Its cleaned path; empty for the root.
    pub path: Vec<u8>,
    fd: OwnedFd,
    times: Cell<(Timespec, Timespec)>,
    changed: Cell<bool>,
    /// It keeps the times it had, or gets those the archive says; `false`: those at which it was changed.
    timed: Cell<bool>,
    /// What is made in it gets its group.
    pub set_gid: bool,
}

impl Dir {
    /// The descriptor, to look something up.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The descriptor, to change what is in the directory.
    pub fn change(&self) -> BorrowedFd<'_> {
        self.changed.set(true);
        self.fd.as_fd()
    }

    /// The path of `name` in it, for messages.
    pub fn join(&self, name: &[u8]) -> String {
        let name = String::from_utf8_lossy(name);
        if self.path.is_empty() {
            return name.into_owned();
        }
        format!("{}/{name}", String::from_utf8_lossy(&self.path))
    }

    /// Gives it other times to have.
    pub fn set_times(&self, times: (Timespec, Timespec)) {
        self.times.set(times);
        self.timed.set(true);
        self.changed();
    }

    /// Its times on the disk are not those it is to have.
    pub fn changed(&self) {
        self.changed.set(true);
    }

    fn restore(&self) -> Result<()> {
        if !self.changed.replace(false) || !self.timed.get() {
            return Ok(());
        }
        let (last_access, last_modification) = self.times.get();
        rustix::fs::futimens(&self.fd, &Timestamps { last_access, last_modification })
            .map_err(|e| Error::io("set the times of", Path::new(OsStr::from_bytes(&self.path)), e))
    }
}

/// The cache.
pub struct Parents<'a> {
    root: BorrowedFd<'a>,
    /// The most recently used one last.
    open: Vec<Rc<Dir>>,
    /// A directory may be open twice, under a path and under one that leads there through a link.
    aliased: bool,
    /// Owner of directories the archive has entries in but does not name.
    owner: Option<(u32, u32)>,
    /// Directories that were there keep their times.
    keep_times: bool,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

impl<'a> Parents<'a> {
    /// Nothing open yet. Missing directories are made 0755 and, when it is not us, owned by `owner`. Whoever unpacks
    /// among files that are not his may change directories whose times he cannot set: then not to `keep_times`.
    pub fn new(root: BorrowedFd<'a>, owner: Option<(u32, u32)>, keep_times: bool) -> Self {
        Self { root, open: Vec::new(), aliased: false, owner, keep_times }
    }

    /// The directory at the cleaned path `path`, made with its own parents where it is missing. Symbolic links on
    /// the way are followed inside the root.
    pub fn get(&mut self, path: &[u8]) -> Result<Rc<Dir>> {
        if let Some(at) = self.open.iter().rposition(|d| d.path == path) {
            if at + 1 != self.open.len() {
                let dir = self.open.remove(at);
                self.open.push(dir);
            }
            if let Some(dir) = self.open.last() {
                return Ok(Rc::clone(dir));
            }
        }
        let os = Path::new(OsStr::from_bytes(path));
        if self.aliased {
            // What is open may be this one, its times not yet given back.
            self.flush()?;
        }
        let mut opened = rooted::open_without_links(self.root, os, DIRECTORY);
        if matches!(opened, Err(Errno::LOOP)) {
            self.flush()?;
            opened = rooted::open(self.root, os, DIRECTORY, Mode::empty());
            self.aliased = true;
        }
        let fd = match opened {
            Err(Errno::NOENT) if !path.is_empty() => self.make(path)?,
            other => other.map_err(|e| Error::io("open directory", os, e))?,
        };
        let stat = rustix::fs::fstat(&fd).map_err(|e| Error::io("stat", os, e))?;
        let times = (time(stat.st_atime, stat.st_atime_nsec), time(stat.st_mtime, stat.st_mtime_nsec));
        let dir = self.insert(path, fd, times, Mode::from_raw_mode(stat.st_mode).contains(Mode::SGID))?;
        dir.timed.set(self.keep_times);
        Ok(dir)
    }

    /// Adds a directory that was just made, with the times it is to have.
    pub fn insert(
        &mut self,
        path: &[u8],
        fd: OwnedFd,
        times: (Timespec, Timespec),
        set_gid: bool,
    ) -> Result<Rc<Dir>> {
        // One that is in use right now may change again, so it stays.
        if self.open.len() >= KEPT
            && let Some(oldest) = self.open.iter().position(|d| Rc::strong_count(d) == 1)
        {
            self.open.remove(oldest).restore()?;
        }
        let dir = Rc::new(Dir {
            path: path.to_vec(),
            fd,
            times: Cell::new(times),
            changed: Cell::new(false),
            timed: Cell::new(true),
            set_gid,
        });
        self.open.push(Rc::clone(&dir));
        Ok(dir)
    }

    /// Gives all open directories their times and forgets them: a path may lead elsewhere from now on.
    pub fn flush(&mut self) -> Result<()> {
        self.aliased = false;
        self.open.drain(..).try_for_each(|dir| dir.restore())
    }

    fn make(&mut self, path: &[u8]) -> Result<OwnedFd> {
        let (parent, name) = split(path);
        let parent = self.get(parent)?;
        let shown = parent.join(name);
        let mode = Mode::from_raw_mode(0o755);
        rustix::fs::mkdirat(parent.change(), name, mode).map_err(|e| match e {
            // It was not found a moment ago.
            Errno::EXIST => Error::corrupt(format!("{shown} is a symbolic link that leads nowhere")),
            _ => Error::io("mkdir", &shown, e),
        })?;
        let fd = rustix::fs::openat(
            parent.fd(),
            name,
            DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|e| Error::io("open directory", &shown, e))?;
        if let Some((uid, gid)) = self.owner {
            let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
            rustix::fs::fchown(&fd, Some(uid), Some(gid)).map_err(|e| Error::io("chown", &shown, e))?;
        }
        rustix::fs::fchmod(&fd, mode).map_err(|e| Error::io("chmod", &shown, e))?;
        Ok(fd)
    }
}

/// Directory and name of a cleaned path that is not the root's.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

/// What is at `name`, no link followed.
pub fn stat(dir: &Dir, name: &[u8]) -> Result<Option<Stat>> {
    match rustix::fs::statat(dir.fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(Error::io("stat", dir.join(name), e)),
    }
}

/// Whether it is overlayfs's mark of a deleted file.
pub fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// A time as the kernel takes it.
pub fn time(seconds: i64, nanoseconds: impl Into<u64>) -> Timespec {
    Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into().cast_signed() }
}
