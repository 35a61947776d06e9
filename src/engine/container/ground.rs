//! What a session in a container stands on, and what is said when that is gone.

use crate::engine::host::process::{self, PidFd};
use crate::engine::state::Record;
use crate::engine::{Error, ErrorKind};
use std::time::Duration;

/// What a session stands on: the run of its container.
#[derive(Debug)]
pub(super) struct Ground {
    name: String,
    /// PID and start time of its first process.
    first: (u32, u64),
}

impl Ground {
    /// Between the end of a process in the container and that of its first one, which takes all others along.
    const FALLS_WITHIN: Duration = Duration::from_millis(300);

    pub fn of(record: &Record) -> Self {
        Self { name: record.name().to_owned(), first: (record.state.pid, record.state.pid_start) }
    }

    /// What the runtime, or a file that is gone, says of a session whose container has ended meanwhile helps nobody.
    pub fn explain(&self, error: Error) -> Error {
        if !matches!(error.kind(), ErrorKind::Runtime | ErrorKind::NotFound | ErrorKind::Io) {
            return error;
        }
        let (pid, start) = self.first;
        let ended = process::is_ending(pid, start)
            || match PidFd::open(pid, start) {
                Ok(Some(first)) => first.wait(Some(Self::FALLS_WITHIN)).unwrap_or(false),
                _ => true,
            };
        if !ended {
            return error;
        }
        let what = "can only create exec sessions on running containers";
        Error::new(ErrorKind::InUse, format!("{what}: container {} has ended meanwhile", self.name))
    }
}
