//! The terminal a program was started on: raw mode and window size. (A container's terminal belongs to conmon.)

use crate::engine::{Error, Result};
use rustix::termios::{OptionalActions, Termios};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Rows and columns of the terminal `fd`; `None` if it is none, or does not know.
pub fn window_size(fd: impl AsFd) -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(fd).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Whether `fd` is a terminal.
pub fn is_terminal(fd: impl AsFd) -> bool {
    rustix::termios::isatty(fd)
}

/// A terminal in raw mode until this is dropped.
#[derive(Debug)]
pub struct RawMode {
    fd: OwnedFd,
    cooked: Termios,
}

impl RawMode {
    /// Hands every key to the reader as it is typed, without echo and without signals (termios(3), `cfmakeraw`).
    pub fn enter(fd: BorrowedFd<'_>) -> Result<Self> {
        let cooked = rustix::termios::tcgetattr(fd).map_err(|e| Error::os("tcgetattr", e))?;
        let fd = rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(|e| Error::os("duplicate a terminal", e))?;
        let mut raw = cooked.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(&fd, OptionalActions::Now, &raw).map_err(|e| Error::os("tcsetattr", e))?;
        Ok(Self { fd, cooked })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // Fails only when the terminal is gone.
        let _ = rustix::termios::tcsetattr(&self.fd, OptionalActions::Now, &self.cooked);
    }
}
