//! The client: repositories at registries, through mirrors and rewrites.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::runtime::{Handle, Runtime};

use super::blob::BlobReader;
use super::host::{Host, Request, Retry, is_loopback, lock};
use super::http::bounded_body;
use super::manifest::{ACCEPT, Descriptor, Document, MAX_MANIFEST};
use super::reference::Reference;
use crate::engine::config::auth::{Credentials, Keychain};
use crate::engine::config::certs::HostCertificates;
use crate::engine::config::registries::Registries;
use crate::engine::config::{Environment, certs};
use crate::engine::digest::{Algorithm, Hasher};
use crate::engine::{Digest, Error, ErrorKind, Result};

/// What the caller decides about registries, beyond the configuration files.
#[derive(Clone, Debug, Default)]
pub struct ClientOptions {
    /// `--tls-verify`; `None`: as registries.conf says, and not for loopback addresses.
    pub tls_verify: Option<bool>,
    /// `--cert-dir`.
    pub cert_dir: Option<PathBuf>,
    /// `--authfile`.
    pub authfile: Option<PathBuf>,
    /// `--creds`.
    pub credentials: Option<Credentials>,
    /// How requests are repeated.
    pub retry: Retry,
}

/// Talks to registries. Nothing is read and no thread started before the first request.
pub struct Client {
    env: Environment,
    registries: Registries,
    options: ClientOptions,
    runtime: Mutex<Option<Arc<Network>>>,
    hosts: Mutex<Vec<Arc<Host>>>,
    /// By repository: a helper is asked once.
    logins: Mutex<HashMap<String, Option<Credentials>>>,
}

/// A repository at the endpoint that has it.
#[derive(Clone)]
pub struct Repository {
    pub(super) host: Arc<Host>,
    pub(super) runtime: Arc<Network>,
    pub(super) path: Arc<str>,
    pub(super) scope: Arc<str>,
    pub(super) reference: Reference,
}

/// The thread that connections live on. It is not waited for: nothing is left to be done when nobody asks any more.
pub(super) struct Network {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Network {
    pub(super) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.handle.block_on(future)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Client {
    /// A client for this caller.
    pub fn new(env: &Environment, registries: Registries, options: ClientOptions) -> Self {
        Self {
            env: env.clone(),
            registries,
            options,
            runtime: Mutex::default(),
            hosts: Mutex::default(),
            logins: Mutex::default(),
        }
    }

    /// registries.conf as this client follows it.
    pub fn registries(&self) -> &Registries {
        &self.registries
    }

    /// `--creds`.
    pub(super) fn credentials(&self) -> Option<&Credentials> {
        self.options.credentials.as_ref()
    }

    /// The repositories to try for `reference`, mirrors first.
    ///
    /// `Denied` if the registry is blocked.
    pub fn sources(&self, reference: &Reference) -> Result<Vec<Repository>> {
        let sources = self.registries.sources(&reference.to_string(), reference.digest().is_some())?;
        sources.iter().map(|s| self.repository(&Reference::parse(&s.name)?, s.insecure, s.mirror)).collect()
    }

    /// The repository to write `reference` to: that of its registry itself, never of a mirror (as containers/image does,
    /// `docker/docker_client.go`: `newDockerClientFromRef`).
    ///
    /// `Denied` if the registry is blocked.
    pub fn target(&self, reference: &Reference) -> Result<Repository> {
        let name = reference.to_string();
        // Asked for its refusal of blocked registries.
        self.registries.sources(&name, reference.digest().is_some())?;
        let insecure = self.registries.find(&name).is_some_and(|r| r.insecure);
        let mut repository = self.repository(reference, insecure, false)?;
        repository.scope = format!("repository:{}:pull,push", reference.path()).into();
        Ok(repository)
    }

    fn repository(&self, reference: &Reference, insecure: bool, mirror: bool) -> Result<Repository> {
        let name = reference.domain();
        let (certificates, insecure) = self.trust(name, insecure)?;
        let credentials = match &self.options.credentials {
            // What was typed for one registry is not for its mirrors.
            Some(given) if !mirror => Some(given.clone()),
            _ => self.login(&reference.name())?,
        };
        let mut hosts = lock(&self.hosts);
        let host = match hosts.iter().find(|h| h.serves(name, insecure, credentials.as_ref())) {
            Some(host) => Arc::clone(host),
            None => {
                // After a mirror that is not there comes the registry itself.
                let unreachable = self.options.retry.unreachable && !mirror;
                let retry = Retry { unreachable, ..self.options.retry };
                let host = Host::new(name, insecure, certificates, credentials, &self.env, retry);
                hosts.push(Arc::new(host));
                Arc::clone(&hosts[hosts.len() - 1])
            }
        };
        drop(hosts);
        Ok(Repository {
            host,
            runtime: self.runtime()?,
            path: reference.path().into(),
            scope: format!("repository:{}:pull", reference.path()).into(),
            reference: reference.clone(),
        })
    }

    /// The certificates for a registry, and whether it may do without.
    fn trust(&self, name: &str, insecure: bool) -> Result<(HostCertificates, bool)> {
        let certificates = certs::load(&self.env, self.options.cert_dir.as_deref(), name)?;
        let insecure = match self.options.tls_verify {
            Some(verify) => !verify,
            // Docker trusts loopback addresses; one with its own CA is meant to be verified.
            None => insecure || (is_loopback(name) && certificates.authorities.is_empty()),
        };
        Ok((certificates, insecure))
    }

    /// A host of its own for requests that are about no repository.
    pub(super) fn host(&self, name: &str, credentials: Option<Credentials>) -> Result<Host> {
        let insecure = self.registries.find(name).is_some_and(|r| r.insecure);
        let (certificates, insecure) = self.trust(name, insecure)?;
        Ok(Host::new(name, insecure, certificates, credentials, &self.env, self.options.retry))
    }

    /// Asks the registry `name` whether it takes these credentials. What comes back is the identity token that its token
    /// service gives for them, if it gives any.
    ///
    /// `Unauthorized` if they are refused, `Network` if nobody can be asked.
    pub fn log_in(&self, name: &str, credentials: &Credentials) -> Result<Option<String>> {
        let host = self.host(name, Some(credentials.clone()))?;
        self.runtime()?.block_on(host.log_in())
    }

    fn login(&self, repository: &str) -> Result<Option<Credentials>> {
        let mut logins = lock(&self.logins);
        if let Some(known) = logins.get(repository) {
            return Ok(known.clone());
        }
        let found = self.keychain().get(repository)?;
        logins.insert(repository.to_owned(), found.clone());
        Ok(found)
    }

    pub(super) fn keychain(&self) -> Keychain {
        let helpers = self.registries.credential_helpers();
        Keychain::new(&self.env, self.options.authfile.as_deref(), helpers)
    }

    pub(super) fn runtime(&self) -> Result<Arc<Network>> {
        let mut started = lock(&self.runtime);
        if let Some(network) = &*started {
            return Ok(Arc::clone(network));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("registry")
            .enable_io()
            .enable_time()
            .build()
            .map_err(|e| Error::os("start the network thread", e))?;
        let network = Arc::new(Network { handle: runtime.handle().clone(), runtime: Some(runtime) });
        *started = Some(Arc::clone(&network));
        Ok(network)
    }
}

impl Repository {
    /// The name this repository has at its endpoint.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The manifest or index by a tag or digest, verified.
    ///
    /// `NotFound` if there is none, `Unauthorized`, `Network`, or `Corrupt` if it is not what the digest says.
    pub fn manifest(&self, tag_or_digest: &str) -> Result<Document> {
        let (raw, digest, content_type) = self.runtime.block_on(self.fetch_manifest(tag_or_digest))?;
        Document::parse(raw, digest, content_type.as_deref())
    }

    /// [`Repository::manifest`] of images and artifacts alike.
    pub fn any_manifest(&self, tag_or_digest: &str) -> Result<Document> {
        let (raw, digest, content_type) = self.runtime.block_on(self.fetch_manifest(tag_or_digest))?;
        Document::parse_any(raw, digest, content_type.as_deref())
    }

    async fn fetch_manifest(&self, tag_or_digest: &str) -> Result<(Vec<u8>, Digest, Option<String>)> {
        let path = format!("{}/manifests/{tag_or_digest}", self.path);
        let request = Request { accept: Some(ACCEPT), ..Request::get(&path, &self.scope) };
        let sent = self.host.send(&request).await;
        let answer = sent.map_err(|e| self.refused(e, tag_or_digest))?;
        if !answer.status().is_success() {
            return Err(self.refused(self.host.failure(answer).await, tag_or_digest));
        }
        let header = |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let content_type = header("content-type");
        let promised = header("docker-content-digest").and_then(|d| Digest::parse(&d).ok());
        let raw = bounded_body(answer, MAX_MANIFEST).await?;
        let asked = Digest::parse(tag_or_digest).ok();
        for digest in asked.iter().chain(&promised) {
            if !digest.matches(&raw) {
                return Err(Error::corrupt(format!(
                    "manifest {tag_or_digest} of {}: the content does not match its digest {digest}",
                    self.reference.name()
                )));
            }
        }
        let digest = asked.unwrap_or_else(|| Digest::sha256(&raw));
        Ok((raw, digest, content_type))
    }

    pub(super) fn refused(&self, e: Error, tag_or_digest: &str) -> Error {
        let name = self.reference.familiar_name();
        match e.kind() {
            ErrorKind::NotFound if !e.to_string().contains("name unknown") => {
                let separator = if tag_or_digest.contains(':') { '@' } else { ':' };
                let source = Error::not_found("manifest unknown");
                let _ = e;
                source.wrap(format!("manifest for {name}{separator}{tag_or_digest} not found"))
            }
            ErrorKind::NotFound => e.wrap(format!("repository {name} not found")),
            ErrorKind::Unauthorized => e.wrap(format!(
                "pull access denied for {name}, repository does not exist or may require 'docker login'"
            )),
            _ => e,
        }
    }

    /// A small blob as a whole, verified. `limit` is in bytes.
    pub fn small_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        use std::io::Read;
        if descriptor.size > limit {
            return Err(Error::corrupt(format!(
                "blob {} is {} bytes large, more than {limit}",
                descriptor.digest, descriptor.size
            )));
        }
        let mut reader = self.blob(descriptor);
        let mut bytes = Vec::new();
        let read = reader.read_to_end(&mut bytes);
        if let Some(e) = reader.take_failure() {
            return Err(e);
        }
        read.map_err(|e| Error::os(format!("read blob {}", descriptor.digest), e))?;
        verify(&descriptor.digest, &bytes)?;
        Ok(bytes)
    }

    /// A blob as a stream that mends itself; whoever reads it verifies the digest.
    pub fn blob(&self, descriptor: &Descriptor) -> BlobReader {
        BlobReader::new(self.clone(), descriptor)
    }

    /// Opens the body of a blob at an offset.
    pub(super) async fn open_blob(
        &self,
        digest: &Digest,
        offset: u64,
        foreign: &[String],
    ) -> Result<reqwest::Response> {
        let path = format!("{}/blobs/{digest}", self.path);
        let answer = self.host.send(&Request { offset, ..Request::get(&path, &self.scope) }).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let error = self.host.failure(answer).await;
        if error.kind() != ErrorKind::NotFound {
            return Err(error.wrap(format!("blob {digest}")));
        }
        for url in foreign {
            match self.host.get_foreign(url, offset).await {
                Ok(answer) if answer.status().is_success() => return Ok(answer),
                Ok(answer) => tracing::debug!("foreign layer {url}: {}", answer.status()),
                Err(e) => tracing::debug!("{e}"),
            }
        }
        Err(error.wrap(format!("blob {digest} of {} not found", self.reference.name())))
    }

    /// How often its registry was overloaded, went silent or broke off.
    pub fn troubles(&self) -> usize {
        self.host.pace.troubles()
    }

    /// Every tag of the repository, in the registry's order.
    pub fn tags(&self) -> Result<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct Page {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        /// Most pages read from a registry that always links to another.
        const MAX_PAGES: usize = 1000;
        let mut tags: Vec<String> = Vec::new();
        let mut next = Some(format!("{}/tags/list", self.path));
        for _ in 0..MAX_PAGES {
            let Some(path) = next.take() else { break };
            let (page, link) = self.runtime.block_on(async {
                let answer = self.host.send(&Request::get(&path, &self.scope)).await?;
                if !answer.status().is_success() {
                    return Err(self.refused(self.host.failure(answer).await, "tags"));
                }
                let link = answer.headers().get("link").and_then(|l| l.to_str().ok()).and_then(next_page);
                Ok((bounded_body(answer, MAX_MANIFEST).await?, link))
            })?;
            let page: Page = serde_json::from_slice(&page)
                .map_err(|e| Error::corrupt(format!("tags of {}: {e}", self.reference.name())))?;
            tags.extend(page.tags.unwrap_or_default());
            next = link;
        }
        Ok(tags)
    }
}

/// The path below `/v2/` of `Link: </v2/…>; rel="next"`.
pub(super) fn next_page(header: &str) -> Option<String> {
    let (target, rest) = header.trim().strip_prefix('<')?.split_once('>')?;
    if !rest.contains("next") {
        return None;
    }
    target.split_once("/v2/").map(|(_, path)| path.to_owned())
}

/// Fails with `Corrupt` if `bytes` are not what `digest` says.
pub fn verify(digest: &Digest, bytes: &[u8]) -> Result<()> {
    if digest.matches(bytes) {
        return Ok(());
    }
    Err(Error::corrupt(format!("blob {digest}: the content does not match its digest")))
}

/// A running digest for blobs that unpacking does not hash itself (it knows SHA-256 only).
pub(super) fn extra_hasher(digest: &Digest) -> Option<Hasher> {
    (digest.algorithm() != Algorithm::Sha256).then(|| Hasher::new(digest.algorithm()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_recognised_by_address_and_name() {
        for (name, want) in [
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("localhost:1", true),
            ("[::1]:5000", true),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("10.0.0.1:5000", false),
        ] {
            assert_eq!(is_loopback(name), want, "{name}");
        }
    }

    #[test]
    fn pages_are_linked_by_path() {
        assert_eq!(
            next_page("</v2/a/tags/list?last=x&n=1>; rel=\"next\"").as_deref(),
            Some("a/tags/list?last=x&n=1")
        );
        assert_eq!(next_page("<http://h/v2/a>; rel=\"prev\""), None);
    }
}
