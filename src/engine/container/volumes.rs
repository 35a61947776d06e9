//! What containers do with volumes: making them, taking those of others, giving them back.
//!
//! Anonymous volumes belong to the container they were made for, and to those that took them with `--volumes-from`: the
//! last one that goes with `-v` or `--rm` takes them along.

use super::remove::RemoveOptions;
use super::volume_files::import_volume;
use crate::engine::host::lock::DirLock;
use crate::engine::host::{random, rooted};
use crate::engine::spec::{ContainerSpec, MountKind, MountSpec, VolumeOptions};
use crate::engine::state::{MountUser, is_id};
use crate::engine::volume::{LOCAL, NewVolume, Retired, Volume, Volumes};
use crate::engine::{Context, Engine, Error, ErrorKind, Result};
use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The containers that have each volume, by its name. Volumes that none has are not there.
///
/// # Errors
/// Our records cannot be read.
pub fn volume_users(engine: &Engine) -> Result<BTreeMap<String, Vec<MountUser>>> {
    engine.state.mount_users(|mount| (mount.kind == MountKind::Volume).then_some(mount.source.as_str()))
}

/// Removes the volume that a name, or the beginning of one, means; returns its name. With `stop_within` the containers that
/// have it go first, given so many seconds to stop.
///
/// # Errors
/// `NotFound`; `InUse` if a container has it, running or not.
pub fn remove_volume(engine: &Engine, name: &str, stop_within: Option<i64>) -> Result<String> {
    let volumes = Volumes::open(&engine.config);
    let name = volumes.resolve(name)?.name;
    if stop_within.is_some() {
        for user in volume_users(engine)?.remove(&name).unwrap_or_default() {
            let options = RemoveOptions { force: true, timeout: stop_within, ..RemoveOptions::default() };
            match super::remove(engine, &user.id, &options) {
                // Meanwhile the container was removed.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                done => drop(done?),
            }
        }
    }
    let lock = volumes.unused()?;
    if let Some(users) = volume_users(engine)?.remove(&name) {
        let users = users.iter().map(|u| u.name.as_str()).collect::<Vec<_>>().join(", ");
        let what = format!("volume {name} is in use by container {users}: volume is being used");
        return Err(Error::new(ErrorKind::InUse, what).with_hint("remove the container first"));
    }
    let retired = volumes.retire(&name)?;
    drop(lock);
    retired.discard()?;
    Ok(name)
}

/// Removes the volumes that no container has and that `wanted` wants; returns their names and the bytes they had.
///
/// # Errors
/// Our records cannot be read, a volume cannot be removed.
pub fn prune_volumes(engine: &Engine, wanted: &dyn Fn(&Volume) -> bool) -> Result<(Vec<String>, u64)> {
    let volumes = Volumes::open(&engine.config);
    volumes.sweep();
    // Counted before the lock is taken: it takes its time.
    let used = volume_users(engine)?;
    let mut candidates = Vec::new();
    for volume in volumes.list()? {
        if !used.contains_key(&volume.name) && wanted(&volume) {
            candidates.push((volumes.size(&volume).unwrap_or(0), volume.name));
        }
    }
    let lock = volumes.unused()?;
    let used = volume_users(engine)?;
    let (mut removed, mut retired, mut freed) = (Vec::new(), Vec::new(), 0);
    for (size, name) in candidates {
        if !used.contains_key(&name) {
            retired.push(volumes.retire(&name)?);
            removed.push(name);
            freed += size;
        }
    }
    drop(lock);
    retired.into_iter().try_for_each(Retired::discard)?;
    Ok((removed, freed))
}

/// `--volumes-from`: the binds and volumes of other containers, where nothing else is mounted.
pub(super) fn inherit(engine: &Engine, spec: &mut ContainerSpec) -> Result<()> {
    for word in spec.volumes_from.clone() {
        let (name, options) = word.split_once(':').unwrap_or((&word, ""));
        let id = super::resolve(engine, name)?;
        let record = engine.state.load(&id)?;
        let from = record.spec()?.mounts.iter();
        for mount in from.filter(|m| matches!(m.kind, MountKind::Bind | MountKind::Volume)) {
            if spec.mounts.iter().any(|m| m.target == mount.target) {
                continue;
            }
            let mut mount = mount.clone();
            for option in options.split(',').filter(|o| !o.is_empty()) {
                match option {
                    "ro" => mount.read_only = true,
                    "rw" => mount.read_only = false,
                    // Labels: the other container's are there already.
                    "z" | "Z" => {}
                    _ => {
                        return Err(Error::invalid(format!(
                            "invalid --volumes-from {word:?}: unknown option {option:?}"
                        ))
                        .with_hint("NAME[:ro|rw|z]"));
                    }
                }
            }
            spec.mounts.push(mount);
        }
    }
    Ok(())
}

/// Names a volume for every mount that has none.
pub(super) fn name_anonymous(spec: &mut ContainerSpec) -> Result<()> {
    for mount in spec.mounts.iter_mut().filter(|m| m.kind == MountKind::Volume && m.source.is_empty()) {
        mount.source = random::id()?;
    }
    Ok(())
}

/// Makes the volumes that are not there yet; notes that the container shares the anonymous ones of others. What is returned
/// is to be held until the container can be seen; `None`: it has no volumes.
pub(super) fn make(engine: &Engine, id: &str, spec: &ContainerSpec) -> Result<Option<DirLock>> {
    if !spec.mounts.iter().any(|m| m.kind == MountKind::Volume) {
        return Ok(None);
    }
    let volumes = Volumes::open(&engine.config);
    let lock = volumes.in_use()?;
    for mount in spec.mounts.iter().filter(|m| m.kind == MountKind::Volume) {
        let VolumeOptions { driver, labels, options, no_create, .. } = &mount.volume;
        if !matches!(driver.as_str(), "" | LOCAL) {
            return Err(Error::unsupported(format!("volume driver {driver:?}: only {LOCAL} is supported")));
        }
        match volumes.get(&mount.source) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            found => {
                if found?.anonymous {
                    volumes.share(&mount.source, id)?;
                }
                continue;
            }
        }
        if *no_create {
            return Err(Error::not_found(format!("no such volume: {}", mount.source)));
        }
        let new = NewVolume {
            name: mount.source.clone(),
            labels: labels.clone(),
            options: options.clone(),
            anonymous: is_anonymous(mount),
        };
        match volumes.create(new) {
            // Another container made it meanwhile.
            Err(e) if e.kind() == ErrorKind::Conflict => {}
            made => {
                if made?.anonymous {
                    volumes.share(&mount.source, id)?;
                }
            }
        }
    }
    Ok(Some(lock))
}

/// The volumes that go with their container, by name.
pub(super) fn anonymous(spec: &ContainerSpec) -> Vec<String> {
    let volumes = spec.mounts.iter().filter(|m| is_anonymous(m));
    volumes.map(|m| m.source.clone()).collect()
}

/// Whether a mount is a volume that nobody named.
pub(super) fn is_anonymous(mount: &MountSpec) -> bool {
    mount.kind == MountKind::Volume && is_id(&mount.source)
}

/// Removes an anonymous volume of a container, unless another one still has it. A volume that was only named like one
/// stays.
pub(super) fn drop_anonymous(engine: &Engine, name: &str, container: &str) -> Result<()> {
    let volumes = Volumes::open(&engine.config);
    match volumes.get(name) {
        Ok(volume) if volume.anonymous => {}
        Ok(_) => return Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    }
    volumes.unshare(name, container)?;
    if volumes.sharers(name).iter().any(|other| engine.state.exists(other)) {
        return Ok(());
    }
    volumes.remove(name)
}

/// Whether no container has used it yet.
pub(super) fn is_unused(engine: &Engine, name: &str) -> bool {
    Volumes::open(&engine.config).is_unused(name)
}

/// A volume ready to be mounted: filled from the image's root `root` if it is new. Returns what to bind.
pub(super) fn prepare(
    engine: &Engine,
    id: &str,
    root: std::os::fd::BorrowedFd<'_>,
    mount: &MountSpec,
    copy: impl FnOnce(std::os::fd::BorrowedFd<'_>, &Path, &Path) -> Result<()>,
) -> Result<PathBuf> {
    let volumes = Volumes::open(&engine.config);
    let volume = volumes.get(&mount.source)?;
    let source = volumes.acquire(&volume, id)?;
    if !volume.is_mount() && !mount.options.iter().any(|o| o == "nocopy") && mount.volume.subpath.is_empty() {
        volumes.fill_once(&volume.name, |data| copy(root, Path::new(&mount.target), data))?;
    }
    if mount.volume.subpath.is_empty() {
        return Ok(source);
    }
    // Whoever writes into the volume must not lead us out of it.
    let directory = rooted::open_directory(&source)?;
    let inner = Path::new(&mount.volume.subpath);
    rooted::open_without_links(std::os::fd::AsFd::as_fd(&directory), inner, OFlags::PATH)
        .map_err(|e| Error::io("open the volume's", inner, e))
        .with_context(|| format!("volume {}", volume.name))?;
    Ok(source.join(inner))
}

/// Fills a volume that nobody has used yet from an archive, instead of the image.
pub(super) fn fill_from(engine: &Engine, name: &str, archive: impl Read) -> Result<()> {
    let volumes = Volumes::open(&engine.config);
    let volume = volumes.get(name)?;
    if volume.is_mount() {
        return import_volume(engine, &volume, archive);
    }
    volumes.fill_once(name, |_| import_volume(engine, &volume, archive))
}

/// Gives back what [`prepare`] took.
pub(super) fn release(engine: &Engine, id: &str) -> Result<()> {
    Volumes::open(&engine.config).release_all(id)
}
