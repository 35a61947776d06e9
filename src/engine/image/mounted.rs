//! Images that containers mount beside their own (`--mount type=image`): only our records know of them.

use crate::engine::spec::MountKind;
use crate::engine::state::MountUser;
use crate::engine::{Engine, Result};
use std::collections::BTreeMap;

/// The containers that mount each image, running or not, by the image's ID.
///
/// # Errors
/// Our records cannot be read.
pub fn mounters(engine: &Engine) -> Result<BTreeMap<String, Vec<MountUser>>> {
    engine.state.mount_users(|mount| (mount.kind == MountKind::Image).then_some(mount.image.id.as_str()))
}
