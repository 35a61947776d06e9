//! `container prune`: every container that does not run.

use super::filter::Filters;
use super::list::list;
use super::remove::{RemoveOptions, remove, repair};
use crate::engine::state::Status;
use crate::engine::{Engine, ErrorKind, Result};

/// Removes the containers that pass `filters` and do not run. Returns their IDs and the bytes their layers had.
pub fn prune(engine: &Engine, filters: &Filters) -> Result<(Vec<String>, u64)> {
    repair(engine)?;
    let mut removed = Vec::new();
    let mut bytes = 0;
    for record in list(engine, filters)? {
        if matches!(
            record.state.status,
            Status::Starting | Status::Running | Status::Paused | Status::Restarting
        ) {
            continue;
        }
        let size = engine.store.container_rw_size(&record.id).unwrap_or_default();
        match remove(engine, &record.id, &RemoveOptions::default()) {
            Ok(ids) => {
                removed.extend(ids);
                bytes += size;
            }
            // Started, removed or joined by another container meanwhile.
            Err(e) if matches!(e.kind(), ErrorKind::InUse | ErrorKind::NotFound) => {}
            Err(e) => return Err(e),
        }
    }
    Ok((removed, bytes))
}
