//! The file conmon leaves when a container's process has ended: its exit code, in decimal.

use crate::engine::host::process::PidFd;
use crate::engine::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A container's exit file. conmon writes it after the last output and before it runs the exit command, under another name that it
/// then renames, so what is there is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitFile {
    path: PathBuf,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The process ended with this code (128 + N for signal N).
    Code(i32),
    /// conmon is gone and has left no code: it was killed, or the machine restarted.
    Lost,
    /// The time is up.
    TimedOut,
}

impl ExitFile {
    /// The file of the container (or exec session) `id` in `exit_dir`.
    pub fn new(exit_dir: &Path, id: &str) -> Self {
        Self { path: exit_dir.join(id) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The exit code, if it is there.
    pub fn read(&self) -> Result<Option<i32>> {
        match fs::read_to_string(&self.path) {
            Ok(text) => text
                .trim()
                .parse()
                .map(Some)
                .map_err(|_| Error::corrupt(format!("{} holds no exit code", self.path.display()))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("read", &self.path, e)),
        }
    }

    /// Announces a wait: from now on, until the [`Waiter`] is dropped, [`ExitFile::release`] leaves the file where it is.
    pub fn announce(&self) -> Result<Waiter> {
        let path = self.path.with_extension("waiters");
        loop {
            let file = fs::File::options().create(true).append(true).open(&path);
            let file = file.map_err(|e| Error::io("open", &path, e))?;
            flock(&file, FlockOperation::LockShared).map_err(|e| Error::io("lock", &path, e))?;
            // The last waiter before us may have removed it between the two calls.
            if rustix::fs::fstat(&file).is_ok_and(|stat| stat.st_nlink > 0) {
                return Ok(Waiter { file, path, exit: self.path.clone() });
            }
        }
    }

    /// Removes it for good: nobody will ask for this end any more, but those who have announced it; then the last of them removes it.
    pub fn release(&self) -> Result<()> {
        let path = self.path.with_extension("waiters");
        match fs::File::options().append(true).open(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return self.remove(),
            Err(e) => return Err(Error::io("open", &path, e)),
            Ok(mut file) => {
                use std::io::Write;
                file.write_all(b"released\n").map_err(|e| Error::io("write", &path, e))?;
                clear(&file, &path, &self.path);
            }
        }
        Ok(())
    }

    /// Removes it, if it is there.
    pub fn remove(&self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("unlink", &self.path, e)),
            _ => Ok(()),
        }
    }

    /// Waits for the end of the container's first `process` (gone already: `None`), and then for the file, which conmon
    /// writes within a millisecond or two, when it has read the last output. If `conmon` ends, too (gone already: `None`), and
    /// there is no file, that is [`Waited::Lost`]. A `timeout` of `None` waits for ever.
    ///
    /// Closing an inotify watch waits for an RCU grace period (13 ms measured), so that short time is spent looking
    /// again instead.
    pub fn wait(
        &self,
        process: Option<&PidFd>,
        conmon: Option<&PidFd>,
        timeout: Option<Duration>,
    ) -> Result<Waited> {
        const FIRST_PAUSE: Duration = Duration::from_micros(100);
        const LONGEST_PAUSE: Duration = Duration::from_millis(20);
        let deadline = timeout.map(|t| Instant::now() + t);
        let left = || deadline.map(|d| d.saturating_duration_since(Instant::now()));
        let _waiter = self.announce()?;
        if let Some(process) = process
            && !process.wait(left())?
        {
            return Ok(Waited::TimedOut);
        }
        let mut pause = FIRST_PAUSE;
        loop {
            match self.look(conmon)? {
                Waited::TimedOut => {}
                done => return Ok(done),
            }
            let left = left();
            if left == Some(Duration::ZERO) {
                return Ok(Waited::TimedOut);
            }
            let now = left.map_or(pause, |left| left.min(pause));
            match conmon {
                // conmon's own end wakes us, too.
                Some(conmon) => drop(conmon.wait(Some(now))?),
                None => std::thread::sleep(now),
            }
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }

    /// What [`ExitFile::wait`] would return at once; [`Waited::TimedOut`]: nothing yet.
    pub fn look(&self, conmon: Option<&PidFd>) -> Result<Waited> {
        // conmon first: if it is gone by then, a file that is not there will never be.
        let gone = match conmon {
            Some(conmon) => conmon.wait(Some(Duration::ZERO))?,
            None => true,
        };
        Ok(match self.read()? {
            Some(code) => Waited::Code(code),
            None if gone => Waited::Lost,
            None => Waited::TimedOut,
        })
    }

    /// Waits until [`ExitFile::wait`] might not, or `fd` is readable, or `timeout` is over.
    pub fn wait_or(
        &self,
        process: Option<&PidFd>,
        conmon: Option<&PidFd>,
        fd: Option<BorrowedFd<'_>>,
        timeout: Option<Duration>,
    ) -> Result<()> {
        if self.look(conmon)? == Waited::TimedOut {
            sleep(process, conmon, fd, timeout)?;
        }
        Ok(())
    }
}

/// Somebody who is going to read an exit file. A shared lock on a file beside it, which ends with its holder, however that ends.
#[derive(Debug)]
pub struct Waiter {
    file: fs::File,
    path: PathBuf,
    exit: PathBuf,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        clear(&self.file, &self.path, &self.exit);
    }
}

/// Removes the announcements when nobody else has one, and with it the exit file if that was released. A failure leaves a small file behind, which
/// the next waiter or release removes.
fn clear(file: &fs::File, path: &Path, exit: &Path) {
    if flock(file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return;
    }
    if file.metadata().is_ok_and(|m| m.len() > 0) {
        let _ = fs::remove_file(exit);
    }
    let _ = fs::remove_file(path);
}

/// Between the end of a container's process and its exit file.
const SHORTLY: Duration = Duration::from_millis(1);

fn sleep(
    process: Option<&PidFd>,
    conmon: Option<&PidFd>,
    other: Option<BorrowedFd<'_>>,
    timeout: Option<Duration>,
) -> Result<()> {
    let process = match process {
        Some(process) if !process.wait(Some(Duration::ZERO))? => Some(process),
        _ => None,
    };
    let timeout = if process.is_some() { timeout } else { Some(timeout.unwrap_or(SHORTLY).min(SHORTLY)) };
    let fds = [process.map(AsFd::as_fd), conmon.map(AsFd::as_fd), other].into_iter().flatten();
    let mut fds: Vec<_> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(e) => Err(Error::os("poll for an exit file", e)),
    }
}

/// Forgets what a watch has reported: only that it woke us counts.
pub(crate) fn drain(watch: &OwnedFd) {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    while rustix::io::read(watch, &mut buffer).is_ok_and(|(read, _)| !read.is_empty()) {}
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::host::process::start_time;

    #[test]
    fn waits_for_a_file_that_appears() {
        let dir = tempfile::tempdir().unwrap();
        let file = ExitFile::new(dir.path(), "abc");
        assert_eq!(file.read().unwrap(), None);
        let target = dir.path().to_owned();
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            fs::write(target.join("x"), "137").unwrap();
            fs::rename(target.join("x"), target.join("abc")).unwrap();
        });
        let me = std::process::id();
        let alive = PidFd::open(me, start_time(me).unwrap()).unwrap();
        assert_eq!(file.wait(None, alive.as_ref(), None).unwrap(), Waited::Code(137));
        writer.join().unwrap();
        assert_eq!(file.wait(None, None, None).unwrap(), Waited::Code(137));
        file.remove().unwrap();
        file.remove().unwrap();
        assert_eq!(file.wait(None, None, None).unwrap(), Waited::Lost);
        assert_eq!(
            file.wait(alive.as_ref(), alive.as_ref(), Some(Duration::from_millis(5))).unwrap(),
            Waited::TimedOut
        );
    }

    #[test]
    fn a_released_file_stays_for_those_who_wait_and_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        let file = ExitFile::new(dir.path(), "a");
        let left = || fs::read_dir(dir.path()).unwrap().count();
        fs::write(file.path(), "3").unwrap();
        file.release().unwrap();
        assert_eq!(left(), 0);
        let (one, two) = (file.announce().unwrap(), file.announce().unwrap());
        fs::write(file.path(), "3").unwrap();
        drop(one);
        file.release().unwrap();
        assert_eq!(file.read().unwrap(), Some(3));
        drop(two);
        assert_eq!(left(), 0);
        // Not released: only the announcement goes.
        fs::write(file.path(), "3").unwrap();
        drop(file.announce().unwrap());
        assert_eq!(left(), 1);
    }

    #[test]
    fn waits_for_the_process_and_then_for_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = ExitFile::new(dir.path(), "abc");
        let mut child = std::process::Command::new("/bin/sleep").arg("0.05").spawn().unwrap();
        let process = PidFd::open(child.id(), start_time(child.id()).unwrap()).unwrap();
        let me = std::process::id();
        let conmon = PidFd::open(me, start_time(me).unwrap()).unwrap();
        let soon = Some(Duration::from_millis(1));
        assert_eq!(file.wait(process.as_ref(), conmon.as_ref(), soon).unwrap(), Waited::TimedOut);
        let path = file.path().to_owned();
        let writer = std::thread::spawn(move || {
            child.wait().unwrap();
            std::thread::sleep(Duration::from_millis(5));
            fs::write(path.with_extension("tmp"), "3").unwrap();
            fs::rename(path.with_extension("tmp"), path).unwrap();
        });
        assert_eq!(file.wait(process.as_ref(), conmon.as_ref(), None).unwrap(), Waited::Code(3));
        writer.join().unwrap();
        file.remove().unwrap();
        assert_eq!(file.wait(None, conmon.as_ref(), soon).unwrap(), Waited::TimedOut);
        assert_eq!(file.wait(None, None, None).unwrap(), Waited::Lost);
    }

    #[test]
    fn nonsense_in_the_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "").unwrap();
        assert!(ExitFile::new(dir.path(), "a").read().is_err());
    }
}
