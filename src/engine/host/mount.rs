//! Overlay mounts and what they need: idmapped trees, detaching, a mount program as the fallback.
//!
//! The mount API with file descriptors (fsopen(2), fsconfig(2), Linux 6.8 for `lowerdir+`) comes first: it takes any
//! number of lower directories and any character in their paths. Older kernels get mount(2), whose options must fit
//! in one page: when they do not, the lower directories are opened and named by number, relative to `/proc/self/fd`,
//! by a thread that has a working directory of its own. Nothing is executed but the mount program.

use crate::engine::{Error, ErrorKind, Result};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Longest string fsconfig(2) accepts, without the terminating zero.
const FSCONFIG_MAX: usize = 255;

/// What mount(2) takes as data: one page, and 4096 bytes is the smallest there is.
const MOUNT_DATA_MAX: usize = 4096;

/// An overlay to mount.
#[derive(Clone, Debug, Default)]
pub struct Overlay<'a> {
    /// Lower directories, the uppermost first; at least one, or two without `upper`.
    pub lowers: &'a [PathBuf],
    /// Upper and work directory; `None`: read-only.
    pub upper: Option<(&'a Path, &'a Path)>,
    /// Everything else: `nodev`, `volatile`, `userxattr`, `metacopy=on` …
    pub options: &'a [String],
    /// SELinux context of the whole mount; empty: none.
    pub label: &'a str,
}

/// Mounts an overlay at `target`.
pub fn overlay(target: &Path, overlay: &Overlay<'_>) -> Result<()> {
    match detached_overlay(target, overlay)? {
        Some(mount) => attach(mount.as_fd(), target),
        None => overlay_by_string(target, overlay),
    }
}

/// An overlay that is mounted nowhere: it is there as long as its descriptor is. `None`: this kernel cannot (it has no
/// fsopen(2), or no `lowerdir+`). `shown` stands for it in errors.
pub fn detached_overlay(shown: &Path, o: &Overlay<'_>) -> Result<Option<OwnedFd>> {
    let context = match rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) {
        Ok(fd) => fd,
        Err(Errno::NOSYS | Errno::PERM) => return Ok(None),
        Err(e) => return Err(Error::os("fsopen overlay", e)),
    };
    let fs = context.as_fd();
    let failed = |what: &str, e: Errno| overlay_error(shown, what, e, log(fs));
    let mut kept = Vec::new();
    for (n, lower) in o.lowers.iter().enumerate() {
        match set_path(fs, "lowerdir+", lower, lower.as_os_str(), &mut kept) {
            Err(Errno::INVAL) if n == 0 => return Ok(None),
            other => other.map_err(|e| failed(&format!("lowerdir {}", lower.display()), e))?,
        }
    }
    if let Some((upper, work)) = o.upper {
        // Unlike `lowerdir+`, these two are unescaped by the kernel.
        set_path(fs, "upperdir", upper, &escape(upper), &mut kept).map_err(|e| failed("upperdir", e))?;
        set_path(fs, "workdir", work, &escape(work), &mut kept).map_err(|e| failed("workdir", e))?;
    }
    let (attributes, _, rest) = split_options(o.options);
    for option in &rest {
        set_option(fs, option).map_err(|e| failed(&format!("option {option}"), e))?;
    }
    if !o.label.is_empty() {
        rustix::mount::fsconfig_set_string(fs, "context", o.label).map_err(|e| failed("context", e))?;
    }
    rustix::mount::fsconfig_create(fs).map_err(|e| failed("create", e))?;
    let mount = rustix::mount::fsmount(fs, FsMountFlags::FSMOUNT_CLOEXEC, attributes);
    mount.map(Some).map_err(|e| failed("fsmount", e))
}

/// `text` is how the kernel wants `path` written for this key.
fn set_path(
    fs: BorrowedFd<'_>,
    key: &str,
    path: &Path,
    text: &OsStr,
    kept: &mut Vec<OwnedFd>,
) -> Result<(), Errno> {
    if text.len() <= FSCONFIG_MAX {
        return rustix::mount::fsconfig_set_string(fs, key, text);
    }
    let fd = open_path(path)?;
    rustix::mount::fsconfig_set_string(fs, key, format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    kept.push(fd);
    Ok(())
}

fn set_option(fs: BorrowedFd<'_>, option: &str) -> Result<(), Errno> {
    match option.split_once('=') {
        Some((key, value)) => rustix::mount::fsconfig_set_string(fs, key, value),
        None => rustix::mount::fsconfig_set_flag(fs, option),
    }
}

/// What the kernel logged for this file system context (fsopen(2), "message retrieval").
fn log(fs: BorrowedFd<'_>) -> Option<String> {
    let mut buffer = [0; 512];
    let n = rustix::io::read(fs, &mut buffer).ok()?;
    let line = String::from_utf8_lossy(&buffer[..n]);
    let line = line.trim().trim_start_matches("e ").trim_start_matches("w ").trim_start_matches("overlay: ");
    (!line.is_empty()).then(|| line.to_owned())
}

fn overlay_error(target: &Path, what: &str, e: Errno, log: Option<String>) -> Error {
    let detail = log.map(|l| format!(" ({l})")).unwrap_or_default();
    Error::io(&format!("mount overlay ({what}{detail}) at"), target, e)
}

/// mount(2) with everything in one string of at most one page.
fn overlay_by_string(target: &Path, o: &Overlay<'_>) -> Result<()> {
    let lowers: Vec<OsString> = o.lowers.iter().map(|l| escape(l)).collect();
    let data = option_string(&lowers, o);
    let (_, flags, _) = split_options(o.options);
    if data.len() < MOUNT_DATA_MAX {
        return classic(target, flags, data);
    }
    let fds: Vec<OwnedFd> =
        o.lowers.iter().map(|l| open_path(l).map_err(|e| Error::io("open", l, e))).collect::<Result<_>>()?;
    let lowers: Vec<OsString> = fds.iter().map(|fd| OsString::from(fd.as_raw_fd().to_string())).collect();
    let data = option_string(&lowers, o);
    if data.len() >= MOUNT_DATA_MAX {
        return Err(Error::unsupported(format!(
            "{} layers are more than this kernel can mount",
            o.lowers.len()
        )));
    }
    in_own_directory(Path::new("/proc/self/fd"), move || classic(target, flags, data))
}

fn classic(target: &Path, flags: MountFlags, data: Vec<u8>) -> Result<()> {
    let data = CString::new(data).map_err(|_| Error::invalid("a zero byte in mount options"))?;
    rustix::mount::mount("overlay", target, "overlay", flags, Some(data.as_c_str()))
        .map_err(|e| overlay_error(target, "mount", e, None))
}

fn option_string(lowers: &[OsString], o: &Overlay<'_>) -> Vec<u8> {
    let mut data = b"lowerdir=".to_vec();
    for (n, lower) in lowers.iter().enumerate() {
        if n > 0 {
            data.push(b':');
        }
        data.extend_from_slice(lower.as_bytes());
    }
    if let Some((upper, work)) = o.upper {
        for (key, path) in [("upperdir", upper), ("workdir", work)] {
            data.extend_from_slice(format!(",{key}=").as_bytes());
            data.extend_from_slice(escape(path).as_bytes());
        }
    }
    for option in split_options(o.options).2 {
        data.extend_from_slice(format!(",{option}").as_bytes());
    }
    if !o.label.is_empty() {
        data.extend_from_slice(format!(",context=\"{}\"", o.label).as_bytes());
    }
    data
}

/// Overlay's option parser takes `\` before the characters that separate.
fn escape(path: &Path) -> OsString {
    let mut escaped = Vec::with_capacity(path.as_os_str().len());
    for &byte in path.as_os_str().as_bytes() {
        if matches!(byte, b':' | b',' | b'\\') {
            escaped.push(b'\\');
        }
        escaped.push(byte);
    }
    OsString::from_vec(escaped)
}

/// Runs `action` with another working directory, without changing that of other threads.
fn in_own_directory(directory: &Path, action: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).map_err(|e| Error::os("unshare fs", e))?;
            std::env::set_current_dir(directory).map_err(|e| Error::io("chdir", directory, e))?;
            action()
        });
        thread.join().unwrap_or_else(|_| Err(Error::new(ErrorKind::Io, "the mounting thread died")))
    })
}

/// Separates what concerns the mount (mount(8), "file-system-independent options") from what overlay itself reads.
fn split_options(options: &[String]) -> (MountAttrFlags, MountFlags, Vec<&str>) {
    let mut attributes = MountAttrFlags::empty();
    let mut flags = MountFlags::empty();
    let mut rest = Vec::new();
    for option in options.iter().map(String::as_str) {
        let (a, f) = match option {
            "ro" => (MountAttrFlags::MOUNT_ATTR_RDONLY, MountFlags::RDONLY),
            "nodev" => (MountAttrFlags::MOUNT_ATTR_NODEV, MountFlags::NODEV),
            "nosuid" => (MountAttrFlags::MOUNT_ATTR_NOSUID, MountFlags::NOSUID),
            "noexec" => (MountAttrFlags::MOUNT_ATTR_NOEXEC, MountFlags::NOEXEC),
            "noatime" => (MountAttrFlags::MOUNT_ATTR_NOATIME, MountFlags::NOATIME),
            "nodiratime" => (MountAttrFlags::MOUNT_ATTR_NODIRATIME, MountFlags::NODIRATIME),
            "" | "rw" | "dev" | "suid" | "exec" | "atime" | "diratime" | "relatime" | "defaults" => continue,
            other => {
                rest.push(other);
                continue;
            }
        };
        attributes |= a;
        flags |= f;
    }
    (attributes, flags, rest)
}

fn open_path(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Mounts memory at `target` as the kernel's shm(7) wants it, at most `size` bytes.
pub fn shared_memory(target: &Path, size: u64) -> Result<()> {
    let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
    let data = CString::new(format!("mode=1777,size={size}")).unwrap_or_default();
    rustix::mount::mount("shm", target, "tmpfs", flags, Some(data.as_c_str()))
        .map_err(|e| Error::io("mount memory at", target, e))
}

/// Attaches a detached mount at `target` (move_mount(2)).
pub fn attach(tree: BorrowedFd<'_>, target: &Path) -> Result<()> {
    rustix::mount::move_mount(tree, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(|e| Error::io("move_mount to", target, e))
}

/// A detached copy of the mount that holds `path`, rooted there, without what is mounted below it (open_tree(2)).
pub fn clone_tree(path: &Path) -> Result<OwnedFd> {
    rustix::mount::open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)
        .map_err(|e| Error::io("open_tree", path, e))
}

/// Makes a detached tree show the owners of its files through the maps of a user namespace (mount_setattr(2),
/// `MOUNT_ATTR_IDMAP`).
pub fn id_map_tree(tree: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>) -> Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::try_from(user_namespace.as_raw_fd()).unwrap_or_default(),
    };
    // SAFETY: the path is a NUL-terminated literal, the structure lives across the call and its true size is passed,
    // both descriptors are borrowed and thus open.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            std::ptr::from_ref(&attributes),
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(Error::os("mount_setattr with an ID map", std::io::Error::last_os_error()))
}

/// A user namespace with these maps, as text of `/proc/PID/{uid,gid}_map`, kept alive by the descriptor only.
pub fn user_namespace(uid_map: &str, gid_map: &str) -> Result<OwnedFd> {
    let flags = libc::CLONE_NEWUSER | libc::SIGCHLD;
    // SAFETY: without CLONE_VM and a stack this is fork(2) with a new user namespace: the child runs on a copy of this
    // stack and, below, makes only async-signal-safe system calls until it is killed.
    let child = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if child < 0 {
        return Err(Error::os("clone a user namespace", std::io::Error::last_os_error()));
    }
    if child == 0 {
        // SAFETY: system calls without pointers; the child leaves when its parent kills it, or dies.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            loop {
                libc::pause();
            }
        }
    }
    let result = prepare_namespace(child, uid_map, gid_map);
    let pid = i32::try_from(child).unwrap_or_default();
    if pid > 0 {
        // SAFETY: the PID is our own child's, not waited for by anybody else; a null status is allowed.
        unsafe {
            libc::kill(pid, libc::SIGKILL);
            libc::waitpid(pid, std::ptr::null_mut(), 0);
        }
    }
    result
}

fn prepare_namespace(child: i64, uid_map: &str, gid_map: &str) -> Result<OwnedFd> {
    for (file, map) in [("uid_map", uid_map), ("gid_map", gid_map)] {
        let path = PathBuf::from(format!("/proc/{child}/{file}"));
        std::fs::write(&path, map).map_err(|e| Error::io("write", &path, e))?;
    }
    let path = PathBuf::from(format!("/proc/{child}/ns/user"));
    rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::io("open", &path, e))
}

/// Whether something is mounted exactly at `path`; `false` if there is no such path. (statx(2),
/// `STATX_ATTR_MOUNT_ROOT`, Linux 5.8; before that a device number other than the parent's decides.)
pub fn is_mount_point(path: &Path) -> Result<bool> {
    let stat = |path: &Path| {
        rustix::fs::statx(
            CWD,
            path,
            AtFlags::NO_AUTOMOUNT | AtFlags::SYMLINK_NOFOLLOW,
            StatxFlags::BASIC_STATS,
        )
    };
    let found = match stat(path) {
        Ok(found) => found,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
        // The server of a FUSE mount has died: the mount is still there.
        Err(Errno::NOTCONN) => return Ok(true),
        Err(e) => return Err(Error::io("statx", path, e)),
    };
    let mount_root = rustix::fs::StatxAttributes::MOUNT_ROOT;
    if found.stx_attributes_mask.contains(mount_root) {
        return Ok(found.stx_attributes.contains(mount_root));
    }
    let Some(parent) = path.parent() else { return Ok(true) };
    let above = stat(parent).map_err(|e| Error::io("statx", parent, e))?;
    Ok((above.stx_dev_major, above.stx_dev_minor) != (found.stx_dev_major, found.stx_dev_minor))
}

/// A detached copy of the mount at `path` in the mount namespace of the process `pid`, for [`attach`]. The path is
/// resolved from that namespace's root, so no symbolic link in it leads out of the container.
///
/// setns(2) wants a thread that shares its root with nobody, so a short-lived one does it.
pub fn clone_tree_of(pid: u32, path: &Path) -> Result<OwnedFd> {
    let namespace = PathBuf::from(format!("/proc/{pid}/ns/mnt"));
    let opened = rustix::fs::open(&namespace, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::io("open", &namespace, e))?;
    let clone = || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS)
            .and_then(|()| nix::sched::setns(&opened, nix::sched::CloneFlags::CLONE_NEWNS))
            .map_err(|e| Error::io("join", &namespace, e))?;
        clone_tree(path)
    };
    std::thread::scope(|scope| scope.spawn(clone).join())
        .unwrap_or_else(|_| Err(Error::new(ErrorKind::Runtime, "the thread that clones a mount panicked")))
}

/// Detaches whatever is mounted at `path` (umount2(2), `MNT_DETACH`). `false`: nothing was.
pub fn detach(path: &Path) -> Result<bool> {
    match rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(true),
        Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(e) => Err(Error::io("unmount", path, e)),
    }
}

/// Ends a FUSE mount: its daemon has written everything when this returns, unless the mount is busy. `false`: nothing
/// was mounted.
pub fn detach_fuse(path: &Path) -> Result<bool> {
    match rustix::mount::unmount(path, UnmountFlags::NOFOLLOW) {
        Ok(()) => return Ok(true),
        Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => return Ok(false),
        Err(_) => {}
    }
    if let Ok(fd) = rustix::fs::open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        let _ = rustix::fs::syncfs(fd);
    }
    detach(path)
}

/// Runs a mount program, `program -o OPTIONS TARGET` in `directory`, which returns when the mount stands.
pub fn overlay_by_program(
    program: &Path,
    directory: &Path,
    target: &Path,
    o: &Overlay<'_>,
    more: &str,
) -> Result<()> {
    let lowers: Vec<OsString> = o.lowers.iter().map(|l| escape(l)).collect();
    let mut options = option_string(&lowers, o);
    let (_, flags, _) = split_options(o.options);
    for (flag, name) in [
        (MountFlags::RDONLY, "ro"),
        (MountFlags::NODEV, "nodev"),
        (MountFlags::NOSUID, "nosuid"),
        (MountFlags::NOEXEC, "noexec"),
    ] {
        if flags.contains(flag) {
            options.extend_from_slice(format!(",{name}").as_bytes());
        }
    }
    options.extend_from_slice(more.as_bytes());
    let output = Command::new(program)
        .arg("-o")
        .arg(OsString::from_vec(options))
        .arg(target)
        .current_dir(directory)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|e| Error::io("run", program, e))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(
        ErrorKind::Io,
        format!("mount {} with {}: {}", target.display(), program.display(), said.trim()),
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_mount_and_of_overlay_are_told_apart() {
        let options: Vec<String> = ["nodev", "rw", "volatile", "metacopy=on", "ro"].map(str::to_owned).into();
        let (attributes, flags, rest) = split_options(&options);
        assert_eq!(attributes, MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_RDONLY);
        assert_eq!(flags, MountFlags::NODEV | MountFlags::RDONLY);
        assert_eq!(rest, ["volatile", "metacopy=on"]);
    }

    #[test]
    fn separators_in_paths_are_escaped() {
        let lowers = [PathBuf::from("/a:b"), PathBuf::from("/c,d")];
        let options = ["volatile".to_owned()];
        let overlay = Overlay {
            lowers: &lowers,
            upper: Some((Path::new("/u"), Path::new("/w"))),
            options: &options,
            label: "",
        };
        let escaped: Vec<OsString> = lowers.iter().map(|l| escape(l)).collect();
        assert_eq!(
            String::from_utf8(option_string(&escaped, &overlay)).unwrap(),
            r"lowerdir=/a\:b:/c\,d,upperdir=/u,workdir=/w,volatile"
        );
    }

    #[test]
    fn a_directory_is_no_mount_point_and_proc_is_one() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_mount_point(dir.path()).unwrap());
        assert!(!is_mount_point(&dir.path().join("absent")).unwrap());
        assert!(is_mount_point(Path::new("/proc")).unwrap());
        assert!(!detach(&dir.path().join("absent")).unwrap());
    }

    /// Mounting is for root: elsewhere there is nothing to see here. The store's own tests do it on every driver.
    #[test]
    fn both_ways_of_mounting_take_odd_names_and_many_layers() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::Builder::new().prefix("odd:na,me\\").tempdir_in("/var/tmp").unwrap();
        let sub = |name: &str| {
            let path = dir.path().join("l".repeat(200)).join(name);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        let lowers: Vec<PathBuf> =
            (0..150).map(|n| sub(&format!("a rather long name, of lower {n}"))).collect();
        for (n, lower) in lowers.iter().enumerate() {
            std::fs::write(lower.join(format!("file{n}")), "").unwrap();
        }
        let (merged, upper, work) = (sub("merged"), sub("upper"), sub("work"));
        for count in [2, 150] {
            let overlay = Overlay {
                lowers: &lowers[..count],
                upper: Some((&upper, &work)),
                options: &["nodev".to_owned()],
                label: "",
            };
            for mount in [super::overlay, overlay_by_string] {
                mount(&merged, &overlay).unwrap();
                assert!(is_mount_point(&merged).unwrap());
                let seen = std::fs::read_dir(&merged).unwrap().count();
                assert!(detach(&merged).unwrap());
                assert_eq!(seen, count);
            }
        }
        assert!(!detach(&merged).unwrap());
    }
}
