//! Events in the systemd journal (`--events-backend journald`), written by its native protocol and read by `journalctl`.
//!
//! An entry has a MESSAGE for people, the store it is about in CORACLE_STORE, and the event itself, as in a file of events, in
//! CORACLE_EVENT.

use super::Event;
use crate::engine::config::Config;
use crate::engine::host::spawn::{Child, Spawn};
use crate::engine::host::{journal, process};
use crate::engine::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the journal listens (systemd's "Native Journal Protocol").
const SOCKET: &str = "/run/systemd/journal/socket";

/// Writes an event; `line` is its JSON.
pub(super) fn send(store: &str, event: &Event, line: &str) -> Result<()> {
    let name = event.attributes.get("name").map_or(event.id.as_str(), String::as_str);
    let message = format!("{} {} {name}", event.kind.as_str(), event.action);
    let mut entry = String::from("PRIORITY=6\nSYSLOG_IDENTIFIER=coracle\n");
    for (field, value) in [("MESSAGE", message.as_str()), ("CORACLE_STORE", store), ("CORACLE_EVENT", line)] {
        // A newline would begin another field; none of these should have one.
        entry.push_str(&format!("{field}={}\n", value.replace('\n', " ")));
    }
    let socket = UnixDatagram::unbound().map_err(|e| Error::os("make a socket", e))?;
    socket.send_to(entry.as_bytes(), SOCKET).map(drop).map_err(|e| Error::io("send to", SOCKET, e))
}

/// Reads events as they come.
#[derive(Debug)]
pub(super) struct Reader {
    program: PathBuf,
    env: Vec<(String, String)>,
    store: String,
    /// Whose events they are: anybody else's are forged.
    uid: u32,
    /// Of the last entry read.
    cursor: String,
    /// Begins where nothing was read yet.
    opened: i64,
    child: Option<(Child, OwnedFd)>,
    rest: Vec<u8>,
    first: bool,
}

impl Reader {
    pub(super) fn open(config: &Config, store: &str) -> Result<Self> {
        if !Path::new(SOCKET).exists() {
            return Err(Error::unsupported(
                "events are in the systemd journal, and there is none on this host",
            )
            .with_hint("--events-backend file, or events_logger in containers.conf"));
        }
        let program = process::require_program("journalctl", &config.env.path(), "systemd")?;
        let kept = ["PATH", "HOME", "TZ"].iter();
        let env = kept.filter_map(|name| Some(((*name).to_owned(), config.env.var(name)?.to_owned())));
        Ok(Self {
            program,
            env: env.collect(),
            store: store.to_owned(),
            uid: config.env.uid,
            cursor: String::new(),
            opened: jiff::Timestamp::now().as_second(),
            child: None,
            rest: Vec::new(),
            first: true,
        })
    }

    /// See [`super::Follower::read`].
    pub(super) fn read(&mut self, patience: Option<Duration>) -> Result<Vec<Event>> {
        if std::mem::take(&mut self.first) {
            let mut known = self.known()?;
            if !known.is_empty() || patience == Some(Duration::ZERO) {
                return Ok(known.drain(..).collect());
            }
        }
        if self.child.is_none() {
            let from = match self.cursor.as_str() {
                "" => format!("--since=@{}", self.opened),
                cursor => format!("--after-cursor={cursor}"),
            };
            self.child = Some(self.start(&["--follow", "--lines=all", &from])?);
        }
        let Some((_, output)) = &self.child else { return Ok(Vec::new()) };
        let limit = patience.map(|left| Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        });
        let ready = poll(&mut [PollFd::new(output, PollFlags::IN)], limit.as_ref());
        if ready.is_ok_and(|ready| ready > 0) && !fill(output, &mut self.rest)? {
            self.child = None;
            return Err(Error::unsupported("journalctl has ended"));
        }
        Ok(self.parse().into())
    }

    /// All that is in the journal.
    fn known(&mut self) -> Result<VecDeque<Event>> {
        let (mut child, output) = self.start(&["--lines=all"])?;
        while fill(&output, &mut self.rest)? {}
        child.wait()?;
        Ok(self.parse())
    }

    fn start(&self, args: &[&str]) -> Result<(Child, OwnedFd)> {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|e| Error::os("make a pipe", e))?;
        let child = Spawn::new(&self.program)
            .args(args)
            .args(journal::written_by(self.uid, "CORACLE_STORE", &self.store))
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .fd(writer.as_fd(), 1)
            .spawn()?;
        Ok((child, reader))
    }

    /// The entries that are whole.
    fn parse(&mut self) -> VecDeque<Event> {
        let mut found = VecDeque::new();
        while let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            match entry(&line) {
                Some((event, cursor)) => {
                    self.cursor = cursor;
                    found.push_back(event);
                }
                None => tracing::debug!("an entry of the journal that cannot be understood"),
            }
        }
        found
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.child {
            child.kill();
            // It was killed: nothing to learn from its end.
            let _ = child.wait();
        }
    }
}

/// Reads what there is; `false` at the end.
fn fill(output: &OwnedFd, rest: &mut Vec<u8>) -> Result<bool> {
    let held = rest.len();
    rest.resize(held + (64 << 10), 0);
    let read = rustix::io::retry_on_intr(|| rustix::io::read(output, &mut rest[held..]));
    rest.truncate(held + read.unwrap_or(0));
    read.map(|count| count > 0).map_err(|e| Error::os("read from journalctl", e))
}

/// `journalctl --output=json`: the event and the entry's cursor.
fn entry(line: &[u8]) -> Option<(Event, String)> {
    #[derive(serde::Deserialize)]
    struct Entry {
        #[serde(rename = "__CURSOR", default)]
        cursor: String,
        #[serde(rename = "CORACLE_EVENT")]
        event: String,
    }
    let entry: Entry = serde_json::from_slice(line).ok()?;
    Some((serde_json::from_str(&entry.event).ok()?, entry.cursor))
}
