//! Reading a tar as Go's archive/tar does.
//!
//! podman, buildah, skopeo and CRI-O read layers with that package, and tar-split's segments are cut where it stops
//! reading headers. Any other reading of the same bytes (which of two names counts, whether a directory has data)
//! would be another file tree under the same digest, so this is a reader of our own and not a crate's: tar-core, for
//! one, prefers a PAX path to a GNU long name, and refuses repeated headers and times before 1970.
//!
//! Everything but file contents is handed to a [`RawSink`] as it passes, to the byte. Memory is bounded by
//! [`Limits`], not by the archive.

use std::io::{self, BufRead, Seek};

use crate::engine::{Error, Result};

use super::Limits;

mod header;
mod pax;
mod sparse;
pub mod write;

pub use sparse::Region;

/// Takes the bytes that are not file contents.
pub trait RawSink {
    /// Called in the order of the archive.
    fn raw(&mut self, bytes: &[u8]) -> Result<()>;
}

/// Seconds since 1970 and, always forward of them, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: i64,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// Another name of an earlier file.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A fifo.
    Fifo,
    /// Global PAX records: no file. Go applies them to nothing, and so do we.
    Global,
}

/// One entry.
#[derive(Debug)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Its path as it is in the archive.
    pub name: Vec<u8>,
    /// A link's target.
    pub link: Vec<u8>,
    /// Permissions with set-user-ID, set-group-ID and sticky bits.
    pub mode: u32,
    /// The mode as it is in the header.
    pub full_mode: i64,
    /// Owner; may be anything.
    pub uid: i64,
    /// Group.
    pub gid: i64,
    /// Modification.
    pub mtime: Time,
    /// Access, if the archive has it.
    pub atime: Option<Time>,
    /// Change of metadata, if the archive has it.
    pub ctime: Option<Time>,
    /// Whether its header says what no field here does: times of GNU's own, a size of what has no contents.
    pub odd: bool,
    /// Major and minor number.
    pub device: (i64, i64),
    /// Extended attributes, values binary.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The file's size in bytes, holes included; 0 for what has no contents.
    pub size: u64,
    /// The data of a sparse file: sorted, disjoint regions inside `size`, stored one after the other.
    pub sparse: Option<Vec<Region>>,
}

/// A tar stream.
pub struct Reader<R> {
    input: R,
    limits: Limits,
    /// Contents of the current entry still to be read.
    remaining: u64,
    /// Bytes up to the next block after them.
    padding: usize,
}

/// Extended headers met before the entry they belong to. Of a kind the last one counts.
#[derive(Default)]
struct Pending {
    pax: pax::Pax,
    long_name: Vec<u8>,
    long_link: Vec<u8>,
}

fn truncated() -> Error {
    Error::corrupt("unexpected end of the tar archive")
}

impl<R: BufRead> Reader<R> {
    /// A reader at the start of an archive.
    pub fn new(input: R, limits: &Limits) -> Self {
        Self { input, limits: limits.clone(), remaining: 0, padding: 0 }
    }

    /// Reads up to the contents of the next entry; contents of the last one that nobody read go to `raw`. `None` at
    /// the end of the archive, after which [`Reader::rest`] has what the stream holds beyond it.
    pub fn next(&mut self, raw: &mut impl RawSink) -> Result<Option<Entry>> {
        let mut pending = Pending::default();
        loop {
            self.skip(raw)?;
            let Some(block) = self.header_block(raw)? else { return Ok(None) };
            let header = header::parse(&block)?;
            match header.flag {
                b'x' => pending.pax = pax::parse(&self.special(&header, raw)?)?,
                b'L' => pending.long_name = header::string(&self.special(&header, raw)?).to_vec(),
                b'K' => pending.long_link = header::string(&self.special(&header, raw)?).to_vec(),
                b'g' => {
                    pax::parse(&self.special(&header, raw)?)?;
                    return Ok(Some(global(header)));
                }
                _ => return self.entry(header, &block, pending, raw).map(Some),
            }
        }
    }

    /// The next contents of the current entry; empty at their end.
    pub fn contents(&mut self) -> Result<&[u8]> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        let buffer = fill(&mut self.input)?;
        if buffer.is_empty() {
            return Err(truncated());
        }
        let n = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        Ok(&buffer[..n])
    }

    /// Marks the first `n` of what [`Reader::contents`] returned as read.
    pub fn consume(&mut self, n: usize) {
        self.input.consume(n);
        self.remaining = self.remaining.saturating_sub(n as u64);
    }

    /// After the end: whatever follows, to the last byte of the stream.
    pub fn rest(&mut self, raw: &mut impl RawSink) -> Result<()> {
        loop {
            let buffer = fill(&mut self.input)?;
            if buffer.is_empty() {
                return Ok(());
            }
            let n = buffer.len();
            raw.raw(buffer)?;
            self.input.consume(n);
        }
    }

    /// The stream, at whatever it is at.
    pub fn into_inner(self) -> R {
        self.input
    }

    /// Passes unread contents and the padding to `raw`.
    fn skip(&mut self, raw: &mut impl RawSink) -> Result<()> {
        while self.remaining > 0 {
            let n = {
                let bytes = self.contents()?;
                raw.raw(bytes)?;
                bytes.len()
            };
            self.consume(n);
        }
        let mut padding = [0; 512];
        let padding = &mut padding[..std::mem::take(&mut self.padding)];
        // A stream may end without the last padding, as Go allows.
        let n = self.read_some(padding)?;
        raw.raw(&padding[..n])
    }

    /// The next block that is not zeros, or `None`: at the end of the stream, or after two blocks of zeros.
    fn header_block(&mut self, raw: &mut impl RawSink) -> Result<Option<header::Block>> {
        let mut block = [0; 512];
        for zeros in 0..2 {
            match self.read_some(&mut block)? {
                0 => return Ok(None),
                512 => raw.raw(&block)?,
                _ => return Err(truncated()),
            }
            let is_zeros = block == [0; 512];
            if !is_zeros && zeros == 0 {
                return Ok(Some(block));
            }
            if !is_zeros {
                return Err(Error::corrupt("invalid tar header: a single block of zeros"));
            }
        }
        Ok(None)
    }

    /// The contents of an extended header, and the padding after them.
    fn special(&mut self, header: &header::Header, raw: &mut impl RawSink) -> Result<Vec<u8>> {
        self.start(header.size)?;
        if self.remaining > self.limits.max_header {
            return Err(Error::corrupt(format!("a tar header of {} bytes is too large", self.remaining)));
        }
        let mut data = Vec::with_capacity(usize::try_from(self.remaining).unwrap_or(0).min(1 << 16));
        while self.remaining > 0 {
            let bytes = self.contents()?;
            let n = bytes.len();
            data.extend_from_slice(bytes);
            self.consume(n);
        }
        raw.raw(&data)?;
        Ok(data)
    }

    fn start(&mut self, size: i64) -> Result<()> {
        self.remaining =
            u64::try_from(size).map_err(|_| Error::corrupt("invalid tar header: a negative size"))?;
        self.padding = (512 - self.remaining % 512) as usize % 512;
        Ok(())
    }

    /// Merges what the extended headers say; a GNU long name wins over a PAX path.
    fn entry(
        &mut self,
        header: header::Header,
        block: &header::Block,
        pending: Pending,
        raw: &mut impl RawSink,
    ) -> Result<Entry> {
        let Pending { pax, long_name, long_link } = pending;
        let pick =
            |candidates: [Vec<u8>; 3]| candidates.into_iter().find(|c| !c.is_empty()).unwrap_or_default();
        let name = pick([long_name, pax.path, header.name]);
        let kind = kind(header.flag, &name)?;
        let stored = pax.size.unwrap_or(header.size);
        let has_contents = kind == Kind::File;
        if stored < 0 {
            return Err(Error::corrupt("invalid tar header: a negative size"));
        }
        self.start(if has_contents { stored } else { 0 })?;
        let mut entry = Entry {
            kind,
            name,
            link: pick([long_link, pax.link, header.link]),
            mode: (header.mode & 0o7777) as u32,
            full_mode: header.mode,
            uid: pax.uid.unwrap_or(header.uid),
            gid: pax.gid.unwrap_or(header.gid),
            mtime: pax.mtime.unwrap_or(Time { seconds: header.mtime, nanoseconds: 0 }),
            atime: pax.atime,
            ctime: pax.ctime,
            odd: header.gnu_times || (!has_contents && stored != 0),
            device: header.device,
            xattrs: pax.xattrs,
            size: self.remaining,
            sparse: None,
        };
        if header.flag == b'S' {
            if !header.gnu {
                return Err(Error::corrupt("invalid tar header: a sparse file of another format"));
            }
            self.gnu_sparse(block, &mut entry, raw)?;
        } else {
            self.pax_sparse(&pax.sparse, &mut entry, raw)?;
        }
        for path in [&entry.name, &entry.link] {
            if path.len() > self.limits.max_path {
                return Err(Error::corrupt(format!("a path of {} bytes is too long", path.len())));
            }
        }
        Ok(entry)
    }

    /// Fills `buffer`, or as much of it as the stream still has.
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            let bytes = fill(&mut self.input)?;
            if bytes.is_empty() {
                break;
            }
            let n = bytes.len().min(buffer.len() - done);
            buffer[done..done + n].copy_from_slice(&bytes[..n]);
            self.input.consume(n);
            done += n;
        }
        Ok(done)
    }
}

impl<R: BufRead + Seek> Reader<R> {
    /// Where the contents of the current entry begin in the stream. They are passed over unread, and may be missing.
    pub fn pass_over(&mut self) -> Result<u64> {
        let failed = |e| Error::os("seek in the archive", e);
        let at = self.input.stream_position().map_err(failed)?;
        let left = i64::try_from(self.remaining)
            .map_err(|_| Error::corrupt("invalid tar header: a size that no file has"))?;
        self.input.seek_relative(left).map_err(failed)?;
        self.remaining = 0;
        Ok(at)
    }
}

fn kind(flag: u8, name: &[u8]) -> Result<Kind> {
    Ok(match flag {
        // Before POSIX, a directory was told by its slash.
        0 if name.ends_with(b"/") => Kind::Directory,
        // '7', contiguous, is a file to everybody.
        0 | b'0' | b'7' | b'S' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::CharDevice,
        b'4' => Kind::BlockDevice,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        _ => {
            let name = String::from_utf8_lossy(name);
            return Err(Error::corrupt(format!("unhandled tar header type {flag} of {name:?}")));
        }
    })
}

fn global(header: header::Header) -> Entry {
    Entry {
        kind: Kind::Global,
        name: header.name,
        link: Vec::new(),
        mode: 0,
        full_mode: 0,
        uid: 0,
        gid: 0,
        mtime: Time::default(),
        atime: None,
        ctime: None,
        odd: false,
        device: (0, 0),
        xattrs: Vec::new(),
        size: 0,
        sparse: None,
    }
}

/// `fill_buf`, with a failure of ours inside the I/O error brought back.
fn fill<R: BufRead>(input: &mut R) -> Result<&[u8]> {
    // Called once more on success: a loop around a returned borrow does not pass the borrow checker.
    while let Err(e) = input.fill_buf() {
        if e.kind() != io::ErrorKind::Interrupted {
            return Err(super::from_io(e));
        }
    }
    input.fill_buf().map_err(super::from_io)
}
