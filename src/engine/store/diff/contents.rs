//! A file's contents on their way from the archive to the disk, checksummed or kept for the tar-split.

use std::io::{BufRead, Write};

use crate::engine::Result;

use super::crc64::Crc64;
use super::tar::{RawSink, Reader};
use super::tarsplit;

/// The contents of one entry.
pub struct Contents<'a, R> {
    reader: &'a mut Reader<R>,
    /// `None`: nobody asks for it.
    crc: Option<Crc64>,
    at: u64,
    raw: Option<&'a mut dyn RawSink>,
}

impl<'a, R: BufRead> Contents<'a, R> {
    /// Contents that will be read from the disk when the tar is made again: only their checksum is kept.
    pub fn on_disk(reader: &'a mut Reader<R>) -> Self {
        Self { reader, crc: Some(Crc64::new()), at: 0, raw: None }
    }

    /// Contents that go into the tar-split as they are.
    pub fn in_split<W: Write>(reader: &'a mut Reader<R>, split: &'a mut tarsplit::Writer<W>) -> Self {
        Self { reader, crc: None, at: 0, raw: Some(split) }
    }

    /// Contents of which nothing is to be known.
    pub fn unchecked(reader: &'a mut Reader<R>) -> Self {
        Self { reader, crc: None, at: 0, raw: None }
    }

    /// Hands all contents that are left to `take`, piece by piece, each with its position.
    pub fn pass(&mut self, mut take: impl FnMut(&[u8], u64) -> Result<()>) -> Result<()> {
        loop {
            let bytes = self.reader.contents()?;
            let n = bytes.len();
            if n == 0 {
                return Ok(());
            }
            if let Some(raw) = &mut self.raw {
                raw.raw(bytes)?;
            }
            if let Some(crc) = &mut self.crc {
                crc.update(bytes);
            }
            take(bytes, self.at)?;
            self.at += n as u64;
            self.reader.consume(n);
        }
    }

    /// Reads what nobody wanted; the checksum of everything, and how many bytes it was.
    pub fn finish(mut self) -> Result<([u8; 8], u64)> {
        self.pass(|_, _| Ok(()))?;
        Ok((self.crc.unwrap_or(Crc64::new()).sum(), self.at))
    }
}
