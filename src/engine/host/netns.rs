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

/// Like [`within`], in a mount namespace of its own as well, in which the file `cover` stands in the place of `covered`.
///
/// What is mounted below `without` is not mounted there: a process that lives on would keep it. If `covered` is a
/// link into a directory that a service keeps writing (`/run/systemd/resolve`), an empty one hides that directory:
/// replacing a file unmounts what is mounted on it.
pub fn within_covered<T: Send>(
    path: &Path,
    cover: &Path,
    covered: &Path,
    without: Option<&Path>,
    act: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    within(path, || {
        unshare(CloneFlags::CLONE_NEWNS).map_err(|e| Error::os("make a mount namespace", e))?;
        bind(None::<&str>, "/", None::<&str>, MsFlags::MS_SLAVE | MsFlags::MS_REC, None::<&str>)
            .map_err(|e| Error::os("detach the mount namespace", e))?;
        without.map_or(Ok(()), lose)?;
        if let Ok(target) = fs::canonicalize(covered) {
            let cover = File::open(cover).map_err(|e| Error::io("open", cover, e))?;
            hide(&target, covered)?;
            let source = format!("/proc/thread-self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&cover));
            bind(Some(source.as_str()), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .map_err(|e| Error::io("mount on", &target, e))?;
        }
        act()
    })
}

/// Unmounts everything below `directory` in this thread's mount namespace.
fn lose(directory: &Path) -> Result<()> {
    let path = "/proc/thread-self/mountinfo";
    let table = fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    points.filter(|point| point.starts_with(directory)).try_for_each(|point| mount::detach(point).map(drop))
}

/// Mounts an empty directory with the one file `target` over its directory, if it is not where `link` itself is.
fn hide(target: &Path, link: &Path) -> Result<()> {
    let Some(directory) = target.parent().filter(|d| Some(*d) != link.parent() && d.components().count() > 2)
    else {
        return Ok(());
    };
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    bind(Some("tmpfs"), directory, Some("tmpfs"), flags, Some("size=64k,mode=755"))
        .map_err(|e| Error::io("mount on", directory, e))?;
    File::create(target).map(drop).map_err(|e| Error::io("create", target, e))
}

/// A thread's namespaces are its own and end with it.
fn in_thread<T: Send>(act: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let joined = scope.spawn(act).join();
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
