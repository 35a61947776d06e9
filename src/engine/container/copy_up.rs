//! Filling a new volume with what the image has at its place.
//!
//! The image is untrusted: its tree is walked by descriptors, links are copied as links and never followed, and nothing
//! is read but regular files. Owners, modes, times, extended attributes and hard links are kept.

use crate::engine::host::rooted;
use crate::engine::{Context, Error, Result};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The first copy of a file with several names: the directory it is in, and its name there.
type Links = HashMap<(u64, u64), (OwnedFd, CString)>;

/// Copies everything below `from` into the empty directory `to`, and its owner and mode onto `to` itself.
pub(super) fn copy_up(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let stat = rustix::fs::fstat(from).map_err(failed("stat", Path::new("/")))?;
    directory(from, to, Path::new(""), &mut Links::new())?;
    attributes(from, to, &stat, Path::new("/"))
}

fn failed(op: &'static str, path: &Path) -> impl Fn(Errno) -> Error {
    move |e| Error::io(op, path, e)
}

fn directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>, path: &Path, links: &mut Links) -> Result<()> {
    for entry in Dir::read_from(from).map_err(failed("read directory", path))? {
        let entry = entry.map_err(failed("read directory", path))?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let path = path.join(name.to_string_lossy().as_ref());
        one(from, to, name, &path, links)
            .with_context(|| format!("copy /{} into the volume", path.display()))?;
    }
    Ok(())
}

fn one(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, path: &Path, links: &mut Links) -> Result<()> {
    let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("stat", path))?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    match kind {
        FileType::Directory => {
            rustix::fs::mkdirat(to, name, Mode::RWXU).map_err(failed("mkdir", path))?;
            let (inner_from, inner_to) = (open_dir(from, name, path)?, open_dir(to, name, path)?);
            directory(inner_from.as_fd(), inner_to.as_fd(), path, links)?;
            return attributes(inner_from.as_fd(), inner_to.as_fd(), &stat, path);
        }
        FileType::RegularFile => {
            let key = (stat.st_dev, stat.st_ino);
            if let Some((directory, first)) = links.get(&key) {
                return rustix::fs::linkat(directory, first.as_c_str(), to, name, AtFlags::empty())
                    .map_err(failed("link", path));
            }
            if stat.st_nlink > 1 {
                let directory = rustix::io::fcntl_dupfd_cloexec(to, 0).map_err(failed("dup", path))?;
                links.insert(key, (directory, name.to_owned()));
            }
            return file(from, to, name, &stat, path);
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new()).map_err(failed("read link", path))?;
            rustix::fs::symlinkat(&target, to, name).map_err(failed("symlink", path))?;
        }
        FileType::Fifo | FileType::Socket | FileType::CharacterDevice | FileType::BlockDevice => {
            let mode = Mode::from_raw_mode(stat.st_mode);
            match rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev) {
                // Device nodes cannot be made in a user namespace; docker and podman leave them out there, too.
                Err(Errno::PERM) => return Ok(()),
                other => other.map_err(failed("mknod", path))?,
            }
        }
        FileType::Unknown => return Ok(()),
    }
    chown(to, name, &stat, path)?;
    if kind != FileType::Symlink {
        rooted::chmod_at(to, name, Mode::from_raw_mode(stat.st_mode)).map_err(failed("chmod", path))?;
    }
    rustix::fs::utimensat(to, name, &times(&stat), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(failed("set times of", path))
}

fn open_dir(parent: BorrowedFd<'_>, name: &CStr, path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty()).map_err(failed("open", path))
}

fn file(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, stat: &Stat, path: &Path) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = rustix::fs::openat(from, name, flags, Mode::empty()).map_err(failed("open", path))?;
    let opened = rustix::fs::fstat(&source).map_err(failed("stat", path))?;
    if FileType::from_raw_mode(opened.st_mode) != FileType::RegularFile {
        return Err(Error::corrupt("it changed into something else while it was copied"));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target =
        rustix::fs::openat(to, name, flags, Mode::RUSR | Mode::WUSR).map_err(failed("create", path))?;
    if rustix::fs::ioctl_ficlone(&target, &source).is_err() {
        // io::copy uses copy_file_range(2) between two files.
        std::io::copy(
            &mut std::fs::File::from(dup(source.as_fd(), path)?),
            &mut std::fs::File::from(dup(target.as_fd(), path)?),
        )
        .map_err(|e| Error::io("copy", path, e))?;
    }
    attributes(source.as_fd(), target.as_fd(), stat, path)
}

fn dup(fd: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, 0).map_err(failed("dup", path))
}

fn chown(parent: BorrowedFd<'_>, name: &CStr, stat: &Stat, path: &Path) -> Result<()> {
    let (uid, gid) = (rustix::fs::Uid::from_raw(stat.st_uid), rustix::fs::Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(failed("chown", path))
}

/// Owner, then extended attributes and mode (a change of owner clears capabilities and set-ID bits), then times.
fn attributes(from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &Stat, path: &Path) -> Result<()> {
    let (uid, gid) = (rustix::fs::Uid::from_raw(stat.st_uid), rustix::fs::Gid::from_raw(stat.st_gid));
    rustix::fs::fchown(to, Some(uid), Some(gid)).map_err(failed("chown", path))?;
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::flistxattr(from, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => 0,
        Err(e) => return Err(failed("list attributes of", path)(e)),
    };
    for name in names[..length].split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let Ok(name) = CString::new(name) else { continue };
        let mut value = vec![0; 64 << 10];
        let Ok(length) = rustix::fs::fgetxattr(from, &name, &mut value[..]) else { continue };
        match rustix::fs::fsetxattr(to, &name, &value[..length], rustix::fs::XattrFlags::empty()) {
            Ok(()) | Err(Errno::NOTSUP | Errno::PERM) => {}
            Err(e) => return Err(failed("set an attribute of", path)(e)),
        }
    }
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode)).map_err(failed("chmod", path))?;
    rustix::fs::futimens(to, &times(stat)).map_err(failed("set times of", path))
}

#[allow(clippy::unnecessary_cast, clippy::cast_possible_wrap)]
fn times(stat: &Stat) -> Timestamps {
    let at = |sec, nsec| Timespec { tv_sec: sec, tv_nsec: nsec };
    Timestamps {
        last_access: at(stat.st_atime as i64, stat.st_atime_nsec as i64),
        last_modification: at(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn copies_a_tree_with_links_as_they_are() {
        let from = tempfile::tempdir().unwrap();
        let to = tempfile::tempdir().unwrap();
        let root = from.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/file"), "x").unwrap();
        fs::set_permissions(root.join("a/b/file"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::hard_link(root.join("a/b/file"), root.join("same")).unwrap();
        symlink("/etc/passwd", root.join("link")).unwrap();
        nix::unistd::mkfifo(&root.join("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        fs::set_permissions(root, fs::Permissions::from_mode(0o1777)).unwrap();

        let (source, target) = (File::open(root).unwrap(), File::open(to.path()).unwrap());
        copy_up(source.as_fd(), target.as_fd()).unwrap();

        let to = to.path();
        assert_eq!(fs::read(to.join("a/b/file")).unwrap(), b"x");
        let meta = fs::metadata(to.join("a/b/file")).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.nlink()), (0o640, 2));
        assert_eq!(meta.ino(), fs::metadata(to.join("same")).unwrap().ino());
        assert_eq!(meta.mtime_nsec(), fs::metadata(root.join("same")).unwrap().mtime_nsec());
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("/etc/passwd"));
        assert_eq!(fs::metadata(to).unwrap().mode() & 0o7777, 0o1777);
        assert!(fs::symlink_metadata(to.join("fifo")).is_ok());
    }
}
