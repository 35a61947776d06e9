//! What happened to containers, images, volumes, networks and secrets, in the order it happened.
//!
//! `<run state>/events` is a file of lines, one JSON object each, appended to under a lock. What would make it longer than
//! [`LONGEST`] bytes goes into a new one; the last [`KEPT`] are kept as `events.N`, with N rising, so that who follows finds the
//! next one even when it is several behind. They are of this boot. Or they are in the systemd journal ([`journal`]), or nowhere:
//! as `--events-backend` and containers.conf's `events_logger` say. That an event cannot be written is no reason for what
//! happened not to happen.

mod journal;

use super::config::Config;
use super::{Error, Result};
use jiff::Timestamp;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind as Io, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes of a file of events (containers.conf `events_logfile_max_size`, podman's default).
const LONGEST: u64 = 1 << 20;
/// Full files that are kept.
const KEPT: usize = 4;

/// What it happened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A container.
    Container,
    /// An image.
    Image,
    /// A network.
    Network,
    /// A secret.
    Secret,
    /// A volume.
    Volume,
}

impl Kind {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Network => "network",
            Self::Secret => "secret",
            Self::Volume => "volume",
        }
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// To what.
    pub kind: Kind,
    /// docker's word for it: `create`, `start`, `die`, `destroy` …
    pub action: String,
    /// The object's ID; volumes have their name.
    pub id: String,
    /// docker's attributes: `name`, `image`, a container's labels, `exitCode` …
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

/// Where events are.
#[derive(Clone, Debug)]
pub struct Events {
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    /// They are not kept (`--events-backend none`).
    Nowhere,
    /// The newest file.
    File(PathBuf),
    /// The journal; the store's place, by which its entries are told from others.
    Journal(String),
}

impl Events {
    /// Touches nothing. Without a directory for volatile files there is no place for them, either.
    pub fn open(config: &Config) -> Self {
        let configured = config.containers.engine.events_logger.as_deref();
        let backend = config.overrides.events_backend.as_deref().or(configured);
        let directory = &config.paths.run_state;
        let place = match backend {
            Some("none") => Place::Nowhere,
            Some("journald") => Place::Journal(config.paths.graph_root.display().to_string()),
            _ if directory.is_absolute() => Place::File(directory.join("events")),
            _ => Place::Nowhere,
        };
        Self { place }
    }

    /// Writes down that something happened now.
    pub fn emit(&self, kind: Kind, action: &str, id: &str, attributes: BTreeMap<String, String>) {
        let event =
            Event { time: Timestamp::now(), kind, action: action.to_owned(), id: id.to_owned(), attributes };
        let written =
            serde_json::to_string(&event).map_err(|e| Error::corrupt(e.to_string())).and_then(|line| {
                match &self.place {
                    Place::Nowhere => Ok(()),
                    Place::File(path) => append(path, line),
                    Place::Journal(store) => journal::send(store, &event, &line),
                }
            });
        if let Err(e) = written {
            tracing::debug!("write down that {} {id} had {action}: {e}", kind.as_str());
        }
    }

    /// All that is known, and what is going to happen.
    pub fn follow(&self, config: &Config) -> Result<Follower> {
        let source = match &self.place {
            Place::File(path) => FileFollower::open(path.clone()).map(Source::File),
            Place::Journal(store) => journal::Reader::open(config, store).map(Source::Journal),
            Place::Nowhere => Err(Error::unsupported("events are not kept: the events backend is \"none\"")
                .with_hint("--events-backend file, or events_logger in containers.conf")),
        };
        source.map(Follower)
    }
}

impl FileFollower {
    fn open(path: PathBuf) -> Result<Self> {
        let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|e| Error::io("mkdir", &directory, e))?;
        let failed = |e: nix::Error| Error::os("watch for events", e);
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(failed)?;
        let changes = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
        watch.add_watch(&directory, changes).map_err(failed)?;
        Ok(Self { watch, path, open: None, rest: Vec::new() })
    }
}

/// The full files, the oldest first.
fn full(path: &Path) -> Vec<(u64, PathBuf)> {
    let entries = path.parent().and_then(|directory| fs::read_dir(directory).ok()).into_iter().flatten();
    let number = |name: &str| name.strip_prefix("events.")?.parse().ok();
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| entry.ok())
        .filter_map(|entry| Some((number(entry.file_name().to_str()?)?, entry.path())))
        .collect();
    found.sort();
    found
}

/// Makes room for a new file. Called with the lock of the one there is.
fn put_aside(path: &Path) -> std::io::Result<()> {
    let full = full(path);
    let next = full.last().map_or(1, |(number, _)| number + 1);
    fs::rename(path, path.with_extension(next.to_string()))?;
    let too_many = (full.len() + 1).saturating_sub(KEPT);
    full.iter().take(too_many).try_for_each(|(_, old)| fs::remove_file(old))
}

fn append(path: &Path, line: String) -> Result<()> {
    let line = line + "\n";
    let failed = |e| Error::io("append to", path, e);
    let mut options = File::options();
    options.create(true).append(true).mode(0o600);
    loop {
        let mut file = match options.open(path) {
            Err(e) if e.kind() == Io::NotFound => {
                let directory = path.parent().unwrap_or(Path::new("/"));
                fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
                options.open(path).map_err(failed)?
            }
            other => other.map_err(failed)?,
        };
        file.lock().map_err(failed)?;
        let held = file.metadata().map_err(failed)?;
        // Somebody may have begun a new one meanwhile.
        if fs::metadata(path).is_ok_and(|named| named.ino() == held.ino()) {
            if held.len() + line.len() as u64 <= LONGEST || held.len() == 0 {
                return file.write_all(line.as_bytes()).map_err(failed);
            }
            put_aside(path).map_err(failed)?;
        }
    }
}

/// Reads events as they come.
#[derive(Debug)]
pub struct Follower(Source);

#[derive(Debug)]
enum Source {
    File(FileFollower),
    Journal(journal::Reader),
}

impl Follower {
    /// What there is that was not read yet; the first call gives all that is known. Waits for it at most so long, `None`: until there
    /// is something.
    pub fn read(&mut self, patience: Option<Duration>) -> Result<Vec<Event>> {
        match &mut self.0 {
            Source::File(file) => file.read(patience),
            Source::Journal(journal) => journal.read(patience),
        }
    }
}

#[derive(Debug)]
struct FileFollower {
    watch: Inotify,
    path: PathBuf,
    open: Option<File>,
    /// A line whose end is still to come.
    rest: Vec<u8>,
}

impl FileFollower {
    fn read(&mut self, patience: Option<Duration>) -> Result<Vec<Event>> {
        let mut found = Vec::new();
        self.take(&mut found)?;
        if found.is_empty() && patience != Some(Duration::ZERO) {
            let limit = patience.map(|left| Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            });
            let mut fds = [PollFd::new(&self.watch, PollFlags::IN)];
            let _ = poll(&mut fds, limit.as_ref());
            // What changed is looked for, not what was said to have.
            let _ = self.watch.read_events();
            self.take(&mut found)?;
        }
        Ok(found)
    }

    fn take(&mut self, found: &mut Vec<Event>) -> Result<()> {
        loop {
            // Looked for before the one at hand is read to its end: then nothing is added to that any more.
            let next = self.next()?;
            if let Some(file) = &mut self.open {
                file.read_to_end(&mut self.rest).map_err(|e| Error::io("read", &self.path, e))?;
            }
            while let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                match serde_json::from_slice(&line) {
                    Ok(event) => found.push(event),
                    Err(e) => tracing::debug!("an event that cannot be understood: {e}"),
                }
            }
            match next {
                Some(_) => self.open = next,
                None => return Ok(()),
            }
        }
    }

    /// The file after the one that is open, the oldest if none is.
    fn next(&self) -> Result<Option<File>> {
        /// Times that a file may be put aside while a list is made.
        const PUT_ASIDE: u32 = 16;
        let mut tries = 0;
        loop {
            let mut files: Vec<PathBuf> = full(&self.path).into_iter().map(|(_, path)| path).collect();
            files.push(self.path.clone());
            let listed: Vec<(PathBuf, u64)> = files
                .into_iter()
                .filter_map(|path| fs::metadata(&path).ok().map(|found| (path, found.ino())))
                .collect();
            let at_hand = self.open.as_ref().and_then(|file| file.metadata().ok()).map(|found| found.ino());
            let after = match listed.iter().position(|(_, ino)| Some(*ino) == at_hand) {
                Some(at) => at + 1,
                // It was put aside while the list was made; if it is not found then, it is too old to be kept.
                None if at_hand.is_some() && tries < PUT_ASIDE => {
                    tries += 1;
                    continue;
                }
                None => 0,
            };
            let Some((path, ino)) = listed.get(after) else { return Ok(None) };
            match File::open(path) {
                // Put aside meanwhile, the name is another's.
                Ok(file) if file.metadata().is_ok_and(|found| found.ino() == *ino) => return Ok(Some(file)),
                Ok(_) => {}
                Err(e) if e.kind() == Io::NotFound => {}
                Err(e) => return Err(Error::io("open", path, e)),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Several writers, many rotations, a reader that follows: nothing is lost, nothing comes twice.
    #[test]
    fn nothing_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let events = Events { place: Place::File(dir.path().join("run/events")) };
        let mut follower = events.follow(&Config::default()).unwrap();
        let (writers, each) = (4, 3000);
        let padding = "x".repeat(200);
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        std::thread::scope(|scope| {
            for writer in 0..writers {
                let (events, padding) = (&events, &padding);
                scope.spawn(move || {
                    for number in 0..each {
                        let attributes = BTreeMap::from([("padding".to_owned(), padding.clone())]);
                        events.emit(Kind::Container, "start", &format!("{writer}-{number}"), attributes);
                    }
                });
            }
            let end = std::time::Instant::now() + Duration::from_secs(60);
            while seen.len() < writers * each && std::time::Instant::now() < end {
                for event in follower.read(Some(Duration::from_millis(100))).unwrap() {
                    *seen.entry(event.id).or_default() += 1;
                }
            }
        });
        assert_eq!(seen.len(), writers * each);
        assert!(seen.values().all(|count| *count == 1));
        let files = fs::read_dir(dir.path().join("run")).unwrap().flatten();
        let sizes: Vec<u64> = files.map(|entry| entry.metadata().unwrap().len()).collect();
        assert!(sizes.len() <= KEPT + 1 && sizes.iter().all(|size| *size <= LONGEST), "{sizes:?}");
        // Who comes later finds the last ones.
        let late = events.follow(&Config::default()).unwrap().read(Some(Duration::ZERO)).unwrap();
        assert!(
            late.len() > 3000
                && late.windows(2).all(|pair| pair[0].time <= pair[1].time || pair[0].id != pair[1].id)
        );
    }

    #[test]
    fn none_are_kept_if_that_is_wanted() {
        let events = Events { place: Place::Nowhere };
        events.emit(Kind::Image, "pull", "x", BTreeMap::new());
        assert!(events.follow(&Config::default()).is_err());
    }
}
