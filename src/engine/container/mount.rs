//! `mount` and `unmount`: a container's file system made accessible to its owner, counted in the store beside the mount of
//! the running container and those of podman and buildah, whose containers can be named as well.

use super::overlays;
use super::told::tell;
use crate::engine::state::Record;
use crate::engine::store::{ContainerRecord, MountOptions};
use crate::engine::{Engine, Error, ErrorKind, Result};
use std::fs;
use std::path::PathBuf;

/// A container of ours or of another program.
#[derive(Debug)]
pub enum Mountable {
    /// Ours.
    Own(Box<Record>),
    /// Of podman, buildah or another user of the store.
    Foreign(Box<ContainerRecord>),
}

impl Mountable {
    /// Its full ID.
    pub fn id(&self) -> &str {
        match self {
            Self::Own(record) => &record.id,
            Self::Foreign(container) => &container.id,
        }
    }

    /// Its first name; empty if it has none.
    pub fn name(&self) -> &str {
        match self {
            Self::Own(record) => record.name(),
            Self::Foreign(container) => container.names.first().map_or("", String::as_str),
        }
    }
}

/// A container that is mounted.
#[derive(Clone, Debug)]
pub struct Mounted {
    /// Its full ID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where.
    pub path: PathBuf,
}

/// The container that a name, an ID or the beginning of one means: ours, or, if there is none, another program's.
///
/// # Errors
/// [`ErrorKind::NotFound`], and [`ErrorKind::Conflict`] for the beginning of several.
pub fn mountable(engine: &Engine, word: &str) -> Result<Mountable> {
    let missing = match engine.state.resolve(word) {
        Ok(id) => return engine.state.load(&id).map(|record| Mountable::Own(Box::new(record))),
        Err(e) if e.kind() == ErrorKind::NotFound => e,
        Err(e) => return Err(e),
    };
    let all = engine.store.containers()?;
    let exact = all.iter().find(|c| c.id == word || c.names.iter().any(|n| n == word));
    if let Some(container) = exact {
        return Ok(Mountable::Foreign(Box::new(container.clone())));
    }
    let mut beginning = all.into_iter().filter(|c| !word.is_empty() && c.id.starts_with(word));
    match (beginning.next(), beginning.next()) {
        (Some(container), None) => Ok(Mountable::Foreign(Box::new(container))),
        (Some(_), Some(_)) => {
            Err(Error::new(ErrorKind::Conflict, format!("multiple IDs found with provided prefix: {word}"))
                .with_hint("give more digits of the ID"))
        }
        (None, _) => Err(missing),
    }
}

/// Every container of ours, oldest first, then those of other programs.
pub fn mountables(engine: &Engine) -> Result<Vec<Mountable>> {
    let ours = engine.state.list()?;
    let foreign = engine.store.containers()?.into_iter().filter(|c| ours.iter().all(|r| r.id != c.id));
    let foreign: Vec<_> = foreign.map(|c| Mountable::Foreign(Box::new(c))).collect();
    Ok(ours.into_iter().map(|record| Mountable::Own(Box::new(record))).chain(foreign).collect())
}

/// Those containers that are mounted, by a user's wish or because they run.
pub fn mounted(engine: &Engine) -> Result<Vec<Mounted>> {
    let mounts = engine.store.mounts()?;
    let layers = engine.store.containers()?;
    let layer = |id: &str| layers.iter().find(|c| c.id == id).map(|c| c.layer.as_str());
    let path = |id: &str| layer(id).and_then(|layer| mounts.get(layer)).map(|(path, _)| path.clone());
    let all = mountables(engine)?.into_iter();
    Ok(all
        .filter_map(|c| {
            Some(Mounted { path: path(c.id())?, id: c.id().to_owned(), name: c.name().to_owned() })
        })
        .collect())
}

/// Mounts a container once more, and returns where. Its end leaves this mount alone; its removal does not.
///
/// # Errors
/// The kernel refuses, or the container is gone.
pub fn mount(engine: &Engine, container: &Mountable) -> Result<PathBuf> {
    if let Mountable::Own(record) = container {
        if let Some(rootfs) = &record.spec()?.image.rootfs {
            let path = overlays::shown_root(record, rootfs)?;
            return fs::canonicalize(&path).map_err(|e| Error::io("find", &path, e));
        }
        // Nobody removes it meanwhile.
        let _locked = engine.state.lock(&record.id)?;
        let path = engine.store.mount(&record.id, &MountOptions::default())?;
        tell(engine, "mount", record, &[]);
        return Ok(path);
    }
    engine.store.mount(container.id(), &MountOptions::default())
}

/// What [`unmount`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmounted {
    /// One mount less, or none left.
    Done,
    /// It was not mounted, or only because it runs.
    Nothing,
}

/// Undoes one [`mount`], or all with `force`. The mount of a running container stays.
///
/// # Errors
/// The kernel refuses.
pub fn unmount(engine: &Engine, container: &Mountable, force: bool) -> Result<Unmounted> {
    let (_locked, kept) = match container {
        Mountable::Own(record) if record.spec()?.image.rootfs.is_some() => return Ok(Unmounted::Nothing),
        Mountable::Own(record) => {
            let locked = engine.state.lock(&record.id)?;
            let runs = locked.read()?.is_some_and(|record| record.state.status.is_live());
            (Some(locked), i64::from(runs))
        }
        Mountable::Foreign(_) => (None, 0),
    };
    let layer = engine.store.container(container.id())?.layer;
    let count = engine.store.mounts()?.get(&layer).map_or(0, |(_, count)| *count);
    if count <= kept && (kept > 0 || engine.store.uncounted(&layer)?.is_none()) {
        return Ok(Unmounted::Nothing);
    }
    let times = if force { (count - kept).max(1) } else { 1 };
    for _ in 0..times {
        engine.store.unmount(container.id(), false)?;
    }
    if let Mountable::Own(record) = container {
        tell(engine, "unmount", record, &[]);
    }
    Ok(Unmounted::Done)
}
