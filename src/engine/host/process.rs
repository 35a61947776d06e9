//! Processes by PID and start time, and programs to run.
//!
//! A PID alone names nothing: it is reused. Records keep the start time beside it (field 22 of `/proc/PID/stat`,
//! clock ticks since boot, proc_pid_stat(5)) and the boot ID, and compare both before they believe in a process.

use crate::engine::{Error, ErrorKind, Result};
use rustix::process::{Pid, PidfdFlags, Signal};
use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// Reads a file of /proc. Those have no size to go by, so that reading them in the usual way takes a handful of calls for a
/// line.
pub fn read_proc(path: impl AsRef<Path>) -> std::io::Result<String> {
    let mut text = String::with_capacity(4096);
    fs::File::open(path)?.take(1 << 20).read_to_string(&mut text)?;
    Ok(text)
}

/// This boot's ID (`/proc/sys/kernel/random/boot_id`); empty if /proc does not tell.
pub fn boot_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        let text = read_proc("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        text.trim().to_owned()
    })
}

/// Start time of a living process in clock ticks since boot; `None` if there is no such process or it is a zombie.
pub fn start_time(pid: u32) -> Option<u64> {
    let stat = read_proc(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&stat).filter(|(state, _)| !matches!(state, 'Z' | 'X')).map(|(_, start)| start)
}

/// State letter and start time from a line of `/proc/PID/stat`. The command in parentheses may itself hold spaces
/// and parentheses, so fields are counted from the last `)`.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let rest = stat.rsplit_once(") ")?.1;
    let state = rest.chars().next()?;
    let start = rest.split(' ').nth(19)?.parse().ok()?;
    Some((state, start))
}

/// Whether the process that had this PID at `start` still runs.
pub fn alive(pid: u32, start: u64) -> bool {
    pid != 0 && start_time(pid) == Some(start)
}

/// Whether the process that had this PID at `start` has ended, or is about to: `PF_EXITING` of linux/sched.h. The first one of a
/// PID namespace kills all others and waits for them when it is that far.
pub fn is_ending(pid: u32, start: u64) -> bool {
    const EXITING: u64 = 4;
    let stat = read_proc(format!("/proc/{pid}/stat")).unwrap_or_default();
    let flags = || stat.rsplit_once(") ")?.1.split(' ').nth(6)?.parse::<u64>().ok();
    match parse_stat(&stat) {
        Some((state, begun)) if begun == start && !matches!(state, 'Z' | 'X') => {
            flags().is_some_and(|flags| flags & EXITING != 0)
        }
        _ => true,
    }
}

/// A process held by descriptor: signals and waits cannot hit another that got its PID (pidfd_open(2)).
#[derive(Debug)]
pub struct PidFd {
    fd: OwnedFd,
}

impl PidFd {
    /// Opens the process `pid` that started at `start`; `None` if it is gone.
    pub fn open(pid: u32, start: u64) -> Result<Option<Self>> {
        let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        let fd = match rustix::process::pidfd_open(raw, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => return Ok(None),
            Err(e) => return Err(Error::os(format!("pidfd_open {pid}"), e)),
        };
        Ok(alive(pid, start).then_some(Self { fd }))
    }

    /// Opens an unreaped child of ours, which may have ended already.
    pub fn of_child(pid: u32) -> Result<Self> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let raw = raw.ok_or_else(|| Error::invalid(format!("{pid} is no process ID")))?;
        let fd = rustix::process::pidfd_open(raw, PidfdFlags::empty());
        Ok(Self { fd: fd.map_err(|e| Error::os(format!("pidfd_open {pid}"), e))? })
    }

    /// Sends a signal by number. `false`: the process was already gone.
    pub fn signal(&self, signal: i32) -> Result<bool> {
        // SAFETY: only the number is passed on to pidfd_send_signal(2), which rejects one that is no signal; no
        // handler of this process is concerned, so real-time signals reserved by libc are harmless here.
        let signal = unsafe { Signal::from_raw_unchecked(signal) };
        match rustix::process::pidfd_send_signal(&self.fd, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(e) => Err(Error::os(format!("send signal {} by pidfd", signal.as_raw()), e)),
        }
    }

    /// Waits until the process ends; `false` if `timeout` passes first, `None` waits for ever.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        let deadline = timeout.map(|t| std::time::Instant::now() + t);
        loop {
            let left = deadline.map(|d| d.saturating_duration_since(std::time::Instant::now()));
            let spec = left.map(|l| rustix::time::Timespec {
                tv_sec: i64::try_from(l.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(l.subsec_nanos()),
            });
            let mut fds = [rustix::event::PollFd::new(&self.fd, rustix::event::PollFlags::IN)];
            match rustix::event::poll(&mut fds, spec.as_ref()) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(Error::os("poll a pidfd", e)),
            }
        }
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Where programs are looked for when the caller's PATH does not have them: `sbin` is often missing from a user's.
pub const PROGRAM_DIRECTORIES: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The first executable regular file called `name` in `directories`, then in [`PROGRAM_DIRECTORIES`]. A `name` with a
/// slash is taken as it is.
pub fn find_program<P: AsRef<Path>>(name: &str, directories: &[P]) -> Option<PathBuf> {
    if name.contains('/') {
        return is_executable(Path::new(name)).then(|| PathBuf::from(name));
    }
    let given = directories.iter().map(AsRef::as_ref);
    given
        .chain(PROGRAM_DIRECTORIES.iter().map(Path::new))
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|path| is_executable(path))
}

/// [`find_program`], or an error that names the package to install.
pub fn require_program<P: AsRef<Path>>(name: &str, directories: &[P], package: &str) -> Result<PathBuf> {
    find_program(name, directories).ok_or_else(|| {
        Error::new(ErrorKind::MissingProgram, format!("{name} is not installed"))
            .with_hint(format!("install the package {package}"))
    })
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn stat_fields_are_counted_after_the_command() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 9876 0 0";
        assert_eq!(parse_stat(stat), Some(('S', 9876)));
        assert_eq!(parse_stat("nonsense"), None);
    }

    #[test]
    fn this_process_is_alive_and_a_reused_pid_is_not() {
        let me = std::process::id();
        let start = start_time(me).unwrap();
        assert!(alive(me, start));
        assert!(!alive(me, start + 1));
        assert!(!alive(0, 0));
        assert!(!is_ending(me, start) && is_ending(me, start + 1));
    }

    #[test]
    fn waiting_sees_the_end_of_a_child() {
        let mut child = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let fd = PidFd::open(child.id(), start_time(child.id()).unwrap()).unwrap().unwrap();
        assert!(!fd.wait(Some(Duration::from_millis(1))).unwrap());
        assert!(fd.signal(9).unwrap());
        assert!(fd.wait(Some(Duration::from_secs(10))).unwrap());
        child.wait().unwrap();
        assert!(!fd.signal(9).unwrap());
    }
}
