//! Images of a Docker daemon, through its socket: `GET /images/NAME/get` and `POST /images/load` (Docker Engine API
//! v1.24 and later). Both speak docker archives, which are kept in a file without a name meanwhile.
//!
//! The little HTTP that this takes is spoken here: one request, one answer, then the connection is closed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::docker_archive::{ArchivedImage, DockerArchive};
use super::docker_target::{DockerTarget, DockerWriter};
use super::files::{Files, Index, unnamed};
use super::location::{Chosen, is_id};
use super::sink::Sink;
use super::{BlobKind, LayerForm, Target};
use crate::engine::registry::{Content, Descriptor, Document, Reference, Uploaded};
use crate::engine::{Context, Digest, Error, ErrorKind, Result};

/// Where the daemon listens unless `DOCKER_HOST` says otherwise.
const SOCKET: &str = "/var/run/docker.sock";
/// Most bytes of an answer's head, and of an answer that is read as a whole.
const MAX_TEXT: u64 = 1 << 20;

/// A daemon.
#[derive(Clone, Debug)]
pub struct Daemon {
    socket: PathBuf,
    temporary: PathBuf,
}

impl Daemon {
    /// At `host`, as `DOCKER_HOST` has it; `None`: at the usual place. `temporary`: the directory for archives.
    ///
    /// `Unsupported` for a daemon that is not reached through a socket of this host.
    pub fn new(host: Option<&str>, temporary: &Path) -> Result<Self> {
        let socket = match host {
            None => SOCKET,
            Some(host) => host.strip_prefix("unix://").ok_or_else(|| {
                Error::unsupported(format!("a Docker daemon at {host} is not reached from here"))
                    .with_hint("set DOCKER_HOST to unix:///PATH")
            })?,
        };
        Ok(Self { socket: socket.into(), temporary: temporary.to_owned() })
    }

    /// Fetches an image by its name or ID.
    pub fn image(&self, name: &str) -> Result<ArchivedImage> {
        let path = format!("/images/{}/get", escaped(name));
        let asked = self.ask("GET", &path, None).map_err(|e| {
            let missing = e.kind() == ErrorKind::NotFound && !e.to_string().contains("connect");
            if missing { Error::not_found(format!("No such image: {name}")) } else { e }
        });
        let mut answer = asked.with_context(|| format!("docker-daemon:{name}"))?;
        let mut file = unnamed(&self.temporary)?;
        io::copy(&mut answer, &mut file)
            .map_err(|e| Error::os(format!("receive docker-daemon:{name}"), e))?;
        let files = Files::Archive(Index::of(file, &self.temporary)?);
        Arc::new(DockerArchive::open(files, format!("docker-daemon:{name}"))?).choose(&Chosen::Only)
    }

    /// The target for an image with this name, which may not be an ID.
    pub fn target(&self, name: &str) -> Result<DaemonTarget> {
        if is_id(name) {
            return Err(Error::invalid(format!(
                "docker-daemon:{name}: an image is given to a daemon by its name"
            )));
        }
        let file = unnamed(&self.temporary)?;
        let copy = file.try_clone().map_err(|e| Error::os("duplicate a file", e))?;
        let sink = Sink::tar_into(copy, format!("docker-daemon:{name}"), &self.temporary)?;
        let names = vec![Reference::parse(name)?.or_latest()];
        let archive = Arc::new(DockerWriter::new(sink)).image(names);
        Ok(DaemonTarget { daemon: self.clone(), archive, file })
    }

    fn load(&self, mut file: &File) -> Result<()> {
        let size = file.metadata().map_err(|e| Error::os("stat", e))?.len();
        file.seek(SeekFrom::Start(0)).map_err(|e| Error::os("seek", e))?;
        let answer = self.ask("POST", "/images/load?quiet=1", Some((file, size)))?;
        let mut text = String::new();
        answer
            .take(MAX_TEXT)
            .read_to_string(&mut text)
            .map_err(|e| Error::os("read the daemon's answer", e))?;
        for line in text.lines() {
            let said: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            if let Some(error) = said["error"].as_str() {
                return Err(Error::new(ErrorKind::Io, format!("the Docker daemon says: {error}")));
            }
        }
        Ok(())
    }

    fn ask(&self, method: &str, path: &str, body: Option<(&File, u64)>) -> Result<Answer> {
        let unreachable = |e| {
            Error::io("connect to the Docker daemon at", &self.socket, e)
                .with_hint("start it, or set DOCKER_HOST to unix:///PATH")
        };
        let mut stream = UnixStream::connect(&self.socket).map_err(unreachable)?;
        let lost = |e| Error::os("talk to the Docker daemon", e);
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n");
        if let Some((_, size)) = body {
            head.push_str(&format!("Content-Type: application/x-tar\r\nContent-Length: {size}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).map_err(lost)?;
        if let Some((file, _)) = body {
            let mut file = file;
            // A daemon that has heard enough closes its end: its answer says why.
            if let Err(e) = io::copy(&mut file, &mut stream)
                && e.kind() != io::ErrorKind::BrokenPipe
            {
                return Err(lost(e));
            }
        }
        let answer = Answer::read(BufReader::new(stream)).map_err(lost)?;
        let status = answer.status;
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        let mut text = String::new();
        let _ = answer.take(MAX_TEXT).read_to_string(&mut text);
        let said: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let message = said["message"].as_str().unwrap_or(text.trim()).to_owned();
        let missing = status == 404 || message.contains("does not exist");
        let kind = if missing { ErrorKind::NotFound } else { ErrorKind::Io };
        Err(Error::new(kind, format!("the Docker daemon says: {message}")))
    }
}

/// A name in a path: its slashes and colons stay.
fn escaped(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/:@._-".contains(&b);
    let byte = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    name.bytes().map(byte).collect()
}

/// An answer's body.
struct Answer {
    status: u16,
    reader: BufReader<UnixStream>,
    length: Length,
}

enum Length {
    /// Bytes to come.
    Known(u64),
    /// Bytes of the chunk at hand to come.
    Chunked(u64),
    Ended,
    UntilClosed,
}

impl Answer {
    fn read(mut reader: BufReader<UnixStream>) -> io::Result<Self> {
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "the answer is no HTTP");
        let mut line = String::new();
        reader.by_ref().take(MAX_TEXT).read_line(&mut line)?;
        let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).ok_or_else(bad)?;
        let status = status.parse().map_err(|_| bad())?;
        let mut length = Length::UntilClosed;
        let mut left = MAX_TEXT;
        loop {
            line.clear();
            left -= reader.by_ref().take(left).read_line(&mut line)? as u64;
            if line.trim_end().is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(bad)?;
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = Length::Known(value.parse().map_err(|_| bad())?),
                "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => length = Length::Chunked(0),
                _ => {}
            }
        }
        Ok(Self { status, reader, length })
    }

    /// The size of the next chunk, or the end.
    fn next_chunk(&mut self) -> io::Result<()> {
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "the answer is cut off");
        let mut line = String::new();
        // The end of the chunk before.
        while line.trim_end().is_empty() {
            line.clear();
            if self.reader.by_ref().take(1024).read_line(&mut line)? == 0 {
                return Err(bad());
            }
        }
        let size = line.trim_end().split(';').next().unwrap_or_default();
        self.length = match u64::from_str_radix(size, 16).map_err(|_| bad())? {
            0 => Length::Ended,
            size => Length::Chunked(size),
        };
        Ok(())
    }
}

impl Read for Answer {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if matches!(self.length, Length::Chunked(0)) {
            self.next_chunk()?;
        }
        let (Length::Known(left) | Length::Chunked(left)) = &mut self.length else {
            return match self.length {
                Length::Ended => Ok(0),
                _ => self.reader.read(out),
            };
        };
        let want = usize::try_from(*left).unwrap_or(usize::MAX).min(out.len());
        let count = self.reader.read(&mut out[..want])?;
        if count == 0 && want > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer is cut off"));
        }
        *left -= count as u64;
        Ok(count)
    }
}

/// An image on its way into a daemon.
pub struct DaemonTarget {
    daemon: Daemon,
    archive: DockerTarget,
    file: File,
}

impl Target for DaemonTarget {
    fn describe(&self) -> String {
        self.archive.describe()
    }

    fn refuses_signatures(&self) -> Option<&'static str> {
        Some("storing signatures for docker tar files is not supported")
    }

    fn form(&self) -> LayerForm {
        self.archive.form()
    }

    fn accepts(&self, media_type: &str) -> bool {
        self.archive.accepts(media_type)
    }

    fn reuse(&self, blob: &Descriptor, repositories: &[String]) -> Result<bool> {
        self.archive.reuse(blob, repositories)
    }

    fn put(
        &self,
        kind: BlobKind,
        content: &dyn Content,
        expected: Option<&Digest>,
        size: Option<u64>,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<Uploaded> {
        self.archive.put(kind, content, expected, size, sent)
    }

    fn put_document(&self, document: &Document, instance: bool) -> Result<()> {
        self.archive.put_document(document, instance)
    }

    fn finish(&self) -> Result<()> {
        self.archive.finish()?;
        self.daemon.load(&self.file).with_context(|| self.describe())
    }
}
