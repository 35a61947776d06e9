//! From one that writes to one that reads, through a pipe, at the same time.

use crate::engine::{Error, Result};
use std::io::{PipeReader, PipeWriter};

/// Bytes in the pipe: what every user may have (proc(5), `pipe-max-size`).
const CAPACITY: usize = 1 << 20;

/// Calls `send` on a thread of its own and `receive` on this one, a pipe between them; returns what `receive` does.
///
/// # Errors
/// Of two failures the cause: a receiver that gives up makes the sender fail with `EPIPE`, a sender that gives up leaves
/// the receiver with too little.
pub fn relay<T>(
    send: impl FnOnce(PipeWriter) -> Result<()> + Send,
    receive: impl FnOnce(PipeReader) -> Result<T>,
) -> Result<T> {
    let (reader, writer) = std::io::pipe().map_err(|e| Error::os("pipe", e))?;
    // The fewer times the two wait for each other the better; who may not have so much has less.
    let _ = rustix::pipe::fcntl_setpipe_size(&writer, CAPACITY);
    std::thread::scope(|scope| {
        let sending = scope.spawn(move || send(writer));
        let received = receive(reader);
        let sent = sending.join().map_err(|_| Error::corrupt("the sender of a stream panicked"))?;
        match (received, sent) {
            (Err(e), Err(sent)) => Err(if sent.raw_os_error() == Some(libc::EPIPE) { e } else { sent }),
            (received, Ok(())) => received,
            (Ok(_), Err(sent)) => Err(sent),
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn sending(bytes: &[u8]) -> impl FnOnce(PipeWriter) -> Result<()> + Send + '_ {
        |mut out| out.write_all(bytes).map_err(|e| Error::os("write", e))
    }

    #[test]
    fn the_cause_is_told_not_its_consequence() {
        let all = |mut from: PipeReader| {
            let mut text = String::new();
            from.read_to_string(&mut text).map_err(|e| Error::os("read", e))?;
            Ok(text)
        };
        assert_eq!(relay(sending(b"x"), all).unwrap(), "x");
        let large = vec![0; 1 << 20];
        let given_up = relay(sending(&large), |_| Err::<(), _>(Error::invalid("enough")));
        assert_eq!(given_up.unwrap_err().to_string(), "enough");
        let cut_off = relay(
            |_| Err(Error::invalid("no more")),
            |from| match all(from)?.is_empty() {
                true => Err(Error::corrupt("too little")),
                false => Ok(()),
            },
        );
        assert_eq!(cut_off.unwrap_err().to_string(), "no more");
    }
}
