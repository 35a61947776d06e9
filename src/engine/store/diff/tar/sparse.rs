//! Sparse files: GNU's own header, and the three formats in PAX records.

use std::io::BufRead;

use crate::engine::{Error, Result};

use super::header::{self, Block};
use super::pax::{SparseKeys, decimal};
use super::{Entry, Kind, RawSink, Reader};

/// A region of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First byte in the file.
    pub offset: u64,
    /// How many.
    pub length: u64,
}

fn bad(what: &str) -> Error {
    Error::corrupt(format!("invalid sparse file in the tar archive: {what}"))
}

impl<R: BufRead> Reader<R> {
    /// The map of an old GNU header: four regions in it, 21 in each extension block that follows.
    pub(super) fn gnu_sparse(
        &mut self,
        block: &Block,
        entry: &mut Entry,
        raw: &mut impl RawSink,
    ) -> Result<()> {
        let size = header::numeric(&block[483..495])?;
        let mut map = Vec::new();
        self.add_regions(&mut map, &block[386..482])?;
        let mut extended = block[482] != 0;
        while extended {
            let mut next = [0; 512];
            if self.read_some(&mut next)? < next.len() {
                return Err(super::truncated());
            }
            raw.raw(&next)?;
            self.add_regions(&mut map, &next[..504])?;
            extended = next[504] != 0;
        }
        self.set_map(entry, map, size)
    }

    fn add_regions(&self, map: &mut Vec<Region>, fields: &[u8]) -> Result<()> {
        for field in fields.chunks_exact(24) {
            if field[0] == 0 {
                break;
            }
            self.add(map, header::numeric(&field[..12])?, header::numeric(&field[12..])?)?;
        }
        Ok(())
    }

    /// The PAX formats 0.0 and 0.1 (map in the records) and 1.0 (map before the data), if the entry has one.
    pub(super) fn pax_sparse(
        &mut self,
        keys: &SparseKeys,
        entry: &mut Entry,
        raw: &mut impl RawSink,
    ) -> Result<()> {
        let before_data = match (&keys.major[..], &keys.minor[..]) {
            (b"1", b"0") => true,
            (b"0", b"0" | b"1") => false,
            (b"", b"") if !keys.map.is_empty() => false,
            _ => return Ok(()),
        };
        if !keys.name.is_empty() {
            if keys.name.contains(&0) {
                return Err(bad("the name has a NUL byte"));
            }
            entry.name = keys.name.clone();
        }
        if entry.kind != Kind::File {
            return Err(bad("it is no regular file"));
        }
        let size = if keys.size.is_empty() { &keys.real_size } else { &keys.size };
        let size = if size.is_empty() { entry.size.cast_signed() } else { decimal(size)? };
        let map = if before_data { self.map_before_data(raw)? } else { self.map_of_records(keys)? };
        self.set_map(entry, map, size)
    }

    fn map_of_records(&self, keys: &SparseKeys) -> Result<Vec<Region>> {
        let count = decimal(&keys.count)?;
        let mut map = Vec::new();
        if !keys.map.is_empty() {
            let mut numbers = keys.map.split(|&b| b == b',');
            while let Some(offset) = numbers.next() {
                let length = numbers.next().ok_or_else(|| bad("the map has an odd number of values"))?;
                self.add(&mut map, decimal(offset)?, decimal(length)?)?;
            }
        }
        if usize::try_from(count).ok() != Some(map.len()) {
            return Err(bad("the map has another number of values than it says"));
        }
        Ok(map)
    }

    /// Decimal numbers, a line each, the first one the number of regions; padded to a block.
    fn map_before_data(&mut self, raw: &mut impl RawSink) -> Result<Vec<Region>> {
        let mut lines = Lines { block: [0; 512], at: 512 };
        let count = lines.number(self, raw)?;
        let mut map = Vec::new();
        for _ in 0..count {
            let offset = lines.number(self, raw)?;
            let length = lines.number(self, raw)?;
            self.add(&mut map, offset, length)?;
        }
        Ok(map)
    }

    fn add(&self, map: &mut Vec<Region>, offset: i64, length: i64) -> Result<()> {
        if map.len() >= self.limits.max_sparse {
            return Err(bad("too many regions"));
        }
        let number = |n: i64| u64::try_from(n).map_err(|_| bad("a negative number"));
        map.push(Region { offset: number(offset)?, length: number(length)? });
        Ok(())
    }

    /// Checks the map against the file's size and the stored data.
    fn set_map(&self, entry: &mut Entry, map: Vec<Region>, size: i64) -> Result<()> {
        let size = u64::try_from(size).map_err(|_| bad("a negative size"))?;
        let (mut end, mut stored) = (0u64, 0u64);
        for region in &map {
            if region.offset < end {
                return Err(bad("regions overlap"));
            }
            // Both are less than 2^63.
            end = region.offset + region.length;
            stored = stored.saturating_add(region.length);
        }
        if end > size {
            return Err(bad("a region is outside of the file"));
        }
        if stored != self.remaining {
            return Err(bad("the data have another size than the map"));
        }
        entry.size = size;
        entry.sparse = Some(map);
        Ok(())
    }
}

/// Lines read block by block from an entry's contents.
struct Lines {
    block: Block,
    at: usize,
}

impl Lines {
    fn number<R: BufRead>(&mut self, reader: &mut Reader<R>, raw: &mut impl RawSink) -> Result<i64> {
        let mut digits = Vec::new();
        loop {
            if self.at == self.block.len() {
                self.read_block(reader, raw)?;
            }
            let byte = self.block[self.at];
            self.at += 1;
            match byte {
                b'\n' => return decimal(&digits),
                _ if digits.len() < 20 => digits.push(byte),
                _ => return Err(bad("the map is no list of numbers")),
            }
        }
    }

    fn read_block<R: BufRead>(&mut self, reader: &mut Reader<R>, raw: &mut impl RawSink) -> Result<()> {
        if reader.remaining < 512 {
            return Err(bad("the map is not complete"));
        }
        if reader.read_some(&mut self.block)? < 512 {
            return Err(super::truncated());
        }
        reader.remaining -= 512;
        self.at = 0;
        raw.raw(&self.block)
    }
}
