//! Writing tar archives entry by entry, sound ones and others.

use std::io::Write;

/// What an entry is.
#[derive(Clone, Debug)]
pub enum Kind {
    File(Vec<u8>),
    Directory,
    Symlink(Vec<u8>),
    Hardlink(Vec<u8>),
    Char(u32, u32),
    Block(u32, u32),
    Fifo,
}

/// One entry. Names are bytes, written as they are given.
#[derive(Clone, Debug)]
pub struct Entry {
    pub path: Vec<u8>,
    pub kind: Kind,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    /// Seconds and nanoseconds since 1970.
    pub mtime: (u64, u32),
    pub xattrs: Vec<(String, Vec<u8>)>,
}

impl Entry {
    pub fn new(path: impl AsRef<[u8]>, kind: Kind) -> Entry {
        let mode = match kind {
            Kind::Directory => 0o755,
            Kind::Symlink(_) => 0o777,
            _ => 0o644,
        };
        // Long ago and always the same, so that digests are.
        let mtime = (1_700_000_000, 0);
        Entry { path: path.as_ref().to_vec(), kind, mode, uid: 0, gid: 0, mtime, xattrs: Vec::new() }
    }

    pub fn file(path: impl AsRef<[u8]>, content: impl Into<Vec<u8>>) -> Entry {
        Entry::new(path, Kind::File(content.into()))
    }

    pub fn dir(path: impl AsRef<[u8]>) -> Entry {
        Entry::new(path, Kind::Directory)
    }

    pub fn symlink(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Entry {
        Entry::new(path, Kind::Symlink(target.as_ref().to_vec()))
    }

    pub fn hardlink(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Entry {
        Entry::new(path, Kind::Hardlink(target.as_ref().to_vec()))
    }

    /// The marker that hides `name` of the layers below.
    pub fn whiteout(directory: &str, name: &str) -> Entry {
        Entry::file(format!("{directory}/.wh.{name}"), "")
    }

    /// The marker that hides all of the layers below in this directory.
    pub fn opaque(directory: &str) -> Entry {
        Entry::file(format!("{directory}/.wh..wh..opq"), "")
    }

    pub fn mode(mut self, mode: u32) -> Entry {
        self.mode = mode;
        self
    }

    pub fn owner(mut self, uid: u64, gid: u64) -> Entry {
        (self.uid, self.gid) = (uid, gid);
        self
    }

    pub fn mtime(mut self, seconds: u64, nanoseconds: u32) -> Entry {
        self.mtime = (seconds, nanoseconds);
        self
    }

    pub fn xattr(mut self, name: &str, value: impl AsRef<[u8]>) -> Entry {
        self.xattrs.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }
}

/// An archive in memory, in the format of POSIX (ustar with extended headers where something does not fit).
#[derive(Clone, Debug, Default)]
pub struct Tarball {
    bytes: Vec<u8>,
}

impl Tarball {
    pub fn new() -> Tarball {
        Tarball::default()
    }

    pub fn of(entries: impl IntoIterator<Item = Entry>) -> Tarball {
        let mut tarball = Tarball::new();
        for entry in entries {
            tarball.add(&entry);
        }
        tarball
    }

    pub fn add(&mut self, entry: &Entry) {
        let (flag, link, device, content): (u8, &[u8], (u32, u32), &[u8]) = match &entry.kind {
            Kind::File(content) => (b'0', b"", (0, 0), content),
            Kind::Directory => (b'5', b"", (0, 0), b""),
            Kind::Symlink(target) => (b'2', target, (0, 0), b""),
            Kind::Hardlink(target) => (b'1', target, (0, 0), b""),
            Kind::Char(major, minor) => (b'3', b"", (*major, *minor), b""),
            Kind::Block(major, minor) => (b'4', b"", (*major, *minor), b""),
            Kind::Fifo => (b'6', b"", (0, 0), b""),
        };
        let mut records = Vec::new();
        let mut record = |key: &str, value: &[u8]| records.extend(pax_record(key, value));
        if entry.path.len() > 100 {
            record("path", &entry.path);
        }
        if link.len() > 100 {
            record("linkpath", link);
        }
        for (key, id) in [("uid", entry.uid), ("gid", entry.gid)] {
            if id > 0o777_7777 {
                record(key, id.to_string().as_bytes());
            }
        }
        if entry.mtime.1 > 0 {
            record("mtime", format!("{}.{:09}", entry.mtime.0, entry.mtime.1).as_bytes());
        }
        for (name, value) in &entry.xattrs {
            record(&format!("SCHILY.xattr.{name}"), value);
        }
        if !records.is_empty() {
            self.raw(&header(b"PaxHeaders/entry", b'x', entry, b"", (0, 0), records.len()), &records);
        }
        self.raw(&header(&entry.path, flag, entry, link, device, content.len()), content);
    }

    /// A header block and its content, padded, as they are: for archives that no builder would make.
    pub fn raw(&mut self, header: &[u8; 512], content: &[u8]) {
        self.bytes.extend(header);
        self.bytes.extend(content);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
    }

    /// The archive with its end marker.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.extend([0; 1024]);
        self.bytes
    }
}

fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    // The length counts its own digits.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + rest.to_string().len();
    if length.to_string().len() + rest > length {
        length += 1;
    }
    [length.to_string().as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat()
}

fn header(path: &[u8], flag: u8, entry: &Entry, link: &[u8], device: (u32, u32), size: usize) -> [u8; 512] {
    let mut block = [0_u8; 512];
    let mut text = |at: usize, width: usize, value: &[u8]| {
        let length = value.len().min(width);
        block[at..at + length].copy_from_slice(&value[..length]);
    };
    let octal = |width: usize, value: u64| format!("{value:0width$o}\0").into_bytes();
    text(0, 100, path);
    text(100, 8, &octal(7, entry.mode.into()));
    text(108, 8, &octal(7, entry.uid & 0o777_7777));
    text(116, 8, &octal(7, entry.gid & 0o777_7777));
    text(124, 12, &octal(11, size as u64));
    text(136, 12, &octal(11, entry.mtime.0));
    text(148, 8, b"        ");
    text(156, 1, &[flag]);
    text(157, 100, link);
    text(257, 8, b"ustar\x0000");
    text(329, 8, &octal(7, device.0.into()));
    text(337, 8, &octal(7, device.1.into()));
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Bytes that do not shrink, the same for the same seed.
pub fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// Compresses with gzip, the same on every machine.
pub fn gzip(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
