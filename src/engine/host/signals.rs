//! Signals as values: handlers that write the signal's number into a pipe, to be polled beside other descriptors.
//!
//! Handlers rather than a signalfd(2): a blocked signal mask would be inherited by children, and threads started earlier
//! would still be hit.

use crate::engine::{Error, Result};
use rustix::pipe::PipeFlags;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};

/// Where the handler writes; -1: nowhere. It outlives the handlers: the descriptor is closed after they are gone.
static WRITER: AtomicI32 = AtomicI32::new(-1);

extern "C" fn note(signal: libc::c_int) {
    let fd = WRITER.load(Ordering::Relaxed);
    let byte = signal as u8;
    // SAFETY: async-signal-safe: an atomic load and write(2) of one byte of this frame; errno is put back, for the handler
    // may run between a system call and the look at its errno. A full or closed pipe loses the signal, nothing else.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(fd, (&raw const byte).cast(), 1);
        *libc::__errno_location() = errno;
    }
}

/// Signals on their way to us, as long as it lives; then what was before applies again. One at a time in a process.
#[derive(Debug)]
pub struct Signals {
    reader: OwnedFd,
    _writer: OwnedFd,
    before: Vec<(libc::c_int, libc::sigaction)>,
}

impl Signals {
    /// Catches `signals`. One that is ignored stays so: `nohup` and background jobs mean it.
    pub fn catch(signals: &[i32]) -> Result<Self> {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
            .map_err(|e| Error::os("make a pipe", e))?;
        let fd = writer.as_raw_fd();
        if WRITER.compare_exchange(-1, fd, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            return Err(Error::invalid("signals are being caught already"));
        }
        let mut caught = Self { reader, _writer: writer, before: Vec::new() };
        for signal in signals {
            caught.take(*signal)?;
        }
        Ok(caught)
    }

    fn take(&mut self, signal: libc::c_int) -> Result<()> {
        let handler: extern "C" fn(libc::c_int) = note;
        // SAFETY: both structures are plain data that may be zero; the handler is async-signal-safe and static. SA_RESTART keeps
        // system calls elsewhere from failing with EINTR.
        let before = unsafe {
            let mut before: libc::sigaction = std::mem::zeroed();
            if libc::sigaction(signal, std::ptr::null(), &raw mut before) != 0 {
                return Err(Error::os(format!("sigaction {signal}"), std::io::Error::last_os_error()));
            }
            // nohup means it; a shell that starts a background job without job control only shields it from the terminal.
            if before.sa_sigaction == libc::SIG_IGN && signal == libc::SIGHUP {
                return Ok(());
            }
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as usize;
            action.sa_flags = libc::SA_RESTART;
            if libc::sigaction(signal, &raw const action, std::ptr::null_mut()) != 0 {
                return Err(Error::os(format!("sigaction {signal}"), std::io::Error::last_os_error()));
            }
            before
        };
        self.before.push((signal, before));
        Ok(())
    }

    /// The signals that have come since the last call, oldest first.
    pub fn read(&self) -> Vec<i32> {
        let mut bytes = [0; 64];
        let read = rustix::io::read(&self.reader, &mut bytes).unwrap_or_default();
        bytes[..read].iter().map(|byte| i32::from(*byte)).collect()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for (signal, before) in &self.before {
            // SAFETY: `before` is what sigaction(2) gave for this signal.
            unsafe { libc::sigaction(*signal, before, std::ptr::null_mut()) };
        }
        WRITER.store(-1, Ordering::SeqCst);
    }
}

/// Ends this process by `signal`, as if it had never been caught; returns only for a signal that does not end processes.
pub fn die_of(signal: i32) {
    // SAFETY: SIG_DFL is a valid disposition, and the calls have no memory effects. A wrong number makes them fail.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// The signals that a client passes on to its container: all that can be caught, but for those that concern this process itself
/// (SIGCHLD, SIGPIPE, SIGWINCH, SIGURG, and what only a fault or the C library sends).
pub const FORWARDED: [i32; 16] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGABRT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGTERM,
    libc::SIGCONT,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGPWR,
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn signals_arrive_as_numbers_and_what_was_before_comes_back() {
        let caught = Signals::catch(&[libc::SIGUSR2]).unwrap();
        assert!(Signals::catch(&[libc::SIGUSR1]).is_err());
        // SAFETY: raises a signal that is being caught.
        unsafe { libc::raise(libc::SIGUSR2) };
        assert_eq!(caught.read(), [libc::SIGUSR2]);
        assert!(caught.read().is_empty());
        drop(caught);
        drop(Signals::catch(&[libc::SIGUSR1]).unwrap());
    }
}
