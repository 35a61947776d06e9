//! `diff`: what a container, an image's top layer or any layer changed of what is below it, or of another one.

use crate::engine::image;
use crate::engine::store::diff::create::Change;
use crate::engine::{Engine, Error, ErrorKind, Result};

/// What a name may mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A container, else an image, else a layer.
    Any,
    /// A container.
    Container,
    /// An image.
    Image,
}

/// Paths at which every container has something of the engine's (podman `libpod/diff.go`: `initInodes`).
const OURS: &[&[u8]] = &[
    b"/dev",
    b"/etc/hostname",
    b"/etc/hosts",
    b"/etc/resolv.conf",
    b"/etc/mtab",
    b"/proc",
    b"/run",
    b"/run/notify",
    b"/run/.containerenv",
    b"/run/podman-init",
    b"/run/secrets",
    b"/sys",
];

/// The changes of `name`, of what makes `base` into it when there is one, parents before what is in them.
///
/// # Errors
/// [`ErrorKind::NotFound`] when there is no such thing.
pub fn diff(engine: &Engine, subject: Subject, name: &str, base: Option<&str>) -> Result<Vec<Change>> {
    let layer = layer(engine, subject, name)?;
    let mut changes = match base.map(|base| self::layer(engine, subject, base)).transpose()? {
        None => engine.store.changes(&layer)?,
        Some(base) => engine.store.changes_between(&base, &layer)?,
    };
    changes.retain(|change| !OURS.contains(&change.path.as_slice()));
    Ok(changes)
}

/// The ID of a container, or of a layer.
fn layer(engine: &Engine, subject: Subject, name: &str) -> Result<String> {
    if subject != Subject::Image {
        match engine.state.resolve(name) {
            Ok(id) => return Ok(id),
            Err(e) if e.kind() == ErrorKind::NotFound && subject == Subject::Any => {}
            Err(e) => return Err(e),
        }
    }
    match image::find(engine, name) {
        Ok(found) => return found.image.top_layer.ok_or_else(|| no_such_object(name)),
        Err(e) if subject == Subject::Any && matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Invalid) => {
        }
        Err(e) => return Err(e),
    }
    let mut layers = engine.store.layers()?.into_iter().filter(|layer| layer.id.starts_with(name));
    match (layers.next(), layers.next()) {
        (Some(layer), None) if name.len() >= 12 => Ok(layer.id),
        _ => Err(no_such_object(name)),
    }
}

fn no_such_object(name: &str) -> Error {
    Error::not_found(format!("{name} not found: no such container, image or layer"))
}
