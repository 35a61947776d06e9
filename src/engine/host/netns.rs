//! Network namespaces that outlive the process that made them: each is a file it is mounted on, as ip-netns(8) has it.

use super::mount;
use crate::engine::{Error, Result};
use nix::mount::{MsFlags, mount as bind};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::{self, File};
use std::path::Path;

/// Makes a network namespace and mounts it on the file `path`, which is made, too. Nothing in it is up.
///
/// Fails with `AlreadyExists` if there is such a file.
pub fn create(path: &Path) -> Result<()> {
    File::create_new(path).map_err(|e| Error::io("create", path, e))?;
    let made = in_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|e| Error::os("make a network namespace", e))?;
        bind(Some("/proc/thread-self/ns/net"), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(|e| Error::io("mount a network namespace on", path, e))
    });
    if made.is_err() {
        let _ = fs::remove_file(path);
    }
    made
}

/// Mounts the network namespace of the process `pid` on the file `path`, which is made.
pub fn adopt(pid: u32, path: &Path) -> Result<()> {
    File::create_new(path).map_err(|e| Error::io("create", path, e))?;
    let namespace = format!("/proc/{pid}/ns/net");
    bind(Some(namespace.as_str()), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|e| Error::io("mount a network namespace on", path, e))
}

/// Unmounts and removes the file. The namespace goes when nothing runs in it any more. `false`: there was none.
pub fn remove(path: &Path) -> Result<bool> {
    if is_mounted(path) {
        mount::detach(path)?;
    }
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(Error::io("unlink", path, e)),
    }
}

/// Whether a namespace is mounted on `path`; a reboot leaves an empty file.
pub fn is_mounted(path: &Path) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|fs| fs.filesystem_type() == nix::sys::statfs::NSFS_MAGIC)
}

/// Calls `act` in the network namespace `path`; what it starts is there, too. The caller stays where it is.
pub fn within<T: Send>(path: &Path, act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let namespace = File::open(path).map_err(|e| Error::io("open", path, e))?;
    in_thread(|| {
        setns(&namespace, CloneFlags::CLONE_NEWNET)
            .map_err(|e| Error::io("join the network namespace", path, e))?;
        act()
    })
}

/// The names of all interfaces in the network namespace `path`.
pub fn interfaces(path: &Path) -> Result<Vec<String>> {
    within(path, || {
        let found = nix::net::if_::if_nameindex().map_err(|e| Error::os("list network interfaces", e))?;
        Ok(found.iter().map(|i| i.name().to_string_lossy().into_owned()).collect())
    })
}

/// A thread's namespaces are its own and end with it.
fn in_thread<T: Send>(act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let joined = scope.spawn(act).join();
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
