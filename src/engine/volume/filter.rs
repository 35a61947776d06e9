//! `--filter` on volumes: docker's keys and podman's. Values of one key are alternatives (labels all have to match),
//! different keys all have to hold.

use super::{LOCAL, Volume};
use crate::engine::{Error, Result, moment};
use jiff::Timestamp;
use regex::Regex;
use std::collections::BTreeMap;

const KEYS: [&str; 12] = [
    "after",
    "all",
    "anonymous",
    "dangling",
    "driver",
    "label",
    "label!",
    "name",
    "opt",
    "scope",
    "since",
    "until",
];

/// Filters, checked.
#[derive(Debug, Default)]
pub struct Filters {
    given: BTreeMap<String, Vec<String>>,
    names: Vec<Regex>,
    until: Option<Timestamp>,
    since: Option<Timestamp>,
}

impl Filters {
    /// Checks `KEY=VALUE` words. `created` tells when the volume that `after` or `since` names was made.
    ///
    /// # Errors
    /// An unknown key, or a value that the key cannot have.
    pub fn parse(words: &[String], created: impl Fn(&str) -> Result<Timestamp>) -> Result<Self> {
        let mut out = Self::default();
        for word in words {
            let invalid = || Error::invalid(format!("invalid filter {word:?}"));
            let (key, value) =
                word.split_once('=').ok_or_else(|| invalid().with_hint("filters are KEY=VALUE"))?;
            let key = key.trim().to_ascii_lowercase();
            match key.as_str() {
                "dangling" | "all" | "anonymous" if truth(value).is_none() => {
                    return Err(invalid().with_hint("one of true, false, 1, 0"));
                }
                "name" => out.names.push(Regex::new(value).map_err(|e| invalid().with_source(e))?),
                "until" => {
                    let at = moment::until(value)?;
                    out.until = Some(out.until.map_or(at, |until| until.min(at)));
                }
                "after" | "since" => {
                    let at = created(value).or_else(|e| moment::until(value).map_err(|_| e))?;
                    out.since = Some(out.since.map_or(at, |since| since.max(at)));
                }
                key if KEYS.contains(&key) => {}
                key => {
                    return Err(Error::invalid(format!("invalid filter {key:?}"))
                        .with_hint(format!("one of {}", KEYS.join(", "))));
                }
            }
            out.given.entry(key).or_default().push(value.to_owned());
        }
        Ok(out)
    }

    /// Whether no key but these is given.
    ///
    /// # Errors
    /// Names one that is.
    pub fn only(&self, keys: &[&str]) -> Result<()> {
        match self.given.keys().find(|k| !keys.contains(&k.as_str())) {
            Some(key) => Err(Error::invalid(format!("invalid filter {key:?}"))
                .with_hint(format!("one of {}", keys.join(", ")))),
            None => Ok(()),
        }
    }

    /// Whether it must be known which volumes are used.
    pub fn needs_users(&self) -> bool {
        self.given.contains_key("dangling")
    }

    /// Whether `all` is asked for, which prune has as a filter, too.
    pub fn all(&self) -> bool {
        self.given.get("all").is_some_and(|values| values.iter().any(|v| truth(v) == Some(true)))
    }

    /// Whether a volume passes; `used`: a container has it.
    pub fn matches(&self, volume: &Volume, used: bool) -> bool {
        self.given.iter().all(|(key, values)| {
            let any = |test: &dyn Fn(&str) -> bool| values.iter().any(|v| test(v));
            match key.as_str() {
                "name" => self.names.iter().any(|r| r.is_match(&volume.name)),
                "driver" => any(&|v| v == LOCAL),
                "scope" => any(&|v| v == LOCAL),
                "label" => values.iter().all(|v| has(&volume.labels, v)),
                "label!" => values.iter().all(|v| !has(&volume.labels, v)),
                "opt" => any(&|v| has(&volume.options, v)),
                "dangling" => any(&|v| truth(v) == Some(!used)),
                "anonymous" => any(&|v| truth(v) == Some(volume.anonymous)),
                "until" => self.until.is_none_or(|until| volume.created < until),
                "after" | "since" => self.since.is_none_or(|since| volume.created > since),
                _ => true,
            }
        })
    }
}

fn truth(value: &str) -> Option<bool> {
    match value {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// `KEY` or `KEY=VALUE`.
fn has(map: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => map.get(key).is_some_and(|v| v == value),
        None => map.contains_key(wanted),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_checked_and_applied() {
        let volume = Volume {
            name: "data".into(),
            created: Timestamp::from_second(1_700_000_000).unwrap(),
            labels: [("a".to_owned(), "b".to_owned())].into(),
            options: BTreeMap::new(),
            anonymous: false,
        };
        let matches = |word: &str, used| {
            let at = |_: &str| Ok(Timestamp::from_second(1_600_000_000).unwrap());
            Filters::parse(&[word.to_owned()], at).map(|f| f.matches(&volume, used))
        };
        for (word, used, want) in [
            ("name=^da", false, true),
            ("name=x", false, false),
            ("label=a", false, true),
            ("label=a=c", false, false),
            ("label!=a=c", false, true),
            ("dangling=true", true, false),
            ("dangling=0", true, true),
            ("driver=local", false, true),
            ("anonymous=true", false, false),
            ("since=other", false, true),
            ("until=1h", false, true),
        ] {
            assert_eq!(matches(word, used).unwrap(), want, "{word}");
        }
        for bad in ["nope=1", "name", "dangling=maybe"] {
            assert!(matches(bad, false).is_err(), "{bad}");
        }
    }
}
