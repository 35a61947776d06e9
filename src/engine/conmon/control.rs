//! conmon's control FIFO: one line of three numbers a request (conmon `src/ctrl.c`).

use super::RunDir;
use crate::engine::{Error, Result};
use rustix::fs::{Mode, OFlags};

/// Gives the terminal of a container or exec session a size. conmon ignores more than 1000 in either direction, so that is the most it is told.
///
/// Before the container is started this sets the initial size. Fails if conmon is gone.
pub fn resize(run_dir: &RunDir, rows: u16, columns: u16) -> Result<()> {
    request(run_dir, &format!("1 {} {}\n", rows.min(1000), columns.min(1000)))
}

/// Makes conmon open its log file anew, after it was moved away.
pub fn reopen_logs(run_dir: &RunDir) -> Result<()> {
    request(run_dir, "2 0 0\n")
}

fn request(run_dir: &RunDir, line: &str) -> Result<()> {
    let path = run_dir.control();
    // Not blocking: without conmon nobody ever opens the other end.
    let fifo = rustix::fs::open(&path, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::io("open", &path, e))?;
    rustix::io::write(&fifo, line.as_bytes()).map_err(|e| Error::io("write", &path, e))?;
    Ok(())
}
