//! Listing and finding containers.

use super::filter::Filters;
use super::remove::repair;
use crate::engine::state::Record;
use crate::engine::{Engine, Error, ErrorKind, Result};

/// All containers that pass `filters`, oldest first.
pub fn list(engine: &Engine, filters: &Filters) -> Result<Vec<Record>> {
    let (records, unfinished) = engine.state.list_with_unfinished()?;
    if unfinished && let Err(e) = repair(engine) {
        tracing::debug!("repair: {e}");
    }
    if filters.is_empty() {
        return Ok(records);
    }
    let filters = filters.prepare(engine, &records)?;
    let mut kept = Vec::new();
    for record in records {
        match filters.matches(&record) {
            Ok(true) => kept.push(record),
            Ok(false) => {}
            // Removed since the records were read.
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Ok(kept)
}

/// The container made last (`--latest`).
pub fn latest(engine: &Engine) -> Result<Record> {
    engine.state.list()?.pop().ok_or_else(|| Error::not_found("no containers"))
}

/// The full ID behind a name, ID or unique beginning of an ID.
pub fn resolve(engine: &Engine, text: &str) -> Result<String> {
    engine.state.resolve(text)
}

/// One container by name, ID or unique beginning of an ID, as it is now.
pub fn inspect(engine: &Engine, text: &str) -> Result<Record> {
    engine.state.load(&engine.state.resolve(text)?)
}
