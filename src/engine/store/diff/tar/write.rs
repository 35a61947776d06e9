//! Writing a tar as Go's archive/tar writes it: ustar, and PAX records before what does not fit into that.
//!
//! A header that fits is one block. Longer names, IDs above 2,097,151, sizes from 8 GiB, times before 1970 or with
//! nanoseconds, and extended attributes go into an extended header (POSIX.1-2001 pax, "pax Header Block"), records
//! sorted by key. Contents pass through one buffer, into which they are read from the file itself.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::engine::{Error, Result};

use super::{Kind, Region, Time};

/// Bytes collected before they are written.
const BUFFER: usize = 512 << 10;

const BLOCK: usize = 512;

/// What is said of one entry.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its path, a directory's with a slash at the end.
    pub name: &'a [u8],
    /// A link's target.
    pub link: &'a [u8],
    /// Permissions with set-user-ID, set-group-ID and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of contents that follow.
    pub size: u64,
    /// Modification; nanoseconds cost a PAX record.
    pub mtime: Time,
    /// Major and minor number.
    pub device: (u32, u32),
    /// Extended attributes, values binary.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
    /// Of a file with holes: what `size` counts, and the whole file's size (GNU tar's manual, "Storing Sparse Files", PAX 0.1).
    pub sparse: Option<(&'a [Region], u64)>,
}

impl<'a> Header<'a> {
    /// An empty file, root's, of 1970.
    pub fn file(name: &'a [u8]) -> Self {
        Self {
            kind: Kind::File,
            name,
            link: b"",
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: Time::default(),
            device: (0, 0),
            xattrs: &[],
            sparse: None,
        }
    }

    /// The header as it stands before the contents: whole blocks.
    pub fn blocks(&self) -> Vec<u8> {
        let mut block = [0; BLOCK];
        let records = encode(self, &mut block);
        let mut blocks = Vec::with_capacity(BLOCK);
        if !records.is_empty() {
            let records = pax_records(&records);
            let name = pax_name(self.name);
            let extended = Header { mode: 0o644, size: records.len() as u64, ..Header::file(&name) };
            let mut first = [0; BLOCK];
            encode(&extended, &mut first);
            first[156] = b'x';
            sum(&mut first);
            blocks.extend_from_slice(&first);
            blocks.extend_from_slice(&records);
            blocks.resize(blocks.len().next_multiple_of(BLOCK), 0);
        }
        blocks.extend_from_slice(&block);
        blocks
    }
}

/// Writes an archive.
pub struct Writer<W> {
    out: W,
    buffer: Vec<u8>,
    filled: usize,
}

impl<W: Write> Writer<W> {
    /// An archive's beginning.
    pub fn new(out: W) -> Self {
        Self { out, buffer: vec![0; BUFFER], filled: 0 }
    }

    /// Writes a header; [`Writer::contents`] or [`Writer::bytes`] must bring as many bytes as it promises.
    pub fn header(&mut self, header: &Header<'_>) -> Result<()> {
        self.bytes(&header.blocks())
    }

    /// Writes the contents of a file of `size` bytes and the padding behind them. Holes are not read. A file that
    /// became shorter is filled up with zeros, as GNU tar does; `false` then.
    ///
    /// # Errors
    /// The file cannot be read, or the archive not written.
    pub fn contents(&mut self, file: BorrowedFd<'_>, size: u64, sparse: bool) -> Result<bool> {
        let mut at = 0;
        let mut whole = true;
        while at < size {
            let (data, end) = if sparse { region(file, at, size) } else { (at, size) };
            self.zeros(data - at)?;
            at = data;
            let read = self.copy(file, at, end)?;
            whole &= read == end;
            at = read;
            if at < end {
                self.zeros(size - at)?;
                at = size;
            }
        }
        self.pad(size)?;
        if sparse {
            // A hole at the end looks like the end.
            let stat = rustix::fs::fstat(file).map_err(|e| Error::os("stat", e))?;
            whole &= u64::try_from(stat.st_size).is_ok_and(|there| there >= size);
        }
        Ok(whole)
    }

    /// Writes the data of a file with holes, and the padding behind them. As with [`Writer::contents`], what is missing becomes zeros.
    ///
    /// # Errors
    /// The file cannot be read, or the archive not written.
    pub fn regions(&mut self, file: BorrowedFd<'_>, regions: &[Region]) -> Result<bool> {
        let (mut stored, mut whole) = (0, true);
        for Region { offset, length } in regions {
            let read = self.copy(file, *offset, offset + length)?;
            whole &= read == offset + length;
            self.zeros(offset + length - read)?;
            stored += length;
        }
        self.pad(stored)?;
        Ok(whole)
    }

    /// Copies the bytes from `at` to `end`; where it stopped.
    fn copy(&mut self, file: BorrowedFd<'_>, mut at: u64, end: u64) -> Result<u64> {
        while at < end {
            if self.filled == BUFFER {
                self.flush()?;
            }
            let room = usize::try_from(end - at).unwrap_or(usize::MAX).min(BUFFER - self.filled);
            match rustix::io::pread(file, &mut self.buffer[self.filled..self.filled + room], at) {
                Ok(0) => break,
                Ok(n) => {
                    self.filled += n;
                    at += n as u64;
                }
                Err(Errno::INTR) => {}
                Err(e) => return Err(Error::os("read", e)),
            }
        }
        Ok(at)
    }

    /// Writes bytes as they are.
    pub fn bytes(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            if self.filled == BUFFER {
                self.flush()?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(BUFFER - self.filled));
            self.buffer[self.filled..self.filled + now.len()].copy_from_slice(now);
            self.filled += now.len();
            bytes = later;
        }
        Ok(())
    }

    fn zeros(&mut self, mut count: u64) -> Result<()> {
        while count > 0 {
            if self.filled == BUFFER {
                self.flush()?;
            }
            let n = usize::try_from(count).unwrap_or(usize::MAX).min(BUFFER - self.filled);
            self.buffer[self.filled..self.filled + n].fill(0);
            self.filled += n;
            count -= n as u64;
        }
        Ok(())
    }

    fn pad(&mut self, size: u64) -> Result<()> {
        self.zeros(size.next_multiple_of(BLOCK as u64) - size)
    }

    /// Ends the archive with two blocks of zeros and hands back where it was written to.
    pub fn finish(mut self) -> Result<W> {
        self.zeros(2 * BLOCK as u64)?;
        self.flush()?;
        self.out.flush().map_err(written)?;
        Ok(self.out)
    }

    fn flush(&mut self) -> Result<()> {
        let filled = std::mem::take(&mut self.filled);
        self.out.write_all(&self.buffer[..filled]).map_err(written)
    }
}

fn written(e: io::Error) -> Error {
    match e.downcast::<Error>() {
        Ok(ours) => ours,
        Err(e) => Error::os("write the archive", e),
    }
}

/// Regions that an archive may have: the map has to fit into an extended header.
const MOST_REGIONS: usize = 20_000;

/// Where a file of `size` bytes has data; `None`: everywhere, or in too many places.
pub fn data_of(file: BorrowedFd<'_>, size: u64) -> Option<Vec<Region>> {
    let (mut regions, mut at) = (Vec::new(), 0);
    while at < size {
        let (data, end) = region(file, at, size);
        if data < end {
            regions.push(Region { offset: data, length: end - data });
        }
        if (data, end) == (0, size) || regions.len() > MOST_REGIONS {
            return None;
        }
        at = end.max(data);
    }
    if regions.is_empty() {
        // A map must not be empty.
        regions.push(Region { offset: size, length: 0 });
    }
    Some(regions)
}

/// The next data at or after `at`; both ends are `size` when there are none. A file system without holes has data
/// only.
fn region(file: BorrowedFd<'_>, at: u64, size: u64) -> (u64, u64) {
    match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(data) => {
            let end = rustix::fs::seek(file, SeekFrom::Hole(data)).unwrap_or(size);
            (data.min(size), end.clamp(data.min(size), size))
        }
        Err(Errno::NXIO) => (size, size),
        Err(_) => (at, size),
    }
}

/// Fills the block; what did not fit comes back as PAX records.
fn encode(header: &Header<'_>, block: &mut [u8; BLOCK]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut records = BTreeMap::new();
    let mut record = |key: &str, value: Vec<u8>| drop(records.insert(key.as_bytes().to_vec(), value));
    if !put_name(block, header.name) {
        record("path", header.name.to_vec());
    }
    let link = header.link;
    put(&mut block[157..257], link);
    if link.len() > 100 || !link.is_ascii() {
        record("linkpath", link.to_vec());
    }
    octal(&mut block[100..108], u64::from(header.mode));
    for (at, key, id) in [(108, "uid", header.uid), (116, "gid", header.gid)] {
        if !octal(&mut block[at..at + 8], u64::from(id)) {
            record(key, id.to_string().into_bytes());
        }
    }
    if !octal(&mut block[124..136], header.size) {
        record("size", header.size.to_string().into_bytes());
    }
    let time = header.mtime;
    let fits = u64::try_from(time.seconds).is_ok_and(|seconds| octal(&mut block[136..148], seconds));
    if !fits || time.nanoseconds != 0 {
        record("mtime", time_text(time).into_bytes());
    }
    block[156] = flag(header.kind);
    block[257..265].copy_from_slice(b"ustar\x0000");
    if matches!(header.kind, Kind::CharDevice | Kind::BlockDevice) {
        octal(&mut block[329..337], u64::from(header.device.0));
        octal(&mut block[337..345], u64::from(header.device.1));
    }
    if let Some((regions, size)) = header.sparse {
        let map: Vec<String> = regions.iter().map(|r| format!("{},{}", r.offset, r.length)).collect();
        record("GNU.sparse.size", size.to_string().into_bytes());
        record("GNU.sparse.numblocks", regions.len().to_string().into_bytes());
        record("GNU.sparse.map", map.join(",").into_bytes());
    }
    for (key, value) in header.xattrs {
        records.insert([b"SCHILY.xattr.", &key[..]].concat(), value.clone());
    }
    sum(block);
    records
}

fn flag(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::CharDevice => b'3',
        Kind::BlockDevice => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
        Kind::Global => b'g',
    }
}

/// `false`: it does not fit, and the block has its beginning.
fn put_name(block: &mut [u8; BLOCK], name: &[u8]) -> bool {
    if name.is_ascii() && name.len() > 100 {
        // A prefix ends before a slash that is not the last byte.
        let head = &name[..name.len().min(156)];
        if let Some(slash) = head.iter().rposition(|&b| b == b'/')
            && slash > 0
            && slash + 1 < name.len()
            && name.len() - slash - 1 <= 100
        {
            put(&mut block[..100], &name[slash + 1..]);
            put(&mut block[345..500], &name[..slash]);
            return true;
        }
    }
    put(&mut block[..100], name);
    name.len() <= 100 && name.is_ascii()
}

fn put(field: &mut [u8], text: &[u8]) {
    let n = text.len().min(field.len());
    field[..n].copy_from_slice(&text[..n]);
}

/// Digits up to a NUL at the end; `false`, and zero, when there are too many.
fn octal(field: &mut [u8], value: u64) -> bool {
    let digits = field.len() - 1;
    let fits = value < 1 << (3 * digits);
    let text = format!("{:0digits$o}", if fits { value } else { 0 });
    field[..digits].copy_from_slice(text.as_bytes());
    fits
}

fn sum(block: &mut [u8; BLOCK]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&b| u32::from(b)).sum();
    octal(&mut block[148..155], u64::from(sum));
}

/// Seconds with as many decimals as are needed, the whole negative before 1970.
fn time_text(time: Time) -> String {
    let (sign, seconds, nanoseconds) = match (time.seconds < 0, time.nanoseconds) {
        (true, 0) => ("-", time.seconds.unsigned_abs(), 0),
        (true, n) => ("-", (time.seconds + 1).unsigned_abs(), 1_000_000_000 - n),
        (false, n) => ("", time.seconds.unsigned_abs(), n),
    };
    if nanoseconds == 0 {
        return format!("{sign}{seconds}");
    }
    let text = format!("{sign}{seconds}.{nanoseconds:09}");
    text.trim_end_matches('0').to_owned()
}

/// `LENGTH KEY=VALUE\n`; the length counts itself.
fn pax_records(records: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + rest.to_string().len();
        length = rest + length.to_string().len();
        out.extend_from_slice(format!("{length} ").as_bytes());
        out.extend_from_slice(key);
        out.push(b'=');
        out.extend_from_slice(value);
        out.push(b'\n');
    }
    out
}

/// Go's name for the extended header: `DIRECTORY/PaxHeaders.0/NAME`, cut where it does not fit.
fn pax_name(name: &[u8]) -> Vec<u8> {
    let name = name.strip_suffix(b"/").unwrap_or(name);
    let (directory, base) = super::super::parents::split(name);
    let mut out = directory.to_vec();
    if !out.is_empty() {
        out.push(b'/');
    }
    out.extend_from_slice(b"PaxHeaders.0/");
    out.extend_from_slice(base);
    for byte in &mut out {
        if !byte.is_ascii() {
            *byte = b'_';
        }
    }
    out.truncate(100);
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::super::Limits;
    use super::super::{RawSink, Reader};
    use super::*;

    struct Nowhere;

    impl RawSink for Nowhere {
        fn raw(&mut self, _: &[u8]) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let long = "directory/".repeat(30);
        let split = format!("{}/{}", "d".repeat(150), "n".repeat(99));
        let xattrs = [(b"user.x".to_vec(), b"a\n=\0b".to_vec()), (b"user.long".to_vec(), vec![b'y'; 990])];
        let time = |seconds, nanoseconds| Time { seconds, nanoseconds };
        let headers = [
            Header { mode: 0o4755, uid: 1000, mtime: time(1_700_000_000, 0), ..Header::file(b"a/b") },
            Header { kind: Kind::Directory, mode: 0o1777, ..Header::file(b"tmp/") },
            Header { uid: u32::MAX - 1, gid: 2_097_152, ..Header::file(b"ids") },
            Header { mtime: time(-2, 750_000_000), ..Header::file(b"1969") },
            Header { mtime: time(5, 120_000_000), ..Header::file(b"fraction") },
            Header { mtime: time(1 << 40, 0), ..Header::file(b"far") },
            Header { kind: Kind::Directory, ..Header::file(long.as_bytes()) },
            Header { ..Header::file(split.as_bytes()) },
            Header { kind: Kind::Symlink, link: long.as_bytes(), ..Header::file(b"\xff\xe4") },
            Header { kind: Kind::HardLink, link: b"a/b", ..Header::file("ü".as_bytes()) },
            Header { kind: Kind::CharDevice, device: (4095, 1_048_575), ..Header::file(b"dev") },
            Header { kind: Kind::Fifo, xattrs: &xattrs, ..Header::file(b"fifo") },
        ];
        let mut writer = Writer::new(Vec::new());
        for header in &headers {
            writer.header(header).unwrap();
        }
        let bytes = writer.finish().unwrap();
        let mut reader = Reader::new(&bytes[..], &Limits::default());
        for header in &headers {
            let entry = reader.next(&mut Nowhere).unwrap().unwrap();
            assert_eq!(entry.name, header.name);
            assert_eq!((entry.kind, &entry.link[..], entry.mode), (header.kind, header.link, header.mode));
            assert_eq!((entry.uid, entry.gid), (i64::from(header.uid), i64::from(header.gid)));
            assert_eq!(entry.mtime, header.mtime, "{:?}", String::from_utf8_lossy(header.name));
            assert_eq!(entry.device, (i64::from(header.device.0), i64::from(header.device.1)));
            let mut wanted = header.xattrs.to_vec();
            wanted.sort();
            assert_eq!(entry.xattrs, wanted);
        }
        assert!(reader.next(&mut Nowhere).unwrap().is_none());
        // The long name that ustar's prefix takes costs no record.
        assert_eq!(encode(&headers[7], &mut [0; BLOCK]).len(), 0);
    }

    #[test]
    fn lengths_count_themselves() {
        for n in [1, 90, 95, 96, 97, 985, 990, 995, 9990] {
            let records = BTreeMap::from([(b"k".to_vec(), vec![b'v'; n])]);
            let text = pax_records(&records);
            let length: usize = String::from_utf8_lossy(&text).split(' ').next().unwrap().parse().unwrap();
            assert_eq!(length, text.len(), "{n}");
        }
    }

    #[test]
    fn holes_are_zeros_and_a_short_file_is_filled_up() {
        use std::os::fd::AsFd;
        let file = tempfile::tempfile().unwrap();
        file.set_len(3 << 20).unwrap();
        rustix::io::pwrite(&file, b"data", 1 << 20).unwrap();
        for (size, whole) in [(3 << 20, true), (4 << 20, false)] {
            let mut writer = Writer::new(Vec::new());
            assert_eq!(writer.contents(file.as_fd(), size, true).unwrap(), whole);
            let bytes = writer.finish().unwrap();
            assert_eq!(bytes.len() as u64, size + 1024);
            let at = bytes.iter().position(|&b| b != 0).unwrap();
            assert_eq!((at, &bytes[at..at + 4]), (1 << 20, &b"data"[..]));
            assert!(bytes[at + 4..].iter().all(|&b| b == 0));
        }
    }
}
