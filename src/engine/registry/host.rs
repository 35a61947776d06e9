//! One registry host: its TLS settings, its scheme, its credentials and tokens, and every request to it.
//!
//! A request is authenticated when the host asks for it, repeated with growing pauses when the host is overloaded or
//! drops the connection, and follows redirects without taking credentials along.

mod pace;
mod public;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex as StdMutex, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Body, Client as HttpClient, Method, Response, StatusCode, Url};
use tokio::sync::Mutex;

use super::auth::{Challenge, Token};
use super::http::{bounded_body, error_text, header, http_client, retry_after, root_cause};
use crate::engine::config::Environment;
use crate::engine::config::auth::Credentials;
use crate::engine::config::certs::HostCertificates;
use crate::engine::{Error, ErrorKind, Result};

/// How requests are repeated.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Repetitions after a first failure.
    pub attempts: u32,
    /// Pause before the first repetition; doubled for each further one.
    pub delay: Duration,
    /// Longest silence of a peer before it counts as gone.
    pub stall: Duration,
    /// Whether that goes for a host that is not there at all: only if somebody says how often to repeat.
    pub unreachable: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 3,
            delay: Duration::from_secs(1),
            stall: Duration::from_secs(60),
            unreachable: false,
        }
    }
}

/// Attempts more when the host says when to come again.
const PATIENCE: u32 = 5;
/// Longest pause a host may ask for with `Retry-After`.
const MAX_PAUSE: Duration = Duration::from_secs(60);
const MAX_REDIRECTS: u32 = 10;
/// Largest error document and token answer read.
pub(super) const MAX_ANSWER: usize = 1 << 20;

/// A registry host.
pub struct Host {
    pub(super) name: String,
    /// Made for the first request: the system's authorities are read for it.
    http: OnceLock<HttpClient>,
    /// Held by who makes it.
    making: StdMutex<()>,
    certificates: HostCertificates,
    env: Environment,
    pub(super) insecure: bool,
    pub(super) credentials: Option<Credentials>,
    pub(super) retry: Retry,
    pub(super) pace: pace::Pace,
    /// Known after the first answer; an insecure host may speak plain HTTP.
    scheme: StdMutex<Option<&'static str>>,
    /// What the host asked for last, so that the next request is right at once.
    pub(super) challenge: StdMutex<Option<Challenge>>,
    pub(super) tokens: Mutex<HashMap<String, Token>>,
    /// Whether the token service is asked for an identity token, and the one it gave.
    pub(super) wants_identity: bool,
    pub(super) identity: StdMutex<Option<String>>,
}

/// A request to a host.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// What to do.
    pub method: Method,
    /// Path below `/v2/`, or the whole address (or absolute path) that a `Location` of this host gave.
    pub at: &'a str,
    /// The token scopes it needs, separated by spaces.
    pub scope: &'a str,
    /// Accept header.
    pub accept: Option<&'static str>,
    /// First byte wanted.
    pub offset: u64,
    /// The Range header, instead of that.
    pub ranges: Option<&'a str>,
    /// Media type of the body.
    pub content_type: Option<&'a str>,
    /// What is sent.
    pub body: Bytes,
}

impl<'a> Request<'a> {
    /// A request without a body.
    pub fn new(method: Method, at: &'a str, scope: &'a str) -> Self {
        Self {
            method,
            at,
            scope,
            accept: None,
            offset: 0,
            ranges: None,
            content_type: None,
            body: Bytes::new(),
        }
    }

    /// A GET.
    pub fn get(at: &'a str, scope: &'a str) -> Self {
        Self::new(Method::GET, at, scope)
    }

    fn headers(&self) -> Result<HeaderMap> {
        use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, RANGE};
        let mut headers = HeaderMap::new();
        if let Some(accept) = self.accept {
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
        }
        if self.offset > 0 {
            headers.insert(RANGE, header(&format!("bytes={}-", self.offset))?);
        }
        if let Some(ranges) = self.ranges {
            headers.insert(RANGE, header(ranges)?);
        }
        if let Some(media_type) = self.content_type {
            headers.insert(CONTENT_TYPE, header(media_type)?);
        }
        // Registries want to be told that there is no body.
        if self.body.is_empty() && matches!(self.method, Method::POST | Method::PUT) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Ok(headers)
    }
}

enum Sent {
    Answer(Response),
    /// Try again after at least this pause.
    Again(Error, Option<Duration>),
    /// There is no connection, and another try will not make one.
    Unreachable(Error),
}

impl Host {
    /// For the registry `name` (`docker.io` is served by another host). `insecure` allows plain HTTP and unverified TLS.
    pub fn new(
        name: &str,
        insecure: bool,
        certificates: HostCertificates,
        credentials: Option<Credentials>,
        env: &Environment,
        retry: Retry,
    ) -> Self {
        Self {
            name: api_host(name).to_owned(),
            http: OnceLock::new(),
            making: StdMutex::new(()),
            certificates,
            env: env.clone(),
            insecure,
            credentials,
            retry,
            pace: pace::Pace::default(),
            scheme: StdMutex::new(None),
            challenge: StdMutex::new(None),
            tokens: Mutex::new(HashMap::new()),
            wants_identity: false,
            identity: StdMutex::new(None),
        }
    }

    pub(super) fn http(&self) -> Result<&HttpClient> {
        if let Some(client) = self.http.get() {
            return Ok(client);
        }
        let _making = lock(&self.making);
        if let Some(client) = self.http.get() {
            return Ok(client);
        }
        let client = http_client(&self.name, self.insecure, &self.certificates, &self.env, self.retry)?;
        Ok(self.http.get_or_init(|| client))
    }

    /// Asks whether the host takes the credentials, and returns the identity token that its token service gives for
    /// them, if it does.
    ///
    /// `Unauthorized` if it does not.
    pub async fn log_in(mut self) -> Result<Option<String>> {
        self.wants_identity = true;
        let answer = self.send(&Request::get("", "")).await?;
        if !answer.status().is_success() {
            return Err(self.failure(answer).await);
        }
        Ok(lock(&self.identity).take())
    }

    /// Whether this is `name` with the same trust and the same rights.
    pub fn serves(&self, name: &str, insecure: bool, credentials: Option<&Credentials>) -> bool {
        self.name == api_host(name) && self.insecure == insecure && self.credentials.as_ref() == credentials
    }

    /// `host[:port]`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pauses and limits of this host.
    pub fn retry(&self) -> Retry {
        self.retry
    }

    /// Sends the request until there is an answer that is neither overload nor a demand to authenticate. The answer may
    /// still be an error of the registry: see [`Host::failure`].
    pub async fn send(&self, request: &Request<'_>) -> Result<Response> {
        let mut attempt = 0;
        let mut authenticated = false;
        loop {
            self.pace.wait().await;
            let introduced = lock(&self.challenge).is_some();
            let (error, pause) = match self.try_send(request).await? {
                Sent::Answer(answer) if answer.status() == StatusCode::UNAUTHORIZED && !authenticated => {
                    authenticated = true;
                    if self.learn_challenge(&answer, request.scope, introduced).await {
                        continue;
                    }
                    return Ok(answer);
                }
                Sent::Answer(answer) => return Ok(answer),
                Sent::Unreachable(error) if self.retry.unreachable => (error, None),
                Sent::Unreachable(error) => return Err(error),
                Sent::Again(error, pause) => (error, pause),
            };
            let patient = pause.is_some() && self.retry.attempts > 0;
            let most = self.retry.attempts + if patient { PATIENCE } else { 0 };
            if attempt >= most {
                return Err(error);
            }
            match pause {
                // Everybody waits for it.
                Some(pause) => tracing::warn!("{error}; the registry wants to be asked again in {pause:?}"),
                None => {
                    let pause = (self.retry.delay * 2_u32.pow(attempt)).min(MAX_PAUSE);
                    tracing::warn!("{error}; trying again in {pause:?} ({} of {most})", attempt + 1);
                    tokio::time::sleep(pause).await;
                }
            }
            attempt += 1;
        }
    }

    async fn try_send(&self, request: &Request<'_>) -> Result<Sent> {
        let known = *lock(&self.scheme);
        if let Some(scheme) = known {
            return self.send_by(scheme, request).await;
        }
        let plain_first = self.is_likely_plain();
        let [first, second] = if plain_first { ["http", "https"] } else { ["https", "http"] };
        let sent = self.send_by(first, request).await?;
        // What servers that want TLS say to those who do not speak it.
        let refused =
            matches!(&sent, Sent::Answer(a) if plain_first && a.status() == StatusCode::BAD_REQUEST);
        let (scheme, sent) = match (&sent, self.insecure) {
            (Sent::Answer(_), _) if !refused => (first, sent),
            (_, false) => (first, sent),
            _ => match self.send_by(second, request).await? {
                // The first failure is what the user wants to read about, if the other scheme does not work either.
                Sent::Unreachable(_) if !refused => (first, sent),
                other => (second, other),
            },
        };
        if let Sent::Answer(_) = &sent {
            *lock(&self.scheme) = Some(scheme);
        }
        Ok(sent)
    }

    /// Whether this is a port of this host that nobody has given an authority for: few of them speak TLS, and asking by
    /// plain HTTP first tells nothing to anybody. What is sent first has no credentials.
    fn is_likely_plain(&self) -> bool {
        let port = self.name.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        self.insecure && is_loopback(&self.name) && port.is_some_and(|port| port != 443)
    }

    async fn send_by(&self, scheme: &'static str, request: &Request<'_>) -> Result<Sent> {
        let (mut url, ours) = self.address(scheme, request.at)?;
        let headers = request.headers()?;
        let authorization = if ours { self.authorization(scheme, request.scope).await? } else { None };
        for redirects in 0.. {
            let mut sending =
                self.http()?.request(request.method.clone(), url.clone()).headers(headers.clone());
            if !request.body.is_empty() {
                sending = sending.body(request.body.clone());
            }
            // Only the host itself sees the credentials.
            if redirects == 0
                && let Some(value) = &authorization
            {
                sending = sending.header(AUTHORIZATION, value.clone());
            }
            let answer = match tokio::time::timeout(self.retry.stall, sending.send()).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(e)) => return Ok(self.transport_failure(&e)),
                Err(_) => {
                    self.pace.trouble();
                    return Ok(Sent::Again(self.silent(), None));
                }
            };
            let status = answer.status();
            if status.is_redirection() && answer.headers().contains_key(LOCATION) {
                if redirects >= MAX_REDIRECTS {
                    return Err(Error::new(ErrorKind::Network, format!("{} redirects for ever", self.name)));
                }
                url = self.redirected(&url, &answer)?;
                continue;
            }
            if is_overload(status) {
                return Ok(self.overloaded(answer).await);
            }
            return Ok(Sent::Answer(answer));
        }
        Err(Error::new(ErrorKind::Network, format!("{} redirects for ever", self.name)))
    }

    /// Notes what an answer says of the host's load.
    async fn overloaded(&self, answer: Response) -> Sent {
        let pause = retry_after(answer.headers());
        self.pace.overloaded(pause);
        Sent::Again(self.failure(answer).await, pause)
    }

    /// Sends a body that is made while it is sent, once: whoever makes it must begin again after a failure. An earlier
    /// request of the same scope must have been answered. There is no limit on how long it takes; the maker watches
    /// whether bytes are taken from it.
    pub async fn send_stream(&self, request: &Request<'_>, body: Body) -> Result<Response> {
        let scheme = lock(&self.scheme).unwrap_or("https");
        let (url, ours) = self.address(scheme, request.at)?;
        let mut sending =
            self.http()?.request(request.method.clone(), url).headers(request.headers()?).body(body);
        if ours && let Some(value) = self.authorization(scheme, request.scope).await? {
            sending = sending.header(AUTHORIZATION, value);
        }
        self.pace.wait().await;
        let sent = match sending.send().await {
            Ok(answer) if answer.status().is_success() => return Ok(answer),
            Ok(answer) if is_overload(answer.status()) => self.overloaded(answer).await,
            Ok(answer) => return Err(self.failure(answer).await),
            Err(e) => self.transport_failure(&e),
        };
        Err(match sent {
            Sent::Again(error, _) | Sent::Unreachable(error) => error,
            Sent::Answer(_) => self.silent(),
        })
    }

    /// The address of a request, and whether it is this host's own, so that credentials may go there.
    fn address(&self, scheme: &str, at: &str) -> Result<(Url, bool)> {
        let root = format!("{scheme}://{}/v2/", self.name);
        let bad = |text: &str, e: &dyn std::fmt::Display| Error::invalid(format!("{text}: {e}"));
        let root = Url::parse(&root).map_err(|e| bad(&root, &e))?;
        let url = root.join(at).map_err(|e| bad(at, &e))?;
        if !matches!(url.scheme(), "http" | "https")
            || (url.scheme() == "http" && scheme == "https" && !self.insecure)
        {
            return Err(Error::new(ErrorKind::Network, format!("{} sends us to {url}", self.name)));
        }
        let ours = url.origin() == root.origin();
        Ok((url, ours))
    }

    fn redirected(&self, from: &Url, answer: &Response) -> Result<Url> {
        let bad = || Error::new(ErrorKind::Network, format!("{} redirects to an invalid address", self.name));
        let location = answer.headers().get(LOCATION).and_then(|l| l.to_str().ok()).ok_or_else(bad)?;
        let to = from.join(location).map_err(|_| bad())?;
        match (from.scheme(), to.scheme()) {
            ("https", "http") if !self.insecure => Err(Error::new(
                ErrorKind::Network,
                format!("{} redirects to plain HTTP on {}", self.name, to.host_str().unwrap_or_default()),
            )),
            (_, "http" | "https") => Ok(to),
            _ => Err(bad()),
        }
    }

    fn transport_failure(&self, e: &reqwest::Error) -> Sent {
        let cause = root_cause(e);
        let error = Error::new(ErrorKind::Network, format!("cannot reach registry {}", self.name));
        let lower = cause.to_lowercase();
        let error = if ["certificate", "unknownissuer", "handshake", "alert"]
            .iter()
            .any(|w| lower.contains(w))
        {
            error.with_source(cause).with_hint(format!(
                "put the CA of the registry into /etc/containers/certs.d/{}/ca.crt, or pass --tls-verify=false; the package \
                 ca-certificates has the public ones",
                self.name
            ))
        } else if lower.contains("corrupt message") || lower.contains("invalidcontenttype") {
            error.with_source("the server does not speak TLS").with_hint(format!(
                "if it is meant to be without TLS, pass --tls-verify=false or set insecure=true for {} in registries.conf",
                self.name
            ))
        } else {
            error.with_source(cause)
        };
        // A broken connection deserves another try; a name or port that does not answer hardly does.
        if e.is_connect() {
            return Sent::Unreachable(error);
        }
        self.pace.trouble();
        Sent::Again(error, None)
    }

    pub(super) fn silent(&self) -> Error {
        Error::new(
            ErrorKind::Timeout,
            format!("registry {} did not answer in {:?}", self.name, self.retry.stall),
        )
    }

    /// The error a registry's answer stands for.
    pub async fn failure(&self, answer: Response) -> Error {
        let status = answer.status();
        let body = bounded_body(answer, MAX_ANSWER).await.unwrap_or_default();
        let text = error_text(&body).unwrap_or_else(|| {
            let reason = status.canonical_reason().unwrap_or("unknown status").to_lowercase();
            format!("{}: {reason}", status.as_u16())
        });
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let who = match &self.credentials {
                    Some(Credentials::Basic { user, .. }) => format!(" to user {user:?}"),
                    Some(Credentials::IdentityToken(_)) => " with the stored identity token".to_owned(),
                    None => String::new(),
                };
                Error::new(
                    ErrorKind::Unauthorized,
                    format!("registry {} denies access{who}: {text}", self.name),
                )
                .with_hint(format!("log in to {} first, or pass --creds USER:PASSWORD", self.name))
            }
            StatusCode::NOT_FOUND => Error::not_found(format!("registry {}: {text}", self.name)),
            _ => Error::new(ErrorKind::Network, format!("registry {}: {text}", self.name)),
        }
    }
}

/// Whether the same request may be answered later.
fn is_overload(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

/// Docker Hub's names are served elsewhere.
fn api_host(name: &str) -> &str {
    if name == "docker.io" { "registry-1.docker.io" } else { name }
}

/// Whether a registry is on this host: `localhost`, `127.0.0.0/8` or `::1`, whatever the port.
pub(super) fn is_loopback(name: &str) -> bool {
    let host = match name.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => name.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The lock of a poisoned mutex is as good: its data is replaced as a whole.
pub(super) fn lock<T>(mutex: &StdMutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
