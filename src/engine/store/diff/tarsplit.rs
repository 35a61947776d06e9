//! The tar-split file: what of a tar is not file contents, and where the contents go.
//!
//! The format is vbatts/tar-split's (`tar/storage`): gzip over one JSON object a line. A segment (type 2) holds raw
//! bytes; a file (type 1) stands for the contents of a path, with their size and CRC-64. Positions count up. Readers
//! refuse a path that comes twice, so a second entry of a path, and a sparse file, whose stored form is not its
//! contents, go in as segments; the tar that is made from it stays the same.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use flate2::write::GzEncoder;
use serde::Deserialize;

use crate::engine::{Error, Result};

use super::from_io;
use super::tar::RawSink;

/// Raw bytes in one segment, at most.
const SEGMENT: usize = 256 << 10;

/// Bytes of one line we read. Writers make segments of a few MiB at the most.
const MAX_LINE: u64 = 64 << 20;

/// Entries of one archive, so that remembering their names is bounded (9 bytes each).
const MAX_ENTRIES: usize = 6_000_000;

/// Writes a tar-split, compressed by `W`.
pub struct Writer<W: Write> {
    out: W,
    pending: Vec<u8>,
    line: String,
    position: u64,
    /// Keyed hashes of the names so far: a collision costs a file's contents as a segment, no more.
    seen: HashSet<u64>,
    keys: RandomState,
}

impl<W: Write> Writer<GzEncoder<BufWriter<W>>> {
    /// Begins a file on `out`, gzip-compressed as the store keeps it.
    pub fn new(out: W) -> Self {
        // Level 1, as upstream's: it is read seldom and written on every pull.
        Self::plain(GzEncoder::new(BufWriter::with_capacity(64 << 10, out), flate2::Compression::fast()))
    }

    /// Writes what is pending and ends the file.
    pub fn finish(self) -> Result<()> {
        let failed = |e| Error::os("write tar-split", e);
        self.into_inner()?.finish().map_err(failed)?.flush().map_err(failed)
    }
}

impl<W: Write> Writer<W> {
    /// Begins a file on `out`, which compresses it or not.
    pub fn plain(out: W) -> Self {
        let (keys, seen) = (RandomState::new(), HashSet::new());
        Self { out, pending: Vec::new(), line: String::new(), position: 0, seen, keys }
    }

    /// Whether the cleaned path `name` comes for the first time.
    pub fn is_new(&mut self, name: &[u8]) -> Result<bool> {
        if self.seen.len() >= MAX_ENTRIES {
            return Err(Error::corrupt("the layer has too many entries"));
        }
        Ok(self.seen.insert(self.keys.hash_one(name)))
    }

    /// A file's contents stand here: `size` bytes with checksum `crc`, or nothing when it has none in this place.
    pub fn file(&mut self, name: &[u8], size: u64, crc: Option<[u8; 8]>) -> Result<()> {
        self.segment()?;
        self.line.push_str("{\"type\":1,");
        match std::str::from_utf8(name) {
            Ok("") => {}
            Ok(name) => {
                self.line.push_str("\"name\":");
                push_json_string(&mut self.line, name);
                self.line.push(',');
            }
            Err(_) => {
                self.line.push_str("\"name_raw\":\"");
                BASE64_STANDARD.encode_string(name, &mut self.line);
                self.line.push_str("\",");
            }
        }
        if size > 0 {
            self.line.push_str(&format!("\"size\":{size},"));
        }
        match crc {
            Some(crc) => {
                self.line.push_str("\"payload\":\"");
                BASE64_STANDARD.encode_string(crc, &mut self.line);
                self.line.push('"');
            }
            None => self.line.push_str("\"payload\":null"),
        }
        self.end_line()
    }

    /// Writes what is pending; the output.
    pub fn into_inner(mut self) -> Result<W> {
        self.segment()?;
        Ok(self.out)
    }

    fn segment(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.line.push_str("{\"type\":2,\"payload\":\"");
        BASE64_STANDARD.encode_string(&self.pending, &mut self.line);
        self.line.push('"');
        self.pending.clear();
        self.end_line()
    }

    fn end_line(&mut self) -> Result<()> {
        self.line.push_str(&format!(",\"position\":{}}}\n", self.position));
        self.position += 1;
        let written = self.out.write_all(self.line.as_bytes());
        self.line.clear();
        written.map_err(|e| Error::os("write tar-split", e))
    }
}

impl<W: Write> RawSink for Writer<W> {
    fn raw(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(SEGMENT - self.pending.len()));
            self.pending.extend_from_slice(now);
            if self.pending.len() == SEGMENT {
                self.segment()?;
            }
            bytes = later;
        }
        Ok(())
    }
}

/// A JSON string as Go's encoder writes it: `<`, `>`, `&` and the two line separators escaped as well.
fn push_json_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\x1f' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

/// One line of a tar-split.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// Bytes of the tar.
    Segment(Vec<u8>),
    /// The contents of a file.
    File {
        /// Its path, as in the tar.
        name: Vec<u8>,
        /// Bytes; 0: nothing of it is in the tar.
        size: u64,
        /// CRC-64/ISO, big-endian.
        crc: Vec<u8>,
    },
}

#[derive(Deserialize)]
struct Line<'a> {
    r#type: u8,
    #[serde(borrow, default)]
    name: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    name_raw: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    size: i64,
    #[serde(borrow, default)]
    payload: Option<std::borrow::Cow<'a, str>>,
}

/// Reads a tar-split, inflated by `R`.
pub struct Items<R: Read> {
    input: BufReader<R>,
    line: Vec<u8>,
}

impl<R: Read> Items<flate2::read::MultiGzDecoder<R>> {
    /// A reader of the store's compressed file.
    pub fn new(input: R) -> Self {
        Self::plain(flate2::read::MultiGzDecoder::new(input))
    }
}

impl<R: Read> Items<R> {
    /// A reader of what is inflated.
    pub fn plain(input: R) -> Self {
        Self { input: BufReader::with_capacity(64 << 10, input), line: Vec::new() }
    }

    /// The next item, or `None` at the end: reading can fail, so it is no iterator.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Item>> {
        let bad = |what: &str| Error::corrupt(format!("malformed tar-split: {what}"));
        self.line.clear();
        let limited = &mut Read::take(&mut self.input, MAX_LINE);
        let n = limited.read_until(b'\n', &mut self.line).map_err(|e| from_io(e).wrap("read tar-split"))?;
        if n == 0 {
            return Ok(None);
        }
        if n as u64 == MAX_LINE {
            return Err(bad("a line is too long"));
        }
        let line: Line<'_> = serde_json::from_slice(&self.line).map_err(|e| bad("a line").with_source(e))?;
        let decode = |text: Option<std::borrow::Cow<'_, str>>| {
            BASE64_STANDARD
                .decode(text.unwrap_or_default().as_bytes())
                .map_err(|e| bad("base64").with_source(e))
        };
        let payload = decode(line.payload)?;
        Ok(Some(match line.r#type {
            2 => Item::Segment(payload),
            1 => {
                let raw = decode(line.name_raw)?;
                let name = if raw.is_empty() { line.name.into_owned().into_bytes() } else { raw };
                let size = u64::try_from(line.size).map_err(|_| bad("a negative size"))?;
                Item::File { name, size, crc: payload }
            }
            _ => return Err(bad("an entry of unknown type")),
        }))
    }
}
