//! What is done with images: one verb a file.
//!
//! Images are read and written through [`crate::engine::store`] and fetched through [`crate::engine::registry`]; this
//! module adds the rules of docker and podman: which local image a name means, where a missing one comes from, what
//! removing does. Called by commands, and by `container` for the image of a container.

pub mod changes;
pub mod config;
pub mod draft;
mod hello;
pub mod import;
pub mod index;
pub mod layers;
pub mod load;
pub mod lookup;
pub mod mounted;
mod partial;
pub mod places;
pub mod pull;
pub mod push;
mod receive;
pub mod remove;
pub mod request;
pub mod save;
pub mod sign;
pub mod sync;
pub mod sync_list;
pub mod tag;
mod told;
pub mod transfer;
pub mod tree;
mod versions;
mod words;

pub use config::{Healthcheck, History, ImageConfig, RunConfig};
pub use lookup::{Found, find};
pub use pull::{ensure, pull};
pub use request::{Progress, PullPolicy, PullRequest, PulledImage, Silent};

use crate::engine::store::ImageRecord;
use crate::engine::{Context, Engine, Result};

/// The configuration of the image with this full ID.
pub fn config(engine: &Engine, id: &str) -> Result<ImageConfig> {
    config_of(engine, &engine.store.image(id)?)
}

/// The configuration of a recorded image.
///
/// `Corrupt` if it has none that can be read.
pub fn config_of(engine: &Engine, image: &ImageRecord) -> Result<ImageConfig> {
    let raw = raw_config(engine, image)?;
    ImageConfig::parse(&raw).with_context(|| format!("image {}", short_id(&image.id)))
}

/// The configuration document as it came. Its big data key is its digest, whose hex digits are the image's ID, unless
/// somebody chose another ID: then the manifest names it.
pub fn raw_config(engine: &Engine, image: &ImageRecord) -> Result<Vec<u8>> {
    let key = format!("sha256:{}", image.id);
    if image.big_data_names.contains(&key) {
        return engine.store.image_big_data(&image.id, &key);
    }
    let other = image.big_data_names.iter().find(|name| crate::engine::Digest::parse(name).is_ok());
    match other {
        Some(key) => engine.store.image_big_data(&image.id, key),
        None => {
            Err(crate::engine::Error::corrupt(format!("image {} has no configuration", short_id(&image.id)))
                .with_hint("pull it again"))
        }
    }
}

/// The manifest as it came.
pub fn raw_manifest(engine: &Engine, image: &ImageRecord) -> Result<Vec<u8>> {
    engine.store.image_big_data(&image.id, "manifest")
}

/// The first twelve digits of an ID.
pub fn short_id(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
