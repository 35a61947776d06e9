//! `rm`, and the end of removals and creations that were interrupted.

use super::settle::{exit_file, settle, undo_start, uninit};
use super::stop::{StopOptions, stop};
use super::told::tell;
use super::volumes;
use crate::engine::image::mounted::{self, Mounters};
use crate::engine::state::{ContainerState, Locked, Record, Status};
use crate::engine::store::Trash;
use crate::engine::{Context, Engine, Error, ErrorKind, Result};
use std::fs;
use std::path::PathBuf;

/// How to remove.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoveOptions {
    /// `-f`: stop a running container first.
    pub force: bool,
    /// `-v`: anonymous volumes go with it. Those of a `--rm` container always do.
    pub volumes: bool,
    /// `-t`: seconds between the stop signal and SIGKILL with `force`; `None`: SIGKILL at once, as docker does.
    pub timeout: Option<i64>,
    /// `--depend`: remove containers that need it, for its namespaces or by `--requires`, first.
    pub depend: bool,
}

/// Removes the container `id`. Returns the IDs removed, dependents first.
///
/// # Errors
/// [`ErrorKind::InUse`] when it runs and `force` is not given, or others need it.
pub fn remove(engine: &Engine, id: &str, options: &RemoveOptions) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    remove_tree(engine, id, options, &mut removed, 0)?;
    Ok(removed)
}

fn remove_tree(
    engine: &Engine,
    id: &str,
    options: &RemoveOptions,
    removed: &mut Vec<String>,
    depth: usize,
) -> Result<()> {
    // A stopped container may be started by somebody else before we have the lock: then it is stopped again.
    for _ in 0..8 {
        let locked = engine.state.lock(id)?;
        let Some(mut record) = settle(engine, &locked)? else {
            finish(engine, locked)?;
            removed.push(id.to_owned());
            return Ok(());
        };
        let dependents = dependents(engine, &locked)?;
        if !dependents.is_empty() {
            if !options.depend || depth > 64 {
                return Err(in_use(&record, &dependents));
            }
            locked.unlock();
            for dependent in dependents {
                remove_tree(engine, &dependent, options, removed, depth + 1)?;
            }
            continue;
        }
        if record.state.status == Status::Initialized {
            uninit(engine, &locked, &mut record)?;
        }
        if !record.state.status.is_live() {
            purge(engine, locked, &record, options.volumes, Emptied::Here)?;
            removed.push(id.to_owned());
            return Ok(());
        }
        if !options.force {
            return Err(running(&record));
        }
        locked.unlock();
        match stop(engine, id, &StopOptions { timeout: Some(options.timeout.unwrap_or(0)), signal: None }) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => {
                // A `--rm` container went with its end.
                removed.push(id.to_owned());
                return Ok(());
            }
            Err(e) => return Err(e),
        }
    }
    Err(Error::new(ErrorKind::InUse, format!("container {id} is started again and again")))
}

/// Who empties the trash of a removed container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Emptied {
    /// Who removes it.
    Here,
    /// The exit command, which has nothing else to do. It follows if conmon has left an exit file; should it die, the
    /// next command does it.
    ByExitCommand,
}

/// Removes a settled container that does not run.
pub(super) fn purge(
    engine: &Engine,
    locked: Locked,
    record: &Record,
    with_volumes: bool,
    emptied: Emptied,
) -> Result<()> {
    let spec = record.spec()?;
    let volumes = if with_volumes || spec.remove { volumes::anonymous(spec) } else { Vec::new() };
    let id = locked.id().to_owned();
    let image = spec.remove_image.then(|| spec.image.id.clone()).filter(|id| !id.is_empty());
    release_needed(engine, spec, locked.id());
    let rootfs = spec.image.rootfs.is_some();
    let mut locked = locked;
    locked.retire()?;
    crate::failpoint!("rm.after-state");
    let trash = if rootfs { None } else { delete_from_store(engine, locked.id())? };
    crate::failpoint!("rm.after-store");
    let exit = exit_file(engine, locked.id());
    if let Some(trash) = trash
        && emptied == Emptied::ByExitCommand
        && exit.path().exists()
    {
        // Before the lock goes, for which the exit command may be waiting.
        trash.leave();
    }
    locked.discard()?;
    exit.release()?;
    tell(engine, "destroy", record, &[]);
    for volume in volumes {
        volumes::drop_anonymous(engine, &volume, &id)?;
    }
    if let Some(image) = image {
        // `--rmi`: another container of the image is reason enough to keep it.
        if let Err(e) = mounted::delete(engine, &image, &mut Mounters::new(engine)) {
            tracing::debug!("image {image} stays: {e}");
        }
    }
    Ok(())
}

/// Finishes an interrupted create or remove: nobody sees that container any more, so everything of it goes.
pub(super) fn finish(engine: &Engine, mut locked: Locked) -> Result<()> {
    let id = locked.id().to_owned();
    locked.retire()?;
    if super::settle::has_run_dir(engine, &id) {
        undo_start(engine, &id, &ContainerState::default())?;
    }
    delete_from_store(engine, &id)?;
    exit_file(engine, &id).release()?;
    let spec = locked.spec();
    locked.discard()?;
    // Of a create, volumes that nobody used; of a remove, those that go with a `--rm` container. Whether the remove was
    // to take volumes is not known any more, so others stay.
    for volume in spec.iter().flat_map(volumes::anonymous) {
        if spec.as_ref().is_some_and(|spec| spec.remove) || volumes::is_unused(engine, &volume) {
            volumes::drop_anonymous(engine, &volume, &id)?;
        }
    }
    Ok(())
}

fn delete_from_store(engine: &Engine, id: &str) -> Result<Option<Trash>> {
    match engine.store.delete_container(id) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        other => other.with_context(|| format!("remove the layer of container {id}")),
    }
}

/// Where a container notes those that need it: they share its namespaces, or require it.
fn users_dir(locked: &Locked) -> PathBuf {
    locked.dir().join("users")
}

/// The containers that need this one and still exist.
fn dependents(engine: &Engine, locked: &Locked) -> Result<Vec<String>> {
    let dir = users_dir(locked);
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("read directory", &dir, e)),
    };
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(ids.filter(|id| engine.state.load(id).is_ok()).collect())
}

/// Notes in the locked container that `user` needs it.
pub(super) fn note_user(locked: &Locked, user: &str) -> Result<()> {
    let dir = users_dir(locked);
    match fs::create_dir(&dir) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(Error::io("mkdir", &dir, e)),
        _ => {}
    }
    let path = dir.join(user);
    fs::File::create(&path).map(drop).map_err(|e| Error::io("create", &path, e))
}

/// Takes the notes of `id` back; one that stays behind is seen through by [`dependents`].
fn release_needed(engine: &Engine, spec: &crate::engine::spec::ContainerSpec, id: &str) {
    for target in super::namespaces::needed(spec) {
        if let Ok(record) = engine.state.load(&target) {
            let _ = fs::remove_file(record.dir.join("users").join(id));
        }
    }
}

pub(super) fn running(record: &Record) -> Error {
    Error::new(
        ErrorKind::InUse,
        format!(
            "cannot remove container \"{}\": container is {}: stop the container before removing or force remove",
            record.name(),
            record.state.status.as_str()
        ),
    )
    .with_hint(format!("coracle rm -f {}", record.name()))
}

fn in_use(record: &Record, dependents: &[String]) -> Error {
    Error::new(
        ErrorKind::InUse,
        format!(
            "container {} has dependent containers which must be removed before it: {}",
            record.id,
            dependents.join(", ")
        ),
    )
    .with_hint("remove them first, or give --depend")
}

/// What in a store container's metadata says that it is ours; podman's has no such key and leaves it alone.
pub(super) const OWNER_KEY: &str = "engine";
pub(super) const OWNER: &str = "coracle";

/// Removes what interrupted creates and removes left, bundles without a container, and after a reboot the layers of `--rm`
/// containers. Returns how many. Two directory listings when there is nothing to do.
pub fn repair(engine: &Engine) -> Result<usize> {
    let unfinished = engine.state.unfinished()?;
    let orphans = engine.state.orphaned_run_dirs()?;
    for id in &unfinished {
        if let Some(locked) = engine.state.try_lock(id)?
            && locked.read()?.is_none()
        {
            finish(engine, locked)?;
        }
    }
    for id in &orphans {
        undo_start(engine, id, &ContainerState::default())?;
    }
    Ok(unfinished.len() + orphans.len() + sweep_after_boot(engine)?)
}

/// A reboot empties the run root, where the records of `--rm` containers are, but not the store. A file in the run root
/// tells that this was seen to. A record is made before its store container, so one without a record is nobody's.
fn sweep_after_boot(engine: &Engine) -> Result<usize> {
    let swept = engine.state.run_state().join("swept");
    if fs::symlink_metadata(&swept).is_ok() {
        return Ok(0);
    }
    let mut removed = 0;
    for container in engine.store.containers()? {
        if is_ours(&container.metadata) && !engine.state.exists(&container.id) {
            delete_from_store(engine, &container.id)?;
            removed += 1;
        }
    }
    fs::create_dir_all(engine.state.run_state())
        .map_err(|e| Error::io("mkdir", engine.state.run_state(), e))?;
    fs::write(&swept, "").map_err(|e| Error::io("create", &swept, e))?;
    Ok(removed)
}

fn is_ours(metadata: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(metadata).is_ok_and(|m| m[OWNER_KEY] == OWNER)
}
