//! Where the files of an image are written: a directory, or a tar.
//!
//! A tar in a file is written at several places at once: a blob whose size is known gets its place, and the next one
//! begins behind it. In a pipe one file follows the other, and what has no size yet waits in a file without a name. What
//! is not finished is removed again.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::files::unnamed;
use crate::engine::digest::{Algorithm, Hasher};
use crate::engine::registry::{Content, Uploaded};
use crate::engine::store::diff::tar::Kind;
use crate::engine::store::diff::tar::write::Header;
use crate::engine::{Context, Digest, Error, Result};
use crate::failpoint;

/// Bytes collected before they are hashed and written.
const BUFFER: usize = 1 << 20;
const BLOCK: u64 = 512;

/// How a blob is called, by its digest.
pub type Naming<'a> = &'a (dyn Fn(&Digest) -> String + Sync);

/// The place. Dropped before [`Sink::finish`], what was written is removed.
pub struct Sink {
    place: Place,
    finished: AtomicBool,
}

enum Place {
    Directory(Tree),
    Tar(Box<Tar>),
}

struct Tree {
    path: PathBuf,
    /// What was not there before, the latest last.
    made: Mutex<Vec<PathBuf>>,
    number: AtomicU64,
}

struct Tar {
    what: String,
    file: File,
    /// The file beside its place, and its place.
    pending: Option<(PathBuf, PathBuf)>,
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

impl Sink {
    /// A directory, which is made if need be.
    pub fn directory(path: PathBuf) -> Result<Self> {
        let mut made = Vec::new();
        let missing: Vec<_> =
            path.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists()).collect();
        for directory in missing.into_iter().rev() {
            fs::create_dir(directory).map_err(|e| Error::io("mkdir", directory, e))?;
            made.push(directory.to_owned());
        }
        if !path.is_dir() {
            return Err(Error::invalid(format!("{} is not a directory", path.display())));
        }
        let tree = Tree { path, made: Mutex::new(made), number: AtomicU64::new(0) };
        Ok(Self { place: Place::Directory(tree), finished: AtomicBool::new(false) })
    }

    /// A tar in a new file that takes the place of `path` when it is finished. `temporary`: the directory for what must
    /// be written down first.
    pub fn tar(path: &Path, temporary: &Path) -> Result<Self> {
        if path.is_dir() {
            return Err(Error::invalid(format!("{} is a directory", path.display())));
        }
        // A link's target is what is replaced, as it would be if it were written to.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let beside = target.with_file_name(format!(".tmp-{name}-{}", std::process::id()));
        // It may hold what only its owner may read.
        let mut options = File::options();
        let made = options.read(true).write(true).create_new(true).mode(0o600).open(&beside);
        let file = made.map_err(|e| Error::io("create", path, e))?;
        let mut sink = Self::tar_into(file, path.display().to_string(), temporary)?;
        if let Place::Tar(tar) = &mut sink.place {
            tar.pending = Some((beside, target));
        }
        Ok(sink)
    }

    /// A tar into an open file or pipe, from where it stands.
    pub fn tar_into(mut file: File, what: String, temporary: &Path) -> Result<Self> {
        let meta = file.metadata().map_err(|e| Error::os("stat the archive", e))?;
        let flags = rustix::fs::fcntl_getfl(&file).map_err(|e| Error::os("fcntl", e))?;
        let appending = flags.contains(rustix::fs::OFlags::APPEND);
        let position = if meta.is_file() && !appending { file.stream_position().ok() } else { None };
        let tar = Tar {
            what,
            file,
            pending: None,
            seekable: position.is_some(),
            temporary: temporary.to_owned(),
            state: Mutex::new(TarState { end: position.unwrap_or(0), names: HashSet::new() }),
        };
        Ok(Self { place: Place::Tar(Box::new(tar)), finished: AtomicBool::new(false) })
    }

    /// What it is, for messages.
    pub fn describe(&self) -> String {
        match &self.place {
            Place::Directory(tree) => tree.path.display().to_string(),
            Place::Tar(tar) => tar.what.clone(),
        }
    }

    /// Whether a file of this name and size is there.
    pub fn has(&self, name: &str, size: u64) -> bool {
        match &self.place {
            Place::Directory(tree) => {
                fs::symlink_metadata(tree.path.join(name)).is_ok_and(|m| m.is_file() && m.len() == size)
            }
            Place::Tar(tar) => tar.state().names.contains(name),
        }
    }

    /// Writes a file whose name is made of the content's digest. `expected`: its digest, if known before; `size`
    /// likewise.
    ///
    /// # Errors
    /// `Corrupt` if the content is not as expected, those of making it, those of writing.
    pub fn put(
        &self,
        naming: Naming<'_>,
        content: &dyn Content,
        expected: Option<&Digest>,
        size: Option<u64>,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<Uploaded> {
        let order = Order { naming, content, expected, sent };
        let written = match &self.place {
            Place::Directory(tree) => tree.put(&order),
            Place::Tar(tar) => tar.put(&order, size),
        }?;
        failpoint!("save.blob-written");
        Ok(written)
    }

    /// Writes a small file.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let naming = |_: &Digest| name.to_owned();
        let order = Order { naming: &naming, content: &Whole(bytes), expected: None, sent: &|_| {} };
        match &self.place {
            Place::Directory(tree) => tree.put(&order),
            Place::Tar(tar) => tar.put(&order, Some(bytes.len() as u64)),
        }?;
        Ok(())
    }

    /// Ends the archive and puts it in its place. What was written stays from now on.
    pub fn finish(&self) -> Result<()> {
        failpoint!("save.written");
        if let Place::Tar(tar) = &self.place {
            tar.finish()?;
        }
        self.finished.store(true, Ordering::Relaxed);
        failpoint!("save.finished");
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if self.finished.load(Ordering::Relaxed) {
            return;
        }
        match &self.place {
            Place::Directory(tree) => {
                for path in lock(&tree.made).iter().rev() {
                    // A directory goes only if nothing else is in it.
                    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
                }
            }
            Place::Tar(tar) => {
                if let Some((beside, _)) = &tar.pending {
                    let _ = fs::remove_file(beside);
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Whole<'a>(&'a [u8]);

impl Content for Whole<'_> {
    fn write_to(&self, out: &mut dyn Write) -> Result<()> {
        self.0.write_to(out)
    }
}

/// What is to be written.
struct Order<'a> {
    naming: Naming<'a>,
    content: &'a dyn Content,
    expected: Option<&'a Digest>,
    sent: &'a (dyn Fn(u64) + Sync),
}

impl Order<'_> {
    /// Writes the content to `out`; more than `most` bytes are an error.
    fn write(&self, out: impl Write, most: Option<u64>) -> Result<Uploaded> {
        let algorithm = self.expected.map_or(Algorithm::Sha256, Digest::algorithm);
        let measured = Measured { out, hasher: Hasher::new(algorithm), size: 0, most, sent: self.sent };
        let mut buffered = BufWriter::with_capacity(BUFFER, measured);
        self.content.write_to(&mut buffered)?;
        let measured = buffered.into_inner().map_err(|e| Error::os("write", e.into_error()))?;
        let (digest, size) = (measured.hasher.finish(), measured.size);
        if let Some(expected) = self.expected.filter(|expected| **expected != digest) {
            return Err(Error::corrupt(format!("blob {expected}: the content has the digest {digest}")));
        }
        if most.is_some_and(|most| size != most) {
            return Err(Error::corrupt(format!(
                "blob {digest} has {size} bytes, which is not what it should have"
            )));
        }
        Ok(Uploaded { digest, size })
    }
}

struct Measured<'a, W> {
    out: W,
    hasher: Hasher,
    size: u64,
    most: Option<u64>,
    sent: &'a (dyn Fn(u64) + Sync),
}

impl<W: Write> Write for Measured<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = self.size + bytes.len() as u64;
        if self.most.is_some_and(|most| size > most) {
            return Err(io::Error::other(Error::corrupt("a blob has more bytes than it should have")));
        }
        self.out.write_all(bytes)?;
        self.hasher.update(bytes);
        self.size = size;
        (self.sent)(size);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Tree {
    fn put(&self, order: &Order<'_>) -> Result<Uploaded> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let beside = self.path.join(format!(".tmp-{}-{number}", std::process::id()));
        let made = File::options().write(true).create_new(true).mode(0o644).open(&beside);
        let file = made.map_err(|e| Error::io("create", &beside, e))?;
        let placed = order.write(&file, None).and_then(|written| {
            let path = self.path.join((order.naming)(&written.digest));
            self.place(&beside, &path)?;
            Ok(written)
        });
        if placed.is_err() {
            let _ = fs::remove_file(&beside);
        }
        placed.with_context(|| format!("write to {}", self.path.display()))
    }

    fn place(&self, beside: &Path, path: &Path) -> Result<()> {
        let mut made = lock(&self.made);
        let parents: Vec<_> =
            path.ancestors().skip(1).take_while(|p| **p != *self.path && !p.exists()).collect();
        for parent in parents.into_iter().rev() {
            fs::create_dir(parent).map_err(|e| Error::io("mkdir", parent, e))?;
            made.push(parent.to_owned());
        }
        let existed = fs::symlink_metadata(path).is_ok();
        fs::rename(beside, path).map_err(|e| Error::io("rename to", path, e))?;
        if !existed {
            made.push(path.to_owned());
        }
        Ok(())
    }
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
    fn state(&self) -> MutexGuard<'_, TarState> {
        lock(&self.state)
    }

    fn put(&self, order: &Order<'_>, size: Option<u64>) -> Result<Uploaded> {
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

    fn finish(&self) -> Result<()> {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::files::{Files, Index};
    use super::*;
    use std::io::Read;

    fn naming(digest: &Digest) -> String {
        format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
    }

    fn fill(sink: &Sink) -> Vec<Uploaded> {
        let (long, short) = (vec![7; 3_000_000], vec![8; 100]);
        let known = Digest::of(Algorithm::Sha512, &long);
        let put = |bytes: &[u8], expected: Option<&Digest>, size: bool| {
            let size = size.then_some(bytes.len() as u64);
            sink.put(&naming, &Whole(bytes), expected, size, &|_| {}).unwrap()
        };
        let written = vec![put(&long, Some(&known), true), put(&short, None, false), put(&long, None, true)];
        sink.write("index.json", b"{}").unwrap();
        sink.finish().unwrap();
        written
    }

    #[test]
    fn files_and_pipes_get_the_same_archive() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.tar");
        let written = fill(&Sink::tar(&path, directory.path()).unwrap());
        let (mut reader, writer) = io::pipe().unwrap();
        let sink =
            Sink::tar_into(File::from(std::os::fd::OwnedFd::from(writer)), "pipe".into(), directory.path());
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        });
        fill(&sink.unwrap());
        let piped = reading.join().unwrap();
        assert!(fs::read(&path).unwrap() == piped);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let files = Files::Archive(Index::of(File::open(&path).unwrap(), directory.path()).unwrap());
        for Uploaded { digest, size } in written {
            let stretch = files.get(&naming(&digest)).unwrap().unwrap();
            assert_eq!(stretch.size(), size);
            assert!(digest.matches(&stretch.read("x", 1 << 30).unwrap()));
        }
        assert_eq!(files.read("index.json", 10).unwrap(), b"{}");
    }

    #[test]
    fn what_is_not_finished_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let inside = directory.path().join("new/deeper");
        let sink = Sink::directory(inside.clone()).unwrap();
        sink.put(&naming, &Whole(b"x"), None, None, &|_| {}).unwrap();
        assert!(inside.join("blobs").exists());
        drop(sink);
        let sink = Sink::tar(&directory.path().join("a.tar"), directory.path()).unwrap();
        sink.write("x", b"y").unwrap();
        drop(sink);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        let sink = Sink::directory(directory.path().to_owned()).unwrap();
        let wrong = Digest::sha256(b"other");
        assert!(sink.put(&naming, &Whole(b"x"), Some(&wrong), None, &|_| {}).is_err());
        drop(sink);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
