//! Images that containers mount beside their own (`--mount type=image`): only our records know of them.
//!
//! A container that is being made counts from the moment its spec is written. Whoever deletes an image looks under the lock
//! of the images ([`Mounters::refuse`]), and whoever makes a container looks under that lock whether the image is still there
//! ([`check`]): so one of the two sees the other.

use crate::engine::spec::{ContainerSpec, MountKind};
use crate::engine::state::MountUser;
use crate::engine::{Engine, Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The images that a container mounts, by their IDs, each once.
fn images(spec: &ContainerSpec) -> BTreeSet<&str> {
    let mounts = spec.mounts.iter().filter(|mount| mount.kind == MountKind::Image);
    mounts.map(|mount| mount.image.id.as_str()).collect()
}

/// Deletes an image that no container uses or mounts, and the layers only it used; returns the IDs of those.
///
/// # Errors
/// `InUse`; those of [`crate::engine::store::Store::delete_image`].
pub fn delete(engine: &Engine, id: &str, mounters: &mut Mounters<'_>) -> Result<Vec<String>> {
    engine.store.delete_image_unless(id, || mounters.refuse(id))
}

/// Fails with `NotFound` if an image is gone that a container mounts whose spec is written. From then on none goes.
///
/// # Errors
/// See above; the store cannot be read.
pub fn check(engine: &Engine, spec: &ContainerSpec) -> Result<()> {
    let wanted: Vec<&str> = images(spec).into_iter().collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let missing = engine.store.missing_images(&wanted)?;
    match spec.mounts.iter().find(|mount| missing.contains(&mount.image.id.as_str())) {
        None => Ok(()),
        Some(mount) => Err(super::lookup::no_such_image(&mount.source)
            .wrap(format!("mount image {} at {}", mount.source, mount.target))
            .with_hint("it has been removed meanwhile")),
    }
}

/// Who mounts which image, looked up again and again: of each container the spec, which keeps its mounts, is read once.
pub struct Mounters<'a> {
    engine: &'a Engine,
    /// A container's ID, the images it mounts.
    known: HashMap<String, Vec<String>>,
}

impl<'a> Mounters<'a> {
    /// Nothing is read yet.
    pub fn new(engine: &'a Engine) -> Self {
        Self { engine, known: HashMap::new() }
    }

    /// The containers that mount each image, running or not, by the image's ID.
    ///
    /// # Errors
    /// Our records cannot be read.
    pub fn all(&mut self) -> Result<BTreeMap<String, Vec<MountUser>>> {
        let engine = self.engine;
        let mut found: BTreeMap<String, Vec<MountUser>> = BTreeMap::new();
        for (id, images) in self.look()? {
            for image in images {
                found.entry(image.clone()).or_default().push(user(engine, id));
            }
        }
        Ok(found)
    }

    /// The containers that mount this image.
    ///
    /// # Errors
    /// Our records cannot be read.
    pub fn of(&mut self, image: &str) -> Result<Vec<MountUser>> {
        let engine = self.engine;
        let known = self.look()?.iter();
        let mounting = known.filter(|(_, images)| images.iter().any(|one| one == image));
        Ok(mounting.map(|(id, _)| user(engine, id)).collect())
    }

    /// Fails with `InUse` if a container mounts this image.
    pub fn refuse(&mut self, image: &str) -> Result<()> {
        match self.of(image)?.pop() {
            None => Ok(()),
            Some(mounter) => Err(Error::new(
                ErrorKind::InUse,
                format!("image {image} is in use: container {} mounts it", mounter.name),
            )),
        }
    }

    /// Containers that are there now.
    fn look(&mut self) -> Result<&HashMap<String, Vec<String>>> {
        let mut before = std::mem::take(&mut self.known);
        for id in self.engine.state.ids()? {
            let images = match before.remove(&id) {
                Some(images) => images,
                None => match self.engine.state.spec(&id)? {
                    Some(spec) => images(&spec).into_iter().map(str::to_owned).collect(),
                    None => continue,
                },
            };
            self.known.insert(id, images);
        }
        Ok(&self.known)
    }
}

/// It may have another name than it was made with.
fn user(engine: &Engine, id: &str) -> MountUser {
    let name = match engine.state.load(id) {
        Ok(record) => record.name().to_owned(),
        Err(_) => match engine.state.spec(id) {
            Ok(Some(spec)) => spec.name,
            _ => super::short_id(id).to_owned(),
        },
    };
    MountUser { id: id.to_owned(), name }
}
