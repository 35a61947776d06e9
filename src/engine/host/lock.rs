//! Locks on files.
//!
//! [`FileLock`] is the record lock of containers/storage (`pkg/lockfile`, `internal/rawfilelock`): a whole-file
//! fcntl(2) lock, which podman, buildah and skopeo take and which flock(2) would not exclude. They take it per process
//! (`F_SETLKW`), we per open file (`F_OFD_SETLKW`); the two kinds exclude each other, ours exclude our own threads too.
//! Each such file carries in its first 64 bytes a token of the last writer: other processes keep what they read as long
//! as it stays the same, so whoever writes the protected files calls [`FileLock::record_write`] *before* that.
//!
//! [`DirLock`] is a flock(2) on a directory, for records that are Coracle's alone.

use super::random;
use crate::engine::{Error, Result};
use nix::fcntl::{FcntlArg, Flock, FlockArg, OFlag};
use nix::sys::stat::Mode;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Size of the last-writer token. Every generation of containers/storage uses 64 bytes: first a random ID in hex,
/// today binary; it is only ever compared.
const TOKEN_SIZE: usize = 64;

/// A held fcntl(2) lock; dropping it releases it.
#[derive(Debug)]
pub struct FileLock {
    file: File,
    path: PathBuf,
    exclusive: bool,
}

impl FileLock {
    /// Waits for the write lock. Creates the file (mode 0644, as upstream) and its directory (0700) if missing.
    pub fn exclusive(path: &Path) -> Result<Self> {
        let file = open(path, true)?;
        wait(&file, path, libc::F_WRLCK)?;
        Ok(Self { file, path: path.to_owned(), exclusive: true })
    }

    /// Waits for the read lock. On a read-only file system the file is opened read-only.
    pub fn shared(path: &Path) -> Result<Self> {
        let file = match open(path, true) {
            Err(e) if matches!(e.raw_os_error(), Some(libc::EROFS | libc::EACCES)) => open(path, false)?,
            other => other?,
        };
        wait(&file, path, libc::F_RDLCK)?;
        Ok(Self { file, path: path.to_owned(), exclusive: false })
    }

    /// The write lock if nobody holds the lock, else `None`.
    pub fn try_exclusive(path: &Path) -> Result<Option<Self>> {
        let file = open(path, true)?;
        match set(&file, libc::F_WRLCK, false) {
            Ok(()) => Ok(Some(Self { file, path: path.to_owned(), exclusive: true })),
            Err(nix::Error::EAGAIN | nix::Error::EACCES) => Ok(None),
            Err(e) => Err(Error::io("lock", path, e)),
        }
    }

    /// The token of the last writer; empty if nobody has written yet.
    pub fn last_write(&self) -> Result<Vec<u8>> {
        let mut token = vec![0; TOKEN_SIZE];
        let n = self.file.read_at(&mut token, 0).map_err(|e| Error::io("read", &self.path, e))?;
        token.truncate(n);
        Ok(token)
    }

    /// Tells all others that the protected files are about to change. Needs the write lock.
    pub fn record_write(&self) -> Result<()> {
        debug_assert!(self.exclusive, "a token may only be written under the write lock");
        let failed = |e| Error::io("write", &self.path, e);
        let token = new_token()?;
        let n = self.file.write_at(&token, 0).map_err(failed)?;
        if n == token.len() { Ok(()) } else { Err(failed(io::Error::from_raw_os_error(libc::ENOSPC))) }
    }

    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the lock file, then releases the lock (upstream's `UnlockAndDelete`): for locks of a directory that
    /// goes away with its owner.
    pub fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Time, a counter, our PID and random bytes, as upstream's `newLastWrite`.
fn new_token() -> Result<[u8; TOKEN_SIZE]> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut token = [0; TOKEN_SIZE];
    token[..8].copy_from_slice(&u64::try_from(now.as_nanos()).unwrap_or(u64::MAX).to_le_bytes());
    token[8..16].copy_from_slice(&(COUNTER.fetch_add(1, Ordering::Relaxed) + 1).to_le_bytes());
    token[16..20].copy_from_slice(&std::process::id().to_le_bytes());
    token[20..].copy_from_slice(&random::bytes::<{ TOKEN_SIZE - 20 }>()?);
    Ok(token)
}

fn open(path: &Path, write: bool) -> Result<File> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(write).create(write).mode(0o644);
    match options.open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound && write => {
            if let Some(parent) = path.parent() {
                create_private(parent)?;
            }
            options.open(path).map_err(|e| Error::io("open", path, e))
        }
        other => other.map_err(|e| Error::io("open", path, e)),
    }
}

fn create_private(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(path).map_err(|e| Error::io("mkdir", path, e))
}

fn wait(file: &File, path: &Path, kind: i32) -> Result<()> {
    loop {
        match set(file, kind, true) {
            Ok(()) => return Ok(()),
            Err(nix::Error::EINTR) => {}
            Err(e) => return Err(Error::io("lock", path, e)),
        }
    }
}

#[allow(clippy::cast_possible_truncation)]
fn set(file: &File, kind: i32, wait: bool) -> nix::Result<()> {
    let lock = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    let arg = if wait { FcntlArg::F_OFD_SETLKW(&lock) } else { FcntlArg::F_OFD_SETLK(&lock) };
    nix::fcntl::fcntl(file.as_fd(), arg).map(drop)
}

/// A held flock(2) on a directory; dropping it releases it.
#[derive(Debug)]
pub struct DirLock {
    _lock: Flock<OwnedFd>,
}

impl DirLock {
    /// Waits for the exclusive lock of an existing directory.
    pub fn exclusive(directory: &Path) -> Result<Self> {
        Self::take(directory, FlockArg::LockExclusive)
    }

    /// Waits for the shared lock of an existing directory.
    pub fn shared(directory: &Path) -> Result<Self> {
        Self::take(directory, FlockArg::LockShared)
    }

    /// The exclusive lock if nobody holds the lock, else `None`.
    pub fn try_exclusive(directory: &Path) -> Result<Option<Self>> {
        match Flock::lock(open_directory(directory)?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Some(Self { _lock: lock })),
            Err((_, nix::Error::EWOULDBLOCK)) => Ok(None),
            Err((_, e)) => Err(Error::io("flock", directory, e)),
        }
    }

    fn take(directory: &Path, how: FlockArg) -> Result<Self> {
        let mut fd = open_directory(directory)?;
        loop {
            match Flock::lock(fd, how) {
                Ok(lock) => return Ok(Self { _lock: lock }),
                Err((back, nix::Error::EINTR)) => fd = back,
                Err((_, e)) => return Err(Error::io("flock", directory, e)),
            }
        }
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    nix::fcntl::open(path, OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|e| Error::io("open", path, e))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn writers_exclude_everybody_readers_only_writers() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/layers.lock");
        let reader = FileLock::shared(&path).unwrap();
        let second = FileLock::shared(&path).unwrap();
        assert!(FileLock::try_exclusive(&path).unwrap().is_none());
        drop((reader, second));
        let writer = FileLock::try_exclusive(&path).unwrap().unwrap();
        assert!(FileLock::try_exclusive(&path).unwrap().is_none());
        drop(writer);
        assert!(FileLock::try_exclusive(&path).unwrap().is_some());
    }

    #[test]
    fn each_write_leaves_another_token_of_the_same_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("images.lock");
        let lock = FileLock::exclusive(&path).unwrap();
        assert!(lock.last_write().unwrap().is_empty());
        lock.record_write().unwrap();
        let first = lock.last_write().unwrap();
        lock.record_write().unwrap();
        assert_ne!(first, lock.last_write().unwrap());
        assert_eq!(fs::metadata(&path).unwrap().len(), 64);
    }

    #[test]
    fn a_process_that_takes_the_posix_lock_is_excluded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let held = FileLock::exclusive(&path).unwrap();
        // The same call podman makes: a per-process lock conflicts with our per-file one even within this process.
        let other = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let lock = libc::flock { l_type: 1, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
        assert!(nix::fcntl::fcntl(other.as_fd(), FcntlArg::F_SETLK(&lock)).is_err());
        drop(held);
        assert!(nix::fcntl::fcntl(other.as_fd(), FcntlArg::F_SETLK(&lock)).is_ok());
        assert!(FileLock::try_exclusive(&path).unwrap().is_none());
    }

    #[test]
    fn a_directory_lock_is_exclusive() {
        let dir = tempfile::tempdir().unwrap();
        let held = DirLock::exclusive(dir.path()).unwrap();
        assert!(DirLock::try_exclusive(dir.path()).unwrap().is_none());
        drop(held);
        assert!(DirLock::try_exclusive(dir.path()).unwrap().is_some());
    }
}
