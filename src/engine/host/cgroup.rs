//! How cgroups are mounted here and what we may do with them (cgroups(7)).

use super::process::read_proc;
use crate::engine::spec::{CgroupFacts, CgroupManager, CgroupMode};
use crate::engine::{Error, Result};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

/// The cgroups a container of this process can have. `caller_uid`: whose systemd instance delegates, when `rootless`.
pub fn facts(rootless: bool, caller_uid: u32) -> CgroupFacts {
    let mode = mode(Path::new(ROOT));
    let own_text = read_proc("/proc/self/cgroup").unwrap_or_default();
    match mode {
        CgroupMode::None => CgroupFacts::default(),
        CgroupMode::V2 => v2(&own_text, rootless, caller_uid),
        CgroupMode::V1 | CgroupMode::Hybrid => CgroupFacts {
            mode,
            controllers: v1_controllers(&own_text),
            own: own_v1(&own_text),
            writable: !rootless && is_writable(Path::new(ROOT)),
            swap: Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists(),
            no_io_weight: !["blkio.weight", "blkio.bfq.weight"]
                .iter()
                .any(|file| Path::new(ROOT).join("blkio").join(file).exists()),
        },
    }
}

/// The manager to use: the configured one where it can work, else the one that can.
///
/// `user_bus`: the caller's systemd instance can be reached (rootless).
pub fn manager(
    configured: Option<&str>,
    facts: &CgroupFacts,
    rootless: bool,
    user_bus: bool,
) -> CgroupManager {
    let systemd = Path::new("/run/systemd/system").is_dir() && (!rootless || user_bus);
    choose(configured, facts, rootless, systemd)
}

fn choose(configured: Option<&str>, facts: &CgroupFacts, rootless: bool, systemd: bool) -> CgroupManager {
    if configured == Some("disabled") || facts.mode == CgroupMode::None {
        return CgroupManager::Disabled;
    }
    if rootless && facts.mode != CgroupMode::V2 {
        return CgroupManager::Disabled;
    }
    match configured {
        Some("cgroupfs") if facts.writable => CgroupManager::Cgroupfs,
        Some("cgroupfs") => CgroupManager::Disabled,
        _ if systemd => CgroupManager::Systemd,
        _ if facts.writable => CgroupManager::Cgroupfs,
        _ => CgroupManager::Disabled,
    }
}

/// Moves every process of the v2 cgroup `own` (as in /proc/self/cgroup) to its child `name`, so that controllers can be
/// enabled for children: cgroups(7), "no internal processes". Does nothing if that was done before.
pub fn move_aside(own: &str, name: &str) -> Result<()> {
    let own = Path::new(ROOT).join(own.trim_start_matches('/'));
    if own.file_name().is_some_and(|last| last == name) {
        return Ok(());
    }
    let aside = own.join(name);
    match fs::create_dir(&aside) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(Error::io("mkdir", &aside, e)
                .with_hint("--cgroups=split is for services of systemd with Delegate=yes"));
        }
        _ => {}
    }
    // Until none is left: processes fork meanwhile.
    for _ in 0..16 {
        let list = own.join("cgroup.procs");
        let text = fs::read_to_string(&list).map_err(|e| Error::io("read", &list, e))?;
        if text.is_empty() {
            return Ok(());
        }
        for pid in text.lines() {
            match fs::write(aside.join("cgroup.procs"), pid) {
                Err(e) if e.raw_os_error() != Some(libc::ESRCH) => {
                    return Err(Error::io("move a process to", &aside, e));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Begins to wait, beside what this process does, for what a process that joins a cgroup has to wait for. Once in the life
/// of this process, as root, when an OCI runtime is going to be called.
///
/// To move a process the kernel takes a lock that every fork and exit reads (`cgroup_threadgroup_rwsem`), which costs a
/// grace period of RCU, 10 ms or more, unless somebody took it a moment ago. A copy of this process takes it by moving itself
/// to where it is: by the time the runtime moves the container's, the period is over. Nothing depends on its success. A
/// copy, because who is moved elsewhere meanwhile would move itself back.
pub fn anticipate_join() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let Some(path) = own_procs().and_then(|path| CString::new(path.into_os_string().into_vec()).ok())
        else {
            return;
        };
        // SAFETY: the child makes system calls only and leaves by _exit(2): no lock, no allocation, no destructor of
        // this process is touched, so it does not matter in which state other threads would have left them. It closes
        // its own copies of all descriptors first, so that no lock and no pipe is held by it.
        let child = unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0);
                let procs = libc::open(path.as_ptr(), libc::O_WRONLY);
                libc::write(procs, c"0".as_ptr().cast(), 1);
                libc::_exit(0);
            }
            child
        };
        // It is not to be seen as a zombie for as long as this process lives.
        if child > 0 {
            let reap = move || nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(child), None);
            let _ = std::thread::Builder::new().spawn(reap);
        }
    });
}

/// `cgroup.procs` of a cgroup this process is in.
fn own_procs() -> Option<PathBuf> {
    let text = read_proc("/proc/self/cgroup").ok()?;
    let of = |(_, controllers, path): (&str, &str, &str)| {
        let hierarchy = Path::new(ROOT).join(controllers.trim_start_matches("name="));
        let procs = hierarchy.join(path.trim_start_matches('/')).join("cgroup.procs");
        procs.exists().then_some(procs)
    };
    rows(&text).find_map(of)
}

/// What the processes of a cgroup use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CgroupUsage {
    /// Processor time in nanoseconds.
    pub cpu: u64,
    /// Bytes of memory, without inactive pages of files.
    pub memory: u64,
    /// Bytes; 0: no limit is known.
    pub memory_limit: u64,
    /// Bytes read and written.
    pub block: (u64, u64),
    /// Processes and threads.
    pub pids: u64,
}

/// What the cgroups named after `id` that the process `pid` is in use; `None`: there are none, or they do not tell. Any other
/// cgroup is one that it shares with whoever started it.
pub fn usage(pid: u32, id: &str) -> Option<CgroupUsage> {
    let table = read_proc(format!("/proc/{pid}/cgroup")).ok()?;
    let root = Path::new(ROOT);
    let below = |hierarchy: &str, path: &str| root.join(hierarchy).join(path.trim_start_matches('/'));
    match mode(root) {
        CgroupMode::None => None,
        CgroupMode::V2 => {
            let path = rows(&table).find(|(_, controllers, _)| controllers.is_empty())?.2;
            path.contains(id).then(|| usage_v2(&below("", path)))
        }
        CgroupMode::V1 | CgroupMode::Hybrid => {
            let of = |controller: &str| {
                let (_, all, path) =
                    rows(&table).find(|(_, all, _)| all.split(',').any(|c| c == controller))?;
                // The hierarchy is mounted under its controllers' names, or each of them leads there.
                let dirs = [below(all, path), below(controller, path)];
                dirs.into_iter().find(|dir| path.contains(id) && dir.is_dir())
            };
            let (cpu, memory) = (of("cpuacct"), of("memory"));
            (cpu.is_some() && memory.is_some()).then(|| usage_v1(cpu, memory, of("blkio"), of("pids")))
        }
    }
}

/// cgroups(7) and the kernel's admin-guide/cgroup-v2.rst, "Controllers".
fn usage_v2(dir: &Path) -> CgroupUsage {
    let read = |name: &str| read_proc(dir.join(name)).unwrap_or_default();
    let number = |name: &str| -> u64 { read(name).trim().parse().unwrap_or(0) };
    let io = read("io.stat");
    let sum = |key: &str| -> u64 {
        io.split_whitespace().filter_map(|word| word.strip_prefix(key)?.parse::<u64>().ok()).sum()
    };
    CgroupUsage {
        cpu: keyed(&read("cpu.stat"), "usage_usec") * 1000,
        memory: number("memory.current").saturating_sub(keyed(&read("memory.stat"), "inactive_file")),
        memory_limit: number("memory.max"),
        block: (sum("rbytes="), sum("wbytes=")),
        pids: number("pids.current"),
    }
}

/// The kernel's admin-guide/cgroup-v1.
fn usage_v1(
    cpu: Option<PathBuf>,
    memory: Option<PathBuf>,
    blkio: Option<PathBuf>,
    pids: Option<PathBuf>,
) -> CgroupUsage {
    let read = |dir: &Option<PathBuf>, name: &str| {
        dir.as_ref().and_then(|dir| read_proc(dir.join(name)).ok()).unwrap_or_default()
    };
    let number = |dir: &Option<PathBuf>, name: &str| -> u64 { read(dir, name).trim().parse().unwrap_or(0) };
    let io = read(&blkio, "blkio.throttle.io_service_bytes_recursive");
    let io = if io.is_empty() { read(&blkio, "blkio.throttle.io_service_bytes") } else { io };
    let sum = |operation: &str| -> u64 {
        let of = |line: &str| {
            let mut words = line.split_whitespace().skip(1);
            (words.next() == Some(operation)).then(|| words.next()?.parse::<u64>().ok()).flatten()
        };
        io.lines().filter_map(of).sum()
    };
    let inactive = keyed(&read(&memory, "memory.stat"), "total_inactive_file");
    CgroupUsage {
        cpu: number(&cpu, "cpuacct.usage"),
        memory: number(&memory, "memory.usage_in_bytes").saturating_sub(inactive),
        memory_limit: number(&memory, "memory.limit_in_bytes"),
        block: (sum("Read"), sum("Write")),
        pids: number(&pids, "pids.current"),
    }
}

/// The number behind a key in a file of `key number` lines; 0 if it is not there.
fn keyed(text: &str, key: &str) -> u64 {
    let find = |line: &str| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(find).unwrap_or(0)
}

fn mode(root: &Path) -> CgroupMode {
    match magic(root) {
        Some(CGROUP2_SUPER_MAGIC) => CgroupMode::V2,
        Some(TMPFS_MAGIC | CGROUP_SUPER_MAGIC) => {
            if magic(&root.join("unified")) == Some(CGROUP2_SUPER_MAGIC) {
                CgroupMode::Hybrid
            } else if root.join("memory").is_dir() || root.join("cpu").exists() || root.join("pids").is_dir()
            {
                CgroupMode::V1
            } else {
                CgroupMode::None
            }
        }
        _ => CgroupMode::None,
    }
}

// linux/magic.h
const CGROUP2_SUPER_MAGIC: u64 = 0x6367_7270;
const CGROUP_SUPER_MAGIC: u64 = 0x0027_e0eb;
const TMPFS_MAGIC: u64 = 0x0102_1994;

fn magic(path: &Path) -> Option<u64> {
    u64::try_from(rustix::fs::statfs(path).ok()?.f_type).ok()
}

fn is_writable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Whether this process is part of a service that systemd started. `$INVOCATION_ID` alone does not say so: what a desktop
/// starts as a service, a terminal for one, hands it to every shell, and those are in scopes.
pub fn in_service() -> bool {
    let text = read_proc("/proc/self/cgroup").unwrap_or_default();
    rows(&text).any(|(number, controllers, path)| {
        (number == "0" || controllers == "name=systemd") && is_of_a_service(path)
    })
}

/// By the innermost unit of a cgroup's path; a user's manager is none that somebody started a command in.
fn is_of_a_service(path: &str) -> bool {
    let mut units = path.rsplit('/').filter(|name| name.ends_with(".service") || name.ends_with(".scope"));
    units.next().is_some_and(|unit| unit.ends_with(".service") && !unit.starts_with("user@"))
}

/// The rows of /proc/self/cgroup: hierarchy number, controllers, path.
fn rows(text: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        Some((fields.next()?, fields.next()?, fields.next()?))
    })
}

fn v1_controllers(text: &str) -> BTreeSet<String> {
    rows(text)
        .flat_map(|(_, controllers, _)| controllers.split(','))
        .filter(|c| !c.is_empty() && !c.starts_with("name="))
        .filter(|c| Path::new(ROOT).join(c).exists())
        .map(str::to_owned)
        .collect()
}

fn own_v1(text: &str) -> String {
    let of = |name: &str| rows(text).find(|r| r.1.split(',').any(|c| c == name)).map(|r| r.2.to_owned());
    of("memory").or_else(|| rows(text).next().map(|r| r.2.to_owned())).unwrap_or_default()
}

fn own_v2(text: &str) -> String {
    rows(text).find(|r| r.0 == "0").map(|r| r.2.to_owned()).unwrap_or_default()
}

fn v2(text: &str, rootless: bool, caller_uid: u32) -> CgroupFacts {
    let own = own_v2(text);
    let below = |path: &str| PathBuf::from(ROOT).join(path.trim_start_matches('/'));
    let own_dir = below(&own);
    // systemd delegates to the user's instance; without it, what our own cgroup offers is all there is.
    let delegated = below(&format!("user.slice/user-{caller_uid}.slice/user@{caller_uid}.service"));
    let offer = match rootless {
        true if delegated.is_dir() => delegated,
        true => own_dir.clone(),
        false => PathBuf::from(ROOT),
    };
    let controllers = fs::read_to_string(offer.join("cgroup.controllers")).unwrap_or_default();
    CgroupFacts {
        mode: CgroupMode::V2,
        controllers: controllers.split_whitespace().map(str::to_owned).collect(),
        writable: if rootless {
            is_writable(&own_dir) && is_writable(&own_dir.join("cgroup.procs"))
        } else {
            is_writable(Path::new(ROOT))
        },
        swap: own_dir.join("memory.swap.max").exists() || Path::new("/proc/swaps").exists(),
        no_io_weight: false,
        own,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn proc_self_cgroup() {
        let v1 = "9:name=systemd:/\n4:memory:/a/b\n1:cpu,cpuacct:/c\n0::/u:x\n";
        assert_eq!(own_v1(v1), "/a/b");
        assert_eq!(own_v2(v1), "/u:x");
        assert_eq!(own_v2("0::/user.slice/x.scope\n"), "/user.slice/x.scope");
    }

    #[test]
    fn services_are_told_by_the_innermost_unit() {
        let manager = "/user.slice/user-1000.slice/user@1000.service";
        for (path, wanted) in [
            ("/system.slice/build.service", true),
            ("/system.slice/build.service/payload", true),
            (&format!("{manager}/app.slice/web.service"), true),
            (&format!("{manager}/app.slice/app-org.gnome.Terminal.slice/vte-spawn-1.scope"), false),
            ("/user.slice/user-1000.slice/session-3.scope", false),
            (manager, false),
            ("/", false),
        ] {
            assert_eq!(is_of_a_service(path), wanted, "{path}");
        }
    }

    #[test]
    fn the_manager_is_one_that_works() {
        use CgroupManager::{Cgroupfs, Disabled, Systemd};
        let facts = |mode, writable| CgroupFacts { mode, writable, ..CgroupFacts::default() };
        let cases = [
            (None, CgroupMode::V2, true, false, true, Systemd),
            (None, CgroupMode::V2, true, false, false, Cgroupfs),
            (Some("systemd"), CgroupMode::V2, true, false, false, Cgroupfs),
            (Some("cgroupfs"), CgroupMode::V2, true, false, true, Cgroupfs),
            (Some("cgroupfs"), CgroupMode::V2, false, true, false, Disabled),
            (Some("cgroupfs"), CgroupMode::V2, false, true, true, Disabled),
            (Some("systemd"), CgroupMode::V2, false, true, true, Systemd),
            (None, CgroupMode::V2, false, true, true, Systemd),
            (None, CgroupMode::V2, false, true, false, Disabled),
            (None, CgroupMode::Hybrid, false, true, true, Disabled),
            (None, CgroupMode::Hybrid, true, false, false, Cgroupfs),
            (None, CgroupMode::None, true, false, true, Disabled),
        ];
        for (configured, mode, writable, rootless, systemd, want) in cases {
            let got = choose(configured, &facts(mode, writable), rootless, systemd);
            assert_eq!(
                got, want,
                "{configured:?} {mode:?} writable={writable} rootless={rootless} systemd={systemd}"
            );
        }
    }
}
