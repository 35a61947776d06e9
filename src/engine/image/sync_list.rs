//! Lists of images in YAML, as skopeo-sync(1) describes them ("YAML file content"). Pure.

use super::versions::Versions;
use crate::engine::config::auth::Credentials;
use crate::engine::{Error, Result};
use regex::Regex;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What is wanted of one registry.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The registry.
    pub registry: String,
    /// Repositories, and what of them.
    pub repositories: Vec<(String, Which)>,
    /// How to log in; `None`: as anywhere else.
    pub credentials: Option<Credentials>,
    /// Whether its certificate is verified; `None`: as configured.
    pub tls_verify: Option<bool>,
    /// Directory with certificates.
    pub cert_dir: Option<PathBuf>,
}

/// Tags of a repository.
#[derive(Clone, Debug)]
pub enum Which {
    /// All.
    All,
    /// These tags and digests.
    Named(Vec<String>),
    /// Those that match.
    Matching(Regex),
    /// Those that are versions in the range.
    Versions(Versions),
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Registry {
    #[serde(default)]
    images: Option<BTreeMap<String, Option<Vec<String>>>>,
    #[serde(default)]
    images_by_tag_regex: Option<BTreeMap<String, String>>,
    #[serde(default)]
    images_by_semver: Option<BTreeMap<String, String>>,
    #[serde(default)]
    credentials: Option<Login>,
    #[serde(default)]
    tls_verify: Option<bool>,
    #[serde(default)]
    cert_dir: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    username: String,
    password: String,
}

/// Reads a list.
///
/// # Errors
/// `Invalid` for what is none.
pub fn parse(text: &str) -> Result<Vec<Wanted>> {
    let read: BTreeMap<String, Registry> = serde_saphyr::from_str(text)
        .map_err(|e| Error::invalid("no list of images").with_source(e.to_string()))?;
    read.into_iter().map(|(name, registry)| wanted(name, registry)).collect()
}

fn wanted(name: String, read: Registry) -> Result<Wanted> {
    let mut repositories = Vec::new();
    for (repository, tags) in read.images.unwrap_or_default() {
        let tags = tags.unwrap_or_default();
        repositories.push((repository, if tags.is_empty() { Which::All } else { Which::Named(tags) }));
    }
    for (repository, pattern) in read.images_by_tag_regex.unwrap_or_default() {
        let regex = Regex::new(&pattern).map_err(|e| Error::invalid(format!("{name}/{repository}: {e}")))?;
        repositories.push((repository, Which::Matching(regex)));
    }
    for (repository, range) in read.images_by_semver.unwrap_or_default() {
        let versions = Versions::parse(&range).map_err(|e| e.wrap(format!("{name}/{repository}")))?;
        repositories.push((repository, Which::Versions(versions)));
    }
    if repositories.is_empty() {
        return Err(Error::invalid(format!("{name}: no images are named")));
    }
    let credentials =
        read.credentials.map(|login| Credentials::Basic { user: login.username, password: login.password });
    let (tls_verify, cert_dir) = (read.tls_verify, read.cert_dir);
    Ok(Wanted { registry: name, repositories, credentials, tls_verify, cert_dir })
}

impl Which {
    /// Whether a tag is wanted, of those a registry lists; `None`: it need not be asked.
    pub fn choose(&self, tags: impl FnOnce() -> Result<Vec<String>>) -> Result<Vec<String>> {
        match self {
            Self::All => tags(),
            Self::Named(named) => Ok(named.clone()),
            Self::Matching(regex) => Ok(tags()?.into_iter().filter(|tag| regex.is_match(tag)).collect()),
            Self::Versions(range) => Ok(tags()?.into_iter().filter(|tag| range.include(tag)).collect()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_pages_example_is_read() {
        let text = r#"
registry.example.com:
    images:
        busybox: []
        redis:
            - "1.0"
            - "sha256:0000000000000000000000000000000011111111111111111111111111111111"
    images-by-tag-regex:
        nginx: ^1\.13\.[12]-alpine-perl$
    images-by-semver:
        alpine: ">= 3.12.0"
    credentials:
        username: john
        password: this is a secret
    tls-verify: true
    cert-dir: /home/john/certs
quay.io:
    tls-verify: false
    images:
        coreos/etcd:
            - latest
"#;
        let lists = parse(text).unwrap();
        assert_eq!(
            (lists.len(), lists[0].registry.as_str(), lists[0].tls_verify),
            (2, "quay.io", Some(false))
        );
        let example = &lists[1];
        assert_eq!(
            example.credentials,
            Some(Credentials::Basic { user: "john".into(), password: "this is a secret".into() })
        );
        let tags = || Ok(["1.13.1-alpine-perl", "3.12.0", "3.11.9", "latest"].map(str::to_owned).to_vec());
        let chosen: Vec<_> = example
            .repositories
            .iter()
            .map(|(name, which)| (name.as_str(), which.choose(tags).unwrap().len()))
            .collect();
        assert_eq!(chosen, [("busybox", 4), ("redis", 2), ("nginx", 1), ("alpine", 1)]);
        for bad in [
            "- a",
            "quay.io: {}",
            "quay.io: {image: {a: []}}",
            "quay.io: {images-by-tag-regex: {a: '('}}",
            "quay.io: {images-by-semver: {a: 'one > 1'}}",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
