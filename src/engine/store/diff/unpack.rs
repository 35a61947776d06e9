//! An archive becomes files in a directory that is no layer: somebody's own, in which others are.
//!
//! Nothing is computed on the way, no digest and no tar-split, so that it costs what it costs tar(1). In all else, and in what is
//! refused, it is as [`super::apply`].

use std::io::{BufReader, Read};
use std::os::fd::BorrowedFd;

use crate::engine::Result;

use super::compression::{self, MAGIC_LEN};
use super::contents::Contents;
use super::extract::Extractor;
use super::pipe::{BUFFER, Hashing};
use super::tar::{RawSink, Reader};
use super::{ApplyOptions, from_io, path};

/// Unpacks `archive`, compressed or not, into `dir`, over what is there. Returns how many bytes the archive had, uncompressed.
///
/// # Errors
/// As [`super::apply`]; what was unpacked before stays.
pub fn unpack(archive: impl Read, dir: BorrowedFd<'_>, options: &ApplyOptions) -> Result<u64> {
    let options = ApplyOptions { merge: Some(options.merge.unwrap_or_default()), ..options.clone() };
    let mut archive = Hashing::new(archive);
    let compression = compression::detect(archive.peek(MAGIC_LEN).map_err(from_io)?);
    archive.hash_nothing();
    let decoder = compression::decoder(compression, &mut archive).map_err(from_io)?;
    let decoder = Counted { inner: decoder, bytes: 0 };
    let mut reader = Reader::new(BufReader::with_capacity(BUFFER, decoder), &options.limits);
    let mut extractor = Extractor::new(dir, &options);
    while let Some(entry) = reader.next(&mut Nobody)? {
        let path = path::clean(&entry.name)?;
        let mut contents = Contents::unchecked(&mut reader);
        extractor.entry(&entry, &path, &mut contents)?;
        contents.finish()?;
    }
    // Who writes it into a pipe is heard to the end.
    reader.rest(&mut Nobody)?;
    extractor.finish()?;
    Ok(reader.into_inner().into_inner().bytes)
}

/// Wants nothing to know of what was in the archive besides files.
struct Nobody;

impl RawSink for Nobody {
    fn raw(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

struct Counted<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(out)?;
        self.bytes += n as u64;
        Ok(n)
    }
}
