//! A layer between its blob and its archive.

use std::io::{self, BufReader, Write};
use std::sync::{Mutex, PoisonError};

use super::compress::{Compressor, Method};
use crate::engine::digest::{Algorithm, Hasher};
use crate::engine::host::relay::relay;
use crate::engine::registry::Content;
use crate::engine::store::diff;
use crate::engine::{Digest, Error, Result};

/// A layer's archive on its way: inflated first if the source has a blob, then compressed if the target wants it.
pub struct Archive<'a> {
    content: &'a dyn Content,
    inflate: bool,
    method: Option<Method>,
    /// Digest of the archive, once it has gone through.
    diff_id: Mutex<Option<Digest>>,
}

impl Content for Archive<'_> {
    fn write_to(&self, out: &mut dyn Write) -> Result<()> {
        let digest = match self.method {
            Some(method) => {
                let mut hashing = Hashing::new(Compressor::new(out, method));
                self.archive_to(&mut hashing)?;
                let (compressor, digest) = hashing.finish();
                compressor.finish().map_err(|e| Error::os("compress the layer", e))?;
                digest
            }
            None => {
                let mut hashing = Hashing::new(out);
                self.archive_to(&mut hashing)?;
                hashing.finish().1
            }
        };
        *self.diff_id.lock().unwrap_or_else(PoisonError::into_inner) = Some(digest);
        Ok(())
    }
}

impl<'a> Archive<'a> {
    /// What `content` has: a blob that is to be inflated, or the archive itself.
    pub fn new(content: &'a dyn Content, inflate: bool, method: Option<Method>) -> Self {
        Self { content, inflate, method, diff_id: Mutex::new(None) }
    }

    /// The archive's digest, once it has gone through.
    pub fn into_diff_id(self) -> Option<Digest> {
        self.diff_id.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn archive_to(&self, out: &mut dyn Write) -> Result<()> {
        if !self.inflate {
            return self.content.write_to(out);
        }
        relay(
            |mut blob| self.content.write_to(&mut blob),
            |blob| diff::inflate(BufReader::with_capacity(1 << 16, blob), out),
        )
    }
}

struct Hashing<W> {
    out: W,
    hasher: Hasher,
}

impl<W: Write> Hashing<W> {
    fn new(out: W) -> Self {
        Self { out, hasher: Hasher::new(Algorithm::Sha256) }
    }

    fn finish(self) -> (W, Digest) {
        (self.out, self.hasher.finish())
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
