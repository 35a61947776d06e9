//! What HTTP needs beside a request: a client with a host's trust, headers, bounded bodies, and errors in words.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client as HttpClient, Response};
use serde::Deserialize;

use super::host::Retry;
use super::tls;
use crate::engine::config::Environment;
use crate::engine::config::certs::HostCertificates;
use crate::engine::{Error, ErrorKind, Result};

const USER_AGENT: &str = concat!("coracle/", env!("CARGO_PKG_VERSION"));

/// Why a transfer stopped.
pub(super) enum Broken {
    /// Another request may go on from here.
    Mendable(String),
    /// No other try will help.
    Final(Error),
}

impl From<Error> for Broken {
    fn from(e: Error) -> Self {
        Self::Final(e)
    }
}

/// Reads a whole body of at most `limit` bytes.
pub async fn bounded_body(mut answer: Response, limit: usize) -> Result<Vec<u8>> {
    let url = answer.url().clone();
    let mut body = Vec::new();
    loop {
        let chunk = answer
            .chunk()
            .await
            .map_err(|e| Error::new(ErrorKind::Network, format!("read {url}")).with_source(root_cause(&e)))?;
        let Some(chunk) = chunk else { return Ok(body) };
        if body.len() + chunk.len() > limit {
            return Err(Error::corrupt(format!("{url}: the answer is larger than {limit} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
}

/// A client for one host.
pub(super) fn http_client(
    name: &str,
    insecure: bool,
    certificates: &HostCertificates,
    env: &Environment,
    retry: Retry,
) -> Result<HttpClient> {
    let bad =
        |e: reqwest::Error| Error::invalid(format!("TLS set-up for {name}")).with_source(root_cause(&e));
    let mut builder = HttpClient::builder()
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(retry.stall.min(Duration::from_secs(30)))
        .no_proxy();
    builder = match insecure {
        false => builder.tls_backend_preconfigured(tls::config(name, certificates)?),
        true => builder.tls_danger_accept_invalid_certs(true),
    };
    if insecure && let Some(pem) = &certificates.identity {
        builder = builder.identity(reqwest::Identity::from_pem(pem).map_err(bad)?);
    }
    for (scheme, variables) in
        [("http", ["http_proxy", "HTTP_PROXY"]), ("https", ["https_proxy", "HTTPS_PROXY"])]
    {
        let Some(proxy) = variables.iter().find_map(|v| env.var(v)) else { continue };
        let proxy = match scheme {
            "http" => reqwest::Proxy::http(proxy),
            _ => reqwest::Proxy::https(proxy),
        };
        let exceptions = ["no_proxy", "NO_PROXY"].iter().find_map(|v| env.var(v)).unwrap_or_default();
        // As Go does it: the loopback is never reached through a proxy.
        let exceptions = format!("localhost,127.0.0.0/8,::1,{exceptions}");
        builder = builder.proxy(proxy.map_err(bad)?.no_proxy(reqwest::NoProxy::from_string(&exceptions)));
    }
    builder.build().map_err(bad)
}

pub(super) fn header(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text)
        .map_err(|_| Error::invalid("credentials hold characters that HTTP does not allow"))
}

pub(super) fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

pub(super) fn form_encoded(pairs: &[(&str, &str)]) -> String {
    let encode = |text: &str| {
        text.bytes().fold(String::new(), |mut out, b| {
            if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') {
                out.push(char::from(b));
            } else {
                out.push_str(&format!("%{b:02X}"));
            }
            out
        })
    };
    pairs.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect::<Vec<_>>().join("&")
}

pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.trim().parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp();
    Duration::try_from(at.duration_since(jiff::Timestamp::now())).ok()
}

/// The code and message of a distribution error document.
pub(super) fn error_text(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Errors {
        #[serde(default)]
        errors: Vec<One>,
        #[serde(default)]
        details: Option<String>,
    }
    #[derive(Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let parsed: Errors = serde_json::from_slice(body).ok()?;
    let text = match parsed.errors.first() {
        Some(One { code, message }) => {
            let code = code.replace('_', " ").to_lowercase();
            match (code.as_str(), message.as_str()) {
                (code, "") => code.to_owned(),
                ("", message) => message.to_owned(),
                (code, message) => format!("{code}: {message}"),
            }
        }
        None => parsed.details?,
    };
    let clean: String = text.chars().filter(|c| !c.is_control()).take(500).collect();
    (!clean.is_empty()).then_some(clean)
}

/// The innermost cause: what reqwest wraps it in says nothing a user could act on.
pub fn root_cause(e: &dyn std::error::Error) -> String {
    let mut at = e;
    while let Some(source) = at.source() {
        at = source;
    }
    let text = at.to_string();
    match text.split_once(" (os error") {
        Some((sentence, _)) => sentence.to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn error_documents_are_quoted_without_control_characters() {
        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown\u001b[31m"}]}"#;
        assert_eq!(error_text(body).unwrap(), "manifest unknown: manifest unknown[31m");
        assert_eq!(
            error_text(br#"{"details":"incorrect username or password"}"#).unwrap(),
            "incorrect username or password"
        );
        assert!(error_text(b"<html>").is_none());
    }

    #[test]
    fn a_pause_is_given_in_seconds_or_as_a_date() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(7)));
        headers.insert(RETRY_AFTER, HeaderValue::from_static("Wed, 21 Oct 2099 07:28:00 GMT"));
        assert!(retry_after(&headers).unwrap() > Duration::from_secs(60));
        headers.insert(RETRY_AFTER, HeaderValue::from_static("Wed, 21 Oct 2015 07:28:00 GMT"));
        assert_eq!(retry_after(&headers), None);
    }

    #[test]
    fn forms_are_encoded() {
        assert_eq!(form_encoded(&[("a", "b c&d/é"), ("e", "")]), "a=b%20c%26d%2F%C3%A9&e=");
    }
}
