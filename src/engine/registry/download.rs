//! A file from the web, as a stream: what `import http://…` reads.
//!
//! It goes where a browser would: along redirects, but never from TLS to none, and without taking a password from the
//! address along. A stalled peer is given up.

use std::io::{self, Read};
use std::time::Duration;

use bytes::{Buf, Bytes};
use reqwest::header::LOCATION;
use reqwest::{Client, Response, Url};
use tokio::runtime::Runtime;

use super::host::Retry;
use super::http::{http_client, root_cause};
use crate::engine::config::{Environment, certs};
use crate::engine::{Error, ErrorKind, Result};

/// Redirects followed, as Go's client does.
const REDIRECTS: usize = 10;

/// The body of an answer.
pub struct Download {
    runtime: Runtime,
    body: Response,
    chunk: Bytes,
    stall: Duration,
}

impl Download {
    /// Asks for `url`, which begins with `http://` or `https://`.
    ///
    /// # Errors
    /// [`ErrorKind::Network`] when it is not reached, [`ErrorKind::NotFound`] when it says 404.
    pub fn open(env: &Environment, url: &str) -> Result<Self> {
        let url = Url::parse(url).map_err(|e| Error::invalid(format!("{url}: {e}")))?;
        let retry = Retry::default();
        let host = url.host_str().unwrap_or_default().to_owned();
        let client = http_client(&host, false, &certs::HostCertificates::default(), env, retry)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(|e| Error::os("start the network", e))?;
        let body = runtime.block_on(fetch(&client, url))?;
        Ok(Self { runtime, body, chunk: Bytes::new(), stall: retry.stall })
    }

    fn next(&mut self) -> Result<Option<Bytes>> {
        let shown = shown(self.body.url());
        let received =
            self.runtime.block_on(async { tokio::time::timeout(self.stall, self.body.chunk()).await });
        let broken = |why: String| {
            Error::new(ErrorKind::Network, format!("the download of {shown} broke off")).with_source(why)
        };
        match received {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(e)) => Err(broken(root_cause(&e))),
            Err(_) => Err(broken(format!("nothing came for {:?}", self.stall))),
        }
    }
}

async fn fetch(client: &Client, mut url: Url) -> Result<Response> {
    for _ in 0..=REDIRECTS {
        let answer = client.get(url.clone()).send().await.map_err(|e| {
            Error::new(ErrorKind::Network, format!("download {}", shown(&url))).with_source(root_cause(&e))
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        if !status.is_redirection() {
            let kind = if status.as_u16() == 404 { ErrorKind::NotFound } else { ErrorKind::Network };
            return Err(Error::new(kind, format!("download {}: the server says {status}", shown(&url))));
        }
        let next = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok());
        let next = next.and_then(|to| url.join(to).ok()).filter(|to| matches!(to.scheme(), "http" | "https"));
        let next = next.ok_or_else(|| {
            Error::new(ErrorKind::Network, format!("download {}: a redirect to nowhere", shown(&url)))
        })?;
        if url.scheme() == "https" && next.scheme() == "http" {
            return Err(Error::new(
                ErrorKind::Network,
                format!(
                    "download {}: it leads to {}, which is not protected by TLS",
                    shown(&url),
                    shown(&next)
                ),
            ));
        }
        url = next;
    }
    Err(Error::new(ErrorKind::Network, format!("more than {REDIRECTS} redirects to {}", shown(&url))))
}

/// Without what may be a password.
fn shown(url: &Url) -> Url {
    let mut shown = url.clone();
    let _ = shown.set_password(None);
    let _ = shown.set_username("");
    shown
}

impl Read for Download {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.next() {
                Ok(Some(chunk)) => self.chunk = chunk,
                Ok(None) => return Ok(0),
                Err(e) => return Err(io::Error::other(e)),
            }
        }
        let count = out.len().min(self.chunk.len());
        out[..count].copy_from_slice(&self.chunk[..count]);
        self.chunk.advance(count);
        Ok(count)
    }
}
