//! The rootless user and mount namespace, kept by one pause process per run root.
//!
//! An ordinary user works in a user namespace in which they are root and their subordinate IDs are the others
//! (user_namespaces(7), subuid(5)), and in a mount namespace where they may mount overlays. The pause process does
//! nothing but hold both. Who needs them calls [`enter`] before any thread exists; it joins with setns(2), and makes
//! the namespaces first if nobody keeps them or their maps are no longer those of /etc/subuid. Nothing has to be
//! migrated: where the pause process was killed, the next one takes the namespaces from a container's conmon, since only
//! from there that container can be reached. Under systemd the pause process is a scope of its own, so that it outlives
//! the session or service of the command that made it.
//!
//! Written: `<run state>/pause` (`PID START-TIME`), under a lock on `<run state>/pause.lock`.

use super::atomic::{self, Durability};
use super::process;
use super::systemd::Scope;
use crate::engine::spec::{IdMapping, IdMappings};
use crate::engine::{Error, ErrorKind, Result};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{ForkResult, Pid, fork};
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// `argv[0]` of the pause process; the program's `main` hands over to [`pause`] when it sees it.
pub const PAUSE_NAME: &str = "coracle-pause";

/// Who wants to enter, and what it takes.
pub struct Request<'a> {
    /// Effective user ID of the caller.
    pub uid: u32,
    /// Effective group ID of the caller.
    pub gid: u32,
    /// Directory of the pause file; made if missing.
    pub run_state: &'a Path,
    /// This program, to be run as the pause process.
    pub program: &'a Path,
    /// The caller's `$PATH`, searched for newuidmap and newgidmap.
    pub path: &'a [PathBuf],
    /// Whether one ID is enough when the user has no subordinate ones (`ignore_chown_errors`).
    pub allow_single_id: bool,
    /// Processes that may live in namespaces whose pause process is gone.
    pub survivors: &'a dyn Fn() -> Vec<u32>,
    /// The bus of the caller's systemd, if they have one.
    pub bus: &'a dyn Fn() -> Option<String>,
}

/// Joins the caller's user and mount namespace, made if need be, and returns its maps.
///
/// Must be called before any thread is started: setns(2) refuses a user namespace to a process with threads. The
/// working directory is kept.
///
/// Fails with [`ErrorKind::Unsupported`] if the user has no subordinate IDs or the kernel forbids user namespaces, with
/// [`ErrorKind::MissingProgram`] without newuidmap; each error has a hint.
pub fn enter(request: &Request<'_>) -> Result<IdMappings> {
    let maps = wanted_maps(request)?;
    if kept(request, &maps).is_some_and(|pid| join(pid).is_ok()) {
        return Ok(maps);
    }
    create_run_state(request.run_state)?;
    let _lock = lock(&request.run_state.join("pause.lock"))?;
    let pid = match kept(request, &maps) {
        Some(pid) => pid,
        None => {
            let pid = start_anywhere(request, &maps)?;
            let scope = |bus: String| {
                Scope::request(&bus, request.uid, &format!("{PAUSE_NAME}-{pid}.scope"), "user.slice", pid)?
                    .wait()
            };
            if let Some(Err(e)) = (request.bus)().map(scope) {
                tracing::debug!("the pause process stays in the cgroup of this command: {e}");
            }
            pid
        }
    };
    join(pid)?;
    Ok(maps)
}

/// What the pause process does: it waits until it is killed.
pub fn pause() -> ! {
    let _ = nix::unistd::setsid();
    let _ = std::env::set_current_dir("/");
    loop {
        nix::unistd::pause();
    }
}

/// The maps of the namespace this process is in.
pub fn current_maps() -> Result<IdMappings> {
    let read = |path: &str| fs::read_to_string(path).map_err(|e| Error::io("read", path, e));
    Ok(IdMappings {
        uids: parse_map(&read("/proc/self/uid_map")?),
        gids: parse_map(&read("/proc/self/gid_map")?),
    })
}

/// The pause process on record, if it lives and its maps are those wanted.
fn kept(request: &Request<'_>, maps: &IdMappings) -> Option<u32> {
    let text = fs::read_to_string(request.run_state.join("pause")).ok()?;
    let (pid, start) = text.trim().split_once(' ')?;
    let (pid, start) = (pid.parse().ok()?, start.parse().ok()?);
    (process::alive(pid, start) && has_maps(pid, maps)).then_some(pid)
}

fn has_maps(pid: u32, maps: &IdMappings) -> bool {
    let same = |file: &str, wanted: &[IdMapping]| {
        process::read_proc(format!("/proc/{pid}/{file}")).is_ok_and(|text| parse_map(&text) == wanted)
    };
    same("uid_map", &maps.uids) && same("gid_map", &maps.gids)
}

/// A new pause process in the namespaces of a survivor, or in new ones.
fn start_anywhere(request: &Request<'_>, maps: &IdMappings) -> Result<u32> {
    for pid in (request.survivors)() {
        if !has_maps(pid, maps) {
            continue;
        }
        match start(request, maps, Some(pid)) {
            Ok(pid) => return Ok(pid),
            // It may have just ended.
            Err(e) => tracing::debug!("take the namespaces of process {pid}: {e}"),
        }
    }
    start(request, maps, None)
}

fn create_run_state(path: &Path) -> Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|e| Error::io("mkdir", path, e))
}

fn lock(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    let file = opened.map_err(|e| Error::io("open", path, e))?;
    file.lock().map_err(|e| Error::io("lock", path, e))?;
    Ok(file)
}

fn join(pid: u32) -> Result<()> {
    let open = |kind: &str| {
        let path = PathBuf::from(format!("/proc/{pid}/ns/{kind}"));
        File::open(&path).map_err(|e| Error::io("open", &path, e))
    };
    let (user, mount) = (open("user")?, open("mnt")?);
    let directory = File::open(".");
    setns(&user, CloneFlags::CLONE_NEWUSER).map_err(|e| Error::os("join the user namespace", e))?;
    setns(&mount, CloneFlags::CLONE_NEWNS).map_err(|e| Error::os("join the mount namespace", e))?;
    if let Ok(directory) = directory {
        // The same directory, seen through the new mount namespace; one that cannot be reached leaves us in `/`.
        if let Ok(path) = fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd())) {
            let _ = std::env::set_current_dir(path);
        }
    }
    Ok(())
}

/// Makes the namespaces, or joins those of `heir_of`, with a child that becomes the pause process, and records it.
fn start(request: &Request<'_>, maps: &IdMappings, heir_of: Option<u32>) -> Result<u32> {
    let (ready_read, ready_write) = pipe()?;
    let (go_read, go_write) = pipe()?;
    let program = CString::new(request.program.as_os_str().as_bytes())
        .map_err(|_| Error::invalid("the path of this program has a NUL byte"))?;
    let name = CString::new(PAUSE_NAME).map_err(|_| Error::invalid("NUL byte"))?;
    // SAFETY: enter() is called before any thread is started, so the child is a whole copy of this process and may
    // call what it likes; it only makes system calls and then executes or exits.
    match unsafe { fork() }.map_err(|e| Error::os("fork the pause process", e))? {
        ForkResult::Child => {
            drop((ready_read, go_write));
            become_pause(ready_write, go_read, heir_of, &program, &name)
        }
        ForkResult::Parent { child } => {
            drop((ready_write, go_read));
            let set_up =
                finish_start(request, heir_of.is_none().then_some(maps), child, ready_read, go_write);
            if set_up.is_err() {
                let _ = nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL);
                let _ = nix::sys::wait::waitpid(child, None);
            }
            set_up
        }
    }
}

/// The child's side: namespaces, then wait for the maps, then become `coracle-pause`.
fn become_pause(mut ready: File, mut go: File, heir_of: Option<u32>, program: &CString, name: &CString) -> ! {
    let errno = match heir_of {
        Some(pid) => join(pid).err().map_or(0, |e| e.raw_os_error().unwrap_or(libc::ESRCH)),
        None => match unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS) {
            Ok(()) => 0,
            Err(e) => e as i32,
        },
    };
    let told = ready.write_all(&errno.to_ne_bytes());
    let mut byte = [0];
    if errno == 0 && told.is_ok() && go.read_exact(&mut byte).is_ok() {
        if heir_of.is_none() {
            cover_unified_cgroups();
        }
        // stdio must not keep the caller's terminal or pipe open.
        if let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null") {
            let _ = nix::unistd::dup2_stdin(&null);
            let _ = nix::unistd::dup2_stdout(&null);
            let _ = nix::unistd::dup2_stderr(&null);
        }
        let _ = nix::unistd::setsid();
        let empty: [&std::ffi::CStr; 0] = [];
        let _ = nix::unistd::execve(program, &[name.as_c_str()], &empty);
    }
    // SAFETY: _exit(2) ends this child without running the parent's exit handlers.
    unsafe { libc::_exit(1) }
}

/// Where a host mounts cgroups v1 and v2 side by side, hides the v2 tree in the new mount namespace: crun up to 1.8
/// refuses to run with both (`libcrun_cgroup_enter`), and a user without systemd has no cgroup of their own in either.
/// Failing is harmless: then another runtime has to be chosen.
fn cover_unified_cgroups() {
    use nix::mount::{MsFlags, mount};
    let unified = "/sys/fs/cgroup/unified";
    let is = |path: &str, kind| nix::sys::statfs::statfs(path).is_ok_and(|fs| fs.filesystem_type() == kind);
    if is(unified, nix::sys::statfs::CGROUP2_SUPER_MAGIC) {
        let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let _ = mount(Some("tmpfs"), unified, Some("tmpfs"), flags, Some("size=4k,mode=555"));
    }
}

/// The parent's side: writes the maps of new namespaces, lets the child go, records it once it has become
/// `coracle-pause`.
fn finish_start(
    request: &Request<'_>,
    maps: Option<&IdMappings>,
    child: Pid,
    ready: File,
    mut go: File,
) -> Result<u32> {
    let mut ready = ready;
    let mut errno = [0; 4];
    ready.read_exact(&mut errno).map_err(|e| Error::os("start the pause process", e))?;
    match i32::from_ne_bytes(errno) {
        0 => {}
        errno => {
            return Err(Error::os("make a user namespace", std::io::Error::from_raw_os_error(errno))
                .with_kind(ErrorKind::Unsupported)
                .with_hint("allow user namespaces: sysctl user.max_user_namespaces, and kernel.unprivileged_userns_clone or kernel.apparmor_restrict_unprivileged_userns where they exist"));
        }
    }
    let pid = child.as_raw().unsigned_abs();
    if let Some(maps) = maps {
        write_maps(request, maps, pid)?;
    }
    go.write_all(&[1]).map_err(|e| Error::os("start the pause process", e))?;
    // The ready pipe is close-on-exec: its end tells that the program runs.
    let mut rest = Vec::new();
    ready.read_to_end(&mut rest).map_err(|e| Error::os("start the pause process", e))?;
    let start = process::start_time(pid)
        .ok_or_else(|| Error::new(ErrorKind::Runtime, "the pause process ended at once"))?;
    atomic::write(
        &request.run_state.join("pause"),
        format!("{pid} {start}\n").as_bytes(),
        0o600,
        Durability::None,
    )?;
    Ok(pid)
}

fn write_maps(request: &Request<'_>, maps: &IdMappings, pid: u32) -> Result<()> {
    if maps.uids.len() == 1 && maps.uids[0].size == 1 {
        return write_single_id(request, pid);
    }
    for (tool, rows) in [("newuidmap", &maps.uids), ("newgidmap", &maps.gids)] {
        let program = process::require_program(tool, request.path, "uidmap (shadow-utils on Fedora)")?;
        let mut command = Command::new(&program);
        command.env_clear().arg(pid.to_string());
        for row in rows {
            command.args([row.container_id, row.host_id, row.size].map(|n| n.to_string()));
        }
        let output = command.output().map_err(|e| Error::io("run", &program, e))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Error::new(ErrorKind::Unsupported, format!("{tool} failed: {}", said.trim())).with_hint(
                format!("{} must be setuid root or have the capability it needs (getcap); reinstall the package uidmap", program.display()),
            ));
        }
    }
    Ok(())
}

fn write_single_id(request: &Request<'_>, pid: u32) -> Result<()> {
    for (file, text) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {} 1", request.uid)),
        ("gid_map", format!("0 {} 1", request.gid)),
    ] {
        let path = PathBuf::from(format!("/proc/{pid}/{file}"));
        fs::write(&path, text).map_err(|e| Error::io("write", &path, e))?;
    }
    Ok(())
}

fn pipe() -> Result<(File, File)> {
    let (read, write): (OwnedFd, OwnedFd) =
        nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|e| Error::os("make a pipe", e))?;
    Ok((File::from(read), File::from(write)))
}

/// The caller as root, then their subordinate IDs in file order from 1 on.
fn wanted_maps(request: &Request<'_>) -> Result<IdMappings> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let name = local_name(&read("/etc/passwd"), request.uid)
        .or_else(|| nix::unistd::User::from_uid(request.uid.into()).ok().flatten().map(|user| user.name))
        .unwrap_or_else(|| request.uid.to_string());
    let uids = subordinate_ranges(&read("/etc/subuid"), &name, request.uid);
    let gids = subordinate_ranges(&read("/etc/subgid"), &name, request.uid);
    if (uids.is_empty() || gids.is_empty()) && !request.allow_single_id {
        let file = if uids.is_empty() { "/etc/subuid" } else { "/etc/subgid" };
        return Err(Error::unsupported(format!("the user {name} has no subordinate IDs in {file}"))
            .with_hint(format!(
                "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"
            )));
    }
    let (uids, gids) = if uids.is_empty() || gids.is_empty() { (vec![], vec![]) } else { (uids, gids) };
    Ok(IdMappings { uids: stacked(request.uid, &uids), gids: stacked(request.gid, &gids) })
}

/// The user's name in passwd(5). Most are there, and looking for them with libc's help takes ten times as many calls.
fn local_name(passwd: &str, uid: u32) -> Option<String> {
    let row = |line: &str| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (!name.is_empty() && id.parse() == Ok(uid)).then(|| name.to_owned())
    };
    passwd.lines().find_map(row)
}

fn stacked(own: u32, ranges: &[(u32, u32)]) -> Vec<IdMapping> {
    let mut rows = vec![IdMapping { container_id: 0, host_id: own, size: 1 }];
    let mut next = 1;
    for &(host_id, size) in ranges {
        rows.push(IdMapping { container_id: next, host_id, size });
        next += size;
    }
    rows
}

/// The `(start, count)` rows of subuid(5) or subgid(5) that belong to a user, by name or by ID. Rows that cannot be
/// parsed, are empty or reach past the largest ID are left out, as newuidmap(1) leaves them out.
pub fn subordinate_ranges(text: &str, name: &str, uid: u32) -> Vec<(u32, u32)> {
    let uid = uid.to_string();
    let row = |line: &str| -> Option<(u32, u32)> {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let (start, count) =
            (fields.next()?.parse::<u32>().ok()?, fields.next()?.trim().parse::<u32>().ok()?);
        (owner == name || owner == uid).then_some(())?;
        start.checked_add(count).filter(|_| count > 0).map(|_| (start, count))
    };
    text.lines().filter_map(row).collect()
}

/// The rows of `/proc/PID/uid_map`.
pub fn parse_map(text: &str) -> Vec<IdMapping> {
    let row = |line: &str| {
        let mut numbers = line.split_whitespace().map(|n| n.parse::<u32>().ok());
        Some(IdMapping { container_id: numbers.next()??, host_id: numbers.next()??, size: numbers.next()?? })
    };
    text.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_subuid_belong_by_name_or_id() {
        let text =
            "root:1:2\nada:100000:65536\n# ada:9:9\n1000:300000:10\nada:x:1\nada:5:0\nada:4294967295:2\n";
        assert_eq!(subordinate_ranges(text, "ada", 1000), [(100_000, 65_536), (300_000, 10)]);
        assert!(subordinate_ranges(text, "bob", 1001).is_empty());
    }

    #[test]
    fn names_are_looked_up_in_passwd() {
        let text = "root:x:0:0::/root:/bin/sh\n# ada:x:7\n:x:9:\nada:x:1000:1000:Ada:/home/ada:/bin/sh\nada2:x:1000:\n+::::\n";
        assert_eq!(local_name(text, 1000).as_deref(), Some("ada"));
        assert_eq!((local_name(text, 9), local_name(text, 1)), (None, None));
    }

    #[test]
    fn maps_stack_from_one_and_read_back() {
        let rows = stacked(1000, &[(100_000, 65_536), (300_000, 10)]);
        let text = "         0       1000          1\n 1 100000 65536\n 65537 300000 10\n";
        assert_eq!(parse_map(text), rows);
    }
}
