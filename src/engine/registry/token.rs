//! What a host wants to know of whoever asks it, and the tokens its token service gives for that.

use std::time::Instant;

use reqwest::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Response, Url};

use super::auth::{Challenge, Token, TokenAnswer, challenges};
use super::host::{Host, MAX_ANSWER, lock};
use super::http::{basic, bounded_body, form_encoded, header, root_cause};
use crate::engine::config::auth::Credentials;
use crate::engine::{Error, ErrorKind, Result};

impl Host {
    /// Remembers what the host wants and forgets a token it refused. `introduced`: the request said who asks, if anything was
    /// known about that; another one that was sent at the same time may have learnt it since. `false`: nothing can be offered.
    pub(super) async fn learn_challenge(&self, answer: &Response, scope: &str, introduced: bool) -> bool {
        let headers = answer.headers().get_all(WWW_AUTHENTICATE).iter();
        let offered: Vec<_> = headers.filter_map(|h| h.to_str().ok()).flat_map(challenges).collect();
        let by = |scheme: &str| offered.iter().find(|c| c.scheme == scheme);
        let basic = by("basic").filter(|_| matches!(self.credentials, Some(Credentials::Basic { .. })));
        let Some(chosen) = by("bearer").or(basic) else { return false };
        let known = lock(&self.challenge).replace(chosen.clone());
        // Basic credentials that were just refused are refused again.
        if chosen.scheme == "basic" {
            return !introduced || known.is_none_or(|c| c.scheme != "basic");
        }
        if introduced {
            self.tokens.lock().await.remove(scope);
        }
        true
    }

    pub(super) async fn authorization(&self, scheme: &str, scope: &str) -> Result<Option<HeaderValue>> {
        let Some(challenge) = lock(&self.challenge).clone() else { return Ok(None) };
        let value = match challenge.scheme.as_str() {
            "bearer" => format!("Bearer {}", self.token(&challenge, scheme, scope).await?),
            _ => match &self.credentials {
                Some(Credentials::Basic { user, password }) => basic(user, password),
                _ => return Ok(None),
            },
        };
        let mut value = header(&value)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// A token for `scope`. The lock is held meanwhile, so that parallel downloads ask once.
    async fn token(&self, challenge: &Challenge, scheme: &str, scope: &str) -> Result<String> {
        let mut tokens = self.tokens.lock().await;
        if let Some(token) = tokens.get(scope).filter(|t| t.valid(Instant::now())) {
            return Ok(token.value.clone());
        }
        let token = self.fetch_token(challenge, scheme, scope).await?;
        let value = token.value.clone();
        tokens.insert(scope.to_owned(), token);
        Ok(value)
    }

    async fn fetch_token(&self, challenge: &Challenge, scheme: &str, scope: &str) -> Result<Token> {
        let bad = |why: String| {
            Error::new(ErrorKind::Unauthorized, format!("token service of {}: {why}", self.name))
        };
        let realm = challenge.get("realm").ok_or_else(|| bad("the registry does not name it".into()))?;
        let mut url = Url::parse(realm).map_err(|e| bad(format!("{realm:?}: {e}")))?;
        if url.scheme() != "https" && !(url.scheme() == "http" && (scheme == "http" || self.insecure)) {
            return Err(bad(format!("{realm:?} is not an https address")));
        }
        let service = challenge.get("service").unwrap_or_default().to_owned();
        let request = match &self.credentials {
            Some(Credentials::IdentityToken(token)) => {
                let form = [
                    ("grant_type", "refresh_token"),
                    ("service", &service),
                    ("scope", scope),
                    ("client_id", "coracle"),
                    ("refresh_token", token),
                ];
                let body = form_encoded(&form);
                self.http()?
                    .post(url)
                    .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(body)
            }
            credentials => {
                if !service.is_empty() {
                    url.query_pairs_mut().append_pair("service", &service);
                }
                for scope in scope.split(' ').filter(|s| !s.is_empty()) {
                    url.query_pairs_mut().append_pair("scope", scope);
                }
                match credentials {
                    Some(Credentials::Basic { user, password }) => {
                        url.query_pairs_mut().append_pair("account", user);
                        if self.wants_identity {
                            let asked = [("offline_token", "true"), ("client_id", "coracle")];
                            url.query_pairs_mut().extend_pairs(asked);
                        }
                        let mut value = header(&basic(user, password))?;
                        value.set_sensitive(true);
                        self.http()?.get(url).header(AUTHORIZATION, value)
                    }
                    _ => self.http()?.get(url),
                }
            }
        };
        let sent = tokio::time::timeout(self.retry.stall, request.send()).await.map_err(|_| self.silent())?;
        let answer = sent.map_err(|e| {
            Error::new(ErrorKind::Network, format!("cannot reach the token service of {}", self.name))
                .with_source(root_cause(&e))
        })?;
        if !answer.status().is_success() {
            return Err(self.failure(answer).await.wrap(format!("token service of {}", self.name)));
        }
        let body = bounded_body(answer, MAX_ANSWER).await?;
        let mut parsed: Option<TokenAnswer> = serde_json::from_slice(&body).ok();
        let identity = parsed.as_mut().and_then(|a| a.refresh_token.take()).filter(|t| !t.is_empty());
        if identity.is_some() && self.wants_identity {
            *lock(&self.identity) = identity;
        }
        parsed.and_then(|a| a.into_token(Instant::now())).ok_or_else(|| bad("no token in its answer".into()))
    }
}
