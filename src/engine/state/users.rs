//! Who has what containers share: their specs say which volumes and images they mount.

use super::State;
use crate::engine::spec::MountSpec;
use crate::engine::{ErrorKind, Result};
use std::collections::BTreeMap;

/// A container that mounts something, running or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountUser {
    /// Its ID.
    pub id: String,
    /// Its name.
    pub name: String,
}

impl State {
    /// The containers that mount each thing, by what `what` calls it; it gives `None` for mounts that are not asked for. What no
    /// container mounts is not there.
    ///
    /// # Errors
    /// Records cannot be read.
    pub fn mount_users(
        &self,
        what: impl Fn(&MountSpec) -> Option<&str>,
    ) -> Result<BTreeMap<String, Vec<MountUser>>> {
        let mut found: BTreeMap<String, Vec<MountUser>> = BTreeMap::new();
        for record in self.list()? {
            let spec = match record.spec() {
                // Removed while we looked.
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                spec => spec?,
            };
            for thing in spec.mounts.iter().filter_map(&what) {
                let user = MountUser { id: record.id.clone(), name: record.name().to_owned() };
                let users = found.entry(thing.to_owned()).or_default();
                if users.last() != Some(&user) {
                    users.push(user);
                }
            }
        }
        Ok(found)
    }
}
