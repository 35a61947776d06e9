//! The directories behind mounts with the option `O`: what the container writes over a host directory, until its next
//! start. They lie in the store's directory of the container and go with it; those of a container without an image, which
//! the store does not know, in its bundle. So does the one over such a container's whole root (`--rootfs DIR:O`).

use crate::engine::conmon::RunDir;
use crate::engine::host::mount::{self, Overlay};
use crate::engine::spec::ContainerSpec;
use crate::engine::state::Record;
use crate::engine::{Engine, Error, Result};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Where a container's overlays are.
pub(super) fn base(engine: &Engine, run_dir: &Path, id: &str, spec: &ContainerSpec) -> Result<PathBuf> {
    match spec.image.rootfs {
        Some(_) => Ok(run_dir.to_owned()),
        None => engine.store.container_dir(id),
    }
}

/// Two new, empty directories for the overlay `name`: for the container's writes, which looks like `source` from outside,
/// and for overlayfs itself.
pub(super) fn fresh(base: &Path, name: &str, source: &Path) -> Result<(PathBuf, PathBuf)> {
    let dir = base.join("overlays").join(name);
    match fs::remove_dir_all(&dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("remove", &dir, e)),
        _ => {}
    }
    let (upper, work) = (dir.join("upper"), dir.join("work"));
    for path in [&upper, &work] {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(path).map_err(|e| Error::io("mkdir", path, e))?;
    }
    // The merged directory shows the upper one's owner and mode.
    let meta = fs::metadata(source).map_err(|e| Error::io("stat", source, e))?;
    chown(&upper, Some(meta.uid()), Some(meta.gid())).map_err(|e| Error::io("chown", &upper, e))?;
    fs::set_permissions(&upper, fs::Permissions::from_mode(meta.mode() & 0o7777))
        .map_err(|e| Error::io("chmod", &upper, e))?;
    Ok((upper, work))
}

/// Mounts an overlay over `directory`, which is to be the container's root (`--rootfs DIR:O`); returns where. It goes with the
/// run's directory.
pub(super) fn over_root(engine: &Engine, run_dir: &RunDir, directory: &Path) -> Result<PathBuf> {
    let target = run_dir.rootfs();
    fs::create_dir_all(&target).map_err(|e| Error::io("mkdir", &target, e))?;
    let (upper, work) = fresh(run_dir.path(), "rootfs", directory)?;
    let lowers = [directory.to_owned()];
    // trusted.* attributes are not for user namespaces.
    let options = if engine.rootless() { vec!["userxattr".to_owned()] } else { Vec::new() };
    let overlay = Overlay { lowers: &lowers, upper: Some((&upper, &work)), options: &options, label: "" };
    mount::overlay(&target, &overlay)?;
    Ok(target)
}

/// Where the files of a container without an image are: those under an overlay are there as long as it runs.
pub(super) fn shown_root(record: &Record, rootfs: &str) -> Result<PathBuf> {
    let overlay = record.spec()?.image.rootfs_overlay && record.state.status.is_live();
    Ok(if overlay { record.state.mountpoint.clone() } else { PathBuf::from(rootfs) })
}
