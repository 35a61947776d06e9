//! `--filter` on volumes: docker's keys and podman's.

use super::{LOCAL, Volume};
use crate::engine::filter::{self, Given, has, truth};
use crate::engine::{Result, moment};
use jiff::Timestamp;
use regex::Regex;

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
    given: Given,
    names: Vec<Regex>,
    until: Option<Timestamp>,
    since: Option<Timestamp>,
}

impl Filters {
    /// Checks `KEY=VALUE` words. `created` tells when the volume that `after` or `since` names was made.
    ///
    /// # Errors
    /// As [`Given::parse`], and for a moment that is neither a volume nor a time.
    pub fn parse(words: &[String], created: impl Fn(&str) -> Result<Timestamp>) -> Result<Self> {
        let given = Given::parse(words, &KEYS, |key, value| match key {
            "dangling" | "all" | "anonymous" => filter::is_truth(value),
            _ => None,
        })?;
        let moment = |word: &String| created(word).or_else(|e| moment::until(word).map_err(|_| e));
        let since = given.values("after").iter().chain(given.values("since")).map(moment);
        let since = since.collect::<Result<Vec<_>>>()?.into_iter().max();
        Ok(Self { names: given.names()?, until: given.until()?, since, given })
    }

    /// Whether no key but these is given.
    ///
    /// # Errors
    /// Names one that is.
    pub fn only(&self, keys: &[&str]) -> Result<()> {
        self.given.only(keys)
    }

    /// Whether it must be known which volumes are used.
    pub fn needs_users(&self) -> bool {
        self.given.has("dangling")
    }

    /// Whether `all` is asked for, which prune has as a filter, too.
    pub fn all(&self) -> bool {
        self.given.values("all").iter().any(|v| truth(v) == Some(true))
    }

    /// Whether a volume passes; `used`: a container has it.
    pub fn matches(&self, volume: &Volume, used: bool) -> bool {
        self.given.iter().all(|(key, values)| {
            let any = |test: &dyn Fn(&str) -> bool| values.iter().any(|v| test(v));
            match key {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

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
