//! Whether a layer's files are still those it was made of: its tar is made again from them, digested, and its entries
//! compared with what is on disk.

use super::rebuild;
use crate::engine::digest::{Algorithm, Hasher};
use crate::engine::host::rooted::open_directory;
use crate::engine::store::diff::channel::channel;
use crate::engine::store::diff::tar::{Entry, Kind, RawSink, Reader};
use crate::engine::store::diff::{self, ApplyOptions, Limits, Whiteouts};
use crate::engine::store::layout::Driver;
use crate::engine::store::{LayerRecord, Store};
use crate::engine::{Digest, Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Differences that are told of each layer.
const SHOWN: usize = 5;

/// What a layer's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// What they were, with the size of their tar.
    Whole(u64),
    /// The tar-split file is missing or damaged; whether the files give the recorded digest without it.
    Split(String, bool),
    /// A file is missing or not what it was.
    Changed(String),
    /// All is as the tar-split says, and has another digest than the record.
    Other(Digest, u64),
    /// Contents are right; names, owners, modes or times are not.
    Touched(String, u64),
}

/// A layer's tar, read back.
pub(super) struct ReadBack {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) uids: BTreeSet<u32>,
    pub(super) gids: BTreeSet<u32>,
    expected: BTreeMap<Vec<u8>, Expected>,
}

#[derive(Clone, Debug)]
struct Expected {
    kind: Kind,
    mode: u32,
    owner: (u32, u32),
    seconds: i64,
    size: u64,
}

impl Store {
    /// `None`: it is gone, or has no directory, which is another matter.
    pub(super) fn verdict(&self, layer: &LayerRecord) -> Result<Option<Verdict>> {
        let Some(recorded) = &layer.diff_digest else { return Ok(None) };
        let Some(directory) = self.layer_dir(&layer.id).filter(|d| !d.read_only) else { return Ok(None) };
        let files = self.files_of(&directory.path);
        if !files.is_dir() {
            return Ok(None);
        }
        if let Err(e) = rebuild::parse_split(&self.layout.tar_split(&layer.id)) {
            let rewritable = rebuild::written_again(self, layer).is_some();
            return Ok(Some(Verdict::Split(e.to_string(), rewritable)));
        }
        let back = match self.read_back(&layer.id) {
            Ok(back) => back,
            Err(e) if matches!(e.kind(), ErrorKind::DiskFull) => return Err(e),
            Err(e) => return Ok(Some(Verdict::Changed(e.to_string()))),
        };
        if back.digest != *recorded {
            return Ok(Some(Verdict::Other(back.digest, back.size)));
        }
        let options = self.apply_options()?;
        let comparable = self.driver == Driver::Overlay
            && options.whiteouts != Whiteouts::Literal
            && options.force_mask.is_none()
            && layer.uid_map.is_empty();
        let differences = if comparable { back.differences(&files, &options) } else { Vec::new() };
        Ok(Some(match differences.is_empty() {
            true => Verdict::Whole(back.size),
            false => {
                let more = differences.len().saturating_sub(SHOWN);
                let mut text = differences.into_iter().take(SHOWN).collect::<Vec<_>>().join(", ");
                if more > 0 {
                    text.push_str(&format!(" and {more} more"));
                }
                Verdict::Touched(text, back.size)
            }
        }))
    }

    /// The directory of a layer's own files.
    pub(super) fn files_of(&self, directory: &Path) -> PathBuf {
        if self.driver == Driver::Vfs { directory.to_owned() } else { directory.join("diff") }
    }

    /// Makes the layer's tar again and reads it.
    pub(super) fn read_back(&self, id: &str) -> Result<ReadBack> {
        let directory = self.layer_dir(id).ok_or_else(|| super::super::overlay::layer_missing(id))?;
        let files = open_directory(&self.files_of(&directory.path))?;
        let path = self.layout.tar_split(id);
        let split = File::open(&path).map_err(|e| Error::io("open", &path, e))?;
        let (mut source, drain) = channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                if let Err(e) = diff::reassemble(BufReader::new(split), files.as_fd(), &mut source) {
                    source.fail(e);
                }
            });
            read_tar(drain)
        })
    }
}

/// Digests what passes.
struct Digesting<R> {
    inner: R,
    hash: Hasher,
    size: u64,
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.update(&buffer[..n]);
        self.size += n as u64;
        Ok(n)
    }
}

struct Nowhere;

impl RawSink for Nowhere {
    fn raw(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

fn read_tar(stream: impl Read) -> Result<ReadBack> {
    let stream = Digesting { inner: stream, hash: Hasher::new(Algorithm::Sha256), size: 0 };
    let mut reader = Reader::new(BufReader::with_capacity(1 << 18, stream), &Limits::default());
    let (mut uids, mut gids) = (BTreeSet::new(), BTreeSet::new());
    let mut expected = BTreeMap::new();
    while let Some(entry) = reader.next(&mut Nowhere)? {
        let path = diff::clean_path(&entry.name)?;
        if !last(&path).starts_with(b".wh.") {
            uids.insert(entry.uid as u32);
            gids.insert(entry.gid as u32);
        }
        expect(&mut expected, path, &entry);
    }
    reader.rest(&mut Nowhere)?;
    let stream = reader.into_inner().into_inner();
    Ok(ReadBack { digest: stream.hash.finish(), size: stream.size, uids, gids, expected })
}

fn last(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or(path)
}

fn expect(expected: &mut BTreeMap<Vec<u8>, Expected>, path: Vec<u8>, entry: &Entry) {
    if entry.kind == Kind::Global || path.is_empty() {
        return;
    }
    if entry.kind != Kind::Directory {
        // What was below goes when something else takes the place of a directory.
        let below = [&path[..], b"/"].concat();
        expected.retain(|known, _| !known.starts_with(&below));
    }
    let now = Expected {
        kind: entry.kind,
        mode: entry.mode & 0o7777,
        owner: (entry.uid as u32, entry.gid as u32),
        seconds: entry.mtime.seconds,
        size: entry.size,
    };
    expected.insert(path, now);
}

impl ReadBack {
    /// What is on disk and should not be, or the other way round, or has other attributes.
    fn differences(&self, files: &Path, options: &ApplyOptions) -> Vec<String> {
        let mut found = Vec::new();
        for (path, expected) in &self.expected {
            if last(path).starts_with(b".wh.") || self.through_link(path) {
                continue;
            }
            if options.in_userns && matches!(expected.kind, Kind::CharDevice | Kind::BlockDevice) {
                continue;
            }
            if let Some(why) = expected.differs(&files.join(OsStr::from_bytes(path)), options) {
                found.push(format!("/{} {why}", String::from_utf8_lossy(path)));
            }
        }
        self.extra(files, Vec::new(), &mut found);
        found
    }

    /// Whether a directory on the way is a symbolic link: then the file is somewhere else.
    fn through_link(&self, path: &[u8]) -> bool {
        let slashes = path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        slashes.into_iter().any(|at| self.expected.get(&path[..at]).is_some_and(|e| e.kind == Kind::Symlink))
    }

    /// Files that no entry is for.
    fn extra(&self, directory: &Path, relative: Vec<u8>, found: &mut Vec<String>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let mut path = relative.clone();
            if !path.is_empty() {
                path.push(b'/');
            }
            let name = entry.file_name().into_vec();
            path.extend_from_slice(&name);
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if !self.accounts_for(&relative, &name, &path) {
                found.push(format!("/{} is not of the layer", String::from_utf8_lossy(&path)));
            } else if is_dir {
                self.extra(&entry.path(), path, found);
            }
        }
    }

    fn accounts_for(&self, parent: &[u8], name: &[u8], path: &[u8]) -> bool {
        if self.expected.contains_key(path) {
            return true;
        }
        let mark = [b".wh.", name].concat();
        let mark = if parent.is_empty() { mark } else { [parent, b"/", &mark].concat() };
        let below = [path, b"/"].concat();
        // A directory that no entry is for was made for what is in it.
        let mut after = self.expected.range(below.clone()..);
        self.expected.contains_key(&mark)
            || after.next().is_some_and(|(known, _)| known.starts_with(&below))
            // What was made through a link is somewhere that no entry names.
            || self.expected.values().any(|e| e.kind == Kind::Symlink) && self.may_be_behind_a_link(name)
    }

    fn may_be_behind_a_link(&self, name: &[u8]) -> bool {
        self.expected
            .keys()
            .any(|path| self.through_link(path) && path.split(|b| *b == b'/').any(|part| part == name))
    }
}

impl Expected {
    fn differs(&self, path: &Path, options: &ApplyOptions) -> Option<String> {
        let Ok(meta) = fs::symlink_metadata(path) else { return Some("is missing".to_owned()) };
        let kind = meta.file_type();
        let same_kind = match self.kind {
            Kind::File => kind.is_file(),
            Kind::HardLink => !kind.is_dir(),
            Kind::Symlink => kind.is_symlink(),
            Kind::CharDevice => kind.is_char_device(),
            Kind::BlockDevice => kind.is_block_device(),
            Kind::Directory => kind.is_dir(),
            Kind::Fifo => kind.is_fifo(),
            Kind::Global => true,
        };
        if !same_kind {
            return Some("is of another kind".to_owned());
        }
        if self.kind == Kind::HardLink {
            return None;
        }
        if self.kind == Kind::File && meta.size() != self.size && meta.nlink() == 1 {
            return Some("has another size".to_owned());
        }
        if self.kind != Kind::Symlink && meta.mode() & 0o7777 != self.mode {
            return Some(format!("has mode {:o} instead of {:o}", meta.mode() & 0o7777, self.mode));
        }
        if !options.ignore_chown_errors && (meta.uid(), meta.gid()) != self.owner {
            let (uid, gid) = self.owner;
            return Some(format!("belongs to {}:{} instead of {uid}:{gid}", meta.uid(), meta.gid()));
        }
        let timed = self.kind == Kind::File && meta.nlink() == 1 || self.kind == Kind::Directory;
        (timed && meta.mtime() != self.seconds).then(|| "has another time".to_owned())
    }
}
