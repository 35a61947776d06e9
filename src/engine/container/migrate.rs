//! `system migrate --new-runtime`: another OCI runtime for containers that exist.

use super::settle::settle;
use crate::engine::conmon::Runtime;
use crate::engine::{Engine, ErrorKind, Result};

/// Has every container started with `runtime`, a name or a path, from its next start on; one that runs keeps what it runs
/// with until then. Returns the names of the containers that changed.
///
/// # Errors
/// [`ErrorKind::MissingProgram`] if it is not installed; nothing has changed then.
pub fn set_runtime(engine: &Engine, runtime: &str) -> Result<Vec<String>> {
    Runtime::find(&engine.config, runtime)?;
    let mut changed = Vec::new();
    for record in engine.state.list()? {
        let locked = match engine.state.lock(&record.id) {
            // Removed meanwhile.
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            locked => locked?,
        };
        let Some(record) = settle(engine, &locked)? else { continue };
        let mut spec = record.spec()?.clone();
        if spec.runtime != runtime {
            runtime.clone_into(&mut spec.runtime);
            locked.respecify(&spec)?;
            crate::failpoint!("migrate.after-spec");
            changed.push(record.name().to_owned());
        }
    }
    Ok(changed)
}
