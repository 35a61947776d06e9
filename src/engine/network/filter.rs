//! `--filter` on networks: docker's keys and podman's.

use super::{Network, Networks};
use crate::engine::Result;
use crate::engine::filter::{self, Given, has, truth};
use jiff::Timestamp;
use regex::Regex;

const KEYS: [&str; 9] = ["dangling", "driver", "id", "label", "label!", "name", "scope", "type", "until"];

/// Filters, checked.
#[derive(Debug, Default)]
pub struct Filters {
    given: Given,
    names: Vec<Regex>,
    until: Option<Timestamp>,
}

impl Filters {
    /// Checks `KEY=VALUE` words.
    ///
    /// # Errors
    /// As [`Given::parse`].
    pub fn parse(words: &[String]) -> Result<Self> {
        let given = Given::parse(words, &KEYS, |key, value| match key {
            "type" => filter::one_of(value, &["builtin", "custom"]),
            "scope" => filter::one_of(value, &["local", "global", "swarm"]),
            "dangling" => filter::is_truth(value),
            _ => None,
        })?;
        Ok(Self { names: given.names()?, until: given.until()?, given })
    }

    /// Whether no key but these is given.
    ///
    /// # Errors
    /// Names one that is.
    pub fn only(&self, keys: &[&str]) -> Result<()> {
        self.given.only(keys)
    }

    /// Whether it must be known which networks are used.
    pub fn needs_users(&self) -> bool {
        self.given.has("dangling")
    }

    /// Whether a network passes; `used`: containers are on it.
    pub fn matches(&self, networks: &Networks<'_>, network: &Network, used: bool) -> bool {
        self.given.iter().all(|(key, values)| {
            let any = |test: &dyn Fn(&str) -> bool| values.iter().any(|v| test(v));
            match key {
                "name" => self.names.iter().any(|r| r.is_match(&network.name)),
                "id" => any(&|v| network.id.starts_with(v)),
                "driver" => any(&|v| network.driver == v),
                "label" => values.iter().all(|v| has(&network.labels, v)),
                "label!" => values.iter().all(|v| !has(&network.labels, v)),
                "scope" => any(&|v| v == "local"),
                "type" => any(&|v| (v == "builtin") == networks.means_default(&network.name)),
                "dangling" => any(&|v| truth(v) == Some(!used)),
                "until" => self.until.is_some_and(|until| network.created < until),
                _ => false,
            }
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::NewNetwork;
    use super::*;
    use crate::engine::config::Config;

    #[test]
    fn each_key() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.paths.networks = dir.path().join("networks");
        let networks = Networks::open(&config);
        let labels = [("tier".to_owned(), "db".to_owned()), ("x".to_owned(), String::new())].into();
        let new = NewNetwork { name: "app-db".into(), ipv4: true, labels, ..NewNetwork::default() };
        let network = networks.create(&new).unwrap();
        let passes = |words: &[&str], used: bool| {
            let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            Filters::parse(&words).unwrap().matches(&networks, &network, used)
        };
        let id = format!("id={}", &network.id[..5]);
        for yes in [
            &["name=app"][..],
            &["name=^app-db$", "name=nope"],
            &[&id],
            &["driver=bridge"],
            &["label=tier", "label=tier=db"],
            &["label!=y"],
            &["label=x="],
            &["scope=local"],
            &["type=custom"],
            &["dangling=true"],
            &["until=2100-01-01"],
        ] {
            assert!(passes(yes, false), "{yes:?}");
        }
        for no in [
            &["name=^db"][..],
            &["name=app", "driver=macvlan"],
            &["id=zz"],
            &["label=tier", "label=y"],
            &["label!=tier"],
            &["scope=swarm"],
            &["type=builtin"],
            &["dangling=false"],
            &["until=24h"],
        ] {
            assert!(!passes(no, false), "{no:?}");
        }
        assert!(passes(&["dangling=0"], true) && !passes(&["dangling=1"], true));
        let default = networks.default_network().unwrap();
        assert!(Filters::parse(&["type=builtin".into()]).unwrap().matches(&networks, &default, false));
    }

    #[test]
    fn what_is_no_filter() {
        for bad in ["name", "colour=red", "type=x", "dangling=maybe", "until=soon", "name=["] {
            assert!(Filters::parse(&[bad.to_owned()]).is_err(), "{bad}");
        }
        let filters = Filters::parse(&["driver=bridge".into()]).unwrap();
        assert!(filters.only(&["until", "label", "label!"]).is_err());
    }
}
