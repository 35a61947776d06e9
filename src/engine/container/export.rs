//! `export`: a container's file system as one tar.

use super::overlays;
use super::stop::gone;
use super::told::tell;
use crate::engine::store::View;
use crate::engine::store::diff::create::{Archive, ArchiveOptions, everything};
use crate::engine::{Engine, Result};
use std::io::Write;

/// Writes the files of the container `id`, running or not, without what is mounted in it, to `out`.
///
/// No lock is held meanwhile: what the container changes as it is read may be in the archive or not.
///
/// # Errors
/// A file cannot be read, `out` cannot be written, or the container was removed meanwhile.
pub fn export(engine: &Engine, id: &str, out: &mut dyn Write) -> Result<()> {
    let record = engine.state.load(id)?;
    if let Some(rootfs) = &record.spec()?.image.rootfs {
        let root = View::of_directory(&overlays::shown_root(&record, rootfs)?)?;
        let mut archive = Archive::new(out, ArchiveOptions::default());
        everything(root.root(), &mut archive)?;
        archive.finish()?;
        tell(engine, "export", &record, &[]);
        return Ok(());
    }
    engine.store.write_tree(id, &|_, _| false, out)?;
    // Files that went with their container would be missing without a word.
    if engine.store.container(id).is_err() {
        return Err(gone(id).wrap("the container was removed while it was read"));
    }
    tell(engine, "export", &record, &[]);
    Ok(())
}
