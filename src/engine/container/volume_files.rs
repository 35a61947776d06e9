//! A volume's files as a tar, and back.

use crate::engine::host::rooted::open_directory;
use crate::engine::store::View;
use crate::engine::store::diff::create::{Archive, ArchiveOptions, everything};
use crate::engine::store::diff::{Merge, Whiteouts, unpack};
use crate::engine::volume::{Volume, Volumes};
use crate::engine::{Context, Engine, Result};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

/// Writes the files of a volume to `out`. What containers change meanwhile may be in the archive or not.
///
/// # Errors
/// It cannot be mounted, a file cannot be read, or `out` cannot be written.
pub fn export_volume(engine: &Engine, volume: &Volume, out: &mut dyn Write) -> Result<()> {
    mounted(engine, volume, |data| {
        let root = View::of_directory(data)?;
        let mut archive = Archive::new(out, ArchiveOptions::default());
        everything(root.root(), &mut archive)?;
        archive.finish().map(drop)
    })
}

/// Unpacks an archive, compressed or not, into a volume: by descriptor, never out of it.
///
/// # Errors
/// `Corrupt` if it is no archive, or reaches out of the volume; what was unpacked before stays.
pub fn import_volume(engine: &Engine, volume: &Volume, archive: impl Read) -> Result<()> {
    let mut options = engine.store.apply_options()?;
    // A file named `.wh.…` is a file like any other here.
    options.whiteouts = Whiteouts::Literal;
    options.force_mask = None;
    options.merge = Some(Merge::default());
    mounted(engine, volume, |data| {
        let directory = open_directory(data)?;
        unpack(archive, directory.as_fd(), &options).map(drop)
    })
    .with_context(|| format!("volume {}", volume.name))
}

fn mounted(engine: &Engine, volume: &Volume, act: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let volumes = Volumes::open(&engine.config);
    let user = format!("files-{}", std::process::id());
    let data = volumes.acquire(volume, &user)?;
    let done = act(&data);
    let released = if volume.is_mount() { volumes.release(&volume.name, &user) } else { Ok(()) };
    done.and(released)
}
