//! What is told of containers, see [`crate::engine::events`].

use crate::engine::Engine;
use crate::engine::events::{Events, Kind};
use crate::engine::spec::MountKind;
use crate::engine::state::{Head, Record};
use crate::engine::volume::LOCAL;
use std::collections::BTreeMap;

/// Tells that something happened to the container of `record`.
pub(super) fn tell(engine: &Engine, action: &str, record: &Record, more: &[(&str, &str)]) {
    tell_of(engine, action, &record.id, &record.state.head, more);
}

/// The same of one whose record is not at hand. Attributes are docker's: labels, `name`, `image`, and `more`.
pub(super) fn tell_of(engine: &Engine, action: &str, id: &str, head: &Head, more: &[(&str, &str)]) {
    Events::open(&engine.config).emit(Kind::Container, action, id, attributes(head, more));
}

fn attributes(head: &Head, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut attributes = head.labels.clone();
    attributes.insert("name".to_owned(), head.name.clone());
    attributes.insert("image".to_owned(), head.image.clone());
    attributes.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    attributes
}

/// Tells that volumes and networks have got the container of `record`, or have it no more, as docker does.
pub(super) fn tell_surroundings(engine: &Engine, record: &Record, there: bool) {
    let events = Events::open(&engine.config);
    let Ok(spec) = record.spec() else { return };
    for mount in spec.mounts.iter().filter(|mount| mount.kind == MountKind::Volume) {
        let mut attributes =
            vec![("name", mount.source.as_str()), ("container", &record.id), ("driver", LOCAL)];
        let writable = if mount.read_only { "false" } else { "true" };
        if there {
            attributes.extend([("destination", mount.target.as_str()), ("read/write", writable)]);
        }
        let attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let action = if there { "mount" } else { "unmount" };
        events.emit(Kind::Volume, action, &mount.source, attributes.collect());
    }
    for attachment in &record.state.network.attachments {
        let action = if there { "connect" } else { "disconnect" };
        super::network::tell(engine, action, &attachment.network, &record.id);
    }
}

/// What is told of an exec session, whose end comes when its container's record may be gone.
#[derive(Debug)]
pub(super) struct ToldSession {
    events: Events,
    container: String,
    attributes: BTreeMap<String, String>,
}

impl ToldSession {
    /// Of `session` in the container of `record`.
    pub fn new(engine: &Engine, record: &Record, session: &str) -> Self {
        let attributes = attributes(&record.state.head, &[("execID", session)]);
        Self { events: Events::open(&engine.config), container: record.id.clone(), attributes }
    }

    /// Tells that something happened to it.
    pub fn tell(&self, action: &str) {
        self.events.emit(Kind::Container, action, &self.container, self.attributes.clone());
    }

    /// Tells that it has ended.
    pub fn tell_end(&self, code: i32) {
        let mut attributes = self.attributes.clone();
        attributes.insert("exitCode".to_owned(), code.to_string());
        self.events.emit(Kind::Container, "exec_die", &self.container, attributes);
    }
}
