//! `--filter` on networks: docker's keys and podman's. Values of one key are alternatives (labels all have to match),
//! different keys all have to hold.

use super::{Network, Networks};
use crate::engine::{Error, Result, moment};
use jiff::Timestamp;
use regex::Regex;
use std::collections::BTreeMap;

const KEYS: [&str; 9] = ["dangling", "driver", "id", "label", "label!", "name", "scope", "type", "until"];

/// Filters, checked.
#[derive(Debug, Default)]
pub struct Filters {
    given: BTreeMap<String, Vec<String>>,
    names: Vec<Regex>,
    until: Option<Timestamp>,
}

impl Filters {
    /// Checks `KEY=VALUE` words.
    ///
    /// # Errors
    /// An unknown key, or a value that the key cannot have.
    pub fn parse(words: &[String]) -> Result<Self> {
        let mut out = Self::default();
        for word in words {
            let invalid = || Error::invalid(format!("invalid filter {word:?}"));
            let (key, value) =
                word.split_once('=').ok_or_else(|| invalid().with_hint("filters are KEY=VALUE"))?;
            let key = key.trim().to_ascii_lowercase();
            let one_of: &[&str] = match key.as_str() {
                "type" => &["builtin", "custom"],
                "scope" => &["local", "global", "swarm"],
                "dangling" => &["true", "false", "1", "0"],
                _ => &[],
            };
            match key.as_str() {
                _ if !one_of.is_empty() && !one_of.contains(&value) => {
                    return Err(invalid().with_hint(format!("one of {}", one_of.join(", "))));
                }
                "name" => out.names.push(Regex::new(value).map_err(|e| invalid().with_source(e))?),
                "until" => {
                    let at = moment::until(value)?;
                    out.until = Some(out.until.map_or(at, |until| until.min(at)));
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

    /// Whether it must be known which networks are used.
    pub fn needs_users(&self) -> bool {
        self.given.contains_key("dangling")
    }

    /// Whether a network passes; `used`: containers are on it.
    pub fn matches(&self, networks: &Networks<'_>, network: &Network, used: bool) -> bool {
        self.given.iter().all(|(key, values)| {
            let any = |test: &dyn Fn(&str) -> bool| values.iter().any(|v| test(v));
            match key.as_str() {
                "name" => self.names.iter().any(|r| r.is_match(&network.name)),
                "id" => any(&|v| network.id.starts_with(v)),
                "driver" => any(&|v| network.driver == v),
                "label" => values.iter().all(|v| has_label(network, v)),
                "label!" => values.iter().all(|v| !has_label(network, v)),
                "scope" => any(&|v| v == "local"),
                "type" => any(&|v| (v == "builtin") == networks.means_default(&network.name)),
                "dangling" => any(&|v| matches!(v, "true" | "1") != used),
                "until" => self.until.is_some_and(|until| network.created < until),
                _ => false,
            }
        })
    }
}

fn has_label(network: &Network, filter: &str) -> bool {
    match filter.split_once('=') {
        Some((key, value)) => network.labels.get(key).is_some_and(|v| v == value),
        None => network.labels.contains_key(filter),
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
