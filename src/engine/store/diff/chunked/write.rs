//! Writing zstd:chunked: the tar goes through, and while it does its pieces are cut and the TOC is made.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, BufReader, Read, Write};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;

use super::cut::{Cutter, Piece};
use super::{
    Annotations, CHECKSUM, FOOTER, POSITION, SKIPPABLE, TAR_SPLIT, TOC_TYPE, TocEntry, TocKind, ZEROS,
};
use crate::engine::digest::{Algorithm, Hasher};
use crate::engine::store::diff::crc64::Crc64;
use crate::engine::store::diff::tar::{Entry, Kind, RawSink, Reader, Time};
use crate::engine::store::diff::{Limits, path, tarsplit};
use crate::engine::{Digest, Error, Result};

/// Compresses what is written to it in frames of its own and knows, some time later, where each of them is.
pub trait Frames {
    /// Bytes of the current frame.
    fn data(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Ends the frame; a number that stands for this place.
    fn cut(&mut self) -> io::Result<usize>;
    /// Where a place is in the output, if it is known already.
    fn offset(&self, place: usize) -> Option<u64>;
    /// Waits until all is written; the length of the output.
    fn drain(&mut self) -> io::Result<u64>;
    /// Writes bytes as they are. Only after [`Frames::drain`].
    fn raw(&mut self, bytes: &[u8]) -> io::Result<()>;
}

fn failed(e: io::Error) -> Error {
    Error::os("compress the layer", e)
}

/// Writes `tar` as zstd:chunked; the annotations that the layer gets. `None`: it holds what a TOC cannot tell (sparse
/// files, a path twice, names that are no UTF-8, …), and is plain zstd.
///
/// # Errors
/// `Corrupt` for a malformed archive, and those of reading and writing.
pub fn write(tar: impl Read, frames: &mut impl Frames, level: i32) -> Result<Option<Annotations>> {
    let mut reader = Reader::new(BufReader::with_capacity(256 << 10, tar), &Limits::default());
    let mut toc = Some(Toc::new(level)?);
    let mut cutter = Cutter::new();
    loop {
        let mut sink = Both { frames, toc: toc.as_mut() };
        let Some(entry) = reader.next(&mut sink)? else { break };
        let described = match &mut toc {
            Some(toc) => toc.describe(&entry)?,
            None => None,
        };
        match (described, &mut toc) {
            (Some(described), Some(toc)) => toc.entry(described, &entry, &mut reader, frames, &mut cutter)?,
            _ => {
                toc = None;
                pass(&mut reader, frames)?;
            }
        }
    }
    let mut sink = Both { frames, toc: toc.as_mut() };
    reader.rest(&mut sink)?;
    frames.cut().map_err(failed)?;
    let end = frames.drain().map_err(failed)?;
    toc.map(|toc| toc.finish(frames, end)).transpose()
}

/// What is not file contents, into the blob and the tar-split.
struct Both<'a, F> {
    frames: &'a mut F,
    toc: Option<&'a mut Toc>,
}

impl<F: Frames> RawSink for Both<'_, F> {
    fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.frames.data(bytes).map_err(failed)?;
        match &mut self.toc {
            Some(toc) => toc.split.raw(bytes),
            None => Ok(()),
        }
    }
}

fn pass(reader: &mut Reader<BufReader<impl Read>>, frames: &mut impl Frames) -> Result<()> {
    loop {
        let bytes = reader.contents()?;
        let count = bytes.len();
        if count == 0 {
            return Ok(());
        }
        frames.data(bytes).map_err(failed)?;
        reader.consume(count);
    }
}

type Zstd = zstd::stream::write::Encoder<'static, Vec<u8>>;

/// The TOC and the tar-split in the making, compressed as they grow.
struct Toc {
    split: tarsplit::Writer<Counting>,
    json: Counting,
    first: bool,
    /// Entries whose places are not known yet.
    waiting: VecDeque<Waiting>,
}

/// An entry, and where its content begins and ends.
struct Waiting {
    entry: TocEntry,
    places: Option<(usize, usize)>,
}

/// A chunk of the file at hand.
struct Chunk {
    offset: u64,
    size: u64,
    place: usize,
    digest: Digest,
    zeros: bool,
}

struct Counting {
    out: Zstd,
    count: u64,
}

impl Counting {
    fn new(level: i32) -> Result<Self> {
        Ok(Self { out: Zstd::new(Vec::new(), level).map_err(failed)?, count: 0 })
    }

    fn finish(self) -> Result<(Vec<u8>, u64)> {
        Ok((self.out.finish().map_err(failed)?, self.count))
    }
}

impl Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write_all(bytes)?;
        self.count += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Toc {
    fn new(level: i32) -> Result<Self> {
        let mut json = Counting::new(level)?;
        json.write_all(br#"{"version":1,"entries":["#).map_err(failed)?;
        let split = tarsplit::Writer::plain(Counting::new(level)?);
        Ok(Self { split, json, first: true, waiting: VecDeque::new() })
    }

    /// The entry without its content. `None`: it has what a TOC cannot tell.
    fn describe(&mut self, entry: &Entry) -> Result<Option<TocEntry>> {
        let kind = match entry.kind {
            Kind::File if entry.sparse.is_none() => TocKind::Reg,
            Kind::HardLink => TocKind::Hardlink,
            Kind::Symlink => TocKind::Symlink,
            Kind::CharDevice => TocKind::Char,
            Kind::BlockDevice => TocKind::Block,
            Kind::Directory => TocKind::Dir,
            Kind::Fifo => TocKind::Fifo,
            Kind::File | Kind::Global => return Ok(None),
        };
        if entry.odd {
            return Ok(None);
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let (Some(name), Some(link)) = (text(&entry.name), text(&entry.link)) else { return Ok(None) };
        if !self.split.is_new(&path::clean(&entry.name)?)? {
            return Ok(None);
        }
        let mut xattrs = BTreeMap::new();
        for (key, value) in &entry.xattrs {
            let Some(key) = text(key) else { return Ok(None) };
            xattrs.insert(key, BASE64_STANDARD.encode(value));
        }
        let times = [Some(entry.mtime), entry.atime, entry.ctime].map(|time| time.map(rfc3339));
        let [Some(Some(modtime)), None | Some(Some(_)), None | Some(Some(_))] = &times else {
            return Ok(None);
        };
        Ok(Some(TocEntry {
            kind,
            name,
            link,
            mode: entry.full_mode,
            size: i64::try_from(entry.size).unwrap_or(i64::MAX),
            uid: entry.uid,
            gid: entry.gid,
            modtime: Some(modtime.clone()),
            accesstime: times[1].clone().flatten(),
            changetime: times[2].clone().flatten(),
            major: entry.device.0,
            minor: entry.device.1,
            xattrs: (!xattrs.is_empty()).then_some(xattrs),
            ..TocEntry::default()
        }))
    }

    fn entry(
        &mut self,
        mut described: TocEntry,
        entry: &Entry,
        reader: &mut Reader<BufReader<impl Read>>,
        frames: &mut impl Frames,
        cutter: &mut Cutter,
    ) -> Result<()> {
        if entry.size == 0 {
            self.split.file(&entry.name, 0, None)?;
            self.waiting.push_back(Waiting { entry: described, places: None });
            return self.write_known(frames);
        }
        let start = frames.cut().map_err(failed)?;
        *cutter = Cutter::new();
        let mut file = File::new(start);
        let mut crc = Crc64::new();
        loop {
            let bytes = reader.contents()?;
            let count = bytes.len();
            if count == 0 {
                break;
            }
            crc.update(bytes);
            cutter.feed(bytes, &mut |piece| file.take(piece, frames))?;
            reader.consume(count);
        }
        cutter.finish(&mut |piece| file.take(piece, frames))?;
        self.split.file(&entry.name, entry.size, Some(crc.sum()))?;
        described.digest = file.hasher.finish().to_string();
        let several = file.chunks.len() > 1;
        let name = described.name.clone();
        for (number, chunk) in file.chunks.into_iter().enumerate() {
            let (mut entry, places) = match number {
                0 => (std::mem::take(&mut described), (start, file.place)),
                _ => {
                    let kind = TocKind::Chunk;
                    let chunk_offset = chunk.offset as i64;
                    let entry = TocEntry { kind, name: name.clone(), chunk_offset, ..TocEntry::default() };
                    (entry, (chunk.place, chunk.place))
                }
            };
            if several {
                entry.chunk_size = chunk.size as i64;
                entry.chunk_digest = chunk.digest.to_string();
                entry.chunk_type = if chunk.zeros { ZEROS.to_owned() } else { String::new() };
            }
            self.waiting.push_back(Waiting { entry, places: Some(places) });
        }
        self.write_known(frames)
    }

    /// Writes the entries whose places are known.
    fn write_known(&mut self, frames: &impl Frames) -> Result<()> {
        while let Some(next) = self.waiting.front_mut() {
            if let Some((start, end)) = next.places {
                let (Some(start), Some(end)) = (frames.offset(start), frames.offset(end)) else {
                    return Ok(());
                };
                next.entry.offset = start as i64;
                // A further chunk does not say where it ends.
                next.entry.end_offset = if next.entry.kind == TocKind::Chunk { 0 } else { end as i64 };
            }
            if !std::mem::take(&mut self.first) {
                self.json.write_all(b",").map_err(failed)?;
            }
            serde_json::to_writer(&mut self.json, &next.entry).map_err(|e| failed(e.into()))?;
            self.waiting.pop_front();
        }
        Ok(())
    }

    /// Writes TOC, tar-split and footer behind the data, which ends at `end`.
    fn finish(mut self, frames: &mut impl Frames, end: u64) -> Result<Annotations> {
        self.write_known(frames)?;
        let (split, split_size) = self.split.into_inner()?.finish()?;
        let split_digest = Digest::sha256(&split);
        write!(self.json, "],\"tarSplitDigest\":\"{split_digest}\"}}").map_err(failed)?;
        let (json, json_size) = self.json.finish()?;
        const HEADER: u64 = 8;
        let (json_at, json_length) = (end + HEADER, json.len() as u64);
        let (split_at, split_length) = (json_at + json_length + HEADER, split.len() as u64);
        let mut footer = Vec::with_capacity(64);
        for number in [json_at, json_length, json_size, TOC_TYPE, split_at, split_length, split_size] {
            footer.extend_from_slice(&number.to_le_bytes());
        }
        footer.extend_from_slice(FOOTER);
        for frame in [&json, &split, &footer] {
            let length = u32::try_from(frame.len())
                .map_err(|_| Error::unsupported("the layer's table of contents is larger than 4 GiB"))?;
            frames.raw(&SKIPPABLE).map_err(failed)?;
            frames.raw(&length.to_le_bytes()).map_err(failed)?;
            frames.raw(frame).map_err(failed)?;
        }
        Ok(Annotations::from([
            (CHECKSUM.to_owned(), Digest::sha256(&json).to_string()),
            (POSITION.to_owned(), format!("{json_at}:{json_length}:{json_size}:{TOC_TYPE}")),
            (TAR_SPLIT.to_owned(), format!("{split_at}:{split_length}:{split_size}")),
        ]))
    }
}

/// A file's content on its way.
struct File {
    /// Of all of it.
    hasher: Hasher,
    /// Of the chunk at hand; `None`: it is the first, and has the same.
    chunk: Option<Hasher>,
    chunks: Vec<Chunk>,
    /// Where the chunk at hand begins: in the blob, in the file.
    place: usize,
    offset: u64,
    at: u64,
}

impl File {
    fn new(place: usize) -> Self {
        let hasher = Hasher::new(Algorithm::Sha256);
        Self { hasher, chunk: None, chunks: Vec::new(), place, offset: 0, at: 0 }
    }

    fn take(&mut self, piece: Piece<'_>, frames: &mut impl Frames) -> Result<()> {
        match piece {
            Piece::Data(bytes) => self.data(bytes, frames),
            Piece::Cut => self.cut(false, frames),
            Piece::Zeros(count) => {
                const ZERO: [u8; 16 << 10] = [0; 16 << 10];
                let mut left = count;
                while left > 0 {
                    let now = usize::try_from(left).unwrap_or(usize::MAX).min(ZERO.len());
                    self.data(&ZERO[..now], frames)?;
                    left -= now as u64;
                }
                self.cut(true, frames)
            }
        }
    }

    fn data(&mut self, bytes: &[u8], frames: &mut impl Frames) -> Result<()> {
        self.hasher.update(bytes);
        if let Some(chunk) = &mut self.chunk {
            chunk.update(bytes);
        }
        self.at += bytes.len() as u64;
        frames.data(bytes).map_err(failed)
    }

    fn cut(&mut self, zeros: bool, frames: &mut impl Frames) -> Result<()> {
        if self.at == self.offset {
            return Ok(());
        }
        let digest = self.chunk.take().unwrap_or_else(|| self.hasher.clone()).finish();
        let size = self.at - self.offset;
        self.chunks.push(Chunk { offset: self.offset, size, place: self.place, digest, zeros });
        self.place = frames.cut().map_err(failed)?;
        self.offset = self.at;
        self.chunk = Some(Hasher::new(Algorithm::Sha256));
        Ok(())
    }
}

/// As Go writes a time. `None`: it cannot be.
fn rfc3339(time: Time) -> Option<String> {
    let time = Timestamp::new(time.seconds, i32::try_from(time.nanoseconds).ok()?).ok()?;
    Some(time.to_string())
}
