//! `--filter` on containers: docker's keys and podman's.

use crate::engine::filter::{self, Given, has};
use crate::engine::image::find;
use crate::engine::image::tree::Tree;
use crate::engine::network::Networks;
use crate::engine::spec::{NamespaceMode, PortMapping, RestartPolicy};
use crate::engine::state::{ContainerState, Record, Status};
use crate::engine::{Engine, Result};
use jiff::Timestamp;
use regex::Regex;
use std::collections::HashSet;

/// `KEY=VALUE` filters as given, keys and values checked.
#[derive(Clone, Debug, Default)]
pub struct Filters(Given);

/// The keys that exist; `pod` matches nothing a container can be yet.
const KEYS: [&str; 21] = [
    "ancestor",
    "before",
    "command",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "label",
    "label!",
    "name",
    "network",
    "pod",
    "publish",
    "restart-policy",
    "should-start-on-boot",
    "since",
    "status",
    "until",
    "volume",
    "isolation",
];

impl Filters {
    /// Checks `KEY=VALUE` words.
    ///
    /// # Errors
    /// As [`Given::parse`].
    pub fn parse(words: &[String]) -> Result<Self> {
        let given = Given::parse(words, &KEYS, |key, value| match key {
            "status" => filter::one_of(value, &STATUSES),
            "restart-policy" => filter::one_of(value, &POLICIES),
            "exited" => value.parse::<i32>().is_err().then(|| "an exit code is a number".to_owned()),
            _ => None,
        })?;
        Ok(Self(given))
    }

    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values of one key.
    pub fn values(&self, key: &str) -> &[String] {
        self.0.values(key)
    }

    /// Looks up what the filters speak of: containers, images, times, patterns.
    pub fn prepare(&self, engine: &Engine, all: &[Record]) -> Result<Prepared<'_>> {
        let moment = |key: &str| -> Result<Option<Timestamp>> {
            let mut found: Option<Timestamp> = None;
            for value in self.values(key) {
                let id = engine.state.resolve(value)?;
                let created = all.iter().find(|r| r.id == id).map(|r| r.created);
                found = match (found, created) {
                    (Some(a), Some(b)) if key == "before" => Some(a.min(b)),
                    (Some(a), Some(b)) => Some(a.max(b)),
                    (a, b) => a.or(b),
                };
            }
            Ok(found)
        };
        // The beginning of an ID; a pattern if it cannot be one (podman pkg/util, `FilterID`).
        let ids = self.values("id").iter().map(|v| {
            let is_start = v.bytes().all(|byte| byte.is_ascii_hexdigit());
            let pattern = if is_start { format!("^{}", v.to_ascii_lowercase()) } else { v.clone() };
            filter::pattern("id", v, &pattern)
        });
        let mut ancestors = Vec::new();
        if !self.values("ancestor").is_empty() {
            let tree = Tree::load(engine)?;
            for value in self.values("ancestor") {
                let image = find(engine, value).ok();
                let family = image.map(|found| tree.with_descendants(&found.image)).unwrap_or_default();
                ancestors.push((value.clone(), family));
            }
        }
        Ok(Prepared {
            filters: self,
            before: moment("before")?,
            since: moment("since")?,
            until: self.0.until()?,
            names: self.0.names()?,
            ids: ids.collect::<Result<_>>()?,
            ancestors,
            networks: self.networks(engine),
        })
    }

    /// Networks by any of their names; one that there is not (any more) by the word given.
    fn networks(&self, engine: &Engine) -> Vec<String> {
        let networks = Networks::open(&engine.config);
        let name = |word: &String| networks.resolve(word).map_or_else(|_| word.clone(), |n| n.name);
        self.values("network").iter().map(name).collect()
    }
}

const POLICIES: [&str; 5] = ["no", "none", "on-failure", "always", "unless-stopped"];

const STATUSES: [&str; 12] = [
    "created",
    "restarting",
    "running",
    "removing",
    "paused",
    "exited",
    "dead",
    "stopped",
    "stopping",
    "initialized",
    "configured",
    "unknown",
];

/// Filters with everything looked up.
#[derive(Debug)]
pub struct Prepared<'a> {
    filters: &'a Filters,
    before: Option<Timestamp>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    names: Vec<Regex>,
    ids: Vec<Regex>,
    /// Words, and the IDs of the images they name and of those built on them.
    ancestors: Vec<(String, HashSet<String>)>,
    networks: Vec<String>,
}

impl Prepared<'_> {
    /// Whether a container passes.
    pub fn matches(&self, record: &Record) -> Result<bool> {
        for (key, values) in self.filters.0.iter() {
            if !self.matches_key(key, values, record)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn matches_key(&self, key: &str, values: &[String], record: &Record) -> Result<bool> {
        let (state, head) = (&record.state, &record.state.head);
        Ok(match key {
            "id" => self.ids.iter().any(|r| r.is_match(&record.id)),
            // Docker's names begin with a slash.
            "name" => {
                self.names.iter().any(|r| r.is_match(&head.name) || r.is_match(&format!("/{}", head.name)))
            }
            "label" => values.iter().all(|v| has(&head.labels, v)),
            "label!" => values.iter().all(|v| !has(&head.labels, v)),
            "status" => values.iter().any(|v| has_status(state.status, v)),
            "exited" => {
                state.status == Status::Exited && values.iter().any(|v| v.parse() == Ok(state.exit_code))
            }
            "before" => self.before.is_some_and(|t| record.created < t),
            "since" => self.since.is_some_and(|t| record.created > t),
            "until" => self.until.is_some_and(|t| record.created < t),
            "ancestor" => self.ancestors.iter().any(|(word, family)| is_ancestor(record, word, family)),
            "command" => values.iter().any(|v| head.command.first() == Some(v)),
            "restart-policy" => {
                values.iter().any(|v| v == &head.restart.name || v == "no" && head.restart.name.is_empty())
            }
            "should-start-on-boot" => values
                .iter()
                .any(|v| v == if starts_on_boot(state, &head.restart) { "true" } else { "false" }),
            "expose" => values.iter().any(|v| head.exposed_ports.iter().any(|p| exposes(p, v))),
            "volume" => {
                let mounts = &record.spec()?.mounts;
                values.iter().any(|v| mounts.iter().any(|m| m.source == *v || m.target == *v))
            }
            "network" => {
                let kind = &record.spec()?.namespaces.network;
                self.networks.iter().any(|v| {
                    network_kind(kind) == v
                        || record.state.network.attachments.iter().any(|a| a.network == *v)
                })
            }
            "publish" => {
                let live = &record.state.network.ports;
                let ports = if live.is_empty() { &record.spec()?.network.ports } else { live };
                values.iter().any(|v| ports.iter().any(|p| publishes(p, v)))
            }
            "is-task" => values.iter().any(|v| v == "false"),
            "isolation" => values.iter().any(|v| v == "default"),
            "health" => values.iter().any(|v| v == record.state.health.as_str()),
            // pod: no container has one yet.
            _ => false,
        })
    }
}

/// Whether the restart policy wants it to run after a boot: `always`, or `unless-stopped` and it was not stopped.
fn starts_on_boot(state: &ContainerState, policy: &RestartPolicy) -> bool {
    match policy.name.as_str() {
        "always" => true,
        "unless-stopped" => state.started_before && !state.stopped_by_user,
        _ => false,
    }
}

fn has_status(status: Status, word: &str) -> bool {
    match word {
        "exited" | "stopped" => status == Status::Exited,
        "created" | "configured" => matches!(status, Status::Created | Status::Starting),
        "initialized" => matches!(status, Status::Starting | Status::Initialized),
        _ => status.as_str() == word,
    }
}

fn is_ancestor(record: &Record, word: &str, family: &HashSet<String>) -> bool {
    let head = &record.state.head;
    if family.contains(&head.image_id) || !word.is_empty() && head.image_id.starts_with(word) {
        return true;
    }
    // As podman: a name, or a name without tag, or its last part.
    let bare = |name: &str| {
        name.rsplit_once(':')
            .map_or(name, |(bare, tag)| if tag.contains('/') { name } else { bare })
            .to_owned()
    };
    let image = head.image.as_str();
    let ends = |name: &str| name == word || name.strip_suffix(word).is_some_and(|rest| rest.ends_with('/'));
    ends(image) || ends(&bare(image))
}

/// `80`, `80/tcp` or `80-90` against an exposed `80/tcp`.
fn exposes(port: &str, filter: &str) -> bool {
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let (wanted, wanted_protocol) = filter.split_once('/').unwrap_or((filter, "tcp"));
    let (from, to) = wanted.split_once('-').unwrap_or((wanted, wanted));
    let parse = |t: &str| t.parse::<u16>().ok();
    protocol == wanted_protocol
        && matches!((parse(number), parse(from), parse(to)), (Some(n), Some(a), Some(b)) if (a..=b).contains(&n))
}

/// The word for a network that is not one of ours.
fn network_kind(mode: &NamespaceMode) -> &str {
    match mode {
        NamespaceMode::Host => "host",
        NamespaceMode::Network(kind) if kind == "bridge" => "",
        NamespaceMode::Network(kind) => kind,
        _ => "none",
    }
}

/// `8080`, `8080/tcp` or `8080-8090/udp` against the host ports of a mapping.
fn publishes(port: &PortMapping, filter: &str) -> bool {
    let all = (0..port.range).filter_map(|offset| port.host_port.checked_add(offset));
    let choice = port.host_port..=port.host_last;
    port.host_port > 0
        && all.chain(choice).any(|n| exposes(&format!("{n}/{}", port.protocol.as_str()), filter))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_and_bad_values_are_refused() {
        for bad in ["colour=red", "status", "status=happy", "exited=x", "until=soon", "until="] {
            assert!(Filters::parse(&[bad.to_owned()]).is_err(), "{bad}");
        }
        for good in [
            "label=a=b",
            "label!=a",
            "until=10m",
            "until=1h30m",
            "until=2020-01-01T00:00:00Z",
            "until=2020-01-01",
            "exited=137",
        ] {
            Filters::parse(&[good.to_owned()]).unwrap();
        }
    }

    #[test]
    fn ports() {
        assert!(exposes("80/tcp", "80") && exposes("80/tcp", "70-90/tcp") && !exposes("80/tcp", "80/udp"));
        let port = PortMapping { host_port: 8080, container_port: 80, range: 3, ..PortMapping::default() };
        assert!(publishes(&port, "8082") && publishes(&port, "8000-8080/tcp"));
        assert!(!publishes(&port, "8083") && !publishes(&port, "80") && !publishes(&port, "8080/udp"));
        let ago = Timestamp::now().duration_since(crate::engine::moment::until("1h30m").unwrap());
        assert!((ago.as_secs() - 5400).abs() < 2);
    }
}
