//! A layer between its blob and its archive.

use std::io::{self, BufReader, Write};
use std::sync::{Mutex, PoisonError};

use super::compress::{Compressor, Method};
use crate::engine::digest::{Algorithm, Hasher};
use crate::engine::host::relay::relay;
use crate::engine::registry::Content;
use crate::engine::store::diff::{self, chunked, chunked::Annotations};
use crate::engine::{Digest, Error, Result};

/// A layer's archive on its way: inflated first if the source has a blob, then compressed if the target wants it.
pub struct Archive<'a> {
    content: &'a dyn Content,
    inflate: bool,
    method: Option<Method>,
    /// What it was, once it has gone through.
    made: Mutex<Option<Made>>,
}

/// What an archive and the blob of it turned out to be.
#[derive(Clone, Debug)]
pub struct Made {
    /// The archive's digest.
    pub diff_id: Digest,
    /// The annotations of a blob with a table of contents.
    pub annotations: Option<Annotations>,
}

impl Content for Archive<'_> {
    fn write_to(&self, out: &mut dyn Write) -> Result<()> {
        let failed = |e| Error::os("compress the layer", e);
        let made = match self.method {
            Some(method) if method.algorithm == super::compress::Algorithm::ZstdChunked => {
                let mut compressor = Compressor::new(out, method).map_err(failed)?;
                let mut hashing = Hashing::new(io::empty());
                let annotations = relay(
                    |mut tar| self.archive_to(&mut tar),
                    |tar| {
                        let tar = Both { tar, hashing: &mut hashing };
                        chunked::write(tar, &mut compressor, method.zstd_level())
                    },
                )?;
                compressor.finish().map_err(failed)?;
                Made { diff_id: hashing.finish().1, annotations }
            }
            Some(method) => {
                let mut hashing = Hashing::new(Compressor::new(out, method).map_err(failed)?);
                self.archive_to(&mut hashing)?;
                let (compressor, diff_id) = hashing.finish();
                compressor.finish().map_err(failed)?;
                Made { diff_id, annotations: None }
            }
            None => {
                let mut hashing = Hashing::new(out);
                self.archive_to(&mut hashing)?;
                Made { diff_id: hashing.finish().1, annotations: None }
            }
        };
        *self.made.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
        Ok(())
    }
}

impl<'a> Archive<'a> {
    /// What `content` has: a blob that is to be inflated, or the archive itself.
    pub fn new(content: &'a dyn Content, inflate: bool, method: Option<Method>) -> Self {
        Self { content, inflate, method, made: Mutex::new(None) }
    }

    /// What it was, once it has gone through.
    pub fn into_made(self) -> Option<Made> {
        self.made.into_inner().unwrap_or_else(PoisonError::into_inner)
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

/// Hashes what is read.
struct Both<'a, R, W> {
    tar: R,
    hashing: &'a mut Hashing<W>,
}

impl<R: io::Read, W> io::Read for Both<'_, R, W> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.tar.read(out)?;
        self.hashing.hasher.update(&out[..count]);
        Ok(count)
    }
}

struct Hashing<W> {
    out: W,
    hasher: Hasher,
}

impl<W> Hashing<W> {
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
