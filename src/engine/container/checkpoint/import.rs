//! A container made again from an archive of a checkpoint, of ours or of podman's, or from an image that holds one.
//!
//! The archive is unpacked in a staging directory, by descriptor like any layer, the container made from what it says, its
//! files, volumes and log put in their places, and its processes restored. What of this fails undoes the rest: there is a
//! container that goes on, or none. An archive is a program that runs with the rights it asks for: who restores it trusts it.

use super::super::create::{CreateRequest, create};
use super::super::remove::{RemoveOptions, remove};
use super::super::restore::{RestoreOptions, Source, restore_from};
use super::super::{namespaces, settle, volumes};
use super::archive::{CONFIG, DELETED, IMAGES, LOG, NETWORK, ROOTFS, SHM, SPEC, VOLUMES};
use super::{DEFAULT, ENDPOINTS, PRE, Taken, describe, directory, foreign, network_status};
use crate::engine::conmon::Runtime;
use crate::engine::host::atomic::{self, Durability};
use crate::engine::host::rooted::{self, open_directory};
use crate::engine::oci::files;
use crate::engine::spec::{ContainerSpec, MountKind};
use crate::engine::store::diff::{ApplyOptions, IdMaps, Whiteouts, unpack};
use crate::engine::store::{MountOptions, StagedLayer};
use crate::engine::volume::Volumes;
use crate::engine::{Context, Engine, Error, ErrorKind, Result};
use rustix::fs::{Mode, OFlags};
use serde::de::DeserializeOwned;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

/// No description of a container is longer.
const LONGEST: u64 = 16 << 20;

/// An archive that was unpacked.
#[derive(Debug)]
pub struct Unpacked {
    staged: StagedLayer,
    /// The container's ID.
    id: String,
    /// What it was; its image is to be here, and may be looked up anew, its name and ports changed.
    pub spec: ContainerSpec,
}

/// How to make a container of an archive.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Its name, and a new ID with it; empty: as it was.
    pub name: String,
    /// Leave the files it had written.
    pub ignore_rootfs: bool,
    /// Leave what was in its volumes.
    pub ignore_volumes: bool,
}

impl Unpacked {
    /// Unpacks a tar, compressed or not.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] if it is no archive of a checkpoint; [`ErrorKind::Unsupported`] if its container stands on others.
    pub fn read(engine: &Engine, archive: impl Read) -> Result<Self> {
        let staged = engine.store.stage_layer()?;
        put_into(&staged, archive).context("unpack the checkpoint")?;
        let config: serde_json::Value = read_json(&staged, CONFIG)?.ok_or_else(|| {
            Error::corrupt("this is no archive of a checkpoint: it has no config.dump")
                .with_hint("`container checkpoint --export` writes such archives")
        })?;
        let id = config["id"].as_str().unwrap_or_default().to_owned();
        if !crate::engine::state::is_id(&id) {
            return Err(Error::corrupt(format!("the archive's container has the ID {id:?}, which is none")));
        }
        let mut spec = match config.get(describe::OWN) {
            Some(own) => {
                let own: describe::Own = serde_json::from_value(own.clone())
                    .map_err(|e| Error::corrupt("the archive's config.dump").with_source(e))?;
                if own.version != 1 {
                    return Err(Error::unsupported("the archive was written by a newer version of Coracle"));
                }
                own.spec
            }
            None => {
                let oci: oci_spec::runtime::Spec = read_json(&staged, SPEC)?
                    .ok_or_else(|| Error::corrupt("the archive has no spec.dump"))?;
                foreign::spec(&config, &oci)?
            }
        };
        leave_behind(&mut spec, config["runtime"].as_str().unwrap_or_default());
        if !is_directory(&staged, IMAGES) {
            return Err(Error::corrupt(
                "a complete checkpoint cannot be found in the archive, cannot restore",
            )
            .with_hint("that of a pre-checkpoint is given with --import-previous, beside the archive"));
        }
        Ok(Self { staged, id, spec })
    }

    /// Unpacks the archive of the pre-checkpoint that this one continues.
    ///
    /// # Errors
    /// As [`Unpacked::read`].
    pub fn read_previous(&self, engine: &Engine, archive: impl Read) -> Result<()> {
        let staged = engine.store.stage_layer()?;
        put_into(&staged, archive).context("unpack the pre-checkpoint")?;
        if !is_directory(&staged, PRE) {
            return Err(Error::corrupt("the archive holds no pre-checkpoint"));
        }
        let target = self.staged.dir_path().join(PRE);
        fs::rename(staged.dir_path().join(PRE), &target).map_err(|e| Error::io("rename to", &target, e))
    }
}

/// Makes the container and lets it go on. Returns its ID, and how long CRIU took.
///
/// # Errors
/// [`ErrorKind::Conflict`] if its ID, its name or one of its volumes is there; as [`create()`] and
/// [`restore`](super::super::restore()). No container is left then.
pub fn import(
    engine: &Engine,
    unpacked: Unpacked,
    import: &ImportOptions,
    options: &RestoreOptions,
) -> Result<(String, Taken)> {
    let Unpacked { staged, id, mut spec } = unpacked;
    super::able(engine, &Runtime::find(&engine.config, &spec.runtime)?)?;
    if options.keep && spec.remove {
        return Err(Error::invalid(
            "--keep: the container was made with --rm, its checkpoint would go with it",
        ));
    }
    let missing = missing_volumes(engine, &spec, import.ignore_volumes)?;
    let renamed = !import.name.is_empty();
    // It knows itself by this name, whatever its ID is now.
    if renamed && spec.hostname.is_empty() && crate::engine::oci::has_own_hostname(&spec) {
        spec.hostname = files::hostname(&spec, "", &id);
    }
    if renamed {
        spec.name.clone_from(&import.name);
    }
    note_endpoints(&staged)?;
    let request =
        CreateRequest { spec, id: (!renamed).then_some(id), unrestored: true, ..CreateRequest::default() };
    let id = create(engine, request).map_err(|e| match e.kind() {
        ErrorKind::Conflict => e.with_hint("restore it under another name: --name"),
        _ => e,
    })?;
    crate::failpoint!("restore.created");
    let restored = populate(engine, &id, &staged, import).and_then(|()| {
        let place = staged.dir_path();
        let shm = place.join(SHM);
        let source = Source {
            images: place.join(IMAGES),
            shared_memory: fs::symlink_metadata(&shm).is_ok_and(|m| m.is_file()).then_some(shm),
            // Restored twice, both cannot have the same addresses.
            new_addresses: renamed,
        };
        restore_from(engine, &id, &source, options)
    });
    match restored {
        Ok(taken) => {
            if options.keep {
                keep(engine, &id, &staged)?;
            }
            Ok((id, taken))
        }
        Err(e) => {
            undo(engine, &id, &missing);
            Err(e)
        }
    }
}

/// Takes away what was made for nothing; the first failure is the one to tell.
fn undo(engine: &Engine, id: &str, volumes: &[String]) {
    let options = RemoveOptions { force: true, volumes: true, ..RemoveOptions::default() };
    if let Err(e) = remove(engine, id, &options) {
        tracing::debug!("remove {id}: {e}");
    }
    for name in volumes {
        match super::super::remove_volume(engine, name, None) {
            Err(e) if e.kind() != ErrorKind::NotFound => tracing::debug!("remove volume {name}: {e}"),
            _ => {}
        }
    }
}

/// Takes out what was its host's: files there that are written to, and where the runtime was, which has to be the same one.
fn leave_behind(spec: &mut ContainerSpec, runtime: &str) {
    (spec.pidfile, spec.conmon_pidfile, spec.log.path) = (None, None, None);
    let named = if spec.runtime.is_empty() { runtime } else { &spec.runtime };
    spec.runtime = describe::runtime_name(named).to_owned();
}

fn put_into(staged: &StagedLayer, archive: impl Read) -> Result<()> {
    // Files called `.wh.…` are files, and nobody's but root's.
    let options = ApplyOptions { whiteouts: Whiteouts::Literal, ..ApplyOptions::default() };
    unpack(archive, staged.dir(), &options).map(drop)
}

/// A regular file of the archive.
fn file(staged: &StagedLayer, name: &str) -> Result<Option<File>> {
    match rooted::open_without_links(
        staged.dir(),
        Path::new(name),
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
    ) {
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(e) => Err(Error::io("open in the archive", name, e)),
        Ok(fd) => {
            let file = File::from(fd);
            match file.metadata() {
                Ok(meta) if meta.is_file() => Ok(Some(file)),
                _ => Err(Error::corrupt(format!("{name} in the archive is no file"))),
            }
        }
    }
}

fn is_directory(staged: &StagedLayer, name: &str) -> bool {
    fs::symlink_metadata(staged.dir_path().join(name)).is_ok_and(|meta| meta.is_dir())
}

fn read_json<T: DeserializeOwned>(staged: &StagedLayer, name: &str) -> Result<Option<T>> {
    let Some(file) = file(staged, name)? else { return Ok(None) };
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes).map_err(|e| Error::io("read", name, e))?;
    let read = serde_json::from_slice(&bytes);
    read.map(Some).map_err(|e| Error::corrupt(format!("{name} in the archive")).with_source(e))
}

/// The volumes that are going to be made.
fn missing_volumes(engine: &Engine, spec: &ContainerSpec, ignored: bool) -> Result<Vec<String>> {
    let volumes = Volumes::open(&engine.config);
    let mut missing = Vec::new();
    for mount in spec.mounts.iter().filter(|mount| mount.kind == MountKind::Volume) {
        match volumes.get(&mount.source) {
            Err(e) if e.kind() == ErrorKind::NotFound => missing.push(mount.source.clone()),
            Err(e) => return Err(e),
            Ok(_) if ignored => {}
            Ok(_) => {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("volume with name {} already exists", mount.source),
                )
                .with_hint("--ignore-volumes leaves volumes as they are"));
            }
        }
    }
    Ok(missing)
}

/// What podman says of addresses, where a restore looks for it.
fn note_endpoints(staged: &StagedLayer) -> Result<()> {
    let path = staged.dir_path().join(IMAGES).join(ENDPOINTS);
    if fs::symlink_metadata(&path).is_ok() {
        return Ok(());
    }
    // podman says `null` of a container without networks.
    let status = read_json::<Option<_>>(staged, NETWORK)?.flatten().unwrap_or_default();
    let endpoints = serde_json::to_vec(&network_status::endpoints(status))
        .map_err(|e| Error::corrupt("encode the container's addresses").with_source(e))?;
    atomic::write(&path, &endpoints, 0o600, Durability::None)
}

/// Files, volumes, log.
fn populate(engine: &Engine, id: &str, staged: &StagedLayer, import: &ImportOptions) -> Result<()> {
    let record = engine.state.load(id)?;
    let spec = record.spec()?;
    if !import.ignore_rootfs {
        fill_root(engine, id, spec, staged).context("restore the container's files")?;
    }
    if !import.ignore_volumes {
        for mount in spec.mounts.iter().filter(|mount| mount.kind == MountKind::Volume) {
            let Some(tar) = file(staged, &format!("{VOLUMES}/{}.tar", mount.source))? else { continue };
            volumes::fill_from(engine, &mount.source, tar)?;
        }
    }
    if spec.log.is_file()
        && let Some(mut log) = file(staged, LOG)?
    {
        let path = super::super::start::log_path(engine, id, spec)?;
        if !path.exists() {
            let mut options = File::options();
            let created = options.write(true).create_new(true).mode(0o600).open(&path);
            let mut copy = created.map_err(|e| Error::io("create", &path, e))?;
            io::copy(&mut log, &mut copy).map_err(|e| Error::io("write", &path, e))?;
        }
    }
    crate::failpoint!("restore.populated");
    Ok(())
}

/// What the container had written, and what it had deleted.
fn fill_root(engine: &Engine, id: &str, spec: &ContainerSpec, staged: &StagedLayer) -> Result<()> {
    let tar = file(staged, ROOTFS)?;
    let gone = read_json::<Option<Vec<String>>>(staged, DELETED)?.flatten().unwrap_or_default();
    if tar.is_none() && gone.is_empty() {
        return Ok(());
    }
    let mut options = engine.store.apply_options()?;
    (options.whiteouts, options.force_mask) = (Whiteouts::Literal, None);
    let host = super::super::facts::host_facts(engine, spec);
    options.id_maps =
        namespaces::id_maps(engine, spec, &host)?.map(|maps| IdMaps { uids: maps.uids, gids: maps.gids });
    let mounted = engine.store.mount(id, &MountOptions::default())?;
    let filled = open_directory(&mounted).and_then(|root| {
        if let Some(tar) = tar {
            unpack(tar, root.as_fd(), &options)?;
        }
        gone.iter().try_for_each(|path| delete(root.as_fd(), path))
    });
    engine.store.unmount(id, false)?;
    filled
}

/// Deletes `path` below `root`, whatever links are on the way.
fn delete(root: std::os::fd::BorrowedFd<'_>, path: &str) -> Result<()> {
    let mut relative = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => relative.push(name),
            Component::ParentDir => return Err(Error::corrupt(format!("the archive deletes {path:?}"))),
            _ => {}
        }
    }
    let Some(name) = relative.file_name() else { return Ok(()) };
    let name = CString::new(name.as_bytes()).map_err(|_| Error::corrupt("a name with a zero byte"))?;
    let parent = match relative.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rooted::open(root, parent, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(()),
        Err(e) => Err(Error::io("open", path, e)),
        Ok(parent) => match rooted::remove_all_at(parent.as_fd(), &name) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
            _ => Ok(()),
        },
    }
}

/// The checkpoint stays with the container.
fn keep(engine: &Engine, id: &str, staged: &StagedLayer) -> Result<()> {
    let locked = engine.state.lock(id)?;
    let Some(record) = settle::settle(engine, &locked)? else { return Ok(()) };
    let all = directory(&record);
    fs::create_dir_all(&all).map_err(|e| Error::io("mkdir", &all, e))?;
    for (from, to) in [(IMAGES, DEFAULT), (PRE, PRE)] {
        let (from, to) = (staged.dir_path().join(from), all.join(to));
        match fs::rename(&from, &to) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io("rename to", &to, e)),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_another_host_stay_there() {
        for (runtime, recorded, want) in [
            ("", "runc", "runc"),
            ("crun", "runc", "crun"),
            ("/tmp/x/evil", "", "evil"),
            ("", "/usr/sbin/runc", "runc"),
        ] {
            let mut spec = ContainerSpec {
                runtime: runtime.to_owned(),
                pidfile: Some("/etc/pid".to_owned()),
                conmon_pidfile: Some("/etc/pid".to_owned()),
                ..ContainerSpec::default()
            };
            spec.log.path = Some("/etc/passwd".to_owned());
            leave_behind(&mut spec, recorded);
            assert_eq!(spec.runtime, want);
            assert_eq!((spec.pidfile, spec.conmon_pidfile, spec.log.path), (None, None, None));
        }
    }
}
