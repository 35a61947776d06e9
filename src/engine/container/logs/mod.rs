//! The verb logs: what a container has said, and what it is going to say.
//!
//! A [`Logs`] gives lines until there are none at the moment, and says so, that its reader may write out what it has; then
//! [`Logs::wait`] waits for more. It ends when the container does: conmon writes the last line before the exit code.

mod file;
mod journal;
mod keeper;

use super::attach::End;
use crate::engine::conmon::LogLine;
use crate::engine::state::Record;
use crate::engine::{Engine, Error, ErrorKind, Result};
use file::FileLogs;
use jiff::Timestamp;
use journal::JournalLogs;

/// Which lines.
#[derive(Clone, Debug, Default)]
pub struct LogsOptions {
    /// Wait for more until the container ends.
    pub follow: bool,
    /// None that are older.
    pub since: Option<Timestamp>,
    /// None that are younger.
    pub until: Option<Timestamp>,
    /// Only so many of those that are there, the last ones.
    pub tail: Option<u64>,
}

/// What there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A line, or a piece of one.
    Line(LogLine),
    /// None at the moment; see [`Logs::wait`].
    Idle,
    /// That was all.
    End,
}

/// A container's lines.
#[derive(Debug)]
pub struct Logs {
    source: Source,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    /// The end to wait for; `None`: not following, or seen.
    end: Option<End>,
}

#[derive(Debug)]
enum Source {
    Nothing,
    File(FileLogs),
    Journal(JournalLogs),
}

/// Opens the log of the container `id`.
///
/// Fails with [`ErrorKind::Unsupported`] if its log driver keeps nothing that could be read.
pub fn logs(engine: &Engine, id: &str, options: &LogsOptions) -> Result<Logs> {
    let record = engine.state.load(id)?;
    let driver = record.spec()?.log.driver.clone();
    let end =
        if options.follow && record.state.status.is_live() { Some(End::of(engine, &record)?) } else { None };
    let source = match driver.as_str() {
        "none" | "passthrough" | "passthrough-tty" => return Err(unreadable(&record, &driver)),
        "journald" => Source::Journal(JournalLogs::open(engine, id, options, end.is_some())?),
        _ => open_file(&record, options, end.is_some())?,
    };
    Ok(Logs { source, since: options.since, until: options.until, end })
}

/// A container that was never started has no log yet.
fn open_file(record: &Record, options: &LogsOptions, follow: bool) -> Result<Source> {
    let path = &record.state.log_path;
    if path.as_os_str().is_empty() {
        return Ok(Source::Nothing);
    }
    match FileLogs::open(path, options.tail, follow) {
        Ok(file) => Ok(Source::File(file)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Source::Nothing),
        Err(e) => Err(e),
    }
}

/// docker's sentence, and which container and driver it is about.
fn unreadable(record: &Record, driver: &str) -> Error {
    Error::unsupported(format!(
        "container {} has log driver {driver:?}: configured logging driver does not support reading",
        record.name()
    ))
}

impl Logs {
    /// The next line. Never blocks.
    pub fn poll(&mut self) -> Result<Next> {
        loop {
            let line = match &mut self.source {
                Source::Nothing => None,
                Source::File(file) => file.read()?,
                Source::Journal(journal) => journal.read(self.end.is_some())?,
            };
            let Some(line) = line else { return self.idle() };
            if self.until.is_some_and(|until| line.time > until) {
                return Ok(Next::End);
            }
            if self.since.is_none_or(|since| line.time >= since) {
                return Ok(Next::Line(line));
            }
        }
    }

    /// At the end of what there is: the end of all, if the container had ended before that end was reached.
    fn idle(&mut self) -> Result<Next> {
        let Some(end) = &self.end else { return Ok(Next::End) };
        if self.until.is_some_and(|until| Timestamp::now() > until) {
            return Ok(Next::End);
        }
        if end.has_come()? {
            // Once more to the end: what was written between the last read and the look at the exit file.
            self.end = None;
            return self.poll();
        }
        Ok(Next::Idle)
    }

    /// Waits until there may be more.
    pub fn wait(&mut self) -> Result<()> {
        let Some(end) = &self.end else { return Ok(()) };
        let fd = match &self.source {
            Source::Nothing => None,
            Source::File(file) => file.watch(),
            Source::Journal(journal) => journal.output(),
        };
        let left = self.until.map(|until| until.duration_since(Timestamp::now()).unsigned_abs());
        end.wait_or(fd, left)
    }
}
