//! Authentication as registries ask for it: `WWW-Authenticate` challenges, basic credentials and tokens.
//!
//! The token protocol is distribution's ("Token Authentication Specification", and its OAuth2 variant for identity
//! tokens). Tokens are kept per scope until shortly before they expire.

use std::time::{Duration, Instant};

use serde::Deserialize;

/// One challenge of a `WWW-Authenticate` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// `basic` or `bearer`, in lowercase.
    pub scheme: String,
    /// Its parameters, keys in lowercase.
    pub parameters: Vec<(String, String)>,
}

impl Challenge {
    /// A parameter.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.parameters.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}

/// Parses a `WWW-Authenticate` header (RFC 9110, 11.6.1): several challenges may share one header. What is not
/// understood is skipped.
pub fn challenges(header: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    for item in split_outside_quotes(header) {
        let item = item.trim();
        let (head, tail) = item.split_once(char::is_whitespace).unwrap_or((item, ""));
        let is_parameter = head.contains('=') || tail.trim_start().starts_with('=');
        let (scheme, parameter) = if is_parameter { (None, item) } else { (Some(head), tail.trim()) };
        if let Some(scheme) = scheme.filter(|s| !s.is_empty()) {
            found.push(Challenge { scheme: scheme.to_ascii_lowercase(), parameters: Vec::new() });
        }
        if let (Some(challenge), Some((key, value))) = (found.last_mut(), parameter.split_once('=')) {
            challenge.parameters.push((key.trim().to_ascii_lowercase(), unquoted(value.trim())));
        }
    }
    found
}

fn split_outside_quotes(text: &str) -> Vec<&str> {
    let (mut items, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                items.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    items.push(&text[start..]);
    items
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    out
}

/// A bearer token with the time it is good for.
#[derive(Clone)]
pub struct Token {
    /// What goes into the `Authorization` header.
    pub value: String,
    expires: Instant,
}

/// A token service's answer.
#[derive(Deserialize)]
pub struct TokenAnswer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
    /// An identity token, for who asked for one.
    #[serde(default)]
    pub refresh_token: Option<String>,
}

/// Lifetime of a token whose service does not tell (distribution's specification: at least 60 s).
const DEFAULT_LIFETIME: u64 = 60;

impl TokenAnswer {
    /// The token, if the answer holds one.
    pub fn into_token(self, now: Instant) -> Option<Token> {
        let value = self.token.or(self.access_token).filter(|t| !t.is_empty())?;
        let lifetime = self.expires_in.unwrap_or(DEFAULT_LIFETIME).max(DEFAULT_LIFETIME);
        // Used up a little early, so that it does not expire on its way.
        let expires = now + Duration::from_secs(lifetime.min(86_400)) * 9 / 10;
        Some(Token { value, expires })
    }
}

impl Token {
    /// Whether it can still be used.
    pub fn valid(&self, now: Instant) -> bool {
        now < self.expires
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_parsed_as_registries_write_them() {
        let found = challenges(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
        );
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].scheme, "bearer");
        assert_eq!(found[0].get("scope"), Some("repository:a/b:pull,push"));
        let found = challenges(r#"Negotiate, Basic realm="say \"x\", y", BEARER Realm=z , service = s"#);
        let schemes: Vec<_> = found.iter().map(|c| c.scheme.as_str()).collect();
        assert_eq!(schemes, ["negotiate", "basic", "bearer"]);
        assert_eq!(found[1].get("realm"), Some("say \"x\", y"));
        assert_eq!(found[2].get("realm"), Some("z"));
        assert!(challenges("").is_empty());
        assert!(challenges("=,=\"").is_empty());
    }

    #[test]
    fn a_token_is_used_until_shortly_before_it_expires() {
        let now = Instant::now();
        let answer = |text: &str| serde_json::from_str::<TokenAnswer>(text).unwrap().into_token(now);
        let token = answer(r#"{"access_token":"t","expires_in":300}"#).unwrap();
        assert_eq!(token.value, "t");
        assert!(token.valid(now + Duration::from_secs(269)));
        assert!(!token.valid(now + Duration::from_secs(271)));
        assert!(answer(r#"{"token":"t"}"#).unwrap().valid(now + Duration::from_secs(50)));
        assert!(answer(r#"{"token":""}"#).is_none());
    }
}
