//! The JSON files of the store: lists of records, read leniently, rewritten without touching what is not ours.
//!
//! A writer keeps each record as the text it was read as. Records it does not change go back byte for byte; in one it
//! changes, fields it does not know stay. Files are replaced through a temporary file (upstream's `.tmp-NAME…`) and a
//! rename; what must be durable is written with fdatasync before the rename, as upstream does.

use crate::engine::host::atomic::Durability;
use crate::engine::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The whole file; empty if there is none.
pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(Error::io("read", path, e)),
    }
}

/// Parses a file that holds a list; empty and missing files are empty lists.
pub(super) fn read_list<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let bytes = read_bytes(path)?;
    parse_list(path, &bytes)
}

fn parse_list<'a, T: Deserialize<'a>>(path: &Path, bytes: &'a [u8]) -> Result<Vec<T>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    // All text is checked at once, which is faster than string by string.
    let list: serde_json::Result<Option<Vec<T>>> = match std::str::from_utf8(bytes) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(bytes),
    };
    Ok(list.map_err(|e| corrupt(path, &e))?.unwrap_or_default())
}

/// The one record with this ID, without building the others.
pub(super) fn read_record<T: DeserializeOwned>(path: &Path, id: &str) -> Result<Option<T>> {
    let bytes = read_bytes(path)?;
    // A record's ID stands literally in the text: most files need not be parsed to know that it is not there.
    if !contains(&bytes, id.as_bytes()) {
        return Ok(None);
    }
    let texts: Vec<&RawValue> = parse_list(path, &bytes)?;
    for text in texts.into_iter().map(RawValue::get).filter(|text| contains(text.as_bytes(), id.as_bytes())) {
        let identity: Identity<'_> = serde_json::from_str(text).map_err(|e| corrupt(path, &e))?;
        if identity.id == id {
            return serde_json::from_str(text).map(Some).map_err(|e| corrupt(path, &e));
        }
    }
    Ok(None)
}

/// Whether `needle` occurs in `bytes`. By its last byte, most of `bytes` is skipped (Horspool's search).
pub(super) fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    let Some((last, before)) = needle.split_last() else { return true };
    let mut steps = [needle.len(); 256];
    for (at, byte) in before.iter().enumerate() {
        steps[usize::from(*byte)] = before.len() - at;
    }
    let mut end = needle.len();
    while let Some(byte) = bytes.get(end - 1) {
        if byte == last && bytes[end - needle.len()..end] == *needle {
            return true;
        }
        end += steps[usize::from(*byte)];
    }
    false
}

fn corrupt(path: &Path, e: &serde_json::Error) -> Error {
    Error::corrupt(format!("read {}: {e}", path.display()))
}

/// How every writer begins a record.
const RECORD: &[u8] = b"{\"id\":";

#[derive(Clone, Debug)]
struct Entry {
    id: String,
    text: Box<RawValue>,
}

#[derive(Deserialize)]
struct Identity<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

/// A list of records on its way to being changed.
#[derive(Debug)]
pub(super) struct Records {
    path: PathBuf,
    entries: Vec<Entry>,
}

impl Records {
    /// Reads the file; a missing one is empty.
    pub(super) fn load(path: &Path) -> Result<Self> {
        let bytes = read_bytes(path)?;
        Self::parse(path, &bytes)
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let texts: Vec<Box<RawValue>> = parse_list(path, bytes)?;
        let mut entries = Vec::with_capacity(texts.len());
        for text in texts {
            let identity: Identity<'_> = serde_json::from_str(text.get()).map_err(|e| corrupt(path, &e))?;
            let id = identity.id.into_owned();
            entries.push(Entry { id, text });
        }
        Ok(Self { path: path.to_owned(), entries })
    }

    /// As many records as can be read, each ID once, and what is wrong with the file if something is.
    pub(super) fn salvage(path: &Path) -> Result<(Self, Option<String>)> {
        let bytes = read_bytes(path)?;
        let mut records = Self { path: path.to_owned(), entries: Vec::new() };
        let mut damage = match parse_list::<&RawValue>(path, &bytes) {
            Ok(_) => None,
            Err(e) => Some(std::error::Error::source(&e).map_or_else(|| e.to_string(), ToString::to_string)),
        };
        let mut at = 0;
        while let Some(skipped) = bytes[at..].iter().position(|b| *b == b'{') {
            let mut stream =
                serde_json::Deserializer::from_slice(&bytes[at + skipped..]).into_iter::<Box<RawValue>>();
            let Some(Ok(text)) = stream.next() else {
                // On with the next record: they begin so, and nothing in them does.
                let after = at + skipped + 1;
                let Some(next) = bytes[after..].windows(RECORD.len()).position(|w| w == RECORD) else {
                    break;
                };
                at = after + next;
                continue;
            };
            at += skipped + stream.byte_offset();
            match serde_json::from_str::<Identity<'_>>(text.get()) {
                Ok(identity) if records.has(&identity.id) => {
                    damage = Some(format!("{} is there twice", identity.id));
                }
                Ok(identity) => {
                    let id = identity.id.into_owned();
                    records.entries.push(Entry { id, text });
                }
                Err(e) => damage = Some(e.to_string()),
            }
        }
        Ok((records, damage))
    }

    /// Takes over the records of `other` that are missing here and for which there is something on disk.
    pub(super) fn adopt(&mut self, other: &Self, is_there: impl Fn(&str) -> bool) {
        for entry in &other.entries {
            if !self.has(&entry.id) && is_there(&entry.id) {
                self.entries.push(entry.clone());
            }
        }
    }

    /// Drops records that are no objects of a store.
    pub(super) fn drop_unreadable(&mut self) {
        let readable = |e: &Entry| {
            let map: serde_json::Result<Map<String, Value>> = serde_json::from_str(e.text.get());
            map.is_ok_and(|map| {
                map.get("created")
                    .is_none_or(|c| c.as_str().is_some_and(|c| c.parse::<jiff::Timestamp>().is_ok()))
            })
        };
        self.entries.retain(readable);
    }

    /// Every ID, in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|e| e.id.as_str())
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.entries.iter().any(|e| e.id == id)
    }

    /// The record with this ID.
    pub(super) fn get<T: DeserializeOwned>(&self, id: &str) -> Result<Option<T>> {
        let Some(entry) = self.entries.iter().find(|e| e.id == id) else { return Ok(None) };
        serde_json::from_str(entry.text.get()).map(Some).map_err(|e| corrupt(&self.path, &e))
    }

    /// Every record.
    pub(super) fn all<T: DeserializeOwned>(&self) -> Result<Vec<T>> {
        let parse = |e: &Entry| serde_json::from_str(e.text.get()).map_err(|e| corrupt(&self.path, &e));
        self.entries.iter().map(parse).collect()
    }

    /// Appends a record.
    pub(super) fn push<T: Serialize>(&mut self, id: &str, record: &T) -> Result<()> {
        let text = serde_json::value::to_raw_value(record).map_err(|e| corrupt(&self.path, &e))?;
        self.entries.push(Entry { id: id.to_owned(), text });
        Ok(())
    }

    /// Changes fields of a record; `false` if there is none.
    pub(super) fn update(&mut self, id: &str, change: impl FnOnce(&mut Map<String, Value>)) -> Result<bool> {
        let Some(entry) = self.entries.iter_mut().find(|e| e.id == id) else { return Ok(false) };
        let mut map = serde_json::from_str(entry.text.get()).map_err(|e| corrupt(&self.path, &e))?;
        change(&mut map);
        entry.text = serde_json::value::to_raw_value(&map).map_err(|e| corrupt(&self.path, &e))?;
        Ok(true)
    }

    /// Drops a record; `false` if there was none.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        let before = self.entries.len();
        self.entries.retain(|e| e.id != id);
        self.entries.len() != before
    }

    /// Replaces the file. The lock's token must have been renewed before.
    pub(super) fn save(&self, durability: Durability) -> Result<()> {
        let texts: Vec<&RawValue> = self.entries.iter().map(|e| &*e.text).collect();
        let bytes = serde_json::to_vec(&texts).map_err(|e| corrupt(&self.path, &e))?;
        write(&self.path, &bytes, durability)?;
        if durability == Durability::Synced
            && let Err(e) = write(&kept(&self.path), &bytes, Durability::None)
        {
            // It is a help, not a promise.
            tracing::debug!("{e}");
        }
        Ok(())
    }
}

/// Where a copy of what we last wrote to one of the durable files is kept: the repair of a damaged file looks there.
pub(super) fn kept(path: &Path) -> PathBuf {
    let root = path.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    root.join("coracle/kept").join(path.file_name().unwrap_or_default())
}

/// Sets a field as Go's `omitempty` would have it: empty values are left out.
pub(super) fn set_field<T: Serialize>(map: &mut Map<String, Value>, key: &str, value: &T) {
    let value = serde_json::to_value(value).unwrap_or_default();
    let empty = match &value {
        Value::Null => true,
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        Value::String(s) => s.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    if empty {
        map.shift_remove(key);
    } else {
        map.insert(key.to_owned(), value);
    }
}

/// Replaces a file (mode 0600), as upstream's `AtomicWriteFile`; creates the directory (0700) if it is missing. On
/// failure the old file stays and nothing else is left.
pub(super) fn write(path: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".tmp-{name}{}", super::random_name()?));
    let open = || {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).open(&temporary)
    };
    let mut file = match open() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            make_dirs(path.parent().unwrap_or(Path::new("/")), 0o700)?;
            open()
        }
        other => other,
    }
    .map_err(|e| Error::io("create", &temporary, e))?;
    let written = file
        .write_all(bytes)
        .and_then(|()| if durability == Durability::Synced { file.sync_data() } else { Ok(()) })
        .map_err(|e| Error::io("write", &temporary, e))
        .and_then(|()| fs::rename(&temporary, path).map_err(|e| Error::io("rename to", path, e)));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// `mkdir -p`.
pub(super) fn make_dirs(path: &Path, mode: u32) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(|e| Error::io("mkdir", path, e))
}

/// Removes a tree; no error if there is none. Directories without permission bits are given some, immutable or busy
/// things fail.
pub(super) fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) if e.raw_os_error() == Some(libc::ENOTDIR) => remove_file(path),
        Err(e) => Err(Error::io("remove", path, e)),
    }
}

/// Removes a file; no error if there is none.
pub(super) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io("remove", path, e)),
    }
}

/// Turns "no such file" into `None`.
pub(super) fn found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::ImageRecord;
    use super::*;

    #[test]
    fn records_of_others_keep_their_text_and_unknown_fields() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("images.json");
        let one = r#"{"id":"1","future":{"b":1,"a":[2, 3]},"names":["x"],"n":1.50}"#;
        let two = r#"{"id":"2","future":1,"names":["y"],"created":"2024-01-01T00:00:00Z"}"#;
        fs::write(&path, format!("[{one},{two}]")).unwrap();
        let mut records = Records::load(&path).unwrap();
        assert!(records.update("2", |map| set_field(map, "names", &["z", "y"])).unwrap());
        assert!(!records.update("3", |_| ()).unwrap());
        records.push("3", &ImageRecord { id: "3".into(), ..ImageRecord::default() }).unwrap();
        records.save(Durability::None).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let start = format!(
            r#"[{one},{{"id":"2","future":1,"names":["z","y"],"created":"2024-01-01T00:00:00Z"}},{{"id":"3","#
        );
        assert!(text.starts_with(&start), "{text}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let image: ImageRecord = read_record(&path, "2").unwrap().unwrap();
        assert_eq!(image.names, ["z", "y"]);
    }

    #[test]
    fn a_missing_an_empty_and_a_null_file_are_empty_lists() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("layers.json");
        assert!(read_list::<ImageRecord>(&path).unwrap().is_empty());
        fs::write(&path, "").unwrap();
        assert!(read_list::<ImageRecord>(&path).unwrap().is_empty());
        fs::write(&path, "null").unwrap();
        assert!(!Records::load(&path).unwrap().has("1"));
        fs::write(&path, "[{").unwrap();
        let e = read_list::<ImageRecord>(&path).unwrap_err();
        assert!(e.to_string().contains("layers.json") && e.kind() == ErrorKind::Corrupt, "{e}");
    }

    #[test]
    fn the_search_finds_what_is_there() {
        assert!(contains(b"abcabd", b"abd"));
        assert!(!contains(b"ababab", b"abd"));
        assert!(contains(b"abd", b"abd") && !contains(b"bd", b"abd"));
        assert!(contains(b"", b"") && contains(b"a", b"") && !contains(b"", b"a"));
    }

    proptest::proptest! {
        #[test]
        fn the_search_is_that_of_every_place(text in "[ab]{0,40}", needle in "[ab]{1,6}") {
            let everywhere = text.as_bytes().windows(needle.len()).any(|window| window == needle.as_bytes());
            proptest::prop_assert_eq!(contains(text.as_bytes(), needle.as_bytes()), everywhere);
        }
    }

    #[test]
    fn one_record_is_found_by_its_own_id_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("images.json");
        fs::write(&path, r#"[{"names":["2"],"id":"1"}, {"id":"2","names":["1"]}]"#).unwrap();
        let image: ImageRecord = read_record(&path, "2").unwrap().unwrap();
        assert_eq!((image.id.as_str(), &image.names[..]), ("2", &["1".to_owned()][..]));
        assert!(read_record::<ImageRecord>(&path, "names").unwrap().is_none());
    }
}
