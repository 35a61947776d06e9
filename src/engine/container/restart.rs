//! `restart`: stop, if it runs, and start.

use super::start::{StartOptions, start};
use super::stop::{StopOptions, stop};
use super::told::tell;
use crate::engine::{Engine, Error, ErrorKind, Result};

/// Restarts the container `id`, running or not.
///
/// # Errors
/// [`ErrorKind::InUse`] for a `--rm` container, which its stop would remove.
pub fn restart(engine: &Engine, id: &str, options: &StopOptions) -> Result<()> {
    let record = engine.state.load(id)?;
    if record.ephemeral && record.state.status.is_live() {
        return Err(Error::new(
            ErrorKind::InUse,
            format!("container {} was made with --rm: stopping it would remove it", record.name()),
        ));
    }
    stop(engine, id, options)?;
    start(engine, id, StartOptions { detached: true, ..StartOptions::default() }, &mut |_| Ok(()))?;
    tell(engine, "restart", &record, &[]);
    Ok(())
}
