//! Where the files of an image are written: a directory, or a tar.
//!
//! A tar in a file is written at several places at once: a blob whose size is known gets its place, and the next one
//! begins behind it. In a pipe one file follows the other, and what has no size yet waits in a file without a name. What
//! is not finished is removed again.

mod tar;
mod tree;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Bytes;
use crate::engine::digest::{Algorithm, Hasher};
use crate::engine::registry::{Content, Uploaded};
use crate::engine::{Digest, Error, Result};
use crate::failpoint;
use tar::Tar;
use tree::Tree;

/// Bytes collected before they are hashed and written.
const BUFFER: usize = 1 << 20;

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

impl Sink {
    /// A directory, which is made if need be.
    pub fn directory(path: PathBuf) -> Result<Self> {
        let tree = Tree::new(path)?;
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
    pub fn tar_into(file: File, what: String, temporary: &Path) -> Result<Self> {
        let tar = Tar::new(file, what, temporary)?;
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
            Place::Directory(tree) => tree.has(name, size),
            Place::Tar(tar) => tar.has(name),
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
        let order = Order { naming: &naming, content: &Bytes(bytes), expected: None, sent: &|_| {} };
        match &self.place {
            Place::Directory(tree) => tree.put(&order),
            Place::Tar(tar) => tar.put(&order, Some(bytes.len() as u64)),
        }?;
        Ok(())
    }

    /// Removes a file from a directory; `false`: there is none.
    pub fn forget(&self, name: &str) -> bool {
        match &self.place {
            Place::Directory(tree) => fs::remove_file(tree.path.join(name)).is_ok(),
            Place::Tar(_) => false,
        }
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
            Place::Directory(tree) => tree.undo(),
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
            sink.put(&naming, &Bytes(bytes), expected, size, &|_| {}).unwrap()
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
        sink.put(&naming, &Bytes(b"x"), None, None, &|_| {}).unwrap();
        assert!(inside.join("blobs").exists());
        drop(sink);
        let sink = Sink::tar(&directory.path().join("a.tar"), directory.path()).unwrap();
        sink.write("x", b"y").unwrap();
        drop(sink);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        let sink = Sink::directory(directory.path().to_owned()).unwrap();
        let wrong = Digest::sha256(b"other");
        assert!(sink.put(&naming, &Bytes(b"x"), Some(&wrong), None, &|_| {}).is_err());
        drop(sink);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
