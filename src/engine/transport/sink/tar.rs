//! Files in a tar: at several places of a file at once, or one after the other into a pipe.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::super::files::unnamed;
use super::{Order, lock};
use crate::engine::registry::Uploaded;
use crate::engine::store::diff::tar::Kind;
use crate::engine::store::diff::tar::write::Header;
use crate::engine::{Context, Digest, Error, Result};

const BLOCK: u64 = 512;

/// A tar that is written.
pub(super) struct Tar {
    pub(super) what: String,
    file: File,
    /// The file beside its place, and its place.
    pub(super) pending: Option<(PathBuf, PathBuf)>,
    /// Whether it can be written anywhere.
    seekable: bool,
    temporary: PathBuf,
    state: Mutex<TarState>,
}

#[derive(Default)]
struct TarState {
    /// Where the next file begins.
    end: u64,
    names: HashSet<String>,
}

/// Writes from a place in a file on, whoever else writes elsewhere in it.
struct At<'a> {
    file: &'a File,
    at: u64,
}

impl Write for At<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write_at(bytes, self.at)?;
        self.at += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Tar {
    /// From where the file stands.
    pub(super) fn new(mut file: File, what: String, temporary: &Path) -> Result<Self> {
        let meta = file.metadata().map_err(|e| Error::os("stat the archive", e))?;
        let flags = rustix::fs::fcntl_getfl(&file).map_err(|e| Error::os("fcntl", e))?;
        let appending = flags.contains(rustix::fs::OFlags::APPEND);
        let position = if meta.is_file() && !appending { file.stream_position().ok() } else { None };
        Ok(Self {
            what,
            file,
            pending: None,
            seekable: position.is_some(),
            temporary: temporary.to_owned(),
            state: Mutex::new(TarState { end: position.unwrap_or(0), names: HashSet::new() }),
        })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.state().names.contains(name)
    }

    fn state(&self) -> MutexGuard<'_, TarState> {
        lock(&self.state)
    }

    pub(super) fn put(&self, order: &Order<'_>, size: Option<u64>) -> Result<Uploaded> {
        let written = match (self.seekable, size) {
            (true, Some(size)) => self.put_in_place(order, size),
            (true, None) => self.put_last(order),
            (false, Some(size)) if order.expected.is_some() => self.stream(order, size),
            (false, _) => self.spool(order),
        };
        let written = written.with_context(|| format!("write {}", self.what))?;
        Ok(written)
    }

    /// Takes a place for the file and writes it there.
    fn put_in_place(&self, order: &Order<'_>, size: u64) -> Result<Uploaded> {
        let before = header_of(order, size);
        let at = {
            let mut state = self.state();
            self.parents(&mut state, order)?;
            let at = state.end;
            state.end += before + size.next_multiple_of(BLOCK);
            at
        };
        let written = order.write(At { file: &self.file, at: at + before }, Some(size))?;
        self.head(order, &written, at, before)?;
        Ok(written)
    }

    /// Writes the file at the end of the archive, where nobody else can write meanwhile.
    fn put_last(&self, order: &Order<'_>) -> Result<Uploaded> {
        let mut state = self.state();
        self.parents(&mut state, order)?;
        let at = state.end;
        // A size that needs more than a block is found out too late to make room for it.
        let before = header_of(order, 0);
        let written = order.write(At { file: &self.file, at: at + before }, None)?;
        state.end += before + written.size.next_multiple_of(BLOCK);
        drop(state);
        self.head(order, &written, at, before)?;
        Ok(written)
    }

    /// Writes the directories above a file: an ordinary user's skopeo fails at those that it must think of itself.
    fn parents(&self, state: &mut TarState, order: &Order<'_>) -> Result<()> {
        let any = Digest::sha256(b"");
        let name = (order.naming)(order.expected.unwrap_or(&any));
        for (at, _) in name.match_indices('/') {
            let directory = format!("{}/", &name[..at]);
            if state.names.contains(&directory) {
                continue;
            }
            let header = Header { kind: Kind::Directory, mode: 0o755, ..Header::file(directory.as_bytes()) };
            let blocks = header.blocks();
            if self.seekable {
                self.file.write_all_at(&blocks, state.end).map_err(|e| Error::os("write", e))?;
                state.end += blocks.len() as u64;
            } else {
                self.send(&blocks)?;
            }
            state.names.insert(directory);
        }
        Ok(())
    }

    fn head(&self, order: &Order<'_>, written: &Uploaded, at: u64, room: u64) -> Result<()> {
        let name = (order.naming)(&written.digest);
        let header = blocks(&name, written.size);
        if header.len() as u64 != room {
            return Err(Error::unsupported(format!(
                "a compressed layer of {} bytes is too large for an archive",
                written.size
            )));
        }
        self.file.write_all_at(&header, at).map_err(|e| Error::os("write", e))?;
        self.state().names.insert(name);
        Ok(())
    }

    /// Into the pipe while it is made.
    fn stream(&self, order: &Order<'_>, size: u64) -> Result<Uploaded> {
        let mut state = self.state();
        let name = order.expected.map(order.naming).unwrap_or_default();
        self.parents(&mut state, order)?;
        self.send(&blocks(&name, size))?;
        let written = order.write(&self.file, Some(size))?;
        self.pad(size)?;
        state.names.insert(name);
        Ok(written)
    }

    /// Into the pipe once it is complete.
    fn spool(&self, order: &Order<'_>) -> Result<Uploaded> {
        let mut file = unnamed(&self.temporary)?;
        let written = order.write(&file, None)?;
        let name = (order.naming)(&written.digest);
        file.seek(SeekFrom::Start(0)).map_err(|e| Error::os("seek", e))?;
        let mut state = self.state();
        self.parents(&mut state, order)?;
        self.send(&blocks(&name, written.size))?;
        io::copy(&mut file, &mut &self.file).map_err(|e| Error::os("write", e))?;
        self.pad(written.size)?;
        state.names.insert(name);
        Ok(written)
    }

    fn send(&self, bytes: &[u8]) -> Result<()> {
        (&self.file).write_all(bytes).map_err(|e| Error::os("write", e))
    }

    fn pad(&self, size: u64) -> Result<()> {
        let count = usize::try_from(size.next_multiple_of(BLOCK) - size).unwrap_or(0);
        self.send(&[0; BLOCK as usize][..count])
    }

    pub(super) fn finish(&self) -> Result<()> {
        let failed = |e| Error::os(format!("write {}", self.what), e);
        let end = self.state().end;
        if self.seekable {
            let trailer = [0; 2 * BLOCK as usize];
            self.file.write_all_at(&trailer, end).map_err(failed)?;
            let mut file = &self.file;
            file.seek(SeekFrom::Start(end + 2 * BLOCK)).map_err(failed)?;
        } else {
            self.send(&[0; 2 * BLOCK as usize])?;
        }
        if let Some((beside, target)) = &self.pending {
            fs::rename(beside, target).map_err(|e| Error::io("rename to", target, e))?;
        }
        Ok(())
    }
}

/// Bytes of a file's header, whose name is not known yet if nothing is expected.
fn header_of(order: &Order<'_>, size: u64) -> u64 {
    let any = Digest::sha256(b"");
    blocks(&(order.naming)(order.expected.unwrap_or(&any)), size).len() as u64
}

fn blocks(name: &str, size: u64) -> Vec<u8> {
    Header { mode: 0o644, size, ..Header::file(name.as_bytes()) }.blocks()
}
