//! An archive on its way from the thread that writes it to the one that unpacks it, a few buffers at a time.

use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel as unbounded, sync_channel};

use crate::engine::Error;

/// Buffers between the two.
const BUFFERS: usize = 3;

/// The writing end.
pub struct Source {
    filled: SyncSender<io::Result<Vec<u8>>>,
    empty: Receiver<Vec<u8>>,
}

/// The reading end: ends when the source is dropped.
pub struct Drain {
    filled: Receiver<io::Result<Vec<u8>>>,
    empty: Sender<Vec<u8>>,
    buffer: Vec<u8>,
    at: usize,
}

/// Both ends.
pub fn channel() -> (Source, Drain) {
    let (filled, receive_filled) = sync_channel(BUFFERS);
    let (empty, receive_empty) = unbounded();
    let source = Source { filled, empty: receive_empty };
    (source, Drain { filled: receive_filled, empty, buffer: Vec::new(), at: 0 })
}

impl Source {
    /// Ends the stream with an error, which the reader gets.
    pub fn fail(self, error: Error) {
        let _ = self.filled.send(Err(io::Error::other(error)));
    }
}

impl Write for Source {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut buffer = self.empty.try_recv().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(bytes);
        self.filled.send(Ok(buffer)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Drain {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.buffer.len() {
            let Ok(filled) = self.filled.recv() else { return Ok(0) };
            let used = std::mem::replace(&mut self.buffer, filled?);
            self.at = 0;
            let _ = self.empty.send(used);
        }
        let n = out.len().min(self.buffer.len() - self.at);
        out[..n].copy_from_slice(&self.buffer[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_errors_pass() {
        let (mut source, mut drain) = channel();
        let writer = std::thread::spawn(move || {
            for n in 0..100u8 {
                source.write_all(&[n; 1000]).unwrap();
            }
            source.fail(Error::corrupt("the end"));
        });
        let mut bytes = Vec::new();
        let e = drain.read_to_end(&mut bytes).unwrap_err();
        assert_eq!((bytes.len(), bytes[99_999]), (100_000, 99));
        assert!(e.to_string().contains("the end"));
        writer.join().unwrap();
    }
}
