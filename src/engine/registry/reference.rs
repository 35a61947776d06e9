//! Image names: parsing and docker's normalisation. Pure.
//!
//! The grammar is the distribution project's (`reference` package): `[domain/]path[:tag][@digest]`. A first component
//! is a domain only if it has a dot or a colon or is `localhost`; without one the domain is `docker.io`, where a
//! single path component lives in `library/`. Everything here is written without regular expressions: a reference is
//! parsed in every command, and compiling one would cost more than the parse.

use std::fmt;
use std::str::FromStr;

use crate::engine::{Digest, Error, Result};

/// The registry of names that have none.
pub const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
/// The tag of names that have neither tag nor digest.
pub const DEFAULT_TAG: &str = "latest";
/// Longest repository name, without the domain (distribution's `RepositoryNameTotalLengthMax`).
const NAME_MAX: usize = 255;
const TAG_MAX: usize = 128;

/// A fully qualified image name: domain and path always, tag and digest if given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Parses and normalises as docker does; a leading `docker://` is ignored. No tag is added: see
    /// [`Reference::or_latest`].
    pub fn parse(text: &str) -> Result<Self> {
        let text = text.strip_prefix("docker://").unwrap_or(text);
        if is_identifier(text) {
            return Err(Error::invalid(format!(
                "invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
            )));
        }
        let parts = split(text)?;
        let (domain, path) = split_domain(parts.name);
        let path = match domain {
            DEFAULT_DOMAIN if !path.contains('/') => format!("{OFFICIAL}{path}"),
            _ => path.to_owned(),
        };
        if path.chars().any(char::is_uppercase) && path_is_valid(&path.to_lowercase()) {
            return Err(Error::invalid(format!(
                "invalid reference format: repository name ({path}) must be lowercase"
            )));
        }
        if !domain_is_valid(domain) || !path_is_valid(&path) {
            return Err(invalid_format(text));
        }
        if path.len() > NAME_MAX {
            return Err(Error::invalid(format!(
                "repository name must not be more than {NAME_MAX} characters"
            )));
        }
        Ok(Self { domain: domain.to_owned(), path, tag: parts.tag.map(str::to_owned), digest: parts.digest })
    }

    /// The registry: `host`, `host:port` or `[v6]:port`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// `domain/path`, without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The tag, if one was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What `/manifests/…` is asked for: the digest, else the tag, else `latest`.
    pub fn tag_or_digest(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => DEFAULT_TAG,
        }
    }

    /// Adds `:latest` to a name that has neither tag nor digest.
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The name alone.
    pub fn without_tag(mut self) -> Self {
        self.tag = None;
        self.digest = None;
        self
    }

    /// The same repository by another tag.
    pub fn with_tag(mut self, tag: &str) -> Result<Self> {
        if !tag_is_valid(tag) {
            return Err(Error::invalid(format!("invalid tag {tag:?}: invalid tag format")));
        }
        self.tag = Some(tag.to_owned());
        self.digest = None;
        Ok(self)
    }

    /// The same repository by digest, without a tag.
    pub fn with_digest(mut self, digest: Digest) -> Self {
        self.tag = None;
        self.digest = Some(digest);
        self
    }

    /// Drops the tag of a name that has both: the digest alone decides (as docker and podman do).
    pub fn digest_over_tag(mut self) -> Self {
        if self.digest.is_some() {
            self.tag = None;
        }
        self
    }

    /// What docker shows: without `docker.io/` and `library/`.
    pub fn familiar(&self) -> String {
        let mut out = self.familiar_name();
        self.push_suffix(&mut out);
        out
    }

    /// [`Reference::familiar`] without tag and digest.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        match self.path.strip_prefix(OFFICIAL) {
            Some(rest) if !rest.contains('/') => rest.to_owned(),
            _ => self.path.clone(),
        }
    }

    fn push_suffix(&self, out: &mut String) {
        if let Some(tag) = &self.tag {
            out.push(':');
            out.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            out.push('@');
            out.push_str(digest.as_str());
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = self.name();
        self.push_suffix(&mut out);
        f.write_str(&out)
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// A name as typed, before a registry is chosen for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShortName {
    /// The repository as typed, without tag and digest.
    pub name: String,
    /// The tag as typed.
    pub tag: Option<String>,
    /// The digest as typed.
    pub digest: Option<Digest>,
}

impl ShortName {
    /// `None` if `text` names its registry. An error if it is no reference at all.
    pub fn parse(text: &str) -> Result<Option<Self>> {
        if text.starts_with("docker://") {
            return Ok(None);
        }
        // The strict parse decides about the syntax, and gives its error texts.
        Reference::parse(text)?;
        let parts = split(text)?;
        if has_domain(parts.name) {
            return Ok(None);
        }
        Ok(Some(Self {
            name: parts.name.to_owned(),
            tag: parts.tag.map(str::to_owned),
            digest: parts.digest,
        }))
    }

    /// This name in the repository `name` (a registry with a path, or the value of an alias).
    pub fn within(&self, name: &str) -> Result<Reference> {
        let mut reference = Reference::parse(name)?.without_tag();
        reference.tag.clone_from(&self.tag);
        reference.digest.clone_from(&self.digest);
        Ok(reference)
    }
}

/// Whether `text` is a full image ID: 64 lowercase hex digits.
pub fn is_identifier(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

struct Parts<'a> {
    name: &'a str,
    tag: Option<&'a str>,
    digest: Option<Digest>,
}

fn invalid_format(text: &str) -> Error {
    let e = Error::invalid("invalid reference format");
    if text.is_empty() {
        e
    } else {
        e.with_hint(format!("{text:?} is not of the form [registry/]name[:tag][@digest]"))
    }
}

fn split(text: &str) -> Result<Parts<'_>> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    let last = rest.rfind('/').map_or(0, |i| i + 1);
    let (name, tag) = match rest[last..].find(':') {
        Some(colon) => (&rest[..last + colon], Some(&rest[last + colon + 1..])),
        None => (rest, None),
    };
    if name.is_empty() || tag.is_some_and(|t| !tag_is_valid(t)) {
        return Err(invalid_format(text));
    }
    let digest = match digest {
        None => None,
        Some(digest) if !digest_looks_valid(digest) => return Err(invalid_format(text)),
        Some(digest) => Some(
            Digest::parse(digest).map_err(|e| Error::invalid("invalid reference format").with_source(e))?,
        ),
    };
    Ok(Parts { name, tag, digest })
}

fn digest_looks_valid(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, hex)| {
        !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

fn has_domain(name: &str) -> bool {
    name.split_once('/').is_some_and(|(first, _)| first.contains(['.', ':']) || first == "localhost")
}

fn split_domain(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((domain, path)) if has_domain(name) => {
            (if domain == LEGACY_DEFAULT_DOMAIN { DEFAULT_DOMAIN } else { domain }, path)
        }
        _ => (DEFAULT_DOMAIN, name),
    }
}

/// Whether `domain` is `host[:port]`: DNS labels, an IPv4 address or an IPv6 address in brackets.
pub fn domain_is_valid(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[') {
        Some(rest) => {
            let Some((address, after)) = rest.split_once(']') else { return false };
            let address_ok =
                !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
            if !address_ok || !(after.is_empty() || after.starts_with(':')) {
                return false;
            }
            (None, after.strip_prefix(':'))
        }
        None => match domain.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(domain), None),
        },
    };
    let port_ok = port.is_none_or(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    port_ok && host.is_none_or(|h| h.split('.').all(label_is_valid))
}

fn label_is_valid(label: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = label.as_bytes();
    edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
}

fn path_is_valid(path: &str) -> bool {
    path.split('/').all(component_is_valid)
}

/// `[a-z0-9]+` joined by `.`, `_`, `__` or any number of `-`.
fn component_is_valid(component: &str) -> bool {
    let is_word = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut rest = component.as_bytes();
    loop {
        let word = rest.iter().take_while(|b| is_word(b)).count();
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        let separator = rest.iter().take_while(|b| !is_word(b)).count();
        match &rest[..separator] {
            [] => return rest.is_empty(),
            b"." | b"_" | b"__" => {}
            dashes if dashes.iter().all(|b| *b == b'-') => {}
            _ => return false,
        }
        rest = &rest[separator..];
    }
}

/// `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
pub fn tag_is_valid(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= TAG_MAX
        && tag.bytes().enumerate().all(|(i, b)| word(b) || (i > 0 && matches!(b, b'.' | b'-')))
        && !tag.is_empty()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn names_are_completed_as_docker_does() {
        let digest = format!("sha256:{HEX}");
        for (given, full, familiar) in [
            ("busybox", "docker.io/library/busybox", "busybox"),
            ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
            ("host:5000", "docker.io/library/host:5000", "host:5000"),
            ("lab/debian", "docker.io/lab/debian", "lab/debian"),
            ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
            ("index.docker.io/busybox", "docker.io/library/busybox", "busybox"),
            ("docker://quay.io/a/b:c", "quay.io/a/b:c", "quay.io/a/b:c"),
            ("docker://fedora", "docker.io/library/fedora", "fedora"),
            ("localhost/x", "localhost/x", "localhost/x"),
            ("localhost:5000/x", "localhost:5000/x", "localhost:5000/x"),
            ("127.0.0.1:5000/a/b/c:t", "127.0.0.1:5000/a/b/c:t", "127.0.0.1:5000/a/b/c:t"),
            ("[::1]:5000/x:y", "[::1]:5000/x:y", "[::1]:5000/x:y"),
            ("[2001:db8::1]/x", "[2001:db8::1]/x", "[2001:db8::1]/x"),
            ("EXAMPLE.com/x", "EXAMPLE.com/x", "EXAMPLE.com/x"),
            ("a__b/c--d.e", "docker.io/a__b/c--d.e", "a__b/c--d.e"),
            ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
        ] {
            let reference = Reference::parse(given).unwrap_or_else(|e| panic!("{given}: {e}"));
            assert_eq!(reference.to_string(), full, "{given}");
            assert_eq!(reference.familiar(), familiar, "{given}");
        }
        let both = Reference::parse(&format!("x:1@{digest}")).unwrap();
        assert_eq!(both.to_string(), format!("docker.io/library/x:1@{digest}"));
        assert_eq!(both.tag_or_digest(), digest);
        assert_eq!(both.digest_over_tag().to_string(), format!("docker.io/library/x@{digest}"));
        assert_eq!(Reference::parse("x").unwrap().or_latest().to_string(), "docker.io/library/x:latest");
    }

    #[test]
    fn what_is_no_reference_says_so_in_dockers_words() {
        let long_tag = format!("x:{}", "t".repeat(129));
        let long_name = "x/".repeat(130) + "y";
        let short_digest = format!("x@sha256:{}", &HEX[..40]);
        let unknown = format!("x@md5:{}", &HEX[..32]);
        for (given, text) in [
            ("", "invalid reference format"),
            (":latest", "invalid reference format"),
            ("x:", "invalid reference format"),
            ("x:-a", "invalid reference format"),
            ("-x", "invalid reference format"),
            ("x-", "invalid reference format"),
            ("a..b", "invalid reference format"),
            ("a___b", "invalid reference format"),
            ("a//b", "invalid reference format"),
            ("/a", "invalid reference format"),
            ("a/", "invalid reference format"),
            ("../etc", "invalid reference format"),
            ("http://a.b/c", "invalid reference format"),
            ("a b", "invalid reference format"),
            ("a.b:x/c", "invalid reference format"),
            ("[::1/x", "invalid reference format"),
            ("[x]:1/y", "invalid reference format"),
            ("x@sha256:zz", "invalid reference format"),
            ("Busybox", "invalid reference format: repository name (library/Busybox) must be lowercase"),
            ("quay.io/A/b:T", "invalid reference format: repository name (A/b) must be lowercase"),
            (HEX, "cannot specify 64-byte hexadecimal strings"),
            (&long_tag, "invalid reference format"),
            (&long_name, "must not be more than 255 characters"),
            (&short_digest, "invalid checksum digest length"),
            (&unknown, "unsupported digest algorithm"),
        ] {
            let e = Reference::parse(given).expect_err(given).to_string();
            assert!(e.contains(text), "{given}: {e}");
        }
    }

    #[test]
    fn short_names_keep_what_was_typed() {
        let short = ShortName::parse("lab/x:1").unwrap().unwrap();
        assert_eq!(short.name, "lab/x");
        assert_eq!(short.within("quay.io/other").unwrap().to_string(), "quay.io/other:1");
        assert_eq!(ShortName::parse("docker.io/x").unwrap(), None);
        assert_eq!(ShortName::parse("docker://x").unwrap(), None);
        assert!(ShortName::parse("X").is_err());
    }
}
