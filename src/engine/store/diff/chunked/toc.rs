//! Reading a table of contents: which contents a layer has, and where they are in its blob.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Annotations, CHECKSUM, POSITION, TAR_SPLIT, TOC_TYPE, TocKind, ZEROS};
use crate::engine::{Digest, Error, Result};

/// Bytes of a TOC, compressed or not, and of a compressed tar-split that are read: what is kept of them takes as much memory.
pub(super) const MAX_SIZE: u64 = 32 << 20;

pub(super) fn bad(what: &str) -> Error {
    Error::corrupt(format!("the layer's table of contents: {what}"))
}

/// Bytes of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first one.
    pub start: u64,
    /// The one behind the last.
    pub end: u64,
}

/// The end of a content of which eStargz does not say it: where the next one begins, if there is one.
const OPEN: u64 = u64::MAX;

/// Where TOC and tar-split are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The TOC, compressed.
    pub toc: Span,
    /// The tar-split, compressed.
    pub tar_split: Span,
    /// What the TOC must hash to.
    pub checksum: Digest,
}

impl Places {
    /// As the annotations of a blob of `size` bytes say.
    ///
    /// # Errors
    /// `Corrupt` if they are malformed or lead out of the blob, `Unsupported` if there is no tar-split or if it is too much.
    pub fn of(annotations: &Annotations, size: u64) -> Result<Self> {
        let numbers = |key: &str| -> Result<Vec<u64>> {
            let text = annotations
                .get(key)
                .ok_or_else(|| Error::unsupported(format!("the layer has no annotation {key}")))?;
            text.split(':').map(|n| n.parse().map_err(|_| bad("an annotation is malformed"))).collect()
        };
        let span = |numbers: &[u64]| -> Result<Span> {
            let [start, length, ..] = *numbers else { return Err(bad("an annotation is malformed")) };
            let end = start.checked_add(length).filter(|end| *end <= size);
            if length > MAX_SIZE {
                return Err(Error::unsupported("the layer's table of contents is too large"));
            }
            Ok(Span { start, end: end.ok_or_else(|| bad("it is outside of the blob"))? })
        };
        let toc = numbers(POSITION)?;
        if toc.get(3) != Some(&TOC_TYPE) {
            return Err(Error::unsupported("the layer's table of contents is of an unknown type"));
        }
        let checksum = annotations.get(CHECKSUM).ok_or_else(|| bad("it has no digest"))?;
        Ok(Self {
            toc: span(&toc)?,
            tar_split: span(&numbers(TAR_SPLIT)?)?,
            checksum: Digest::parse(checksum)?,
        })
    }
}

/// Checks a compressed TOC and writes it, inflated, to `out`.
pub fn inflate_checked(compressed: &[u8], digest: &Digest, out: &mut impl Write) -> Result<()> {
    if !digest.matches(compressed) {
        return Err(bad(&format!("it does not match its digest {digest}")));
    }
    let inflated = zstd::stream::read::Decoder::with_buffer(compressed);
    let mut inflated = inflated.map_err(|e| Error::os("inflate", e))?.take(MAX_SIZE + 1);
    let size = std::io::copy(&mut inflated, out).map_err(|e| bad("it cannot be read").with_source(e))?;
    if size > MAX_SIZE { Err(bad("it is too large")) } else { Ok(()) }
}

/// A SHA-256 sum.
pub type Sum = [u8; 32];

/// A part of a file: all of it, or a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where in the file it begins.
    pub at: u64,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its content.
    pub sum: Sum,
    /// Where it is in the blob, compressed.
    pub span: Span,
    /// It is all zeros.
    pub zeros: bool,
}

/// A regular file with contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TocFile {
    /// Its path in the tar.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its content.
    pub sum: Sum,
    /// In their order, without gaps; at least one.
    pub parts: Vec<Part>,
}

/// The files of a layer.
#[derive(Clone, Debug, Default)]
pub struct Toc {
    /// In the order of the tar.
    pub files: Vec<TocFile>,
    /// What the tar-split must hash to.
    pub tar_split: Option<Digest>,
}

#[derive(Deserialize)]
struct Document {
    version: u32,
    #[serde(default)]
    entries: Entries,
    #[serde(default, rename = "tarSplitDigest")]
    tar_split: Option<String>,
}

/// The entries as they are read: only files with contents are kept.
#[derive(Default)]
struct Entries {
    files: Vec<TocFile>,
    /// Keyed hashes of the names so far.
    seen: HashSet<u64>,
    keys: RandomState,
    /// The entry whose chunks may follow.
    open: Option<(Line, Vec<Line>)>,
    /// Where the last content ends in the blob.
    end: u64,
}

impl Entries {
    fn push(&mut self, line: Line) -> Result<()> {
        if line.kind == TocKind::Chunk {
            let (_, chunks) = self.open.as_mut().ok_or_else(|| bad("a chunk without a file"))?;
            chunks.push(line);
            return Ok(());
        }
        self.close()?;
        if !self.seen.insert(self.keys.hash_one(&line.name)) {
            return Err(bad("a path is there twice"));
        }
        self.open = Some((line, Vec::new()));
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let Some((line, chunks)) = self.open.take() else { return Ok(()) };
        if line.kind != TocKind::Reg || line.size == 0 {
            return Ok(());
        }
        let file = file(line, &chunks)?;
        for part in &file.parts {
            if part.span.start < self.end || part.span.end <= part.span.start {
                return Err(bad("its contents are out of order"));
            }
            self.end = if part.span.end == OPEN { part.span.start + 1 } else { part.span.end };
        }
        self.end_open(file.parts[0].span.start);
        self.files.push(file);
        Ok(())
    }
}

impl Entries {
    /// What is open ends where the next content begins.
    fn end_open(&mut self, end: u64) {
        if let Some(last) = self.files.last_mut().and_then(|file| file.parts.last_mut())
            && last.span.end == OPEN
        {
            last.span.end = end;
        }
    }
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_seq(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut lines: A) -> std::result::Result<Entries, A::Error> {
        let mut entries = Entries::default();
        while let Some(line) = lines.next_element()? {
            entries.push(line).map_err(serde::de::Error::custom)?;
        }
        entries.close().map_err(serde::de::Error::custom)?;
        Ok(entries)
    }
}

/// What of an entry is needed here.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Line {
    #[serde(rename = "type")]
    kind: TocKind,
    name: String,
    size: u64,
    digest: Hex,
    offset: u64,
    #[serde(rename = "endOffset")]
    end: u64,
    #[serde(rename = "chunkSize")]
    chunk_size: u64,
    #[serde(rename = "chunkOffset")]
    chunk_offset: u64,
    #[serde(rename = "chunkDigest")]
    chunk_digest: Hex,
    #[serde(rename = "chunkType")]
    chunk_type: String,
}

/// `sha256:…`, or nothing.
#[derive(Clone, Copy, Default)]
struct Hex(Option<Sum>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        let mut sum = [0; 32];
        let hex = text.strip_prefix("sha256:").filter(|hex| hex::decode_to_slice(hex, &mut sum).is_ok());
        hex.map(|_| Self(Some(sum))).ok_or_else(|| serde::de::Error::custom("an unknown digest"))
    }
}

impl Toc {
    /// Reads the JSON. Everything a plan is made from is checked: parts are in order, without gaps, and follow one another
    /// in the blob; no file is there twice.
    ///
    /// # Errors
    /// `Corrupt` if not so.
    pub fn read(json: impl Read) -> Result<Self> {
        let document: Document =
            serde_json::from_reader(json).map_err(|e| bad("it is malformed").with_source(e))?;
        if document.version != 1 {
            return Err(Error::unsupported("the layer's table of contents is of another version"));
        }
        let tar_split = document.tar_split.filter(|text| !text.is_empty());
        Ok(Self {
            files: document.entries.files,
            tar_split: tar_split.map(|text| Digest::parse(&text)).transpose()?,
        })
    }

    /// The files by their names.
    pub fn by_name(&self) -> HashMap<&[u8], &TocFile> {
        self.files.iter().map(|file| (file.name.as_bytes(), file)).collect()
    }
}

fn file(line: Line, chunks: &[Line]) -> Result<TocFile> {
    let missing = || bad("a file has no digest");
    let sum = line.digest.0.ok_or_else(missing)?;
    let size = line.size;
    let line = Line { end: if line.end == 0 { OPEN } else { line.end }, ..line };
    if chunks.is_empty() {
        let span = Span { start: line.offset, end: line.end };
        let part = Part { at: 0, size, sum, span, zeros: false };
        return Ok(TocFile { name: line.name, size, sum, parts: vec![part] });
    }
    let mut parts = Vec::with_capacity(chunks.len() + 1);
    let end = line.end;
    let all: Vec<&Line> = std::iter::once(&line).chain(chunks).collect();
    let mut at = 0;
    for (number, chunk) in all.iter().enumerate() {
        // eStargz does not repeat the size of the last one.
        let is_last = number + 1 == all.len();
        let chunk_size = match chunk.chunk_size {
            0 if is_last => size.saturating_sub(at),
            size => size,
        };
        if chunk.chunk_offset != at || chunk_size == 0 {
            return Err(bad("the chunks of a file have gaps"));
        }
        let span = Span { start: chunk.offset, end: all.get(number + 1).map_or(end, |next| next.offset) };
        let sum = chunk.chunk_digest.0.ok_or_else(missing)?;
        parts.push(Part { at, size: chunk_size, sum, span, zeros: chunk.chunk_type == ZEROS });
        at = at.checked_add(chunk_size).ok_or_else(|| bad("a size that no file has"))?;
    }
    if at != size {
        return Err(bad("the chunks of a file are not all of it"));
    }
    Ok(TocFile { name: line.name, size, sum, parts })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sum(n: u32) -> String {
        format!("sha256:{n:064x}")
    }

    #[test]
    fn hostile_tables_are_refused() {
        let read = |entries: &str| Toc::read(format!("{{\"version\":1,\"entries\":[{entries}]}}").as_bytes());
        let file = |name: &str, offset: u64, end: u64| {
            format!(
                r#"{{"type":"reg","name":"{name}","size":9,"digest":"{}","offset":{offset},"endOffset":{end}}}"#,
                sum(1)
            )
        };
        let toc = read(&[file("a", 10, 20), file("../../b", 20, 30)].join(",")).unwrap();
        assert_eq!(toc.files[1].parts[0].span, Span { start: 20, end: 30 });
        for wrong in [
            [file("a", 10, 20), file("a", 20, 30)].join(","),
            [file("a", 20, 30), file("b", 10, 20)].join(","),
            [file("a", 10, 25), file("b", 20, 30)].join(","),
            file("a", 20, 20),
            file("a", 20, 0) + "," + &file("b", 20, 0),
            file("a", 20, 0) + "," + &file("b", 10, 0),
            file("a", 20, 10),
            file("a", 20, 30).replace("\"size\":9", "\"size\":-9"),
            file("a", 20, 30).replace("sha256", "md5"),
            file("a", 20, 30).replace(&sum(1), ""),
            r#"{"type":"chunk","name":"a"}"#.to_owned(),
            file("a", 20, 30) + r#",{"type":"chunk","name":"a","chunkOffset":5,"offset":25}"#,
            "{".to_owned(),
        ] {
            assert!(read(&wrong).is_err(), "{wrong}");
        }
        assert!(Toc::read(&br#"{"version":2}"#[..]).is_err());
    }

    #[test]
    fn chunks_are_all_of_a_file() {
        let chunk = |offset: u64, size: u64, at: u64| {
            format!(
                r#"{{"type":"chunk","name":"a","chunkOffset":{offset},"chunkSize":{size},"chunkDigest":"{}","offset":{at}}}"#,
                sum(3)
            )
        };
        let first = format!(
            r#"{{"type":"reg","name":"a","size":9,"digest":"{}","offset":10,"endOffset":40,"chunkSize":4,"chunkDigest":"{}"}}"#,
            sum(1),
            sum(2)
        );
        let read =
            |rest: &str| Toc::read(format!("{{\"version\":1,\"entries\":[{first},{rest}]}}").as_bytes());
        let toc = read(&chunk(4, 5, 20)).unwrap();
        let spans: Vec<_> =
            toc.files[0].parts.iter().map(|p| (p.at, p.size, p.span.start, p.span.end)).collect();
        assert_eq!(spans, [(0, 4, 10, 20), (4, 5, 20, 40)]);
        assert!(read(&chunk(4, 4, 20)).is_err());
        assert!(read(&chunk(5, 4, 20)).is_err());
        assert!(read(&chunk(4, u64::MAX, 20)).is_err());
        assert!(read(&chunk(4, 5, 50)).is_err());
    }

    #[test]
    fn estargz_leaves_out_what_follows_from_the_rest() {
        let entry = |kind: &str, name: &str, rest: &str| {
            format!(r#"{{"type":"{kind}","name":"{name}","chunkDigest":"{}",{rest}}}"#, sum(2))
        };
        let digest = sum(1);
        let entries = [
            entry("dir", "d/", r#""mode":1"#),
            entry("reg", "d/a", &format!(r#""size":9,"digest":"{digest}","offset":100,"chunkSize":4"#)),
            entry("chunk", "d/a", r#""offset":120,"chunkOffset":4,"chunkSize":4"#),
            entry("chunk", "d/a", r#""offset":140,"chunkOffset":8"#),
            entry("reg", "d/b", &format!(r#""size":3,"digest":"{digest}","offset":150"#)),
        ];
        let toc =
            Toc::read(format!(r#"{{"version":1,"entries":[{}]}}"#, entries.join(",")).as_bytes()).unwrap();
        let parts: Vec<_> = toc.files.iter().flat_map(|file| &file.parts).collect();
        let spans: Vec<_> = parts.iter().map(|p| (p.at, p.size, p.span.start, p.span.end)).collect();
        assert_eq!(spans, [(0, 4, 100, 120), (4, 4, 120, 140), (8, 1, 140, 150), (0, 3, 150, OPEN)]);
        let own: Vec<_> = toc.members_of_their_own().map(|(file, part)| (file, part.at)).collect();
        assert_eq!(own, [(0, 0), (0, 4)]);
    }

    #[test]
    fn places_are_in_the_blob() {
        let places = |toc: &str, split: &str| {
            let all = [(CHECKSUM, sum(1)), (POSITION, toc.to_owned()), (TAR_SPLIT, split.to_owned())];
            let all = all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            Places::of(&all, 1000)
        };
        assert_eq!(places("100:50:200:1", "158:20:300").unwrap().toc, Span { start: 100, end: 150 });
        for (toc, split) in [
            ("100:901:200:1", "1:1:1"),
            ("18446744073709551615:2:2:1", "1:1:1"),
            ("100:50:200:2", "1:1:1"),
            ("100:50", "1:1:1"),
            ("100:50:200:1", "x"),
            ("100:50:200:1", "990:20:300"),
        ] {
            assert!(places(toc, split).is_err(), "{toc} {split}");
        }
    }
}
