//! `system reset`: everything of ours goes, and of what is shared with other tools whatever none of them uses.
//!
//! Nothing here is special: each object is removed by its own verb, in an order in which nothing is in use any more. Killed
//! half-way, the rest is there and a second reset removes it.

use super::container::{self, RemoveOptions};
use super::network::Networks;
use super::secret::Secrets;
use super::volume::Volumes;
use super::{Context, Engine, Error, ErrorKind, Result, artifact, image};
use std::fs;

/// What a reset did.
#[derive(Debug, Default)]
pub struct Report {
    /// What was removed: the kind in plural, and how many.
    pub removed: Vec<(&'static str, usize)>,
    /// What other tools' containers keep in the store, a sentence each.
    pub kept: Vec<String>,
    /// What could not be removed.
    pub failed: Vec<Error>,
}

/// Our caches below the state directory: what is known of blobs, and files that repairs put aside.
const CACHES: [&str; 2] = ["blobs", "damaged"];

/// Removes all containers, images, volumes, networks, secrets and artifacts. Containers that podman or buildah made, and the
/// images these use, stay.
///
/// # Errors
/// Our records or the store cannot be read. What cannot be removed is in the report.
pub fn reset(engine: &Engine) -> Result<Report> {
    let mut report = Report::default();
    containers(engine, &mut report)?;
    crate::failpoint!("reset.after-containers");
    let images = image::remove::prune(engine, true, &|_| Ok(false))?;
    report.removed.push(("images", images.iter().filter(|image| image.deleted).count()));
    crate::failpoint!("reset.after-images");
    volumes(engine, &mut report)?;
    networks(engine, &mut report)?;
    secrets(engine, &mut report)?;
    artifacts(engine, &mut report)?;
    for cache in CACHES {
        let path = engine.config.paths.state.join(cache);
        match fs::remove_dir_all(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                report.failed.push(Error::io("remove", &path, e));
            }
            _ => {}
        }
    }
    kept(engine, &mut report)?;
    Ok(report)
}

/// Notes one removal.
fn note<T>(report: &mut Report, count: &mut usize, removed: Result<T>) {
    match removed {
        Ok(_) => *count += 1,
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => report.failed.push(e),
    }
}

/// What nobody finished is gone first; then all there are.
fn containers(engine: &Engine, report: &mut Report) -> Result<()> {
    container::remove::repair(engine)?;
    let options = RemoveOptions { force: true, volumes: true, depend: true, timeout: None };
    let mut count = 0;
    for record in engine.state.list()? {
        let removed = container::remove(engine, &record.id, &options);
        note(report, &mut count, removed.with_context(|| format!("container {}", record.name())));
    }
    report.removed.push(("containers", count));
    Ok(())
}

fn volumes(engine: &Engine, report: &mut Report) -> Result<()> {
    let mut count = 0;
    for volume in Volumes::open(&engine.config).list()? {
        let removed = container::remove_volume(engine, &volume.name, None);
        note(report, &mut count, removed);
    }
    report.removed.push(("volumes", count));
    Ok(())
}

fn networks(engine: &Engine, report: &mut Report) -> Result<()> {
    let networks = Networks::open(&engine.config);
    let mut count = 0;
    for network in networks.list()? {
        if !networks.means_default(&network.name) {
            note(report, &mut count, networks.remove(&network, &[]));
        }
    }
    report.removed.push(("networks", count));
    Ok(())
}

fn secrets(engine: &Engine, report: &mut Report) -> Result<()> {
    let secrets = Secrets::open(&engine.config);
    let mut count = 0;
    for secret in secrets.list()? {
        let removed = secrets.remove(&secret).with_context(|| format!("secret {}", secret.name));
        note(report, &mut count, removed);
    }
    report.removed.push(("secrets", count));
    Ok(())
}

fn artifacts(engine: &Engine, report: &mut Report) -> Result<()> {
    let mut count = 0;
    for found in artifact::list(engine)? {
        note(report, &mut count, artifact::remove(engine, &found.name));
    }
    report.removed.push(("artifacts", count));
    Ok(())
}

/// After all of ours are gone, the store's containers are those of others.
fn kept(engine: &Engine, report: &mut Report) -> Result<()> {
    for container in engine.store.containers()? {
        if engine.state.exists(&container.id) {
            continue;
        }
        let id = container.id.get(..12).unwrap_or(&container.id);
        let name = container.names.first().map_or(id, String::as_str);
        let image = container.image.get(..12).unwrap_or("");
        report.kept.push(match image {
            "" => format!("container {name} of another tool"),
            image => format!("container {name} of another tool, and its image {image}"),
        });
    }
    let read_only = engine.store.images()?.into_iter().filter(|image| image.read_only).count();
    if read_only > 0 {
        report.kept.push(format!("{read_only} images of additional stores, which are read-only"));
    }
    Ok(())
}
