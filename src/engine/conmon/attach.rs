//! conmon's attach socket: the streams of a container or of an exec session.
//!
//! A SOCK_SEQPACKET Unix socket. Packets from conmon start with a byte that names the stream, packets to it are stdin; shutting down our sending side is stdin's end.
//! Any number of clients may be connected; each sees all output from then on (conmon `src/conn_sock.c`).

use super::RunDir;
use crate::engine::{Error, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Which stream a chunk is of. With a terminal everything is stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Some output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Where it belongs.
    pub stream: Stream,
    /// Any bytes, at least one.
    pub bytes: &'a [u8],
}

/// A connection to a container's streams. Poll its descriptor for [`AttachSocket::receive`]. Dropping it detaches.
#[derive(Debug)]
pub struct AttachSocket {
    fd: OwnedFd,
}

/// conmon sends at most 32 KiB and the stream's byte, and takes at most 32 KiB a packet: it drops the rest of a longer one.
pub const PACKET: usize = 32 * 1024;

impl AttachSocket {
    /// Connects. Fails with [`crate::engine::ErrorKind::NotFound`] if conmon is gone, or the container's output is passed through.
    pub fn connect(run_dir: &RunDir) -> Result<Self> {
        let path = run_dir.attach_socket();
        let fail =
            |op: &str, e: Errno| Error::io(op, &path, if e == Errno::CONNREFUSED { Errno::NOENT } else { e });
        // A socket's address holds 107 bytes; the directory may be deeper, so it is named by descriptor.
        let directory = rustix::fs::open(
            run_dir.path(),
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|e| Error::io("open", run_dir.path(), e))?;
        let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/attach", directory.as_raw_fd()))
            .map_err(|e| fail("connect to", e))?;
        let fd = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
        .map_err(|e| Error::os("make a socket", e))?;
        loop {
            match rustix::net::connect(&fd, &address) {
                Ok(()) => return Ok(Self { fd }),
                // The backlog of ten is full: others attach at the same moment.
                Err(Errno::AGAIN) => std::thread::sleep(std::time::Duration::from_millis(1)),
                Err(Errno::INTR) => {}
                Err(e) => return Err(fail("connect to", e)),
            }
        }
    }

    /// The next chunk of output. `Ok(None)` is the end: the container has ended, or conmon has. [`Errno::AGAIN`] is
    /// passed on as `WouldBlock`. `buffer` holds more than [`PACKET`] bytes.
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> std::io::Result<Option<Chunk<'b>>> {
        let (read, _) = loop {
            match rustix::net::recv(&self.fd, &mut *buffer, rustix::net::RecvFlags::empty()) {
                Ok(read) => break read,
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => return Ok(None),
                Err(e) => return Err(e.into()),
            }
        };
        match buffer[..read].split_first() {
            None => Ok(None),
            Some((3, bytes)) => Ok(Some(Chunk { stream: Stream::Stderr, bytes })),
            Some((_, bytes)) => Ok(Some(Chunk { stream: Stream::Stdout, bytes })),
        }
    }

    /// Sends stdin, at most [`PACKET`] bytes of it; returns how many. `WouldBlock`: the container does not read at the moment.
    /// `BrokenPipe`: it never will.
    pub fn send(&self, bytes: &[u8]) -> std::io::Result<usize> {
        let bytes = &bytes[..bytes.len().min(PACKET)];
        loop {
            match rustix::net::send(&self.fd, bytes, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => {}
                sent => return Ok(sent?),
            }
        }
    }

    /// stdin ends here.
    pub fn end_stdin(&self) {
        // Fails only if the other side is gone, which the next receive says.
        let _ = rustix::net::shutdown(&self.fd, Shutdown::Write);
    }
}

impl AsFd for AttachSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::ErrorKind;

    /// A socket as conmon makes it, in a directory too deep for an address.
    fn listener(dir: &std::path::Path) -> (RunDir, OwnedFd) {
        let deep = dir.join("d".repeat(60)).join("e".repeat(60));
        std::fs::create_dir_all(&deep).unwrap();
        let fd = rustix::net::socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
        let at = rustix::fs::open(&deep, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/attach", at.as_raw_fd())).unwrap();
        rustix::net::bind(&fd, &address).unwrap();
        rustix::net::listen(&fd, 10).unwrap();
        (RunDir::new(deep), fd)
    }

    #[test]
    fn streams_are_told_apart_and_stdin_ends() {
        let dir = tempfile::tempdir().unwrap();
        let (run_dir, listener) = listener(dir.path());
        let socket = AttachSocket::connect(&run_dir).unwrap();
        let conmon = rustix::net::accept(&listener).unwrap();
        rustix::io::write(&conmon, b"\x02out").unwrap();
        rustix::io::write(&conmon, b"\x03err").unwrap();
        let mut buffer = vec![0; PACKET + 1];
        let chunk = socket.receive(&mut buffer).unwrap().unwrap();
        assert_eq!((chunk.stream, chunk.bytes), (Stream::Stdout, &b"out"[..]));
        let chunk = socket.receive(&mut buffer).unwrap().unwrap();
        assert_eq!((chunk.stream, chunk.bytes), (Stream::Stderr, &b"err"[..]));
        assert_eq!(socket.receive(&mut buffer).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        assert_eq!(socket.send(&vec![7; PACKET + 5]).unwrap(), PACKET);
        assert_eq!(rustix::io::read(&conmon, &mut buffer).unwrap(), PACKET);
        socket.end_stdin();
        assert_eq!(rustix::io::read(&conmon, &mut buffer).unwrap(), 0);
        drop(conmon);
        assert_eq!(socket.receive(&mut buffer).unwrap(), None);
    }

    #[test]
    fn a_conmon_that_is_gone_is_not_found() {
        let dir = tempfile::tempdir().unwrap();
        let (run_dir, listener) = listener(dir.path());
        drop(listener);
        assert_eq!(AttachSocket::connect(&run_dir).unwrap_err().kind(), ErrorKind::NotFound);
        assert!(AttachSocket::connect(&RunDir::new(dir.path())).is_err());
    }
}
