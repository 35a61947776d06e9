//! Writing to a registry: blobs, manifests, deletion.
//!
//! A blob goes in one upload session (OCI distribution specification, "Pushing blobs"): POST opens it, one PATCH streams
//! the content while it is made, PUT closes it with the digest, which is known only then. One PATCH, because many
//! registries refuse several. When it breaks off the registry is asked how far it came, the content is made once more
//! from its beginning and what has arrived is skipped: nothing is kept for it, in memory or on disk. A blob that fits
//! into one buffer is sent by the closing PUT alone.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Body, Method, Response, StatusCode};
use tokio::sync::mpsc;

use super::client::Repository;
use super::host::Request;
use super::http::bounded_body;
use super::manifest::MAX_MANIFEST;
use crate::engine::digest::{Algorithm, Hasher};
use crate::engine::{Digest, Error, ErrorKind, Result};
use crate::failpoint;

/// Bytes handed to the connection at a time.
const CHUNK: usize = 1 << 20;
/// Chunks that may wait for the connection.
const QUEUE: usize = 4;

/// Content that can be made any number of times, the same each time.
pub trait Content: Sync {
    /// Writes all of it. A failure of `out` is passed on as it is.
    fn write_to(&self, out: &mut dyn Write) -> Result<()>;
}

impl Content for [u8] {
    fn write_to(&self, out: &mut dyn Write) -> Result<()> {
        out.write_all(self).map_err(|e| Error::os("write", e))
    }
}

/// What a blob turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uploaded {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

impl Repository {
    /// The size of a blob if the repository has it.
    pub fn blob_size(&self, digest: &Digest) -> Result<Option<u64>> {
        self.runtime.block_on(async {
            let path = format!("{}/blobs/{digest}", self.path);
            let answer = self.ask_to_write(&Request::new(Method::HEAD, &path, &self.scope)).await?;
            match answer.status() {
                status if status.is_success() => {
                    let length = answer.headers().get(reqwest::header::CONTENT_LENGTH);
                    Ok(Some(length.and_then(|l| l.to_str().ok()?.parse().ok()).unwrap_or(0)))
                }
                StatusCode::NOT_FOUND => Ok(None),
                _ => Err(self.write_refused(self.host.failure(answer).await)),
            }
        })
    }

    /// Takes a blob over from another repository of the registry. `false`: it would have to be uploaded.
    pub fn mount_blob(&self, digest: &Digest, from: &str) -> Result<bool> {
        self.runtime.block_on(async {
            let path = format!("{}/blobs/uploads/?mount={digest}&from={from}", self.path);
            let scope = format!("{} repository:{from}:pull", self.scope);
            let answer = self.host.send(&Request::new(Method::POST, &path, &scope)).await?;
            match answer.status() {
                StatusCode::CREATED => Ok(true),
                StatusCode::ACCEPTED => {
                    // The registry opened a session instead.
                    self.cancel(&location(answer.headers())?).await;
                    Ok(false)
                }
                _ => {
                    let e = self.host.failure(answer).await;
                    tracing::debug!("blob {digest} is not mounted from {from}: {e}");
                    Ok(false)
                }
            }
        })
    }

    /// Uploads a blob. `expected` is checked as soon as the content ends. `sent` hears how many bytes have gone.
    ///
    /// # Errors
    /// `Corrupt` if the content is not as expected, those of making the content, `Unauthorized`, `Network`.
    pub fn upload(
        &self,
        content: &(impl Content + ?Sized),
        expected: Option<&Digest>,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<Uploaded> {
        let retry = self.host.retry();
        let mut session = Session { repository: self, at: String::new(), arrived: 0 };
        for attempt in 0.. {
            let failed = match session.run(content, expected, sent) {
                Ok(uploaded) => return Ok(uploaded),
                Err(Broken::Final(e)) => return Err(e),
                Err(Broken::Mendable(e)) => e,
            };
            if attempt >= retry.attempts {
                return Err(failed);
            }
            let pause = if attempt == 0 { Duration::ZERO } else { retry.delay * 2_u32.pow(attempt - 1) };
            tracing::debug!("{failed}; going on in {pause:?}");
            std::thread::sleep(pause);
            session.recover();
        }
        Err(Error::new(ErrorKind::Network, "the upload never ends"))
    }

    /// Writes a manifest or an index by a tag or its digest. `true`: the registry has noted what it is about
    /// (`OCI-Subject`).
    pub fn put_manifest(&self, tag_or_digest: &str, media_type: &str, raw: &[u8]) -> Result<bool> {
        self.runtime.block_on(async {
            let path = format!("{}/manifests/{tag_or_digest}", self.path);
            let request = Request {
                content_type: Some(media_type),
                body: Bytes::copy_from_slice(raw),
                ..Request::new(Method::PUT, &path, &self.scope)
            };
            let answer = self.ask_to_write(&request).await?;
            if !answer.status().is_success() {
                return Err(self.write_refused(self.host.failure(answer).await).wrap("write the manifest"));
            }
            Ok(answer.headers().contains_key("oci-subject"))
        })
    }

    /// Deletes a manifest by its digest.
    ///
    /// `Unsupported` if the registry does not allow it.
    pub fn delete_manifest(&self, digest: &Digest) -> Result<()> {
        self.runtime.block_on(async {
            let path = format!("{}/manifests/{digest}", self.path);
            let scope = format!("repository:{}:*", self.path);
            let answer = self.host.send(&Request::new(Method::DELETE, &path, &scope)).await?;
            match answer.status() {
                status if status.is_success() => Ok(()),
                StatusCode::METHOD_NOT_ALLOWED => Err(Error::unsupported(format!(
                    "registry {} does not allow to delete images",
                    self.host.name()
                ))
                .with_hint("the registry's own configuration decides about that (storage.delete.enabled)")),
                _ => Err(self.refused(self.host.failure(answer).await, digest.as_str())),
            }
        })
    }

    /// Sends a request; who may not have a token for it may not write.
    async fn ask_to_write(&self, request: &Request<'_>) -> Result<Response> {
        self.host.send(request).await.map_err(|e| self.write_refused(e))
    }

    fn write_refused(&self, e: Error) -> Error {
        match e.kind() {
            ErrorKind::Unauthorized => {
                e.wrap(format!("requested access to {} is denied", self.reference.familiar_name()))
            }
            _ => e,
        }
    }

    async fn open_session(&self) -> Result<String> {
        let path = format!("{}/blobs/uploads/", self.path);
        let answer = self.ask_to_write(&Request::new(Method::POST, &path, &self.scope)).await?;
        if answer.status() != StatusCode::ACCEPTED {
            return Err(self.write_refused(self.host.failure(answer).await));
        }
        location(answer.headers())
    }

    async fn cancel(&self, session: &str) {
        let request = Request::new(Method::DELETE, session, &self.scope);
        if let Err(e) = self.host.send(&request).await {
            tracing::debug!("the upload session is left to the registry: {e}");
        }
    }

    async fn close_session(&self, session: &str, digest: &Digest, body: Bytes) -> Result<Response> {
        let separator = if session.contains('?') { '&' } else { '?' };
        let at = format!("{session}{separator}digest={digest}");
        let content_type = (!body.is_empty()).then_some("application/octet-stream");
        let request = Request { content_type, body, ..Request::new(Method::PUT, &at, &self.scope) };
        self.host.send(&request).await
    }
}

/// One blob on its way.
struct Session<'a> {
    repository: &'a Repository,
    /// Where the next request goes; empty: a session must be opened.
    at: String,
    /// Bytes the registry has.
    arrived: u64,
}

enum Broken {
    Mendable(Error),
    Final(Error),
}

impl From<Error> for Broken {
    fn from(e: Error) -> Self {
        match e.kind() {
            ErrorKind::Network | ErrorKind::Timeout => Self::Mendable(e),
            _ => Self::Final(e),
        }
    }
}

impl Session<'_> {
    fn run(
        &mut self,
        content: &(impl Content + ?Sized),
        expected: Option<&Digest>,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<Uploaded, Broken> {
        let repository = self.repository;
        let runtime = Arc::clone(&repository.runtime);
        if self.at.is_empty() {
            self.at = runtime.block_on(repository.open_session())?;
            self.arrived = 0;
            failpoint!("push.session-opened");
        }
        let (at, skip, stall) = (self.at.clone(), self.arrived, repository.host.retry().stall);
        let (made, answer) = std::thread::scope(|scope| {
            let (queue, receiver) = mpsc::channel::<Bytes>(QUEUE);
            let sending = scope.spawn(|| runtime.block_on(patch(repository, &at, receiver)));
            let made = make(content, expected, skip, sent, |chunk| {
                runtime.block_on(async {
                    tokio::time::timeout(stall, queue.send(chunk)).await.is_ok_and(|s| s.is_ok())
                })
            });
            drop(queue);
            (made, sending.join())
        });
        let answer = answer.map_err(|_| Broken::Final(Error::corrupt("the upload panicked")))?;
        // Where nobody took the content, the answer says why.
        let answer = answer.map_err(|e| Broken::from(repository.write_refused(e)))?;
        let (uploaded, rest) = match made {
            Ok(made) => made,
            Err(e) => {
                runtime.block_on(repository.cancel(&self.at));
                return Err(Broken::Final(e));
            }
        };
        if let Some(answer) = answer {
            self.at = location(answer.headers())?;
        }
        failpoint!("push.blob-sent");
        self.close(&uploaded.digest, rest)?;
        sent(uploaded.size);
        Ok(uploaded)
    }

    fn close(&mut self, digest: &Digest, body: Bytes) -> Result<(), Broken> {
        let repository = self.repository;
        let runtime = Arc::clone(&repository.runtime);
        let answer = runtime.block_on(repository.close_session(&self.at, digest, body))?;
        if answer.status().is_success() {
            return Ok(());
        }
        let e = runtime.block_on(repository.host.failure(answer));
        Err(repository.write_refused(e).wrap(format!("blob {digest}")).into())
    }

    /// After a break: how far did it come? A registry that cannot tell gets it all again.
    fn recover(&mut self) {
        let runtime = Arc::clone(&self.repository.runtime);
        let asked = runtime.block_on(self.status());
        match asked {
            Ok((at, arrived)) => (self.at, self.arrived) = (at, arrived),
            Err(e) => {
                tracing::debug!("the upload begins again: {e}");
                self.at.clear();
            }
        }
    }

    async fn status(&self) -> Result<(String, u64)> {
        let request = Request::get(&self.at, &self.repository.scope);
        let answer = self.repository.host.send(&request).await?;
        if !answer.status().is_success() {
            return Err(self.repository.host.failure(answer).await);
        }
        let range =
            answer.headers().get(reqwest::header::RANGE).and_then(|r| r.to_str().ok()).unwrap_or("0-0");
        let last = range.rsplit_once('-').and_then(|(_, last)| last.parse::<u64>().ok());
        // `0-0` means nothing, or one byte: nothing is the safe reading.
        let arrived = last.filter(|last| *last > 0).map_or(0, |last| last + 1);
        let at = location(answer.headers())?;
        bounded_body(answer, MAX_MANIFEST).await?;
        Ok((at, arrived))
    }
}

/// Makes the content and hands it to `take`; returns what it is, and what was not handed over.
fn make(
    content: &(impl Content + ?Sized),
    expected: Option<&Digest>,
    skip: u64,
    sent: &(dyn Fn(u64) + Sync),
    take: impl FnMut(Bytes) -> bool,
) -> Result<(Uploaded, Bytes)> {
    let mut chunks = Chunks::new(expected, skip, sent, take);
    content.write_to(&mut chunks)?;
    chunks.finish(expected)
}

/// Sends what comes through the queue as the body of one request; none if nothing comes.
async fn patch(
    repository: &Repository,
    at: &str,
    mut queue: mpsc::Receiver<Bytes>,
) -> Result<Option<Response>> {
    let Some(first) = queue.recv().await else { return Ok(None) };
    let body = stream::unfold((Some(first), queue), |(first, mut queue)| async move {
        match first {
            Some(first) => Some((io::Result::Ok(first), (None, queue))),
            None => queue.recv().await.map(|chunk| (Ok(chunk), (None, queue))),
        }
    });
    let request = Request {
        content_type: Some("application/octet-stream"),
        ..Request::new(Method::PATCH, at, &repository.scope)
    };
    repository.host.send_stream(&request, Body::wrap_stream(body)).await.map(Some)
}

fn location(headers: &HeaderMap) -> Result<String> {
    let location = headers.get(LOCATION).and_then(|l| l.to_str().ok());
    location
        .map(str::to_owned)
        .ok_or_else(|| Error::new(ErrorKind::Network, "the registry does not say where to upload to"))
}

/// Cuts what is written into chunks, computes the digest on the way, and leaves out what has arrived before.
struct Chunks<'a, F> {
    take: F,
    sent: &'a (dyn Fn(u64) + Sync),
    hasher: Hasher,
    chunk: Vec<u8>,
    size: u64,
    /// Bytes at the beginning that need not be sent.
    skip: u64,
    refused: bool,
}

impl<'a, F: FnMut(Bytes) -> bool> Chunks<'a, F> {
    fn new(expected: Option<&Digest>, skip: u64, sent: &'a (dyn Fn(u64) + Sync), take: F) -> Self {
        let algorithm = expected.map_or(Algorithm::Sha256, Digest::algorithm);
        let hasher = Hasher::new(algorithm);
        Self { take, sent, hasher, chunk: Vec::with_capacity(CHUNK), size: 0, skip, refused: false }
    }

    /// Hands a full chunk over.
    fn flush_chunk(&mut self) -> io::Result<()> {
        let chunk = Bytes::from(std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK)));
        let start = self.size - chunk.len() as u64;
        let known = usize::try_from(self.skip.saturating_sub(start)).unwrap_or(usize::MAX);
        if known < chunk.len() {
            if !(self.take)(chunk.slice(known..)) {
                self.refused = true;
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            (self.sent)(self.size);
        }
        Ok(())
    }

    /// What the blob is, and the rest that was not handed over because nothing was: the closing request takes it along.
    fn finish(mut self, expected: Option<&Digest>) -> Result<(Uploaded, Bytes)> {
        let digest = self.hasher.clone().finish();
        if let Some(expected) = expected.filter(|expected| **expected != digest) {
            return Err(Error::corrupt(format!("blob {expected}: the content has the digest {digest}")));
        }
        let uploaded = Uploaded { digest, size: self.size };
        let mut rest = Bytes::new();
        if self.size == self.chunk.len() as u64 && self.skip == 0 {
            rest = Bytes::from(std::mem::take(&mut self.chunk));
        } else if !self.chunk.is_empty() {
            self.flush_chunk().map_err(|e| Error::os("send the last bytes", e))?;
        }
        Ok((uploaded, rest))
    }
}

impl<F: FnMut(Bytes) -> bool> Write for Chunks<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.refused {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(CHUNK - self.chunk.len());
        self.hasher.update(&bytes[..count]);
        self.chunk.extend_from_slice(&bytes[..count]);
        self.size += count as u64;
        if self.chunk.len() == CHUNK {
            self.flush_chunk()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
