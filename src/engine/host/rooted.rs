//! Paths resolved below a root directory, never outside it.
//!
//! A path that comes from an image, a container or an archive is resolved as if `root` were `/`: absolute paths and
//! symbolic links, the last component's included, stay inside, `..` stops at the root, and magic links of /proc are
//! refused. What comes back is a file descriptor, and whoever acts on the file acts on that.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::engine::{Error, Result};

/// Symbolic links followed in one resolution before it fails with `ELOOP` (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Bytes of one extended attribute, or of all their names (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const XATTR_MAX: usize = 64 << 10;

/// Opens a directory by its path on the host, to be a root for the others here. Close-on-exec.
pub fn open_directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|e| Error::io("open", path, e))
}

/// Opens `path` below `root` with `flags` and, where a file is created, `mode` (umask applies). Close-on-exec always.
///
/// With `O_NOFOLLOW` a symbolic link in the last place is not followed (`ELOOP`, or the link itself with `O_PATH`).
pub fn open_in_root(root: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    open(root, path, flags, mode).map_err(|e| Error::io("open", path, e))
}

/// [`open_in_root`] with the bare errno, for callers that expect one.
pub fn open(root: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
    match openat2(root, path, flags, mode, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS) {
        Some(result) => result,
        None => walk(root, path, flags | OFlags::CLOEXEC, mode),
    }
}

/// [`open`] for callers that want to know of symbolic links on the way: any one is `ELOOP`. On a kernel without
/// openat2 every path is.
pub fn open_without_links(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    openat2(root, path, flags, Mode::empty(), resolve).unwrap_or(Err(Errno::LOOP))
}

/// `None`: there is no openat2 here.
fn openat2(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> Option<rustix::io::Result<OwnedFd>> {
    static ABSENT: AtomicBool = AtomicBool::new(false);
    if ABSENT.load(Ordering::Relaxed) {
        return None;
    }
    // openat2 refuses a mode without a creating flag.
    let mode = if flags.intersects(OFlags::CREATE | OFlags::TMPFILE) { mode } else { Mode::empty() };
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    loop {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::INTR | Errno::AGAIN) => {}
            // Absent before Linux 5.6, and refused with EPERM by old seccomp profiles around us.
            Err(Errno::NOSYS | Errno::PERM) => break,
            other => return Some(other),
        }
    }
    if rustix::fs::openat2(root, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve).is_ok() {
        return Some(Err(Errno::PERM));
    }
    ABSENT.store(true, Ordering::Relaxed);
    None
}

/// [`open`] without openat2: component by component over `O_PATH` descriptors, links read and spliced by us.
fn walk(root: BorrowedFd<'_>, path: &Path, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
    let step = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let root = rustix::fs::openat(root, ".", step | OFlags::DIRECTORY, Mode::empty())?;
    // The directories from the root to where we are: `..` pops, so that it cannot leave the root.
    let mut stack: Vec<OwnedFd> = Vec::new();
    let mut rest = components(path);
    let mut links = 0;
    while let Some(name) = rest.pop() {
        let at = stack.last().map_or(root.as_fd(), AsFd::as_fd);
        if name.as_os_str() == ".." {
            stack.pop();
            continue;
        }
        let last = rest.is_empty();
        let target = match rustix::fs::readlinkat(at, name.as_os_str(), Vec::new()) {
            Ok(target) if !(last && flags.intersects(OFlags::NOFOLLOW)) => Some(target),
            Ok(_) | Err(Errno::INVAL | Errno::NOENT) => None,
            Err(e) => return Err(e),
        };
        if let Some(target) = target {
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::LOOP);
            }
            let target = PathBuf::from(OsStr::from_bytes(target.as_bytes()));
            if target.is_absolute() {
                stack.clear();
            }
            rest.extend(components(&target));
        } else if last {
            return rustix::fs::openat(at, name.as_os_str(), flags | OFlags::NOFOLLOW, mode);
        } else {
            let next = rustix::fs::openat(at, name.as_os_str(), step | OFlags::DIRECTORY, Mode::empty())?;
            stack.push(next);
        }
    }
    let at = stack.last().map_or(root.as_fd(), AsFd::as_fd);
    rustix::fs::openat(at, ".", flags, mode)
}

/// The names of a path, the first one last; `..` is kept, `.` and `/` are not.
fn components(path: &Path) -> Vec<PathBuf> {
    path.components()
        .rev()
        .filter_map(|c| match c {
            Component::Normal(name) => Some(PathBuf::from(name)),
            Component::ParentDir => Some(PathBuf::from("..")),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
        })
        .collect()
}

/// Opens the directory `path` below `root`, making it and its missing parents with `mode` (umask applies).
pub fn mkdir_all_in_root(root: BorrowedFd<'_>, path: &Path, mode: Mode) -> Result<OwnedFd> {
    let directory = OFlags::RDONLY | OFlags::DIRECTORY;
    match open(root, path, directory, Mode::empty()) {
        Err(Errno::NOENT) => {}
        other => return other.map_err(|e| Error::io("open", path, e)),
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::io("mkdir", path, Errno::NOENT));
    };
    let parent = mkdir_all_in_root(root, parent, mode)?;
    match rustix::fs::mkdirat(&parent, name, mode) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(Error::io("mkdir", path, e)),
    }
    open_in_root(root, path, directory, Mode::empty())
}

/// Makes the regular file `path` below `root` for writing, or empties it when it is there already. A symbolic link,
/// a device or a fifo in its place is an error.
pub fn create_file_in_root(root: BorrowedFd<'_>, path: &Path, mode: Mode) -> Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let fd = open_in_root(root, path, flags, mode)?;
    let stat = rustix::fs::fstat(&fd).map_err(|e| Error::io("stat", path, e))?;
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(Error::invalid(format!("{} is not a regular file", path.display())));
    }
    rustix::fs::ftruncate(&fd, 0).map_err(|e| Error::io("truncate", path, e))?;
    Ok(fd)
}

/// Opens the regular file `path` below `root` for reading, symbolic links followed inside the root. Never blocks on a
/// fifo; anything but a regular file is an error. Returns the file and its size in bytes.
pub fn open_regular_in_root(root: BorrowedFd<'_>, path: &Path) -> Result<(std::fs::File, u64)> {
    let fd = open_in_root(root, path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?;
    let stat = rustix::fs::fstat(&fd).map_err(|e| Error::io("stat", path, e))?;
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
        return Err(Error::invalid(format!("{} is not a regular file", path.display())));
    }
    Ok((std::fs::File::from(fd), u64::try_from(stat.st_size).unwrap_or(0)))
}

/// Removes `name` in the directory `parent` and, if it is a directory, everything below it, following no link.
/// That it is not there is no error.
pub fn remove_all_at(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(e) => return Err(e.into()),
    }
    remove_tree(parent, name)
}

/// Empties and removes a directory without recursion: depth comes from the archive, the stack is ours. One
/// descriptor is open for each level, so the tree is at most as deep as the limit of open files.
fn remove_tree(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |at: BorrowedFd<'_>, name: &CStr| rustix::fs::openat(at, name, flags, Mode::empty());
    let mut stack: Vec<(OwnedFd, CString)> = vec![(open(parent, name)?, name.to_owned())];
    while let Some((fd, _)) = stack.last() {
        let child = remove_files(fd.as_fd())?;
        if let Some(child) = child {
            let child_fd = open(fd.as_fd(), &child)?;
            stack.push((child_fd, child));
            continue;
        }
        let Some((_, done)) = stack.pop() else { break };
        let at = stack.last().map_or(parent, |(fd, _)| fd.as_fd());
        rustix::fs::unlinkat(at, done.as_c_str(), AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Removes what is no directory; returns the name of the first subdirectory that is not empty.
fn remove_files(dir: BorrowedFd<'_>) -> io::Result<Option<CString>> {
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR) => {}
            Err(e) => return Err(e.into()),
        }
        match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(Some(name.to_owned())),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(None)
}

/// Sets an extended attribute of `name` in the directory `parent` without following a symbolic link in its place
/// (lsetxattr(2) has no `at` form before Linux 6.13; the directory is reached through /proc/self/fd).
pub fn set_xattr_at(parent: BorrowedFd<'_>, name: &CStr, key: &CStr, value: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::lsetxattr(proc_path(parent, name), key, value, rustix::fs::XattrFlags::empty())
}

/// The names of the extended attributes of an open file, one opened with `O_PATH` included, a symbolic link's its own.
/// None where the file system has no attributes.
pub fn xattr_names(fd: BorrowedFd<'_>) -> rustix::io::Result<Vec<CString>> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let mut buffer = [0u8; 512];
    let mut large;
    let names = match rustix::fs::listxattr(&path, &mut buffer) {
        Ok(n) => &buffer[..n],
        Err(Errno::RANGE) => {
            large = vec![0; XATTR_MAX];
            let n = rustix::fs::listxattr(&path, &mut large)?;
            &large[..n]
        }
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    Ok(names
        .split_inclusive(|byte| *byte == 0)
        .filter_map(|name| CStr::from_bytes_with_nul(name).ok().map(CStr::to_owned))
        .collect())
}

/// An extended attribute of a file as for [`xattr_names`]; `None`: it has none of that name.
pub fn xattr(fd: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<Option<Vec<u8>>> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let mut buffer = [0u8; 256];
    match rustix::fs::getxattr(&path, name, &mut buffer) {
        Ok(n) => return Ok(Some(buffer[..n].to_vec())),
        Err(Errno::RANGE) => {}
        Err(Errno::NODATA | Errno::OPNOTSUPP) => return Ok(None),
        Err(e) => return Err(e),
    }
    let mut large = vec![0; XATTR_MAX];
    match rustix::fs::getxattr(&path, name, &mut large) {
        Ok(n) => {
            large.truncate(n);
            Ok(Some(large))
        }
        Err(Errno::NODATA) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The names in a directory, each with what it is as far as the directory knows.
pub fn names(directory: BorrowedFd<'_>) -> rustix::io::Result<Vec<(CString, rustix::fs::FileType)>> {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 16 << 10];
    let mut entries = rustix::fs::RawDir::new(directory, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            names.push((name.to_owned(), entry.file_type()));
        }
    }
    Ok(names)
}

/// Opens for reading what is open as `O_PATH`; the same file, whatever its name leads to now.
pub fn reopen(fd: BorrowedFd<'_>, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    rustix::fs::open(path, flags | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Sets the mode of `name` in the directory `parent`; a symbolic link in its place is an error.
pub fn chmod_at(parent: BorrowedFd<'_>, name: &CStr, mode: Mode) -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    // On an O_PATH descriptor fchmod(2) is refused; its /proc name leads to the same file.
    rustix::fs::chmodat(CWD, format!("/proc/self/fd/{}", fd.as_raw_fd()), mode, AtFlags::empty())
}

fn proc_path(parent: BorrowedFd<'_>, name: &CStr) -> PathBuf {
    let mut path = PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd()));
    path.push(OsStr::from_bytes(name.to_bytes()));
    path
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    fn open_dir(path: &Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    fn read(fd: OwnedFd) -> String {
        let mut text = String::new();
        fs::File::from(fd).read_to_string(&mut text).unwrap();
        text
    }

    /// A directory with `secret` beside its `root`, and links in the root that point at it in every way.
    fn lair() -> (tempfile::TempDir, OwnedFd) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(dir.path().join("secret"), "outside").unwrap();
        fs::write(root.join("secret"), "inside").unwrap();
        fs::write(root.join("a/b/file"), "file").unwrap();
        symlink("../../../../../../secret", root.join("a/up")).unwrap();
        symlink("/secret", root.join("a/absolute")).unwrap();
        symlink("b", root.join("a/sub")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        symlink("/new/made", root.join("dangling")).unwrap();
        let fd = open_dir(&root);
        (dir, fd)
    }

    type Open = fn(BorrowedFd<'_>, &Path, OFlags, Mode) -> rustix::io::Result<OwnedFd>;

    #[test]
    fn nothing_leads_out_of_the_root() {
        let (_dir, root) = lair();
        for (how, open) in [("openat2", open as Open), ("walk", walk as Open)] {
            for path in
                ["secret", "/secret", "../secret", "a/../../secret", "a/up", "a/absolute", "/a/b/../up"]
            {
                let fd = open(root.as_fd(), Path::new(path), OFlags::RDONLY, Mode::empty());
                assert_eq!(read(fd.unwrap()), "inside", "{how} {path}");
            }
            let file = open(root.as_fd(), Path::new("a/sub/file"), OFlags::RDONLY, Mode::empty()).unwrap();
            assert_eq!(read(file), "file", "{how}");
            for (path, flags, errno) in [
                ("loop", OFlags::RDONLY, Errno::LOOP),
                ("a/up", OFlags::RDONLY | OFlags::NOFOLLOW, Errno::LOOP),
                ("a/b/file/x", OFlags::RDONLY, Errno::NOTDIR),
                ("nothing/x", OFlags::RDONLY, Errno::NOENT),
            ] {
                let e = open(root.as_fd(), Path::new(path), flags, Mode::empty()).unwrap_err();
                assert_eq!(e, errno, "{how} {path}");
            }
            for path in ["/", "..", "a/../..", ""] {
                let fd = open(root.as_fd(), Path::new(path), OFlags::PATH, Mode::empty()).unwrap();
                let (a, b) = (rustix::fs::fstat(&fd).unwrap(), rustix::fs::fstat(&root).unwrap());
                assert_eq!(a.st_ino, b.st_ino, "{how} {path:?}");
            }
        }
    }

    #[test]
    fn a_link_made_on_the_way_of_a_new_directory_stays_inside() {
        let (dir, root) = lair();
        mkdir_all_in_root(root.as_fd(), Path::new("/new/x/y"), Mode::from(0o755)).unwrap();
        create_file_in_root(root.as_fd(), Path::new("a/sub/made"), Mode::from(0o644)).unwrap();
        assert!(dir.path().join("root/a/b/made").exists());
        assert!(create_file_in_root(root.as_fd(), Path::new("a/up"), Mode::from(0o644)).is_err());
        assert_eq!(fs::read_to_string(dir.path().join("secret")).unwrap(), "outside");
    }

    #[test]
    fn a_fifo_is_refused_at_once() {
        let (dir, root) = lair();
        let fifo = dir.path().join("root/fifo");
        rustix::fs::mknodat(CWD, &fifo, rustix::fs::FileType::Fifo, Mode::from(0o644), 0).unwrap();
        assert!(open_regular_in_root(root.as_fd(), Path::new("fifo")).is_err());
        assert!(create_file_in_root(root.as_fd(), Path::new("fifo"), Mode::empty()).is_err());
        assert_eq!(open_regular_in_root(root.as_fd(), Path::new("a/up")).unwrap().1, 6);
    }

    #[test]
    fn a_tree_goes_and_what_its_links_point_at_stays() {
        let (dir, root) = lair();
        symlink(dir.path(), dir.path().join("root/a/out")).unwrap();
        fs::create_dir_all(dir.path().join("root/a/b/c/d/e")).unwrap();
        remove_all_at(root.as_fd(), c"a").unwrap();
        remove_all_at(root.as_fd(), c"never there").unwrap();
        assert!(!dir.path().join("root/a").exists());
        assert!(dir.path().join("secret").exists());
    }
}
