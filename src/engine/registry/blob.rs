//! A blob as a stream that survives broken connections.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf, Bytes};
use reqwest::{Response, StatusCode};

use super::client::{Repository, extra_hasher};
use super::http::{Broken, root_cause};
use super::manifest::Descriptor;
use crate::engine::digest::Hasher;
use crate::engine::{Digest, Error, ErrorKind, Result};

/// Reads a blob from its repository. When the connection breaks off or stalls it asks for the rest by range and goes
/// on; it never yields more bytes than the manifest promised, and fewer are an error.
///
/// The reader of the stream verifies its SHA-256; another algorithm is verified here at the end.
pub struct BlobReader {
    repository: Repository,
    digest: Digest,
    size: u64,
    urls: Vec<String>,
    offset: u64,
    chunk: Bytes,
    body: Option<Response>,
    /// Breaks without a byte in between.
    failures: u32,
    hasher: Option<Hasher>,
    cancel: Option<Arc<AtomicBool>>,
    failure: Option<Error>,
}

impl BlobReader {
    pub(super) fn new(repository: Repository, descriptor: &Descriptor) -> Self {
        Self {
            repository,
            digest: descriptor.digest.clone(),
            size: descriptor.size,
            urls: descriptor.urls.clone(),
            offset: 0,
            chunk: Bytes::new(),
            body: None,
            failures: 0,
            hasher: extra_hasher(&descriptor.digest),
            cancel: None,
            failure: None,
        }
    }

    /// Ends the stream with an error once `flag` is set.
    pub fn cancelled_by(mut self, flag: Arc<AtomicBool>) -> Self {
        self.cancel = Some(flag);
        self
    }

    /// Why the last read failed: an [`io::Error`] does not carry it all.
    pub fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }

    /// Bytes taken from the network so far.
    pub fn position(&self) -> u64 {
        self.offset
    }

    fn next_chunk(&mut self) -> Result<()> {
        while self.chunk.is_empty() {
            if self.cancel.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                return Err(Error::new(ErrorKind::Network, format!("blob {}: given up", self.digest)));
            }
            if self.body.is_none() && self.offset == self.size {
                return self.finish();
            }
            let runtime = Arc::clone(&self.repository.runtime);
            match runtime.block_on(self.receive()) {
                Ok(Some(chunk)) => {
                    self.failures = 0;
                    self.accept(chunk)?;
                }
                Ok(None) if self.offset == self.size => {
                    self.body = None;
                    return self.finish();
                }
                Ok(None) => self.broken("the connection ended early".to_owned())?,
                Err(Broken::Final(e)) => return Err(e),
                Err(Broken::Mendable(why)) => self.broken(why)?,
            }
        }
        Ok(())
    }

    fn accept(&mut self, chunk: Bytes) -> Result<()> {
        self.offset += chunk.len() as u64;
        if self.offset > self.size {
            return Err(Error::corrupt(format!(
                "blob {}: more than the {} bytes that the manifest promises",
                self.digest, self.size
            )));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&chunk);
        }
        self.chunk = chunk;
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        match self.hasher.take().map(Hasher::finish) {
            Some(digest) if digest != self.digest => {
                Err(Error::corrupt(format!("blob {}: the content does not match its digest", self.digest)))
            }
            _ => Ok(()),
        }
    }

    fn broken(&mut self, why: String) -> Result<()> {
        self.body = None;
        self.repository.host.pace.trouble();
        let retry = self.repository.host.retry();
        if self.failures >= retry.attempts {
            let what = format!("blob {} broke off at byte {} of {}", self.digest, self.offset, self.size);
            return Err(Error::new(ErrorKind::Network, what).with_source(why));
        }
        // The first break is mended at once; a host that keeps breaking gets time.
        let pause = match self.failures {
            0 => std::time::Duration::ZERO,
            failures => retry.delay * 2_u32.pow(failures - 1),
        };
        tracing::debug!("blob {} at byte {}: {why}; resuming in {pause:?}", self.digest, self.offset);
        std::thread::sleep(pause);
        self.failures += 1;
        Ok(())
    }

    async fn receive(&mut self) -> Result<Option<Bytes>, Broken> {
        let body = match &mut self.body {
            Some(body) => body,
            None => {
                let opened = self.repository.open_blob(&self.digest, self.offset, &self.urls).await?;
                let (body, left) = at_offset(opened, self.offset).await?;
                let body = self.body.insert(body);
                if !left.is_empty() {
                    return Ok(Some(left));
                }
                body
            }
        };
        let stall = self.repository.host.retry().stall;
        match tokio::time::timeout(stall, body.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(e)) => Err(Broken::Mendable(root_cause(&e))),
            Err(_) => Err(Broken::Mendable(format!("nothing came for {stall:?}"))),
        }
    }
}

/// Makes sure the body starts at `offset`: a server that ignores ranges sends all of it again. The bytes returned with
/// it come first.
async fn at_offset(mut answer: Response, offset: u64) -> Result<(Response, Bytes), Broken> {
    if offset == 0 {
        return Ok((answer, Bytes::new()));
    }
    if answer.status() == StatusCode::PARTIAL_CONTENT {
        let range = answer.headers().get(reqwest::header::CONTENT_RANGE).and_then(|r| r.to_str().ok());
        let start = range.and_then(|r| r.strip_prefix("bytes ")?.split_once('-')?.0.parse::<u64>().ok());
        return match start {
            Some(start) if start == offset => Ok((answer, Bytes::new())),
            _ => Err(Broken::Mendable("the registry sent another range than was asked for".to_owned())),
        };
    }
    let mut skip = offset;
    while skip > 0 {
        let chunk = answer.chunk().await.map_err(|e| Broken::Mendable(root_cause(&e)))?;
        let Some(mut chunk) = chunk else {
            return Err(Broken::Mendable("the connection ended early".to_owned()));
        };
        match usize::try_from(skip) {
            Ok(rest) if rest < chunk.len() => {
                chunk.advance(rest);
                return Ok((answer, chunk));
            }
            _ => skip -= chunk.len() as u64,
        }
    }
    Ok((answer, Bytes::new()))
}

impl Read for BlobReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty()
            && let Err(e) = self.next_chunk()
        {
            let text = e.to_string();
            self.failure = Some(e);
            return Err(io::Error::other(text));
        }
        let count = out.len().min(self.chunk.len());
        out[..count].copy_from_slice(&self.chunk[..count]);
        self.chunk.advance(count);
        Ok(count)
    }
}
