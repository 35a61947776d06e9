//! Logs in the systemd journal, read by `journalctl`.
//!
//! A child rather than libsystemd: the journal's format changes with its writer, and only its own reader knows all of them.

use super::LogsOptions;
use crate::engine::conmon::LogLine;
use crate::engine::host::spawn::{Child, Spawn};
use crate::engine::host::{journal, process};
use crate::engine::{Engine, Error, Result};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

#[derive(Debug)]
pub(super) struct JournalLogs {
    program: PathBuf,
    /// What is asked for.
    question: Vec<String>,
    env: Vec<(String, String)>,
    child: Child,
    output: Option<OwnedFd>,
    buffer: Vec<u8>,
    /// Of the last line given out.
    cursor: String,
    following: bool,
    /// For a second child that takes over before the first has shown anything.
    args: Vec<String>,
}

impl JournalLogs {
    pub fn open(engine: &Engine, id: &str, options: &LogsOptions, follow: bool) -> Result<Self> {
        let program = process::require_program("journalctl", &engine.config.env.path(), "systemd")?;
        let env = ["PATH", "HOME", "TZ"]
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), engine.config.env.var(name)?.to_owned())));
        let env: Vec<_> = env.collect();
        let mut args = vec![format!("--lines={}", options.tail.map_or("all".to_owned(), |n| n.to_string()))];
        if let Some(since) = options.since {
            // A second early: journalctl's clock has no fractions, ours filters the rest.
            args.push(format!("--since=@{}", since.as_second().saturating_sub(1)));
        }
        let opened = jiff::Timestamp::now();
        let mut first = args.clone();
        if follow {
            first.push("--follow".to_owned());
        }
        // What others write under the container's ID is none of its log.
        let question = journal::written_by(engine.config.env.uid, "CONTAINER_ID_FULL", id);
        let (child, output) = start(&program, &question, &env, &first)?;
        if options.tail.is_some() {
            // Asked again before anything was shown, the tail would be that of a longer log.
            args = vec!["--lines=all".to_owned(), format!("--since=@{}", opened.as_second())];
        }
        Ok(Self {
            program,
            question,
            env,
            child,
            output: Some(output),
            buffer: Vec::new(),
            cursor: String::new(),
            following: follow,
            args,
        })
    }

    /// The next line; `None`: none at the moment, if `follow`, else none at all.
    pub fn read(&mut self, follow: bool) -> Result<Option<LogLine>> {
        loop {
            while let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let entry = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..=end);
                if let Some((line, cursor)) = LogLine::from_journal(&entry) {
                    self.cursor = cursor;
                    return Ok(Some(line));
                }
            }
            if self.following && !follow {
                self.finish()?;
            }
            let Some(output) = &self.output else { return Ok(None) };
            let held = self.buffer.len();
            self.buffer.resize(held + 64 * 1024, 0);
            let read = rustix::io::read(output, &mut self.buffer[held..]);
            self.buffer.truncate(held + read.unwrap_or_default());
            match read {
                Ok(0) => self.output = None,
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(e) => return Err(Error::os("read from journalctl", e)),
            }
        }
    }

    /// The container has ended: what the follower has not shown yet is read by one that ends at the end.
    fn finish(&mut self) -> Result<()> {
        self.following = false;
        self.stop();
        self.buffer.clear();
        let mut args = self.args.clone();
        if !self.cursor.is_empty() {
            args = vec!["--lines=all".to_owned(), format!("--after-cursor={}", self.cursor)];
        }
        let (child, output) = start(&self.program, &self.question, &self.env, &args)?;
        // From here on reading may block: this child ends by itself.
        rustix::io::ioctl_fionbio(&output, false).map_err(|e| Error::os("make a pipe block", e))?;
        (self.child, self.output) = (child, Some(output));
        Ok(())
    }

    fn stop(&mut self) {
        self.child.kill();
        // It was killed: nothing to learn from its end.
        let _ = self.child.wait();
    }

    /// Readable when there may be more.
    pub fn output(&self) -> Option<BorrowedFd<'_>> {
        self.output.as_ref().map(AsFd::as_fd)
    }
}

impl Drop for JournalLogs {
    fn drop(&mut self) {
        self.stop();
    }
}

fn start(
    program: &std::path::Path,
    question: &[String],
    env: &[(String, String)],
    args: &[String],
) -> Result<(Child, OwnedFd)> {
    let (reader, writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(|e| Error::os("make a pipe", e))?;
    let follow = args.iter().any(|arg| arg == "--follow");
    rustix::io::ioctl_fionbio(&reader, follow).map_err(|e| Error::os("make a pipe not block", e))?;
    let child = Spawn::new(program)
        .args(args)
        .args(question)
        .envs(env.iter().map(|(n, v)| (n, v)))
        .fd(writer.as_fd(), 1)
        .spawn()?;
    Ok((child, reader))
}
