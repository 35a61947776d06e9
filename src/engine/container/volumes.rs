//! Anonymous volumes: directories of their own, named by 64 hex digits, which live as long as their container wants.
//!
//! `<volumes>/<name>/_data` is mounted; while `<volumes>/<name>/copy-up` exists nobody has filled it yet from the image.

use crate::engine::host::random;
use crate::engine::spec::{ContainerSpec, MountKind, MountSpec};
use crate::engine::{Engine, Error, Result};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// A volume's own directory.
fn dir(engine: &Engine, name: &str) -> PathBuf {
    engine.config.paths.volumes.join(name)
}

/// What is mounted for the volume `name`.
pub(super) fn data_dir(engine: &Engine, name: &str) -> PathBuf {
    dir(engine, name).join("_data")
}

/// There while the volume waits to be filled from the image.
pub(super) fn copy_up_mark(engine: &Engine, name: &str) -> PathBuf {
    dir(engine, name).join("copy-up")
}

/// Names a volume for every mount that has none.
pub(super) fn name_anonymous(spec: &mut ContainerSpec) -> Result<()> {
    for mount in spec.mounts.iter_mut().filter(|m| m.kind == MountKind::Volume && m.source.is_empty()) {
        mount.source = random::id()?;
    }
    Ok(())
}

/// Makes the volumes of [`name_anonymous`].
pub(super) fn make_anonymous(engine: &Engine, spec: &ContainerSpec) -> Result<()> {
    for mount in spec.mounts.iter().filter(|m| is_anonymous(m)) {
        make(engine, &mount.source, !mount.options.iter().any(|o| o == "nocopy"))?;
    }
    Ok(())
}

fn make(engine: &Engine, name: &str, fill: bool) -> Result<()> {
    let data = data_dir(engine, name);
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o755);
    builder.create(&data).map_err(|e| Error::io("mkdir", &data, e))?;
    if fill {
        let mark = copy_up_mark(engine, name);
        fs::File::create(&mark).map_err(|e| Error::io("create", &mark, e))?;
    }
    Ok(())
}

/// The volumes that were made for this container alone.
pub(super) fn anonymous(spec: &ContainerSpec) -> Vec<String> {
    let volumes = spec.mounts.iter().filter(|m| is_anonymous(m));
    volumes.map(|m| m.source.clone()).collect()
}

fn is_anonymous(mount: &MountSpec) -> bool {
    mount.kind == MountKind::Volume && crate::engine::state::is_id(&mount.source)
}

/// Whether no container has used it yet.
pub(super) fn is_unused(engine: &Engine, name: &str) -> bool {
    fs::symlink_metadata(copy_up_mark(engine, name)).is_ok()
}

/// Removes a volume. The container's processes wrote into it, so it is walked without following links.
pub(super) fn remove(engine: &Engine, name: &str) -> Result<()> {
    remove_tree(&dir(engine, name))
}

fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
        _ => Ok(()),
    }
}
