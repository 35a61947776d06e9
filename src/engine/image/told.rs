//! What is told of images, see [`crate::engine::events`].

use crate::engine::Engine;
use crate::engine::events::{Events, Kind};
use std::collections::BTreeMap;

/// Tells that something happened to the image `id` under the name `name`.
pub(super) fn tell(engine: &Engine, action: &str, id: &str, name: &str) {
    let name = if name.is_empty() { id } else { name };
    let attributes = BTreeMap::from([("name".to_owned(), name.to_owned())]);
    Events::open(&engine.config).emit(Kind::Image, action, id, attributes);
}
