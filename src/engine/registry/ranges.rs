//! Parts of a blob, several to a request.
//!
//! One request names many ranges, and what answers it is one body with all of them (RFC 9110, 14.2). Not every registry
//! does that, and those that hand out blobs from elsewhere seldom do: then each range is asked for by itself. One that
//! knows no ranges at all is `Unsupported`. A connection that breaks is opened anew for what is missing.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf, Bytes};
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE};
use reqwest::{Response, StatusCode};

use super::client::Repository;
use super::host::Request;
use super::http::{Broken, root_cause};
use crate::engine::{Digest, Error, ErrorKind, Result};

/// Ranges in one request: the header must not get too long for servers.
const TOGETHER: usize = 100;
/// Bytes of one line between parts.
const MAX_LINE: usize = 4096;

/// Reads parts of a blob, one after the other.
pub struct Ranges {
    repository: Repository,
    digest: Digest,
    cancel: Arc<AtomicBool>,
    /// What is still to be read, from its first byte on; the first is at hand.
    wanted: VecDeque<(u64, u64)>,
    /// How many of them the body holds, and whether it has them as parts.
    held: usize,
    parts: bool,
    /// Whether the body stands in the first one.
    inside: bool,
    /// The server gives one range at a time.
    alone: bool,
    body: Option<Response>,
    chunk: Bytes,
    failures: u32,
    received: u64,
}

impl Repository {
    /// The bytes of a blob in these ranges, from the first to before the second number. They must be in order and must not
    /// overlap.
    pub fn ranges(&self, digest: &Digest, wanted: Vec<(u64, u64)>, cancel: &Arc<AtomicBool>) -> Ranges {
        Ranges {
            repository: self.clone(),
            digest: digest.clone(),
            cancel: Arc::clone(cancel),
            wanted: wanted.into(),
            held: 0,
            parts: false,
            inside: false,
            alone: false,
            body: None,
            chunk: Bytes::new(),
            failures: 0,
            received: 0,
        }
    }
}

impl Ranges {
    /// Bytes that came, with what stood between them.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Reads the bytes from `start` on, `out` full of them; what is before them in a range is passed over.
    ///
    /// # Errors
    /// `Unsupported` if the registry knows no ranges, `Network`; `Invalid` if they were not asked for.
    pub fn read_at(&mut self, start: u64, out: &mut [u8]) -> Result<usize> {
        loop {
            let Some(&(at, end)) = self.wanted.front() else {
                return Err(Error::invalid("more of the blob is read than was asked for"));
            };
            if at == end {
                self.wanted.pop_front();
                self.held = self.held.saturating_sub(1);
                self.inside = false;
                continue;
            }
            if start < at {
                return Err(Error::invalid("another part of the blob is read than was asked for"));
            }
            if self.cancel.load(Ordering::Relaxed) {
                return Err(Error::new(ErrorKind::Network, format!("blob {}: given up", self.digest)));
            }
            match self.fill() {
                Ok(()) => {}
                Err(Broken::Final(e)) => return Err(e),
                Err(Broken::Mendable(why)) => {
                    self.broken(why)?;
                    continue;
                }
            }
            let here = usize::try_from(end - at).unwrap_or(usize::MAX).min(self.chunk.len());
            let taken = match usize::try_from(start - at) {
                Ok(0) => {
                    let count = here.min(out.len());
                    out[..count].copy_from_slice(&self.chunk[..count]);
                    count
                }
                Ok(skip) => skip.min(here),
                Err(_) => here,
            };
            self.chunk.advance(taken);
            self.wanted[0].0 += taken as u64;
            self.failures = 0;
            if start == at {
                return Ok(taken);
            }
        }
    }

    /// Makes sure that the chunk has bytes of the first range.
    fn fill(&mut self) -> Result<(), Broken> {
        if self.held == 0 {
            self.body = None;
        }
        if self.body.is_none() {
            self.ask()?;
        }
        if !self.inside {
            if self.parts {
                self.part_header()?;
            }
            self.inside = true;
        }
        if self.chunk.is_empty() && !self.receive()? {
            return Err(Broken::Mendable("the connection ended early".to_owned()));
        }
        Ok(())
    }

    fn ask(&mut self) -> Result<(), Broken> {
        self.chunk = Bytes::new();
        self.inside = false;
        let together = if self.alone { 1 } else { TOGETHER };
        let asked: Vec<_> = self.wanted.iter().take(together).copied().collect();
        let ranges: Vec<_> = asked.iter().map(|(start, end)| format!("{start}-{}", end - 1)).collect();
        let header = format!("bytes={}", ranges.join(","));
        let path = format!("{}/blobs/{}", self.repository.path, self.digest);
        let repository = self.repository.clone();
        let request = Request { ranges: Some(&header), ..Request::get(&path, &repository.scope) };
        let answer = repository.runtime.block_on(async {
            let answer = repository.host.send(&request).await?;
            if answer.status().is_success() { Ok(answer) } else { Err(repository.host.failure(answer).await) }
        })?;
        let text =
            |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let parts = text(CONTENT_TYPE).to_ascii_lowercase().starts_with("multipart/byteranges");
        let first = asked.first().copied().unwrap_or_default();
        let whole = content_range(text(CONTENT_RANGE)) == Some(first);
        match (answer.status(), parts, asked.len()) {
            (StatusCode::PARTIAL_CONTENT, true, count) => (self.held, self.parts) = (count, true),
            (StatusCode::PARTIAL_CONTENT, false, 1) if whole => (self.held, self.parts) = (1, false),
            (_, _, 1) => {
                return Err(Broken::Final(Error::unsupported(format!(
                    "registry {} does not give parts of blobs",
                    repository.host.name()
                ))));
            }
            _ => {
                tracing::debug!("{} gives one range at a time", repository.host.name());
                self.alone = true;
                return self.ask();
            }
        }
        self.body = Some(answer);
        Ok(())
    }

    /// Reads up to the content of the next part, which must be the first of what is wanted.
    fn part_header(&mut self) -> Result<(), Broken> {
        let wrong = || Broken::Mendable("the registry sent another range than was asked for".to_owned());
        let mut range = None;
        let mut begun = false;
        loop {
            let line = self.line()?;
            match line.as_str() {
                "" if begun => break,
                "" => {}
                boundary if boundary.starts_with("--") && !begun => begun = true,
                header => {
                    if let Some((name, value)) = header.split_once(':')
                        && name.eq_ignore_ascii_case("content-range")
                    {
                        range = content_range(value.trim());
                    }
                }
            }
        }
        let wanted = self.wanted.front().copied();
        if range.is_some() && range == wanted { Ok(()) } else { Err(wrong()) }
    }

    fn line(&mut self) -> Result<String, Broken> {
        let mut line = Vec::new();
        loop {
            if self.chunk.is_empty() && !self.receive()? {
                return Err(Broken::Mendable("the connection ended early".to_owned()));
            }
            match self.chunk.get_u8() {
                b'\n' => break,
                byte if line.len() < MAX_LINE => line.push(byte),
                _ => return Err(Broken::Mendable("the registry's answer is malformed".to_owned())),
            }
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// The next bytes of the body; `false`: there are no more.
    fn receive(&mut self) -> Result<bool, Broken> {
        let stall = self.repository.host.retry().stall;
        let Some(body) = &mut self.body else { return Ok(false) };
        let runtime = Arc::clone(&self.repository.runtime);
        let received = runtime.block_on(async { tokio::time::timeout(stall, body.chunk()).await });
        match received {
            Ok(Ok(Some(chunk))) => {
                self.received += chunk.len() as u64;
                self.chunk = chunk;
                Ok(true)
            }
            Ok(Ok(None)) => Ok(false),
            Ok(Err(e)) => Err(Broken::Mendable(root_cause(&e))),
            Err(_) => Err(Broken::Mendable(format!("nothing came for {stall:?}"))),
        }
    }

    fn broken(&mut self, why: String) -> Result<()> {
        self.body = None;
        self.held = 0;
        let retry = self.repository.host.retry();
        if self.failures >= retry.attempts {
            let what = format!("parts of blob {}", self.digest);
            return Err(Error::new(ErrorKind::Network, what).with_source(why));
        }
        let pause = match self.failures {
            0 => std::time::Duration::ZERO,
            failures => retry.delay * 2_u32.pow(failures - 1),
        };
        tracing::debug!("parts of blob {}: {why}; going on in {pause:?}", self.digest);
        std::thread::sleep(pause);
        self.failures += 1;
        Ok(())
    }

    /// Everything from `start` to before `end`.
    pub fn read_all(&mut self, start: u64, end: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.span(start, end).read_to_end(&mut bytes).map_err(|e| match e.downcast::<Error>() {
            Ok(ours) => ours,
            Err(e) => Error::os("read a part of a blob", e),
        })?;
        Ok(bytes)
    }

    /// The bytes from `start` to before `end` as a stream.
    pub fn span(&mut self, start: u64, end: u64) -> impl Read + '_ {
        SpanReader { ranges: self, at: start, end }
    }
}

struct SpanReader<'a> {
    ranges: &'a mut Ranges,
    at: u64,
    end: u64,
}

impl Read for SpanReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(out.len());
        if left == 0 {
            return Ok(0);
        }
        let count = self.ranges.read_at(self.at, &mut out[..left]).map_err(io::Error::other)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// `bytes FIRST-LAST/SIZE` as the first byte and the one behind the last.
fn content_range(text: &str) -> Option<(u64, u64)> {
    let (first, rest) = text.strip_prefix("bytes ")?.split_once('-')?;
    let last: u64 = rest.split('/').next()?.parse().ok()?;
    Some((first.parse().ok()?, last.checked_add(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_understood() {
        assert_eq!(content_range("bytes 5-9/100"), Some((5, 10)));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, 10)));
        assert_eq!(content_range("bytes */100"), None);
        assert_eq!(content_range("items 5-9/100"), None);
    }
}
