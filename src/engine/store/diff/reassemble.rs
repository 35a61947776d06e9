//! The tar again, from what was kept of it and the files.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};

use crate::engine::host::rooted;
use crate::engine::{Context, Error, ErrorKind, Result};

use super::crc64::Crc64;
use super::parents::split;
use super::path;
use super::tarsplit::{Item, Items};

/// Bytes read from a file at once.
const BUFFER: usize = 256 << 10;

/// Writes the very tar that was once applied, from its tar-split and the directory.
///
/// # Errors
/// [`ErrorKind::Corrupt`] when a file is not what it was when the layer was applied, or the tar-split is malformed.
pub fn reassemble(tar_split_gz: impl Read, dir: BorrowedFd<'_>, mut out: impl Write) -> Result<()> {
    let mut items = Items::new(tar_split_gz);
    let mut files = Files { root: dir, parent: None, buffer: vec![0; BUFFER] };
    while let Some(item) = items.next()? {
        match item {
            Item::Segment(bytes) => out.write_all(&bytes).map_err(|e| Error::os("write the layer", e))?,
            Item::File { size: 0, .. } => {}
            Item::File { name, size, crc } => files
                .copy(&name, size, &crc, &mut out)
                .with_context(|| format!("read {:?} of the layer", String::from_utf8_lossy(&name)))?,
        }
    }
    out.flush().map_err(|e| Error::os("write the layer", e))
}

struct Files<'a> {
    root: BorrowedFd<'a>,
    /// The directory of the last file: the next one is probably in it as well.
    parent: Option<(Vec<u8>, rustix::fd::OwnedFd)>,
    buffer: Vec<u8>,
}

impl Files<'_> {
    fn copy(&mut self, name: &[u8], size: u64, crc: &[u8], out: &mut impl Write) -> Result<()> {
        let changed =
            |why: &str| Error::corrupt(format!("the file's {why} changed since the layer was made"));
        let file = self.open(name)?;
        let stat = rustix::fs::fstat(&file).map_err(|e| Error::os("stat", e))?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(changed("type"));
        }
        if u64::try_from(stat.st_size) != Ok(size) {
            return Err(changed("size"));
        }
        let mut file = std::fs::File::from(file);
        let (mut sum, mut left) = (Crc64::new(), size);
        while left > 0 {
            let want = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let n = file.read(&mut self.buffer[..want]).map_err(|e| Error::os("read", e))?;
            if n == 0 {
                return Err(changed("size"));
            }
            sum.update(&self.buffer[..n]);
            out.write_all(&self.buffer[..n]).map_err(|e| Error::os("write the layer", e))?;
            left -= n as u64;
        }
        if sum.sum() != crc { Err(changed("content")) } else { Ok(()) }
    }

    /// Opens a path as it was resolved when it was made: parents' links inside the root, none in the last place,
    /// and nothing that could block.
    fn open(&mut self, name: &[u8]) -> Result<rustix::fd::OwnedFd> {
        let path = path::clean(name)?;
        let (parent, name) = split(&path);
        if name.is_empty() {
            return Err(Error::new(ErrorKind::Corrupt, "the layer's root is no file"));
        }
        let known = self.parent.as_ref().is_some_and(|(path, _)| path == parent);
        if !known {
            let shown = Path::new(OsStr::from_bytes(parent));
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let fd = rooted::open_in_root(self.root, shown, flags, Mode::empty())?;
            self.parent = Some((parent.to_vec(), fd));
        }
        let at = self.parent.as_ref().map_or(self.root, |(_, fd)| fd.as_fd());
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(at, name, flags, Mode::empty()).map_err(|e| Error::os("open", e))
    }
}
