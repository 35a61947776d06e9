//! One file, opened so that nothing happens to it: what it is, and what is said of it.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::engine::host::rooted;
use crate::engine::{Error, Result};

use super::super::Whiteouts;
use super::super::parents::is_whiteout;

/// An `O_PATH` descriptor and what stat(2) says of it.
#[derive(Debug)]
pub struct Node {
    fd: OwnedFd,
    /// What the file system says.
    pub stat: Stat,
}

impl Node {
    /// Opens `name` in `directory`; `None`: it has vanished.
    pub fn open(directory: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Option<Self>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(directory, name, flags, Mode::empty()) {
            Ok(fd) => Self::of(fd).map(Some),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Of what is open already.
    pub fn of(fd: OwnedFd) -> rustix::io::Result<Self> {
        let stat = rustix::fs::fstat(&fd)?;
        Ok(Self { fd, stat })
    }

    /// The descriptor: good for looking, not for reading.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// What it is.
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind().is_dir()
    }

    /// Whether it is overlay's mark of a deletion.
    pub fn is_whiteout(&self) -> bool {
        is_whiteout(&self.stat)
    }

    /// Opens it for reading.
    pub fn read(&self) -> rustix::io::Result<OwnedFd> {
        let flags = if self.is_dir() { OFlags::DIRECTORY } else { OFlags::NONBLOCK | OFlags::NOCTTY };
        rooted::reopen(self.fd(), flags)
    }

    /// Where a symbolic link leads.
    pub fn link(&self) -> rustix::io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.fd, "", Vec::new())?.into_bytes())
    }

    /// One attribute.
    pub fn xattr(&self, name: &CStr) -> rustix::io::Result<Option<Vec<u8>>> {
        rooted::xattr(self.fd(), name)
    }

    /// Whether the directory hides what is below it.
    pub fn is_opaque(&self, whiteouts: Whiteouts) -> rustix::io::Result<bool> {
        let names: &[&CStr] = match whiteouts {
            Whiteouts::Native => &[c"trusted.overlay.opaque"],
            Whiteouts::UserXattr => &[c"user.overlay.opaque"],
            Whiteouts::Literal => {
                &[c"user.fuseoverlayfs.opaque", c"user.overlay.opaque", c"trusted.overlay.opaque"]
            }
            Whiteouts::Raw => &[],
        };
        for name in names {
            if self.xattr(name)?.as_deref() == Some(b"y") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The attributes that travel in an archive, in the order of their names.
    pub fn travelling_xattrs(&self) -> rustix::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut found = Vec::new();
        for name in rooted::xattr_names(self.fd())? {
            if travels(name.to_bytes())
                && let Some(value) = self.xattr(&name)?
            {
                found.push((name.into_bytes(), value));
            }
        }
        found.sort();
        Ok(found)
    }

    /// An error that names the path.
    pub fn error(op: &str, path: &[u8], e: Errno) -> Error {
        Error::io(op, String::from_utf8_lossy(path).as_ref(), e)
    }
}

/// containers/storage's choice; overlay's and fuse-overlayfs's own are no attributes of the image.
fn travels(name: &[u8]) -> bool {
    const OURS: [&[u8]; 3] = [b"user.overlay.", b"user.fuseoverlayfs.", b"user.containers."];
    matches!(name, b"security.capability" | b"security.ima")
        || name.starts_with(b"user.") && !OURS.iter().any(|prefix| name.starts_with(prefix))
}

/// What [`Node::open`] says, with the path in the error.
pub fn open(directory: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> Result<Option<Node>> {
    Node::open(directory, name).map_err(|e| Node::error("open", path, e))
}
