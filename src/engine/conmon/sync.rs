//! conmon's sync pipe: one JSON object a line, `{"data": N}` or `{"data": -1, "message": "…"}`.
//!
//! Source: `write_or_close_sync_fd` in conmon's `src/parent_pipe_fd.c`, API version 1. A container's pipe carries one message, the PID; an exec
//! session's carries the PID and, at the end, the exit code; its attach pipe carries one when the socket is ready.

use crate::engine::{Error, ErrorKind, Result};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// A PID or an exit code; negative: it failed.
    pub data: i32,
    /// What the runtime said.
    pub text: String,
}

/// A message is a number and at most 8 KiB of the runtime's words, each byte of which may be escaped to six.
const LONGEST: usize = 64 * 1024;

/// A close-on-exec pipe: reader, writer.
pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| Error::os("make a pipe", e))
}

/// A close-on-exec pair of sockets that keep packets apart, for a start pipe that is read twice.
pub(super) fn packets() -> Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
        .map_err(|e| Error::os("make a pair of sockets", e))
}

/// Waits for a message; `None` if the writers are gone without one.
pub(super) fn read(pipe: impl AsFd) -> Result<Option<Message>> {
    let mut line = Vec::new();
    let mut byte = [0; 1];
    loop {
        // By single bytes: what follows the newline belongs to the next reader. Messages are short and few.
        match rustix::io::read(&pipe, &mut byte) {
            Ok(0) => return if line.is_empty() { Ok(None) } else { parse(&line).map(Some) },
            Ok(_) if byte == *b"\n" => return parse(&line).map(Some),
            Ok(_) if line.len() >= LONGEST => return Err(nonsense(&line)),
            Ok(_) => line.extend_from_slice(&byte),
            Err(Errno::INTR) => {}
            Err(e) => return Err(Error::os("read conmon's sync pipe", e)),
        }
    }
}

fn parse(line: &[u8]) -> Result<Message> {
    // conmon copies bytes that are no UTF-8, and before 2.1.13 it copied control characters, too.
    let text: String =
        String::from_utf8_lossy(line).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|_| nonsense(line))?;
    let number = ["data", "pid", "exit_code"].iter().find_map(|key| value.get(key)?.as_i64());
    let data = number.and_then(|n| i32::try_from(n).ok()).ok_or_else(|| nonsense(line))?;
    let text = value.get("message").and_then(|m| m.as_str()).unwrap_or_default().to_owned();
    Ok(Message { data, text })
}

fn nonsense(line: &[u8]) -> Error {
    let start = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
    Error::new(ErrorKind::Runtime, format!("conmon said something that is not understood: {start}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_old_and_new_conmon() {
        let cases: [(&str, i32, &str); 4] = [
            ("{\"data\": 4711}", 4711, ""),
            ("{\"data\": -1, \"message\": \"open \\/etc: no\"}", -1, "open /etc: no"),
            ("{\"pid\": 5}", 5, ""),
            ("{\"data\": -1, \"message\": \"a\u{1}b\"}", -1, "a b"),
        ];
        for (line, data, text) in cases {
            assert_eq!(parse(line.as_bytes()).unwrap(), Message { data, text: text.into() }, "{line}");
        }
        assert!(parse(b"{\"data\": 99999999999}").is_err());
        assert!(parse(b"pid 4").is_err());
    }

    #[test]
    fn messages_are_read_one_at_a_time_until_the_writers_are_gone() {
        let (reader, writer) = pipe().unwrap();
        rustix::io::write(&writer, b"{\"data\": 1}\n{\"data\": 0}\n").unwrap();
        drop(writer);
        assert_eq!(read(&reader).unwrap().unwrap().data, 1);
        assert_eq!(read(&reader).unwrap().unwrap().data, 0);
        assert_eq!(read(&reader).unwrap(), None);
    }
}
