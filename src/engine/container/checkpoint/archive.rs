//! An archive of a checkpoint, as podman writes and reads them (`libpod/container_internal_common.go`, `exportCheckpoint`): with
//! it the container goes on where neither its record nor its files are.
//!
//! | name | |
//! |---|---|
//! | `config.dump`, `spec.dump` | what the container is, and the configuration it ran with |
//! | `network.status` | its addresses |
//! | `checkpoint/` or `pre-checkpoint/` | CRIU's images |
//! | `rootfs-diff.tar`, `deleted.files` | what it has written and deleted |
//! | `volumes/NAME.tar` | its volumes |
//! | `devshm-checkpoint.tar` | /dev/shm, where that is no mount of the container's own |
//! | `ctr.log`, `stats-dump` | its log so far; what CRIU counted |
//!
//! What is written is put together in a staging directory, so that a crash leaves nothing.

use super::super::copy::Below;
use super::super::volume_files::export_volume;
use super::super::{commit, namespaces};
use super::{CheckpointOptions, describe, network_status, statistics};
use crate::engine::conmon::RunDir;
use crate::engine::host::rooted::open_directory;
use crate::engine::spec::{ContainerSpec, MountKind};
use crate::engine::state::Record;
use crate::engine::store::View;
use crate::engine::store::diff::create::{Archive, ArchiveOptions, ChangeKind, Node, Sink, everything};
use crate::engine::volume::Volumes;
use crate::engine::{Context, Engine, Error, Result};
use rustix::fs::{Mode, OFlags};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;

pub(super) const CONFIG: &str = "config.dump";
pub(super) const SPEC: &str = "spec.dump";
pub(super) const NETWORK: &str = "network.status";
pub(super) const IMAGES: &str = "checkpoint";
pub(super) const ROOTFS: &str = "rootfs-diff.tar";
pub(super) const DELETED: &str = "deleted.files";
pub(super) const VOLUMES: &str = "volumes";
pub(super) const SHM: &str = "devshm-checkpoint.tar";
pub(super) const LOG: &str = "ctr.log";

/// Whether the container can be put into an archive at all.
pub(super) fn possible(spec: &ContainerSpec) -> Result<()> {
    if !namespaces::needed(spec).is_empty() {
        return Err(Error::unsupported("cannot export checkpoints of containers with dependencies"));
    }
    if spec.image.rootfs.is_some() {
        return Err(Error::unsupported(
            "a container that was made with --rootfs has no image to be restored on elsewhere",
        ));
    }
    Ok(())
}

/// Writes the archive of the checkpoint in `images`, under whose `name` it goes in, as a tar.
pub(super) fn write(
    engine: &Engine,
    record: &Record,
    (images, name): (&Path, &str),
    options: &CheckpointOptions,
    statistics: Option<&[u8]>,
    out: &mut dyn Write,
) -> Result<()> {
    let spec = record.spec()?;
    let staged = engine.store.stage_layer()?;
    let place = staged.dir_path();
    let put = |name: &str, bytes: &[u8]| {
        let path = place.join(name);
        fs::write(&path, bytes).map_err(|e| Error::io("write", &path, e))
    };
    let create = |name: &str| {
        let path = place.join(name);
        File::create(&path).map_err(|e| Error::io("create", &path, e))
    };
    put(CONFIG, &json(&describe::config(record)?)?)?;
    let run_dir = RunDir::new(engine.state.run_dir(&record.id));
    put(SPEC, &json(&ran_with(engine, spec, &run_dir.config())?)?)?;
    put(NETWORK, &json(&network_status::of(&record.state.network.endpoints))?)?;
    if let Some(statistics) = statistics {
        put(statistics::DUMP, statistics)?;
    }
    if !options.ignore_rootfs {
        let mut tar = create(ROOTFS)?;
        let gone = engine.store.write_difference(&record.id, &commit::is_mark, &mut tar)?;
        let gone = gone.into_iter().map(|path| {
            String::from_utf8([b"/", path.as_slice()].concat())
                .map_err(|_| Error::unsupported("a deleted file has a name that an archive cannot have"))
        });
        let gone = gone.collect::<Result<Vec<String>>>()?;
        if !gone.is_empty() {
            put(DELETED, &json(&gone)?)?;
        }
    }
    let volumes = spec.mounts.iter().filter(|mount| mount.kind == MountKind::Volume);
    if !options.ignore_volumes && volumes.clone().next().is_some() {
        let directory = place.join(VOLUMES);
        fs::create_dir(&directory).map_err(|e| Error::io("mkdir", &directory, e))?;
        for mount in volumes {
            let volume = Volumes::open(&engine.config).get(&mount.source)?;
            export_volume(engine, &volume, &mut create(&format!("{VOLUMES}/{}.tar", volume.name))?)
                .with_context(|| format!("export volume {}", volume.name))?;
        }
    }
    if spec.shm_bind {
        let mut tar = Archive::new(create(SHM)?, ArchiveOptions::default());
        everything(View::of_directory(&run_dir.shared_memory())?.root(), &mut tar)?;
        tar.finish()?;
    }
    crate::failpoint!("checkpoint.archive-staged");
    let mut archive = Archive::new(out, ArchiveOptions::default());
    everything(staged.dir(), &mut archive)?;
    if let Some(log) = node(&record.state.log_path)? {
        archive.present(LOG.as_bytes(), &log, ChangeKind::Added)?;
    }
    let directory = open_directory(images)?;
    if let Some(node) = node(images)? {
        archive.present(name.as_bytes(), &node, ChangeKind::Added)?;
    }
    everything(directory.as_fd(), &mut Below { name: name.as_bytes(), sink: &mut archive })?;
    archive.finish().map(drop)
}

/// The configuration it ran with. podman mounts volumes from where this says, which has to be where podman has them.
fn ran_with(engine: &Engine, spec: &ContainerSpec, path: &Path) -> Result<serde_json::Value> {
    let bytes = fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let mut config: serde_json::Value = serde_json::from_slice(&bytes)
        .map_err(|e| Error::corrupt(format!("parse {}", path.display())).with_source(e))?;
    let volumes = engine.store.graph_root().join("volumes");
    for mount in config["mounts"].as_array_mut().into_iter().flatten() {
        let target = mount["destination"].as_str().unwrap_or_default();
        let volume = spec.mounts.iter().find(|m| m.kind == MountKind::Volume && m.target == target);
        if let Some(volume) = volume {
            mount["source"] = volumes.join(&volume.source).join("_data").to_string_lossy().into();
        }
    }
    Ok(config)
}

/// A file to go into an archive; `None`: there is none.
fn node(path: &Path) -> Result<Option<Node>> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()).and_then(Node::of) {
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(e) => Err(Error::io("open", path, e)),
        Ok(node) => Ok(Some(node)),
    }
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::corrupt("encode what the archive says").with_source(e))
}
