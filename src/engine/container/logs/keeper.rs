//! Holds on to log files that are replaced faster than they are read.
//!
//! conmon renames a new file over the full one, which is gone then unless somebody has it open. A reader that is slower (its
//! output is a pipe that nobody empties, say) would lose whole files. So a thread of its own opens each new file as soon as it
//! is there, and the reader takes them in order.

use crate::engine::{Error, Result};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The files that followed the reader's.
#[derive(Debug)]
pub(super) struct Keeper {
    path: PathBuf,
    found: Arc<Mutex<Found>>,
    /// Its end ends the thread.
    _stop: OwnedFd,
}

#[derive(Debug)]
struct Found {
    /// Device and inode of the file that was found last. It is held open, by the queue or by the reader, so no other has
    /// these numbers.
    last: (u64, u64),
    queue: VecDeque<File>,
}

impl Keeper {
    /// Begins; `now` is the file that its reader has.
    pub fn start(path: &Path, now: &File) -> Result<Self> {
        let directory = path.parent().unwrap_or(Path::new("/"));
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|e| Error::os("inotify_init", e))?;
        inotify::add_watch(&watch, directory, WatchFlags::MOVED_TO)
            .map_err(|e| Error::io("watch", directory, e))?;
        let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| Error::os("pipe", e))?;
        let last = numbers(now).map_err(|e| Error::io("stat", path, e))?;
        let found = Arc::new(Mutex::new(Found { last, queue: VecDeque::new() }));
        let keeper = Self { path: path.to_owned(), found: Arc::clone(&found), _stop: stop };
        let path = path.to_owned();
        std::thread::Builder::new()
            .name("log files".to_owned())
            .spawn(move || keep(&path, &found, &watch, &stopped))
            .map_err(|e| Error::os("start a thread", e))?;
        Ok(keeper)
    }

    /// The file after the one that was given last; `None`: that is still the newest.
    pub fn next(&self) -> Result<Option<File>> {
        look(&self.path, &self.found).map_err(|e| Error::io("open", &self.path, e))?;
        Ok(self.found.lock().unwrap_or_else(PoisonError::into_inner).queue.pop_front())
    }
}

fn keep(path: &Path, found: &Mutex<Found>, watch: &OwnedFd, stopped: &OwnedFd) {
    loop {
        let mut fds = [PollFd::new(watch, PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
        }
        if !fds[1].revents().is_empty() {
            return;
        }
        crate::engine::conmon::drain(watch);
        // The reader looks itself and says what is wrong.
        if look(path, found).is_err() {
            return;
        }
    }
}

/// Takes the file at `path` if it is another one than the last.
fn look(path: &Path, found: &Mutex<Found>) -> std::io::Result<()> {
    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
    let file = match File::open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let now = numbers(&file)?;
    if now != found.last {
        found.last = now;
        found.queue.push_back(file);
    }
    Ok(())
}

fn numbers(file: &File) -> std::io::Result<(u64, u64)> {
    file.metadata().map(|meta| (meta.dev(), meta.ino()))
}
