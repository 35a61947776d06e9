//! What anybody may have: no credentials go along.

use std::sync::Arc;

use reqwest::header::LOCATION;
use reqwest::{Response, StatusCode, Url};

use super::{Host, MAX_REDIRECTS};
use crate::engine::registry::Repository;
use crate::engine::registry::http::{bounded_body, root_cause};
use crate::engine::{Error, ErrorKind, Result};

impl Host {
    /// A GET of a foreign URL: no credentials, TLS as for any host.
    pub async fn get_foreign(&self, url: &str, offset: u64) -> Result<Response> {
        let url = Url::parse(url).map_err(|e| Error::corrupt(format!("foreign layer {url:?}: {e}")))?;
        let secure = url.scheme() == "https" || (url.scheme() == "http" && self.insecure);
        if !secure {
            return Err(Error::new(ErrorKind::Denied, format!("foreign layer {url}: not an https address")));
        }
        let mut request = self.http()?.get(url.clone());
        if offset > 0 {
            request = request.header(reqwest::header::RANGE, format!("bytes={offset}-"));
        }
        request.send().await.map_err(|e| {
            Error::new(ErrorKind::Network, format!("foreign layer {url}")).with_source(root_cause(&e))
        })
    }

    /// A GET of an address that the configuration names, redirects followed.
    async fn get_public(&self, url: &Url) -> Result<Response> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let failed = |why: String| Error::new(ErrorKind::Network, format!("get {url}")).with_source(why);
            let answer =
                match tokio::time::timeout(self.retry.stall, self.http()?.get(url.clone()).send()).await {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(e)) => return Err(failed(root_cause(&e))),
                    Err(_) => return Err(failed(format!("no answer in {:?}", self.retry.stall))),
                };
            if !answer.status().is_redirection() || !answer.headers().contains_key(LOCATION) {
                return Ok(answer);
            }
            url = self.redirected(&url, &answer)?;
        }
        Err(Error::new(ErrorKind::Network, format!("{url} redirects for ever")))
    }
}

impl Repository {
    /// What is at an address, at most `limit` bytes; `None`: nothing. It is got with this host's trust, but without its
    /// credentials.
    pub fn fetch_public(&self, url: &Url, limit: usize) -> Result<Option<Vec<u8>>> {
        let runtime = Arc::clone(&self.runtime);
        runtime.block_on(async {
            let answer = self.host.get_public(url).await?;
            match answer.status() {
                StatusCode::OK => bounded_body(answer, limit).await.map(Some),
                StatusCode::NOT_FOUND => Ok(None),
                status => Err(Error::new(ErrorKind::Network, format!("get {url}: the answer is {status}"))),
            }
        })
    }
}
