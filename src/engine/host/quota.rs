//! Project quotas: limits of a directory tree, on the file systems that have them (XFS, ext4 with the features `project` and
//! `quota`, mounted with `prjquota`).
//!
//! A directory is given a project ID that what is made in it inherits, and the file system counts and limits by that ID
//! (ioctl_fs, `FS_IOC_FSSETXATTR`; quotactl(2), whose variant with a descriptor needs no device node: Linux 5.14).

use crate::engine::{Error, ErrorKind, Result};
use rustix::fs::{Mode, OFlags};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// `struct fsxattr` (linux/fs.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    padding: [u8; 8],
}

/// `struct if_dqblk` (linux/quota.h).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Quota {
    /// In blocks of 1024 bytes.
    block_hard: u64,
    block_soft: u64,
    /// Bytes.
    used: u64,
    inode_hard: u64,
    inode_soft: u64,
    inodes: u64,
    block_time: u64,
    inode_time: u64,
    valid: u32,
}

const GET_ATTRIBUTES: libc::Ioctl = 0x801c_581f_u32 as libc::Ioctl;
const SET_ATTRIBUTES: libc::Ioctl = 0x401c_5820;
/// What is made in the directory has its project.
const INHERIT: u32 = 0x200;
const GET_QUOTA: u32 = (0x0080_0007 << 8) | PROJECT;
const SET_QUOTA: u32 = (0x0080_0008 << 8) | PROJECT;
/// `PRJQUOTA`.
const PROJECT: u32 = 2;
/// `QIF_BLIMITS | QIF_ILIMITS`.
const LIMITS: u32 = 1 | 4;

/// So many projects belong to one kind of directory.
const PROJECTS: u32 = 1 << 16;

/// Limits of a directory; 0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes.
    pub bytes: u64,
    /// Files and directories.
    pub inodes: u64,
}

/// The project of a directory; 0: none.
///
/// # Errors
/// [`ErrorKind::Unsupported`] if its file system knows none.
pub fn project(directory: &Path) -> Result<u32> {
    attributes(&open(directory)?, directory).map(|attributes| attributes.project)
}

/// Limits the empty directory, by a project of its own: the next one after those of the directories beside it, `first` being the
/// first. Callers hold a lock that keeps others from choosing the same one.
///
/// # Errors
/// [`ErrorKind::Unsupported`] where project quotas are not on.
pub fn limit_by_itself(
    directory: &Path,
    beside: impl Iterator<Item = PathBuf>,
    first: u32,
    limits: Limits,
) -> Result<()> {
    let projects = beside.filter_map(|path| project(&path).ok());
    let mut id =
        projects.filter(|id| (first..first + PROJECTS).contains(id)).max().map_or(first, |last| last + 1);
    loop {
        match limit(directory, id, limits) {
            Err(e) if e.kind() == ErrorKind::Conflict => id += 1,
            done => return done,
        }
    }
}

/// Makes the empty directory that of project `id`, with limits; [`ErrorKind::Conflict`] if somebody else's files are in the project.
fn limit(directory: &Path, id: u32, limits: Limits) -> Result<()> {
    let fd = open(directory)?;
    let mut attributes = attributes(&fd, directory)?;
    if usage(&fd, id, directory)?.inodes > 0 {
        return Err(Error::new(ErrorKind::Conflict, format!("project {id} is in use")));
    }
    let quota = Quota {
        block_hard: limits.bytes.div_ceil(1024),
        block_soft: limits.bytes.div_ceil(1024),
        inode_hard: limits.inodes,
        inode_soft: limits.inodes,
        valid: LIMITS,
        ..Quota::default()
    };
    quotactl(&fd, SET_QUOTA, id, &mut MaybeUninit::new(quota)).map_err(|e| refused(directory, e))?;
    attributes.project = id;
    attributes.flags |= INHERIT;
    // SAFETY: the descriptor is open and the argument is a whole `struct fsxattr`, which the kernel only reads.
    match unsafe { libc::ioctl(fd.as_raw_fd(), SET_ATTRIBUTES, &raw const attributes) } {
        0 => Ok(()),
        _ => Err(refused(directory, std::io::Error::last_os_error())),
    }
}

/// Takes the limits away of a directory that is about to be removed, if its project is one of those from `first` on.
///
/// # Errors
/// The kernel refuses.
pub fn unlimit(directory: &Path, first: u32) -> Result<()> {
    let Ok(fd) = open(directory) else { return Ok(()) };
    let Ok(id) = attributes(&fd, directory).map(|attributes| attributes.project) else { return Ok(()) };
    if !(first..first + PROJECTS).contains(&id) {
        return Ok(());
    }
    let quota = Quota { valid: LIMITS, ..Quota::default() };
    quotactl(&fd, SET_QUOTA, id, &mut MaybeUninit::new(quota)).map_err(|e| refused(directory, e))
}

fn open(directory: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(directory, flags, Mode::empty()).map_err(|e| Error::io("open", directory, e))
}

fn attributes(fd: &OwnedFd, directory: &Path) -> Result<Attributes> {
    let mut attributes = Attributes::default();
    // SAFETY: the descriptor is open and the kernel writes one `struct fsxattr`, for which there is room.
    match unsafe { libc::ioctl(fd.as_raw_fd(), GET_ATTRIBUTES, &raw mut attributes) } {
        0 => Ok(attributes),
        _ => Err(refused(directory, std::io::Error::last_os_error())),
    }
}

/// What a project has; nothing is known of one that nobody used.
fn usage(fd: &OwnedFd, id: u32, directory: &Path) -> Result<Quota> {
    let mut quota = MaybeUninit::new(Quota::default());
    match quotactl(fd, GET_QUOTA, id, &mut quota) {
        // SAFETY: it was initialized before the call, which at most replaced it as a whole.
        Ok(()) => Ok(unsafe { quota.assume_init() }),
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(Quota::default()),
        Err(e) => Err(refused(directory, e)),
    }
}

fn quotactl(fd: &OwnedFd, command: u32, id: u32, quota: &mut MaybeUninit<Quota>) -> std::io::Result<()> {
    // SAFETY: the descriptor is open; both commands take a `struct if_dqblk`, which `quota` is, initialized.
    let done =
        unsafe { libc::syscall(libc::SYS_quotactl_fd, fd.as_raw_fd(), command, id, quota.as_mut_ptr()) };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// One sentence for what a file system without quotas says, in the kernel's several ways.
fn refused(directory: &Path, error: std::io::Error) -> Error {
    let none = [libc::ENOTTY, libc::EOPNOTSUPP, libc::ESRCH, libc::ENOSYS, libc::EINVAL, libc::ENODEV];
    if !error.raw_os_error().is_some_and(|errno| none.contains(&errno)) {
        return Error::io("set a quota of", directory, error);
    }
    Error::unsupported(format!("the file system of {} has no project quotas", directory.display()))
        .with_source(error)
        .with_hint("mount it with prjquota (XFS, or ext4 after tune2fs -O project,quota)")
}
