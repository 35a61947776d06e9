//! Images that containers mount beside their own (`--mount type=image`): only our records know of them.

use crate::engine::spec::MountKind;
use crate::engine::{Engine, ErrorKind, Result};
use std::collections::HashMap;

/// A container that mounts an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageMounter {
    /// The container's ID.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// The containers that mount each image, running or not, by the image's ID.
pub fn mounters(engine: &Engine) -> Result<HashMap<String, Vec<ImageMounter>>> {
    let mut found: HashMap<String, Vec<ImageMounter>> = HashMap::new();
    for record in engine.state.list()? {
        let spec = match record.spec() {
            // Removed while we looked.
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            spec => spec?,
        };
        for mount in spec.mounts.iter().filter(|m| m.kind == MountKind::Image) {
            let mounter = ImageMounter { id: record.id.clone(), name: record.name().to_owned() };
            let of_image = found.entry(mount.image.id.clone()).or_default();
            if of_image.last() != Some(&mounter) {
                of_image.push(mounter);
            }
        }
    }
    Ok(found)
}
