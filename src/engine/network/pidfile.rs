//! Processes that may outlive the command that started them, and are found again whenever that was killed.
//!
//! A pidfile is `PID START-TIME` (clock ticks since boot). It exists, empty, before the process does, and the process
//! has its path among its arguments: so one that a killed command left without a record is found as well.

use crate::engine::host::atomic::{self, Durability};
use crate::engine::host::process;
use crate::engine::{Error, ErrorKind, Result};
use std::fs;
use std::io::ErrorKind as Io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What slirp4netns's API socket has behind the pidfile's name.
pub(super) const SOCKET_SUFFIX: &str = ".sock";

/// Says that a process is about to be started.
pub(super) fn announce(pidfile: &Path) -> Result<()> {
    fs::File::create(pidfile).map(drop).map_err(|e| Error::io("create", pidfile, e))
}

/// Records the process.
///
/// # Errors
/// [`ErrorKind::Runtime`]: it has ended meanwhile.
pub(super) fn record(pidfile: &Path, pid: u32) -> Result<()> {
    let start = process::start_time(pid)
        .ok_or_else(|| Error::new(ErrorKind::Runtime, format!("process {pid} ended at once")))?;
    atomic::write(pidfile, format!("{pid} {start}\n").as_bytes(), 0o600, Durability::None)
}

/// Removes the file; nothing happens if there is none.
pub(super) fn remove(pidfile: &Path) -> Result<()> {
    match fs::remove_file(pidfile) {
        Err(e) if e.kind() != Io::NotFound => Err(Error::io("unlink", pidfile, e)),
        _ => Ok(()),
    }
}

/// PID and start time of the process of this pidfile.
pub(super) fn find(pidfile: &Path) -> Option<(u32, u64)> {
    let text = fs::read_to_string(pidfile).ok()?;
    let mut words = text.split_whitespace();
    let Some(pid) = words.next().and_then(|w| w.parse().ok()) else { return search(pidfile) };
    let start = process::start_time(pid)?;
    match words.next() {
        Some(recorded) => (recorded.parse() == Ok(start)).then_some((pid, start)),
        // Written by pasta, and we were killed before we could add the start time.
        None => has_argument(pid, pidfile).then_some((pid, start)),
    }
}

/// Whether it names one process, and for good: before, there may be several, of which one goes on.
pub(super) fn is_recorded(pidfile: &Path) -> bool {
    fs::read_to_string(pidfile).is_ok_and(|text| text.split_whitespace().count() > 1)
}

/// The process that has the pidfile among its arguments.
fn search(pidfile: &Path) -> Option<(u32, u64)> {
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = entries.filter_map(|e| e.file_name().to_str()?.parse().ok());
    let pid = pids.find(|pid| *pid != std::process::id() && has_argument(*pid, pidfile))?;
    Some((pid, process::start_time(pid)?))
}

fn has_argument(pid: u32, pidfile: &Path) -> bool {
    let wanted = pidfile.as_os_str().as_bytes();
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|b| *b == 0).any(|argument| {
        argument.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest == SOCKET_SUFFIX.as_bytes())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_without_a_record_is_found_by_its_argument() {
        let dir = tempfile::tempdir().unwrap();
        let pidfile = dir.path().join("pid");
        announce(&pidfile).unwrap();
        assert!(find(&pidfile).is_none());
        let mut command = Command::new("/bin/sh");
        let mut child = command
            .args(["-c", "read line"])
            .arg(&pidfile)
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        while fs::read(format!("/proc/{}/cmdline", child.id())).unwrap().is_empty() {
            std::thread::yield_now();
        }
        assert!(find(&pidfile).is_some() && !is_recorded(&pidfile));
        fs::write(&pidfile, child.id().to_string()).unwrap();
        assert!(find(&pidfile).is_some() && !is_recorded(&pidfile));
        record(&pidfile, child.id()).unwrap();
        assert!(find(&pidfile).is_some() && is_recorded(&pidfile));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(find(&pidfile).is_none());
    }
}
