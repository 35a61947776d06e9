//! A container as `ps` knows it.

use super::SortKey;
use crate::cmd::format::human;
use crate::engine::spec::{ContainerSpec, Health, NamespaceMode, PortMapping};
use crate::engine::state::Record;
use crate::engine::store::ContainerRecord;
use crate::engine::{Engine, Result};
use jiff::Timestamp;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What is listed of a container.
pub(super) struct Row {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) image: String,
    pub(super) image_id: String,
    pub(super) command: Vec<String>,
    pub(super) created: Timestamp,
    pub(super) exposed_ports: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) auto_remove: bool,
    pub(super) restarts: u32,
    pub(super) pid: u32,
    pub(super) exit_code: i32,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
    pub(super) state: &'static str,
    pub(super) size: Option<(u64, u64)>,
    pub(super) record: Option<Record>,
    pub(super) now: Timestamp,
    pub(super) short: bool,
}

impl Row {
    pub(super) fn new(mut record: Record, now: Timestamp, short: bool) -> Row {
        let state = &mut record.state;
        let head = std::mem::take(&mut state.head);
        Row {
            id: record.id.clone(),
            name: head.name,
            image: head.image,
            image_id: head.image_id,
            command: head.command,
            created: record.created,
            exposed_ports: head.exposed_ports,
            labels: head.labels,
            auto_remove: head.remove,
            restarts: state.restart_count,
            pid: state.pid,
            exit_code: state.exit_code,
            started_at: state.started_at,
            finished_at: state.finished_at,
            state: state.status.as_str(),
            size: None,
            record: Some(record),
            now,
            short,
        }
    }

    pub(super) fn stranger(container: ContainerRecord, now: Timestamp, short: bool) -> Row {
        #[derive(Default, serde::Deserialize)]
        #[serde(default)]
        struct Metadata {
            #[serde(rename = "image-name")]
            image_name: String,
        }
        let metadata: Metadata = serde_json::from_str(&container.metadata).unwrap_or_default();
        Row {
            id: container.id,
            name: container.names.into_iter().next().unwrap_or_default(),
            image: metadata.image_name,
            image_id: container.image,
            command: vec!["storage".to_owned()],
            created: container.created,
            exposed_ports: Vec::new(),
            labels: BTreeMap::new(),
            auto_remove: false,
            restarts: 0,
            pid: 0,
            exit_code: 0,
            started_at: None,
            finished_at: None,
            state: "storage",
            size: None,
            record: None,
            now,
            short,
        }
    }

    pub(super) fn spec(&self) -> Option<&ContainerSpec> {
        self.record.as_ref().and_then(|r| r.spec().ok())
    }

    /// Bytes written, and those with the image's.
    pub(super) fn sizes(&self, engine: &Engine) -> Result<(u64, u64)> {
        let written = engine.store.container_rw_size(&self.id)?;
        let image = if self.image_id.is_empty() { 0 } else { engine.store.image_size(&self.image_id)? };
        Ok((written, written + image))
    }

    pub(super) fn status(&self) -> String {
        let status = status(self.state, self.exit_code, self.started_at, self.finished_at, self.now);
        with_health(status, self.state, self.health())
    }

    pub(super) fn health(&self) -> Health {
        self.record.as_ref().map(|record| record.state.health).unwrap_or_default()
    }

    pub(super) fn command(&self) -> String {
        let command = self.command.join(" ");
        if self.short { human::ellipsis(&command, 17) } else { command }
    }

    pub(super) fn id(&self) -> &str {
        if self.short { human::short_id(&self.id) } else { &self.id }
    }

    /// Where things are mounted in it: podman's idea of mounts.
    pub(super) fn mounts(&self) -> Vec<String> {
        let mounts = self.spec().map(|s| s.mounts.as_slice()).unwrap_or_default();
        mounts.iter().map(|m| m.target.clone()).collect()
    }

    /// Which volumes and files of the host are mounted in it: docker's.
    pub(super) fn mounted(&self) -> String {
        let mounts = self.spec().map(|s| s.mounts.as_slice()).unwrap_or_default();
        let limit = if self.short { 15 } else { usize::MAX };
        let sources = mounts.iter().filter(|m| !m.source.is_empty());
        sources.map(|m| human::ellipsis(&m.source, limit)).collect::<Vec<_>>().join(",")
    }

    pub(super) fn networks(&self) -> Vec<String> {
        let Some(record) = &self.record else { return Vec::new() };
        match self.spec().map(|s| &s.namespaces.network) {
            Some(NamespaceMode::Host) => vec!["host".to_owned()],
            Some(NamespaceMode::Network(kind)) => {
                let own = (kind != "bridge").then(|| kind.clone());
                own.into_iter()
                    .chain(record.state.network.attachments.iter().map(|a| a.network.clone()))
                    .collect()
            }
            Some(NamespaceMode::None | NamespaceMode::Private | NamespaceMode::Default) => {
                vec!["none".to_owned()]
            }
            _ => Vec::new(),
        }
    }

    /// Published ports with the host ports they have now.
    pub(super) fn ports(&self) -> &[PortMapping] {
        self.record.as_ref().map_or(&[], |r| &r.state.network.ports)
    }

    /// Identifiers of its namespaces, `""` where there is none.
    pub(super) fn namespace(&self, kind: &str) -> String {
        let link = std::fs::read_link(format!("/proc/{}/ns/{kind}", self.pid));
        let text = link.ok().filter(|_| self.pid != 0).map(|l| l.to_string_lossy().into_owned());
        let number = text.as_deref().and_then(|t| t.split_once('[')).map(|(_, n)| n.trim_end_matches(']'));
        number.unwrap_or_default().to_owned()
    }

    pub(super) fn compare(&self, other: &Row, key: SortKey) -> Ordering {
        match key {
            SortKey::Command => self.command.cmp(&other.command),
            SortKey::Created => self.created.cmp(&other.created),
            SortKey::Id => self.id.cmp(&other.id),
            SortKey::Image => self.image.cmp(&other.image),
            SortKey::Names => self.name.cmp(&other.name),
            SortKey::RunningFor => self.started_at.cmp(&other.started_at),
            SortKey::Size => self.size.cmp(&other.size),
            SortKey::Status => self.state.cmp(other.state),
        }
    }
}

/// The STATUS column's text for a container.
pub(in crate::cmd) fn status_of(record: &Record, now: Timestamp) -> String {
    let state = &record.state;
    let word = state.status.as_str();
    with_health(status(word, state.exit_code, state.started_at, state.finished_at, now), word, state.health)
}

fn with_health(status: String, state: &str, health: Health) -> String {
    match health {
        Health::Starting if state == "running" => format!("{status} (health: starting)"),
        health if state == "running" && health != Health::None => format!("{status} ({})", health.as_str()),
        _ => status,
    }
}

/// docker's words: `Up 5 minutes`, `Exited (0) 3 seconds ago`, `Created`.
fn status(
    state: &str,
    exit_code: i32,
    started: Option<Timestamp>,
    finished: Option<Timestamp>,
    now: Timestamp,
) -> String {
    let since =
        |then: Option<Timestamp>| human::duration(then.map_or(0, |then| now.as_second() - then.as_second()));
    match state {
        "running" => format!("Up {}", since(started)),
        "paused" => format!("Up {} (Paused)", since(started)),
        "exited" => format!("Exited ({exit_code}) {} ago", since(finished)),
        "restarting" => format!("Restarting ({exit_code}) {} ago", since(finished)),
        "created" | "starting" => "Created".to_owned(),
        "initialized" => "Initialized".to_owned(),
        "storage" => "Storage".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn states_read_as_docker_words_them() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let cases = [
            ("running", 0, "Up 5 minutes"),
            ("paused", 0, "Up 5 minutes (Paused)"),
            ("exited", 137, "Exited (137) 3 seconds ago"),
            ("restarting", 1, "Restarting (1) 3 seconds ago"),
            ("created", 0, "Created"),
            ("initialized", 0, "Initialized"),
        ];
        for (state, code, text) in cases {
            assert_eq!(status(state, code, Some(at(1000)), Some(at(1297)), at(1300)), text);
        }
    }
}
