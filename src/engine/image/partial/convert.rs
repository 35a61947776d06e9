//! storage.conf's `convert_images`: a layer that came without a table of contents gets one, so that files which other layers
//! have share their blocks, and later pulls find its files.
//!
//! The table is what it would be if the archive had been pushed as zstd:chunked, but that nothing is compressed: its places are
//! those in the archive. All files are read once more for it.

use std::fs::File;
use std::io::{self, BufWriter};

use super::{Local, kept};
use crate::engine::host::relay::relay;
use crate::engine::store::StagedLayer;
use crate::engine::store::diff::chunked::{self, Frames, toc};
use crate::engine::store::diff::reassemble;
use crate::engine::{Digest, Engine, Error, Result};

/// Makes the table of an unpacked layer and shares what is here already. A layer of which no table can tell everything stays
/// without one.
///
/// # Errors
/// Whatever went wrong; the layer is whole all the same.
pub(in crate::engine::image) fn convert(engine: &Engine, staged: &StagedLayer) -> Result<()> {
    let path = staged.tar_split_path();
    let split = File::open(&path).map_err(|e| Error::io("open", &path, e))?;
    let root = staged.dir();
    let mut archive = Archive::default();
    let described = relay(
        |out| reassemble(split, root, BufWriter::with_capacity(64 << 10, out)),
        |tar| chunked::write(tar, &mut archive, 1),
    )?;
    if described.is_none() {
        return Ok(());
    }
    let digest = Digest::sha256(&archive.table);
    let toc = kept(staged, |file| toc::inflate_checked(&archive.table, &digest, file))?;
    Local::find(engine, &toc)?.share(engine, &toc, staged);
    Ok(())
}

/// Nothing is written but the table; the rest is counted.
#[derive(Default)]
struct Archive {
    at: u64,
    /// How often something came as it is: magic number, length, and then the table itself.
    raw: usize,
    table: Vec<u8>,
}

impl Frames for Archive {
    fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn cut(&mut self) -> io::Result<usize> {
        usize::try_from(self.at).map_err(io::Error::other)
    }

    fn offset(&self, place: usize) -> Option<u64> {
        Some(place as u64)
    }

    fn drain(&mut self) -> io::Result<u64> {
        Ok(self.at)
    }

    fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.raw == 2 {
            self.table = bytes.to_vec();
        }
        self.raw += 1;
        Ok(())
    }
}
