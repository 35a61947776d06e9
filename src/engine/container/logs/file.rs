//! A log file: from the end backwards for `--tail`, then forwards, over conmon's replacing it when it has grown too large.

use super::keeper::Keeper;
use crate::engine::conmon::{LogLine, drain, is_partial};
use crate::engine::{Error, ErrorKind, Result};
use rustix::fs::inotify;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Read at once.
const BLOCK: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct FileLogs {
    path: PathBuf,
    file: File,
    /// Read and not given out yet; `at` is where the next record begins.
    buffer: Vec<u8>,
    at: usize,
    /// Wakes us when the file grows or is replaced; `None`: not following.
    watch: Option<OwnedFd>,
    /// Has the files that take this one's place.
    keeper: Option<Keeper>,
}

impl FileLogs {
    /// Opens the file before its last `tail` lines. With `follow`, changes made from now on are reported by
    /// [`FileLogs::watch`].
    pub fn open(path: &Path, tail: Option<u64>, follow: bool) -> Result<Self> {
        let watch = if follow { Some(watch(path)?) } else { None };
        let mut file = File::open(path).map_err(|e| Error::io("open", path, e))?;
        if let Some(lines) = tail {
            let start = tail_start(&file, lines).map_err(|e| Error::io("read", path, e))?;
            file.seek(SeekFrom::Start(start)).map_err(|e| Error::io("seek", path, e))?;
        }
        let keeper = if follow { Some(Keeper::start(path, &file)?) } else { None };
        Ok(Self { path: path.to_owned(), file, buffer: Vec::new(), at: 0, watch, keeper })
    }

    /// The next record that is whole.
    pub fn read(&mut self) -> Result<Option<LogLine>> {
        loop {
            while let Some(length) = self.buffer[self.at..].iter().position(|b| *b == b'\n') {
                let record = &self.buffer[self.at..self.at + length];
                let line = LogLine::from_record(record);
                self.at += length + 1;
                if line.is_some() {
                    return Ok(line);
                }
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Reads more; `false` at the end of the file, and of the one that took its place.
    fn fill(&mut self) -> Result<bool> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let held = self.buffer.len();
        self.buffer.resize(held + BLOCK, 0);
        let read = self.file.read(&mut self.buffer[held..]).map_err(|e| Error::io("read", &self.path, e));
        let got = *read.as_ref().unwrap_or(&0);
        self.buffer.truncate(held + got);
        read?;
        Ok(got > 0 || (self.watch.is_some() && self.follow_replacement()?))
    }

    /// conmon writes a new file beside the full one and renames it into its place; somebody else may cut it to nothing.
    fn follow_replacement(&mut self) -> Result<bool> {
        if let Some(watch) = &self.watch {
            drain(watch);
        }
        let io = |op: &str, e: std::io::Error| Error::io(op, &self.path, e);
        let ours = self.file.metadata().map_err(|e| io("stat", e))?;
        let next = match &self.keeper {
            Some(keeper) => keeper.next()?,
            None => None,
        };
        let Some(next) = next else {
            let position = self.file.stream_position().map_err(|e| io("seek", e))?;
            if ours.len() < position {
                self.file.seek(SeekFrom::Start(0)).map_err(|e| io("seek", e))?;
                self.buffer.clear();
            }
            return Ok(ours.len() != position);
        };
        // Whatever the full one got between our last read and its replacement is still to be read.
        let mut rest = Vec::new();
        self.file.read_to_end(&mut rest).map_err(|e| io("read", e))?;
        self.buffer.extend_from_slice(&rest);
        self.file = next;
        match watch(&self.path) {
            // Nobody writes any more.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            watch => self.watch = Some(watch?),
        }
        Ok(true)
    }

    /// Readable when there may be more.
    pub fn watch(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }
}

fn watch(path: &Path) -> Result<OwnedFd> {
    use inotify::{CreateFlags, WatchFlags};
    let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
        .map_err(|e| Error::os("inotify_init", e))?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    inotify::add_watch(&fd, path, WatchFlags::MODIFY).map_err(|e| Error::io("watch", path, e))?;
    inotify::add_watch(&fd, directory, WatchFlags::MOVED_TO).map_err(|e| Error::io("watch", directory, e))?;
    Ok(fd)
}

/// Where the last `lines` lines begin. A line is a record that is whole, with the pieces before it; an unfinished one at the end counts, too.
fn tail_start(file: &File, lines: u64) -> std::io::Result<u64> {
    let end = file.metadata()?.len();
    if lines == 0 {
        return Ok(end);
    }
    let mut found = 0;
    let mut start = end;
    let mut last = true;
    let mut block = vec![0; BLOCK];
    let mut block_end = end;
    let mut head = [0; 64];
    while block_end > 0 {
        let block_start = block_end.saturating_sub(BLOCK as u64);
        let length = usize::try_from(block_end - block_start).unwrap_or(BLOCK);
        file.read_exact_at(&mut block[..length], block_start)?;
        // Record starts are behind newlines, and at the beginning of the file.
        let newlines = block[..length].iter().enumerate().rev().filter(|(_, b)| **b == b'\n');
        let mut starts: Vec<u64> = newlines.map(|(at, _)| block_start + at as u64 + 1).collect();
        if block_start == 0 {
            starts.push(0);
        }
        for record in starts.into_iter().filter(|at| *at < end) {
            let read = file.read_at(&mut head, record)?;
            if last || !is_partial(&head[..read]) {
                found += 1;
                last = false;
            }
            if found > lines {
                return Ok(start);
            }
            start = record;
        }
        block_end = block_start;
    }
    Ok(start)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Write;

    fn record(tag: &str, text: &str) -> String {
        format!("2026-11-23T01:22:46.811068123+00:00 stdout {tag} {text}\n")
    }

    fn texts(logs: &mut FileLogs) -> Vec<String> {
        std::iter::from_fn(|| logs.read().unwrap())
            .map(|line| String::from_utf8(line.text).unwrap() + if line.partial { "…" } else { "" })
            .collect()
    }

    #[test]
    fn the_tail_keeps_pieces_with_their_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let text: String = [("F", "a"), ("P", "b1"), ("P", "b2"), ("F", "b3"), ("F", "c"), ("P", "d")]
            .map(|(t, x)| record(t, x))
            .concat();
        std::fs::write(&path, text).unwrap();
        let tail = |n| texts(&mut FileLogs::open(&path, n, false).unwrap());
        assert_eq!(tail(Some(0)), [""; 0]);
        assert_eq!(tail(Some(1)), ["d…"]);
        assert_eq!(tail(Some(2)), ["c", "d…"]);
        assert_eq!(tail(Some(3)), ["b1…", "b2…", "b3", "c", "d…"]);
        for all in [Some(4), Some(99), None] {
            assert_eq!(tail(all).len(), 6);
        }
    }

    #[test]
    fn the_tail_of_a_long_file_and_of_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = File::create(&path).unwrap();
        assert!(texts(&mut FileLogs::open(&path, Some(3), false).unwrap()).is_empty());
        for n in 0..9000 {
            file.write_all(record("F", &format!("{n} {}", "x".repeat(n % 300))).as_bytes()).unwrap();
        }
        for wanted in [1_usize, 7, 2000, 8999, 9000] {
            let lines = texts(&mut FileLogs::open(&path, Some(wanted as u64), false).unwrap());
            assert_eq!(lines.len(), wanted);
            assert!(lines[0].starts_with(&format!("{} ", 9000 - wanted)), "{wanted}");
        }
    }

    #[test]
    fn following_survives_torn_records_replacement_and_truncation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = File::create(&path).unwrap();
        file.write_all(record("F", "1").as_bytes()).unwrap();
        let mut logs = FileLogs::open(&path, None, true).unwrap();
        assert_eq!(texts(&mut logs), ["1"]);
        let two = record("F", "2");
        file.write_all(&two.as_bytes()[..20]).unwrap();
        assert!(texts(&mut logs).is_empty());
        file.write_all(&two.as_bytes()[20..]).unwrap();
        file.write_all(record("F", "3").as_bytes()).unwrap();
        let beside = dir.path().join("log.tmp");
        std::fs::write(&beside, record("F", "4")).unwrap();
        std::fs::rename(&beside, &path).unwrap();
        assert_eq!(texts(&mut logs), ["2", "3", "4"]);
        std::fs::write(&path, record("F", "")).unwrap();
        assert_eq!(texts(&mut logs), [""]);
    }

    #[test]
    fn files_that_were_replaced_before_they_were_read_are_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, record("F", "0")).unwrap();
        let mut logs = FileLogs::open(&path, None, true).unwrap();
        let beside = dir.path().join("log.tmp");
        for n in 1..20 {
            std::fs::write(&beside, record("F", &n.to_string())).unwrap();
            std::fs::rename(&beside, &path).unwrap();
            // conmon fills a file in more time than this.
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert_eq!(texts(&mut logs), (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
    }
}
