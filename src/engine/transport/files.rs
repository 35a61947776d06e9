//! The files of an image on disk: below a directory, or in a tar.
//!
//! A tar is never unpacked. It is read once from header to header, contents are passed over, and an index remembers where
//! they are; what is wanted is then read from the tar itself. So names in an archive touch no file system: links are
//! looked up in the index, and what leads out of the archive leads nowhere. A compressed archive, or one that comes
//! through a pipe, is first written to a file without a name.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::engine::digest::{Algorithm, Hasher};
use crate::engine::registry::Content;
use crate::engine::store::diff::tar::{Kind, RawSink, Reader};
use crate::engine::store::diff::{self, Compression, Limits};
use crate::engine::{Context, Digest, Error, ErrorKind, Result};

/// Most files in an archive that are remembered.
const MAX_ENTRIES: usize = 100_000;
/// Most bytes of their names.
const MAX_NAMES: usize = 16 << 20;
/// Longest chain of links.
const MAX_LINKS: usize = 16;
/// Bytes read at a time.
const BUFFER: usize = 256 << 10;

/// Bytes of a file, from somewhere to somewhere.
#[derive(Clone, Debug)]
pub struct Stretch {
    file: Arc<File>,
    offset: u64,
    size: u64,
}

impl Stretch {
    /// How many.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// All of them. `what` they are and at most how many, for the error.
    pub fn read(&self, what: &str, limit: u64) -> Result<Vec<u8>> {
        if self.size > limit {
            return Err(Error::corrupt(format!("{what} has {} bytes, more than {limit}", self.size)));
        }
        let mut bytes = vec![0; usize::try_from(self.size).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, self.offset).map_err(|e| Error::os(format!("read {what}"), e))?;
        Ok(bytes)
    }

    /// A reader of them.
    pub fn reader(&self) -> StretchReader {
        StretchReader { stretch: self.clone(), at: 0 }
    }

    /// Their digest, which costs reading them.
    pub fn digest(&self) -> Result<Digest> {
        let mut out = Hashed(Hasher::new(Algorithm::Sha256));
        self.write_to(&mut out)?;
        Ok(out.0.finish())
    }

    /// How they are compressed, and the digest of what is inside.
    pub fn inflated_digest(&self) -> Result<(Compression, Digest)> {
        let compression = self.compression()?;
        let mut out = Hashed(Hasher::new(Algorithm::Sha256));
        diff::inflate(BufReader::with_capacity(BUFFER, self.reader()), &mut out)?;
        Ok((compression, out.0.finish()))
    }

    /// How they are compressed.
    pub fn compression(&self) -> Result<Compression> {
        let mut start = Vec::new();
        let read = self.reader().take(diff::MAGIC_LEN as u64).read_to_end(&mut start);
        read.map_err(|e| Error::os("read the archive", e))?;
        Ok(diff::detect(&start))
    }
}

impl Content for Stretch {
    fn write_to(&self, out: &mut dyn Write) -> Result<()> {
        let mut reader = self.reader();
        let mut buffer = vec![0; BUFFER];
        loop {
            match reader.read(&mut buffer).map_err(|e| Error::os("read the archive", e))? {
                0 => return Ok(()),
                count => out.write_all(&buffer[..count]).map_err(|e| Error::os("write", e))?,
            }
        }
    }
}

/// Reads a [`Stretch`].
#[derive(Debug)]
pub struct StretchReader {
    stretch: Stretch,
    at: u64,
}

impl Read for StretchReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.stretch.size - self.at;
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
        if want == 0 {
            return Ok(0);
        }
        let count = self.stretch.file.read_at(&mut out[..want], self.stretch.offset + self.at)?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends too early"));
        }
        self.at += count as u64;
        Ok(count)
    }
}

struct Hashed(Hasher);

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Files by name.
#[derive(Debug)]
pub enum Files {
    /// Below a directory of the user's. Links are followed: build systems make layouts of them.
    Directory(PathBuf),
    /// In a tar.
    Archive(Index),
}

impl Files {
    /// A file; `None`: there is none, or it is no regular one.
    pub fn get(&self, name: &str) -> Result<Option<Stretch>> {
        match self {
            Self::Archive(index) => Ok(index.get(name)),
            Self::Directory(directory) => {
                let Some(name) = cleaned("", name) else { return Ok(None) };
                let path = directory.join(name);
                // A fifo would wait for a writer.
                let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&path);
                let file = match opened {
                    Ok(file) => file,
                    Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(e) if e.kind() == io::ErrorKind::NotADirectory => return Ok(None),
                    Err(e) => return Err(Error::io("open", &path, e)),
                };
                let meta = file.metadata().map_err(|e| Error::io("stat", &path, e))?;
                let size = meta.len();
                Ok(meta.is_file().then(|| Stretch { file: Arc::new(file), offset: 0, size }))
            }
        }
    }

    /// A small file as a whole. `NotFound` if there is none.
    pub fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>> {
        match self.get(name)? {
            Some(stretch) => stretch.read(name, limit),
            None => Err(Error::not_found(format!("there is no file {name}"))),
        }
    }
}

/// Where the files of a tar are.
#[derive(Debug)]
pub struct Index {
    file: Arc<File>,
    nodes: HashMap<String, Node>,
}

#[derive(Debug)]
enum Node {
    File { offset: u64, size: u64 },
    Link(String),
}

impl Index {
    /// Of the archive that `file` holds from its beginning, or gives from where it stands if it is a pipe. `temporary`:
    /// the directory for what must be written down first.
    ///
    /// # Errors
    /// `Corrupt` if it is no tar; those of reading and writing.
    pub fn of(file: File, temporary: &Path) -> Result<Self> {
        let file = seekable(file, temporary)?;
        Self::read(&file).map(|nodes| Self { file: Arc::new(file), nodes })
    }

    /// The same of what comes once, from its beginning to its end.
    ///
    /// # Errors
    /// As [`Index::of`].
    pub fn of_stream(mut from: impl Read, temporary: &Path) -> Result<Self> {
        let start = beginning(&mut from)?;
        let file = spooled(diff::detect(&start), io::Cursor::new(start).chain(from), temporary)?;
        Self::read(&file).map(|nodes| Self { file: Arc::new(file), nodes })
    }

    fn read(file: &File) -> Result<HashMap<String, Node>> {
        let end = file.metadata().map_err(|e| Error::os("stat the archive", e))?.len();
        let mut at = file;
        at.seek(SeekFrom::Start(0)).map_err(|e| Error::os("seek in the archive", e))?;
        let mut reader = Reader::new(BufReader::with_capacity(4096, at), &Limits::default());
        let mut nodes = HashMap::new();
        let mut names = 0;
        while let Some(entry) = reader.next(&mut Ignored)? {
            let offset = reader.pass_over()?;
            let Some(name) = std::str::from_utf8(&entry.name).ok().and_then(|name| cleaned("", name)) else {
                continue;
            };
            let target = |base: &str| {
                std::str::from_utf8(&entry.link).ok().and_then(|link| cleaned(base, link)).map(Node::Link)
            };
            let node = match entry.kind {
                Kind::File if entry.sparse.is_none() => {
                    if entry.size > end.saturating_sub(offset) {
                        return Err(Error::corrupt(format!("the archive ends within {name}")));
                    }
                    Some(Node::File { offset, size: entry.size })
                }
                Kind::Symlink => target(name.rsplit_once('/').map_or("", |(parent, _)| parent)),
                Kind::HardLink => target(""),
                _ => None,
            };
            if let Some(node) = node {
                nodes.insert(name, node);
            }
            names += entry.name.len() + entry.link.len();
            if nodes.len() > MAX_ENTRIES || names > MAX_NAMES {
                return Err(Error::corrupt(format!("the archive has more than {MAX_ENTRIES} files")));
            }
        }
        Ok(nodes)
    }

    fn get(&self, name: &str) -> Option<Stretch> {
        let mut name = cleaned("", name)?;
        for _ in 0..MAX_LINKS {
            match self.nodes.get(&name)? {
                Node::File { offset, size } => {
                    return Some(Stretch { file: Arc::clone(&self.file), offset: *offset, size: *size });
                }
                Node::Link(target) => name.clone_from(target),
            }
        }
        None
    }

    /// The names of all files, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }
}

struct Ignored;

impl RawSink for Ignored {
    fn raw(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }
}

/// `path`, seen from `base`, without `.` and `..`. `None`: it leads outside.
fn cleaned(base: &str, path: &str) -> Option<String> {
    let base = if path.starts_with('/') { "" } else { base };
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The file itself if it can be read anywhere and is a plain tar, else what comes out of it, in a file without a name.
fn seekable(mut file: File, temporary: &Path) -> Result<File> {
    let meta = file.metadata().map_err(|e| Error::os("stat the archive", e))?;
    if meta.is_file() {
        file.seek(SeekFrom::Start(0)).map_err(|e| Error::os("seek in the archive", e))?;
    }
    let start = beginning(&mut file)?;
    let compression = diff::detect(&start);
    if compression == Compression::None && meta.is_file() {
        return Ok(file);
    }
    spooled(compression, io::Cursor::new(start).chain(file), temporary)
}

/// What tells the compression.
fn beginning(from: &mut impl Read) -> Result<Vec<u8>> {
    let mut start = Vec::new();
    let read = from.take(diff::MAGIC_LEN as u64).read_to_end(&mut start);
    read.map_err(|e| Error::os("read the archive", e))?;
    Ok(start)
}

/// What comes out of an archive, in a file without a name.
fn spooled(compression: Compression, all: impl Read, temporary: &Path) -> Result<File> {
    let mut spooled = unnamed(temporary)?;
    let copied = match compression {
        Compression::None => copy(all, &mut spooled),
        _ => diff::inflate(BufReader::with_capacity(BUFFER, all), &mut spooled),
    };
    copied.with_context(|| format!("write the archive to {}", temporary.display())).map_err(|e| {
        match e.kind() {
            ErrorKind::DiskFull => e.with_hint("set TMPDIR to a directory with more room"),
            _ => e,
        }
    })?;
    Ok(spooled)
}

fn copy(mut from: impl Read, to: &mut File) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(&buffer[..count]).map_err(|e| Error::os("write", e))?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::os("read the archive", e)),
        }
    }
}

/// A file in `directory` that nobody else sees and that is gone with this process.
pub fn unnamed(directory: &Path) -> Result<File> {
    let mut options = File::options();
    options.read(true).write(true).mode(0o600);
    match options.clone().custom_flags(libc::O_TMPFILE).open(directory) {
        Ok(file) => return Ok(file),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)) => {}
        Err(e) => {
            return Err(Error::io("create a temporary file in", directory, e)
                .with_hint("set TMPDIR to a directory that you can write to"));
        }
    }
    // A file system that cannot make them nameless.
    let path = directory.join(format!(".coracle-{}", std::process::id()));
    let file = options.create_new(true).open(&path).map_err(|e| Error::io("create", &path, e))?;
    let _ = std::fs::remove_file(&path);
    Ok(file)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::store::diff::tar::write::{Header, Writer};

    fn archive(entries: &[(Kind, &str, &str)]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for (kind, name, text) in entries {
            let mut header = Header { kind: *kind, ..Header::file(name.as_bytes()) };
            if *kind == Kind::File {
                header.size = text.len() as u64;
                writer.header(&header).unwrap();
                let mut padded = text.as_bytes().to_vec();
                padded.resize(padded.len().next_multiple_of(512), 0);
                writer.bytes(&padded).unwrap();
            } else {
                header.link = text.as_bytes();
                writer.header(&header).unwrap();
            }
        }
        writer.finish().unwrap()
    }

    fn index(bytes: &[u8]) -> Result<Index> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.tar");
        std::fs::write(&path, bytes).unwrap();
        Index::of(File::open(&path).unwrap(), directory.path())
    }

    #[test]
    fn links_lead_to_files_of_the_archive_and_nowhere_else() {
        let bytes = archive(&[
            (Kind::File, "./a/layer.tar", "one"),
            (Kind::Symlink, "b/layer.tar", "../a/layer.tar"),
            (Kind::HardLink, "c", "b/layer.tar"),
            (Kind::Symlink, "out", "../../../../etc/passwd"),
            (Kind::Symlink, "absolute", "/etc/passwd"),
            (Kind::Symlink, "loop", "loop"),
            (Kind::File, "../escaped", "x"),
            (Kind::Directory, "d/", ""),
        ]);
        for bytes in [bytes.clone(), zstd::encode_all(&bytes[..], 1).unwrap()] {
            let index = index(&bytes).unwrap();
            for name in ["a/layer.tar", "b/layer.tar", "c", "/a/../c"] {
                assert_eq!(index.get(name).unwrap().read(name, 10).unwrap(), b"one", "{name}");
            }
            for name in ["out", "absolute", "loop", "../escaped", "escaped", "d", "a", "", "../a/layer.tar"] {
                assert!(index.get(name).is_none(), "{name}");
            }
            assert!(index.get("c").unwrap().read("c", 2).is_err());
        }
    }

    #[test]
    fn layers_of_more_than_eight_gib_have_their_place() {
        const BIG: u64 = 9 << 30;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.tar");
        let mut after = Writer::new(Vec::new());
        after.header(&Header { size: 4, ..Header::file(b"after") }).unwrap();
        after.bytes(&[b"last".as_slice(), &[0; 508]].concat()).unwrap();
        let after = after.finish().unwrap();
        let pax = Header { size: BIG, ..Header::file(b"big") }.blocks();
        // As GNU tar writes it: base 256 behind a set top bit.
        let mut gnu = archive(&[(Kind::File, "big", "")])[..512].to_vec();
        gnu[257..265].copy_from_slice(b"ustar  \0");
        gnu[124] = 0x80;
        gnu[125..128].fill(0);
        gnu[128..136].copy_from_slice(&BIG.to_be_bytes());
        gnu[148..156].fill(b' ');
        let sum: u32 = gnu.iter().map(|b| u32::from(*b)).sum();
        gnu[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        for head in [pax, gnu] {
            let file = File::create(&path).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, &head, 0).unwrap();
            // The file has a hole in its place.
            std::os::unix::fs::FileExt::write_all_at(&file, &after, head.len() as u64 + BIG).unwrap();
            let index = Index::of(File::open(&path).unwrap(), directory.path()).unwrap();
            assert_eq!(index.get("big").unwrap().size(), BIG);
            assert_eq!(index.get("after").unwrap().read("after", 10).unwrap(), b"last");
        }
    }

    #[test]
    fn what_is_cut_off_or_no_tar_is_an_error() {
        let bytes = archive(&[(Kind::File, "a", &"x".repeat(5000))]);
        index(&bytes).unwrap();
        assert!(index(&bytes[..2000]).unwrap_err().to_string().contains("ends within a"));
        assert!(index(&[b'x'; 2000]).is_err());
        assert!(index(&bytes[..100]).is_err());
    }
}
