//! Reads on from pipes after this process was killed.
//!
//! Whoever writes into a pipe that nobody reads is ended by SIGPIPE. The program a user execs in a container must not
//! end because the `coracle exec` in front of it was killed, so a copy of this process holds the reading ends, too: it
//! sleeps until we are gone, and reads then until the last writer is. It costs a fork; nothing is executed.

use crate::engine::{Error, Result};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// The copy. Dropping this, or being killed, sets it to work; [`Drain::dismiss`] ends it.
#[derive(Debug)]
pub struct Drain {
    pid: libc::pid_t,
    /// The copy reads the other end: a byte means that it is not needed, the end of file that we are gone.
    leash: OwnedFd,
}

impl Drain {
    /// Starts a copy for `pipes`, reading ends of which not more than two are given. Must be called before any thread is
    /// started.
    pub fn start(pipes: [BorrowedFd<'_>; 2]) -> Result<Self> {
        let (theirs, leash) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|e| Error::os("make a pipe", e))?;
        let [first, second] = pipes.map(|pipe| pipe.as_raw_fd());
        // SAFETY: the child makes system calls only and leaves by _exit(2): no lock, no allocation, no destructor of
        // this process is touched, so it does not matter in which state other threads would have left them.
        match unsafe { libc::fork() } {
            -1 => Err(Error::os("fork", std::io::Error::last_os_error())),
            // SAFETY: as above; the descriptors are open in the child as they are here.
            0 => unsafe { live(theirs.as_raw_fd(), first, second) },
            pid => Ok(Self { pid, leash }),
        }
    }

    /// The writers have ended, or nobody minds if they do.
    pub fn dismiss(self) {
        // It cannot fail: the copy has the other end. Were the copy killed, waiting for it ends all the same.
        let _ = rustix::io::write(&self.leash, &[0]);
        // SAFETY: an unreaped child of ours; its status is not asked for.
        unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), 0) };
    }
}

/// The copy's life.
///
/// # Safety
/// To be called in a forked child only, with descriptors that are open there.
unsafe fn live(leash: RawFd, first: RawFd, second: RawFd) -> ! {
    const LEASH: RawFd = 0;
    const KEPT: RawFd = 3;
    // SAFETY: system calls on numbers, a buffer of this function and constant strings. Descriptors that are overwritten
    // or closed belong to this copy and nothing in it uses them any more.
    unsafe {
        // Out of the way of the numbers they move to.
        let moved = [leash, first, second].map(|fd| libc::fcntl(fd, libc::F_DUPFD, KEPT));
        for (number, fd) in (LEASH..).zip(moved) {
            libc::dup2(fd, number);
        }
        libc::syscall(libc::SYS_close_range, KEPT, libc::c_uint::MAX, 0);
        libc::setsid();
        libc::chdir(c"/".as_ptr());
        libc::prctl(libc::PR_SET_NAME, c"coracle-drain".as_ptr());
        let mut signals = std::mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const signals, std::ptr::null_mut());
        let mut buffer = [0u8; 4096];
        if take(LEASH, &mut buffer) == 0 {
            let mut open = [1, 2].map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
            while open.iter().any(|end| end.fd >= 0) {
                libc::poll(open.as_mut_ptr(), 2, -1);
                for end in &mut open {
                    if end.fd >= 0 && end.revents != 0 && take(end.fd, &mut buffer) <= 0 {
                        end.fd = -1;
                    }
                }
            }
        }
        libc::_exit(0)
    }
}

/// read(2), not interrupted: bytes, 0 at the end, -1 for a failure. What is not there yet counts as a byte.
///
/// # Safety
/// `fd` is a descriptor of this copy.
unsafe fn take(fd: RawFd, buffer: &mut [u8]) -> isize {
    loop {
        // SAFETY: the buffer is as long as it says; errno is this thread's.
        unsafe {
            let read = libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len());
            match *libc::__errno_location() {
                libc::EINTR if read < 0 => {}
                libc::EAGAIN if read < 0 => return 1,
                _ => return read,
            }
        }
    }
}
