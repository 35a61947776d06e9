//! Reading and inflating a blob on one thread while another unpacks it; of much data, both digests on threads of their own.
//!
//! A few buffers go round: the producer fills them, the consumer and the thread with the digest read them, whoever is the
//! last returns them. Memory is those buffers; whoever is ahead waits.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::engine::digest::Digest;
use crate::engine::{Error, Result};

use super::buffers::{Digesting, Pool, Shared};
use super::compression::{self, MAGIC_LEN};
use super::{Compression, from_io};

/// Bytes in one buffer of uncompressed data.
pub const BUFFER: usize = 256 << 10;

/// How many of them there are.
const BUFFERS: usize = 6;

/// Bytes read from the blob at once.
const BLOB_BUFFER: usize = 128 << 10;

/// How many such buffers there are.
const BLOB_BUFFERS: usize = 4;

/// What the producer learned of the blob.
pub struct Blob {
    /// SHA-256; `None` for a bare tar, whose digest the consumer computes.
    pub digest: Option<Digest>,
    /// Bytes.
    pub size: u64,
    /// Compression.
    pub compression: Compression,
}

/// The producing end.
pub struct Producer {
    filled: SyncSender<io::Result<Shared>>,
    pool: Pool,
}

/// The consuming end: the uncompressed stream, hashed as it passes.
pub struct Consumer {
    filled: Receiver<io::Result<Shared>>,
    buffer: Option<Shared>,
    at: usize,
    digest: Digesting,
    max_size: Option<u64>,
}

/// Both ends. The consumer fails once more than `max_size` bytes came.
pub fn pipe(max_size: Option<u64>) -> (Producer, Consumer) {
    let (filled, receive_filled) = sync_channel(BUFFERS);
    let consumer =
        Consumer { filled: receive_filled, buffer: None, at: 0, digest: Digesting::new(), max_size };
    (Producer { filled, pool: Pool::new(BUFFERS, BUFFER) }, consumer)
}

impl Producer {
    /// Reads `blob` to its end. A failure of the stream is passed to the consumer, which reports it; when the
    /// consumer is gone, stops with an error nobody reads.
    pub fn run(self, blob: impl Read) -> Result<Blob> {
        let mut blob = Hashing::new(blob);
        match self.decode(&mut blob) {
            Ok(compression) => {
                let digest = blob.digest.map(Digesting::finish).transpose()?;
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
            blob.hash_nothing();
        }
        let mut decoder = compression::decoder(compression, &mut *blob).map_err(from_io)?;
        loop {
            let mut buffer = self.pool.take();
            let n = read_full(&mut decoder, &mut buffer)
                .map_err(|e| from_io(e).wrap(format!("read the layer ({compression})")))?;
            if n == 0 {
                break;
            }
            if self.filled.send(Ok(self.pool.share(buffer, n))).is_err() {
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
    pub fn finish(self) -> Result<(Digest, u64)> {
        let size = self.digest.seen();
        Ok((self.digest.finish()?, size))
    }

    fn receive(&mut self) -> io::Result<()> {
        self.buffer = None;
        self.at = 0;
        let Ok(filled) = self.filled.recv() else { return Ok(()) };
        let buffer = filled?;
        self.digest.update(&buffer);
        self.buffer = Some(buffer);
        if self.max_size.is_some_and(|max| self.digest.seen() > max) {
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
        // No buffer is empty.
        if self.buffer.as_ref().is_none_or(|buffer| self.at == buffer.len()) {
            self.receive()?;
        }
        Ok(self.buffer.as_deref().map_or(&[], |buffer| &buffer[self.at..]))
    }

    fn consume(&mut self, n: usize) {
        self.at = (self.at + n).min(self.buffer.as_deref().map_or(0, <[u8]>::len));
    }
}

/// A buffered reader that hashes and counts what it reads.
pub struct Hashing<R> {
    inner: R,
    pool: Pool,
    buffer: Option<Shared>,
    at: usize,
    /// `None`: somebody else hashes these bytes.
    digest: Option<Digesting>,
    /// The first buffer is hashed once it is clear whether it is to be.
    pending: bool,
    size: u64,
}

impl<R: Read> Hashing<R> {
    /// At the start of a blob.
    pub fn new(inner: R) -> Self {
        let pool = Pool::new(BLOB_BUFFERS, BLOB_BUFFER);
        Self { inner, pool, buffer: None, at: 0, digest: Some(Digesting::new()), pending: false, size: 0 }
    }

    /// The first `n` bytes, or all when there are fewer; only before anything is consumed.
    pub fn peek(&mut self, n: usize) -> io::Result<&[u8]> {
        self.fill(n)?;
        self.pending = true;
        let buffer = self.buffer.as_deref().unwrap_or_default();
        Ok(&buffer[..buffer.len().min(n)])
    }

    /// From now on it only reads.
    pub fn hash_nothing(&mut self) {
        self.digest = None;
    }

    /// Reads at least `least` bytes into a buffer, unless the blob ends before.
    fn fill(&mut self, least: usize) -> io::Result<()> {
        self.buffer = None;
        self.at = 0;
        let mut bytes = self.pool.take();
        let mut length = 0;
        while length < least {
            match self.inner.read(&mut bytes[length..]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
                Ok(0) => break,
                Ok(n) => length += n,
            }
        }
        self.size += length as u64;
        self.buffer = Some(self.pool.share(bytes, length));
        Ok(())
    }

    fn hash(&mut self) {
        if let (Some(digest), Some(buffer)) = (&mut self.digest, &self.buffer) {
            digest.update(buffer);
        }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.buffer.as_deref().map_or(0, |buffer| buffer.len() - self.at);
        if left == 0 && self.digest.is_none() {
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
        if std::mem::take(&mut self.pending) {
            self.hash();
        }
        if self.buffer.as_ref().is_none_or(|buffer| self.at == buffer.len()) {
            self.fill(1)?;
            self.hash();
        }
        Ok(self.buffer.as_deref().map_or(&[], |buffer| &buffer[self.at..]))
    }

    fn consume(&mut self, n: usize) {
        self.at = (self.at + n).min(self.buffer.as_deref().map_or(0, <[u8]>::len));
    }
}
