//! Reading, hashing and inflating a blob on one thread while another unpacks it.
//!
//! A few buffers go round between the two: the producer fills them, the consumer empties and returns them. Memory is
//! those buffers; whoever is ahead waits.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use crate::engine::digest::{Algorithm, Digest, Hasher};
use crate::engine::{Error, Result};

use super::compression::{self, MAGIC_LEN};
use super::{Compression, from_io};

/// Bytes in one buffer of uncompressed data.
const BUFFER: usize = 256 << 10;

/// How many of them there are.
const BUFFERS: usize = 4;

/// Bytes read from the blob at once.
const BLOB_BUFFER: usize = 128 << 10;

/// What the producer learned of the blob.
pub struct Blob {
    /// SHA-256; `None` for a bare tar, whose digest the consumer computes.
    pub digest: Option<Digest>,
    /// Bytes.
    pub size: u64,
    /// Compression.
    pub compression: Compression,
}

type Filled = io::Result<Vec<u8>>;

/// The producing end.
pub struct Producer {
    filled: SyncSender<Filled>,
    empty: Receiver<Vec<u8>>,
}

/// The consuming end: the uncompressed stream, hashed as it passes.
pub struct Consumer {
    filled: Receiver<Filled>,
    empty: Sender<Vec<u8>>,
    buffer: Vec<u8>,
    at: usize,
    hasher: Hasher,
    size: u64,
    max_size: Option<u64>,
    ended: bool,
}

/// Both ends. The consumer fails once more than `max_size` bytes came.
pub fn pipe(max_size: Option<u64>) -> (Producer, Consumer) {
    let (filled, receive_filled) = sync_channel(BUFFERS);
    let (empty, receive_empty) = channel();
    for _ in 0..BUFFERS {
        // Allocated by the producer when first used, so that a small layer costs one buffer.
        let _ = empty.send(Vec::new());
    }
    let consumer = Consumer {
        filled: receive_filled,
        empty,
        buffer: Vec::new(),
        at: 0,
        hasher: Hasher::new(Algorithm::Sha256),
        size: 0,
        max_size,
        ended: false,
    };
    (Producer { filled, empty: receive_empty }, consumer)
}

impl Producer {
    /// Reads `blob` to its end. A failure of the stream is passed to the consumer, which reports it; when the
    /// consumer is gone, stops with an error nobody reads.
    pub fn run(self, blob: impl Read) -> Result<Blob> {
        let mut blob = Hashing::new(blob);
        let result = self.decode(&mut blob);
        match result {
            Ok(compression) => {
                let digest = blob.hasher.map(Hasher::finish);
                Ok(Blob { digest, size: blob.size, compression })
            }
            Err(e) => {
                let _ = self.filled.send(Err(io::Error::other(e)));
                Err(Error::corrupt("the layer's stream broke off"))
            }
        }
    }

    fn decode<R: Read>(&self, blob: &mut Hashing<R>) -> Result<Compression> {
        let compression = compression::detect(blob.peek(MAGIC_LEN).map_err(from_io)?);
        if compression == Compression::None {
            blob.hasher = None;
        } else {
            blob.hash_buffered();
        }
        let mut decoder = compression::decoder(compression, &mut *blob).map_err(from_io)?;
        loop {
            let Ok(mut buffer) = self.empty.recv() else { return Ok(compression) };
            buffer.resize(BUFFER, 0);
            let n = read_full(&mut decoder, &mut buffer)
                .map_err(|e| from_io(e).wrap(format!("read the layer ({compression})")))?;
            if n == 0 {
                break;
            }
            buffer.truncate(n);
            if self.filled.send(Ok(buffer)).is_err() {
                return Ok(compression);
            }
        }
        drop(decoder);
        if !blob.fill_buf().map_err(from_io)?.is_empty() {
            return Err(Error::corrupt(format!("data after the end of the layer ({compression})")));
        }
        Ok(compression)
    }
}

fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match reader.read(&mut buffer[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

impl Consumer {
    /// SHA-256 and size of all that passed. Call it at the end of the stream.
    pub fn finish(self) -> (Digest, u64) {
        (self.hasher.finish(), self.size)
    }

    fn receive(&mut self) -> io::Result<()> {
        let used = std::mem::take(&mut self.buffer);
        if used.capacity() > 0 {
            let _ = self.empty.send(used);
        }
        self.at = 0;
        match self.filled.recv() {
            Ok(buffer) => self.buffer = buffer?,
            Err(_) => {
                self.ended = true;
                return Ok(());
            }
        }
        self.hasher.update(&self.buffer);
        self.size += self.buffer.len() as u64;
        if self.max_size.is_some_and(|max| self.size > max) {
            return Err(io::Error::other(Error::corrupt("the layer is larger than allowed")));
        }
        Ok(())
    }
}

impl Read for Consumer {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let n = bytes.len().min(out.len());
        out[..n].copy_from_slice(&bytes[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Consumer {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.buffer.len() && !self.ended {
            self.receive()?;
        }
        Ok(&self.buffer[self.at..])
    }

    fn consume(&mut self, n: usize) {
        self.at = (self.at + n).min(self.buffer.len());
    }
}

/// A buffered reader that hashes and counts what it reads.
struct Hashing<R> {
    inner: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// `None`: somebody else hashes these bytes.
    hasher: Option<Hasher>,
    /// Hashing begins with the first fill after the compression is known.
    deferred: bool,
    size: u64,
}

impl<R: Read> Hashing<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            buffer: vec![0; BLOB_BUFFER],
            start: 0,
            end: 0,
            hasher: Some(Hasher::new(Algorithm::Sha256)),
            deferred: true,
            size: 0,
        }
    }

    /// The first `n` bytes, or all when there are fewer; only before anything is consumed.
    fn peek(&mut self, n: usize) -> io::Result<&[u8]> {
        while self.end < n {
            let read = self.read_more()?;
            if read == 0 {
                break;
            }
        }
        Ok(&self.buffer[..self.end.min(n)])
    }

    fn read_more(&mut self) -> io::Result<usize> {
        loop {
            match self.inner.read(&mut self.buffer[self.end..]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
                Ok(n) => {
                    self.end += n;
                    self.size += n as u64;
                    return Ok(n);
                }
            }
        }
    }

    /// Hashes what was peeked, and from now on everything at once.
    fn hash_buffered(&mut self) {
        self.deferred = false;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&self.buffer[..self.end]);
        }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.start == self.end && self.hasher.is_none() {
            // A bare tar: straight into the caller's buffer.
            let n = self.inner.read(out)?;
            self.size += n as u64;
            return Ok(n);
        }
        let bytes = self.fill_buf()?;
        let n = bytes.len().min(out.len());
        out[..n].copy_from_slice(&bytes[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl<R: Read> BufRead for Hashing<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            let n = self.read_more()?;
            if let (Some(hasher), false) = (&mut self.hasher, self.deferred) {
                hasher.update(&self.buffer[..n]);
            }
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
    }
}
