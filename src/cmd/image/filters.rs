//! `--filter` on images: docker's keys and podman's, and podman's negation `KEY!=VALUE`: none of the values may match.

use crate::engine::filter::{self, Given, has, truth};
use crate::engine::image::{self, ImageConfig};
use crate::engine::spec::glob;
use crate::engine::store::ImageRecord;
use crate::engine::{Engine, Result};
use jiff::Timestamp;
use std::collections::HashSet;

const KEYS: [&str; 23] = [
    "after",
    "before",
    "containers",
    "containers!",
    "dangling",
    "dangling!",
    "digest",
    "digest!",
    "id",
    "id!",
    "intermediate",
    "intermediate!",
    "label",
    "label!",
    "manifest",
    "manifest!",
    "readonly",
    "readonly!",
    "reference",
    "reference!",
    "since",
    "until",
    "external",
];

/// Filters as given, keys and values checked.
#[derive(Clone, Debug, Default)]
pub struct Filters(Given);

/// What filters need to know besides the records.
pub struct Facts {
    /// IDs of images that other images are built on.
    pub parents: HashSet<String>,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    used: HashSet<String>,
}

impl Filters {
    /// Checks `KEY=VALUE` words; `reference` is the image named on the command line.
    pub fn parse(words: &[String], reference: Option<&str>) -> Result<Filters> {
        let mut given = Given::parse(words, &KEYS, |key, value| match plain(key) {
            "dangling" | "intermediate" | "manifest" | "readonly" => filter::is_truth(value),
            _ => None,
        })?;
        if let Some(reference) = reference {
            given.push("reference", reference);
        }
        Ok(Self(given))
    }

    /// Whether images that others are built on are asked for or asked about.
    pub fn need_parents(&self) -> bool {
        self.speak_of("dangling") || self.speak_of("intermediate")
    }

    /// Whether the user chose by name or by kind, so that nothing else is to be hidden.
    pub fn chooses_untagged(&self) -> bool {
        self.need_parents() || self.speak_of("id")
    }

    /// Whether the key is there, be it negated.
    fn speak_of(&self, key: &str) -> bool {
        self.0.iter().any(|(given, _)| plain(given) == key)
    }

    /// Whether a name is one of those that are asked for, where names are: an image is listed under these alone, as docker
    /// has it. One that was chosen by its ID is listed under all.
    pub fn shows(&self, image: &ImageRecord, name: &str) -> bool {
        let wanted = self.values("reference");
        wanted.is_empty()
            || wanted.iter().any(|pattern| matches_name(name, pattern))
            || !image.names.iter().any(|name| wanted.iter().any(|pattern| matches_name(name, pattern)))
    }

    fn values(&self, key: &str) -> &[String] {
        self.0.values(key)
    }

    /// Looks up what the filters speak of.
    pub fn facts(&self, engine: &Engine, parents: HashSet<String>) -> Result<Facts> {
        let created = |keys: &[&str]| -> Result<Vec<Timestamp>> {
            let names = keys.iter().flat_map(|key| self.values(key));
            names.map(|name| image::find(engine, name).map(|found| found.image.created)).collect()
        };
        let used = match self.speak_of("containers") {
            true => engine.store.containers()?.into_iter().map(|c| c.image).collect(),
            false => HashSet::new(),
        };
        Ok(Facts {
            parents,
            before: created(&["before"])?.into_iter().min(),
            since: created(&["since", "after"])?.into_iter().max(),
            until: self.0.until()?,
            used,
        })
    }

    /// Whether an image passes.
    pub fn matches(&self, engine: &Engine, image: &ImageRecord, facts: &Facts) -> Result<bool> {
        for (key, values) in self.0.iter() {
            if !matches_key(key, values, engine, image, facts)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The key without its negation.
fn plain(key: &str) -> &str {
    key.strip_suffix('!').unwrap_or(key)
}

fn matches_key(
    key: &str,
    values: &[String],
    engine: &Engine,
    image: &ImageRecord,
    facts: &Facts,
) -> Result<bool> {
    if plain(key) != key {
        for value in values {
            if matches_key(plain(key), std::slice::from_ref(value), engine, image, facts)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    let any = |is: bool| values.iter().any(|v| truth(v) == Some(is));
    let untagged = image.names.is_empty();
    let parent = facts.parents.contains(&image.id);
    Ok(match key {
        "dangling" => any(untagged && !parent),
        "intermediate" => any(untagged && parent),
        "manifest" => any(image::index::is_index(image)),
        "readonly" => any(image.read_only),
        "id" => values.iter().any(|v| image.id.starts_with(v.strip_prefix("sha256:").unwrap_or(v))),
        "digest" => {
            image.digests().iter().any(|d| values.iter().any(|v| d.to_string().starts_with(v.as_str())))
        }
        "before" => facts.before.is_some_and(|t| image.created < t),
        "since" | "after" => facts.since.is_some_and(|t| image.created > t),
        "until" => facts.until.is_some_and(|t| image.created < t),
        "containers" => any(facts.used.contains(&image.id)),
        "reference" => values.iter().any(|v| matches_reference(image, v)),
        "label" => {
            let labels =
                image::config_of(engine, image).unwrap_or_else(|_| ImageConfig::default()).config.labels;
            values.iter().all(|v| has(&labels, v))
        }
        // external: images that podman knows and we do not; there are none.
        _ => true,
    })
}

/// A pattern against the whole name, the name without tag, and each of these without leading components.
fn matches_reference(image: &ImageRecord, pattern: &str) -> bool {
    let id = pattern.strip_prefix("sha256:").unwrap_or(pattern);
    if id.len() >= 3 && image.id.starts_with(id) {
        return true;
    }
    image.names.iter().any(|name| matches_name(name, pattern))
}

fn matches_name(name: &str, pattern: &str) -> bool {
    let (bare, _) = split_name(name);
    [name, bare].iter().any(|text| {
        let starts = std::iter::once(0).chain(text.match_indices('/').map(|(i, _)| i + 1));
        starts.into_iter().any(|start| glob(pattern, &text[start..]))
    })
}

/// A name's repository, and its tag or (with `@`) its digest.
pub fn split_name(name: &str) -> (&str, &str) {
    if let Some((repository, digest)) = name.split_once('@') {
        return (repository, digest);
    }
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (name, ""),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn references_match_any_tail_of_a_name() {
        let image = ImageRecord {
            id: "abc123".repeat(10),
            names: vec!["docker.io/library/debian:12".to_owned()],
            ..ImageRecord::default()
        };
        for yes in
            ["debian", "debian:12", "library/debian", "docker.io/library/debian:12", "deb*", "*:12", "abc123"]
        {
            assert!(matches_reference(&image, yes), "{yes}");
        }
        for no in ["ebian", "debian:11", "docker.io/debian", "*:11", "ab"] {
            assert!(!matches_reference(&image, no), "{no}");
        }
    }

    #[test]
    fn names_split_at_tag_or_digest() {
        assert_eq!(split_name("localhost:5000/a/b"), ("localhost:5000/a/b", ""));
        assert_eq!(split_name("localhost:5000/a:1"), ("localhost:5000/a", "1"));
        assert_eq!(split_name("a/b@sha256:00"), ("a/b", "sha256:00"));
    }

    #[test]
    fn unknown_keys_and_values_are_refused() {
        for bad in ["colour=red", "dangling", "dangling!=maybe", "until=soon", "before!=x", "label!!=x"] {
            assert!(Filters::parse(&[bad.to_owned()], None).is_err(), "{bad}");
        }
        let fine = ["label!=a=b", "reference!=x", "dangling=1"].map(str::to_owned);
        assert!(Filters::parse(&fine, Some("x")).is_ok());
    }
}
