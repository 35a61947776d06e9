//! One content for two files: a reflink where the file system has it, a hard link where the user wants it.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use super::rooted;
use crate::engine::{Error, Result};

/// Smaller files take a block anyway, or none at all.
const SMALLEST: i64 = 4096;
/// What the new name is called before it replaces the old one.
const TEMPORARY: &str = ".coracle-link";

/// Makes the regular file `target` below `to` share its content with `source` below `from`, which has the same. `false`:
/// the file system cannot, and there is no use in trying others.
///
/// A hard link is made only of two files that are the same in everything that is seen but the time. The directory it is made in
/// keeps its times: they are part of the layer.
pub fn share(
    from: BorrowedFd<'_>,
    source: &Path,
    to: BorrowedFd<'_>,
    target: &Path,
    hard_link: bool,
) -> Result<bool> {
    let failed = |e: Errno| Error::os("share a file", e);
    let (old, _) = rooted::open_regular_in_root(from, source)?;
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let new = rooted::open_in_root(to, target, flags, Mode::empty())?;
    let (one, other) = (rustix::fs::fstat(&old).map_err(failed)?, rustix::fs::fstat(&new).map_err(failed)?);
    if !FileType::from_raw_mode(other.st_mode).is_file()
        || one.st_size != other.st_size
        || one.st_size < SMALLEST
        || (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
    {
        return Ok(true);
    }
    let same = (one.st_mode, one.st_uid, one.st_gid) == (other.st_mode, other.st_uid, other.st_gid);
    if hard_link && same && other.st_nlink == 1 && plain(old.as_fd()) && plain(new.as_fd()) {
        replace(from, source, to, target)?;
        return Ok(true);
    }
    match rustix::fs::ioctl_ficlone(&new, &old) {
        Ok(()) => {}
        Err(Errno::OPNOTSUPP | Errno::XDEV | Errno::NOTTY | Errno::NOSYS) => return Ok(hard_link),
        Err(e) => return Err(failed(e)),
    }
    rustix::fs::futimens(&new, &times(&other)).map_err(failed)?;
    Ok(true)
}

fn times(of: &Stat) -> Timestamps {
    let time = |seconds: i64, nanoseconds: u64| Timespec { tv_sec: seconds, tv_nsec: nanoseconds as i64 };
    Timestamps {
        last_access: time(of.st_atime, of.st_atime_nsec),
        last_modification: time(of.st_mtime, of.st_mtime_nsec),
    }
}

/// Whether there are no extended attributes but the label that everything has.
fn plain(file: BorrowedFd<'_>) -> bool {
    rooted::xattr_names(file)
        .is_ok_and(|names| names.iter().all(|name| name.as_bytes() == b"security.selinux"))
}

fn replace(from: BorrowedFd<'_>, source: &Path, to: BorrowedFd<'_>, target: &Path) -> Result<()> {
    let failed = |e: Errno| Error::os("link a file", e);
    let parent = |root: BorrowedFd<'_>, path: &Path| {
        let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        rooted::open_in_root(root, directory, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
    };
    let name =
        |path: &Path| path.file_name().map(std::ffi::OsStr::to_owned).ok_or_else(|| failed(Errno::INVAL));
    let (old, new) = (parent(from, source)?, parent(to, target)?);
    let before = rustix::fs::fstat(&new).map_err(failed)?;
    rustix::fs::linkat(&old, name(source)?, &new, TEMPORARY, AtFlags::empty()).map_err(failed)?;
    let renamed = rustix::fs::renameat_with(&new, TEMPORARY, &new, name(target)?, RenameFlags::empty());
    if renamed.is_err() {
        let _ = rustix::fs::unlinkat(&new, TEMPORARY, AtFlags::empty());
    }
    renamed.and_then(|()| rustix::fs::futimens(&new, &times(&before))).map_err(failed)
}
