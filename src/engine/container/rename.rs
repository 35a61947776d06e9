//! `rename`: another name for a container.

use super::told::tell;
use crate::engine::{Engine, Error, ErrorKind, Result};

/// Gives the container `id` another name; running or not. Its host name stays what it is; on its networks it is known by
/// the new name at once, and no longer by the old one.
///
/// The new name is claimed first, then recorded, then the old one given up: a crash in between leaves a name too many,
/// which whoever wants it takes over.
///
/// # Errors
/// `Conflict` if the name is taken, `Invalid` if it cannot be one.
pub fn rename(engine: &Engine, id: &str, name: &str) -> Result<()> {
    let locked = engine.state.lock(id)?;
    let mut record = super::settle::settle(engine, &locked)?.ok_or_else(|| super::stop::gone(id))?;
    if record.name() == name {
        return Err(Error::invalid("Renaming a container with the same name as its current name"));
    }
    let claimed = locked.rename(&record.state, name);
    match claimed {
        Err(e) if e.kind() == ErrorKind::Conflict && engine.state.release_stale(name)? => {
            locked.rename(&record.state, name)?;
        }
        other => other?,
    }
    crate::failpoint!("rename.name-given-up");
    let before = std::mem::replace(&mut record.state.head.name, name.to_owned());
    tell(engine, "rename", &record, &[("oldName", &before)]);
    if record.spec()?.image.rootfs.is_none() {
        engine.store.set_container_names(id, &[name.to_owned()])?;
    }
    super::network::renamed(engine, &locked, &mut record)
}
