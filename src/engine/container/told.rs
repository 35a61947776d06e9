//! What is told of containers, see [`crate::engine::events`].

use crate::engine::Engine;
use crate::engine::events::{Events, Kind};
use crate::engine::state::{Head, Record};
use std::collections::BTreeMap;

/// Tells that something happened to the container of `record`.
pub(super) fn tell(engine: &Engine, action: &str, record: &Record, more: &[(&str, &str)]) {
    tell_of(engine, action, &record.id, &record.state.head, more);
}

/// The same of one whose record is not at hand. Attributes are docker's: labels, `name`, `image`, and `more`.
pub(super) fn tell_of(engine: &Engine, action: &str, id: &str, head: &Head, more: &[(&str, &str)]) {
    let mut attributes = head.labels.clone();
    attributes.insert("name".to_owned(), head.name.clone());
    attributes.insert("image".to_owned(), head.image.clone());
    attributes.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    Events::open(&engine.config).emit(Kind::Container, action, id, attributes);
}

/// Tells that the container of `record` joined a network, or left it.
pub(super) fn tell_of_network(engine: &Engine, action: &str, network: &str, record: &Record) {
    let attributes = [("name", network), ("container", &record.id)];
    let attributes: BTreeMap<_, _> =
        attributes.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Events::open(&engine.config).emit(Kind::Network, action, network, attributes);
}
