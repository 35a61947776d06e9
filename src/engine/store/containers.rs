//! containers.json and its volatile twin (upstream's `containers.go`, `store.CreateContainer`, `DeleteContainer`).
//!
//! `run --rm` passes here twice, so this is counted: creating a volatile container rewrites two small files, makes six
//! directory entries and syncs nothing; the big stable files are searched, not parsed.

use super::file::{self, Records, contains, read_bytes};
use super::layers::{Layers, check_id};
use super::layout::Driver;
use super::overlay::NewDir;
use super::pending::{Note, Pending};
use super::record::{MOUNT_LABEL_FLAG, MOUNT_OPTS_FLAG, PROCESS_LABEL_FLAG, VOLATILE_FLAG};
use super::{ContainerRecord, LayerRecord, Location, NewContainer, Store, Trash};
use crate::engine::host::atomic::Durability;
use crate::engine::host::lock::FileLock;
use crate::engine::host::quota::Limits;
use crate::engine::host::random;
use crate::engine::spec::IdMappings;
use crate::engine::{Error, ErrorKind, Result};
use crate::failpoint;
use jiff::Timestamp;
use serde_json::Value;
use std::path::PathBuf;

/// Volatile first: that file is the smaller one.
const LOCATIONS: [Location; 2] = [Location::Volatile, Location::Stable];

impl Store {
    /// Every container, whoever made it. Waits for no lock.
    pub fn containers(&self) -> Result<Vec<ContainerRecord>> {
        self.settle_abandoned();
        self.read_containers()
    }

    pub(super) fn read_containers(&self) -> Result<Vec<ContainerRecord>> {
        let mut all: Vec<ContainerRecord> = Vec::new();
        for location in [Location::Stable, Location::Volatile] {
            for mut container in file::read_list::<ContainerRecord>(&self.layout.containers_json(location))? {
                container.location = location;
                if all.iter().all(|c| c.id != container.id) {
                    all.push(container);
                }
            }
        }
        Ok(all)
    }

    /// The container with this full ID. [`ErrorKind::NotFound`] if there is none. Takes no lock.
    pub fn container(&self, id: &str) -> Result<ContainerRecord> {
        for location in LOCATIONS {
            if let Some(mut container) =
                file::read_record::<ContainerRecord>(&self.layout.containers_json(location), id)?
            {
                container.location = location;
                return Ok(container);
            }
        }
        Err(Error::not_found(format!("container {id} is not in the store")))
    }

    /// Records a container and makes its read-write layer, under the locks of layers, images and containers, so that
    /// nobody can delete the image meanwhile. [`ErrorKind::Conflict`] if the ID or a name is taken.
    pub fn create_container(&self, new: NewContainer) -> Result<ContainerRecord> {
        check_id(&new.id)?;
        let limits = if new.limits == Limits::default() { self.driver_options.limits } else { new.limits };
        if limits != Limits::default() && self.driver == Driver::Vfs {
            return Err(Error::unsupported(
                "the storage driver vfs cannot limit the size of a container's layer",
            ));
        }
        let volatile = new.volatile || self.options.transient;
        let location = if volatile { Location::Volatile } else { Location::Stable };
        let mut layers = Layers::lock(self)?;
        let images = FileLock::shared(&self.layout.images_lock())?;
        let image = new.image.as_deref().map(|id| self.image(id)).transpose()?;
        let parent = self.container_parent(&mut layers, image.as_ref(), &new.id_maps, images)?;
        let containers = Containers::lock(self)?;
        containers.check_free(&new)?;

        let layer = layer_record(&new, parent)?;
        let container = container_record(&new, &layer, volatile, location);
        let note = Note::write(self, &Pending::Container { id: new.id.clone(), layer: layer.id.clone() })?;
        failpoint!("create.noted");
        let made = self.record_container(&mut layers, &containers, (&layer, limits), &container);
        failpoint!("create.container-recorded");
        match made {
            Ok(()) => note.done(),
            Err(e) => {
                drop(containers);
                if let Ok(trash) = layers.delete(std::slice::from_ref(&layer.id)) {
                    drop((trash, note));
                }
                return Err(e);
            }
        }
        Ok(container)
    }

    fn record_container(
        &self,
        layers: &mut Layers<'_>,
        containers: &Containers<'_>,
        (layer, limits): (&LayerRecord, Limits),
        container: &ContainerRecord,
    ) -> Result<()> {
        let root = layer.id_mappings().root().unwrap_or((0, 0));
        self.make_layer_dir(&NewDir {
            id: &layer.id,
            parent: layer.parent.as_deref(),
            staged: None,
            root,
            image: false,
            limits,
        })?;
        failpoint!("create.layer-made");
        layers.file(container.location)?.push(&layer.id, layer)?;
        layers.save(container.location)?;
        failpoint!("create.layer-recorded");
        let mut records = Records::load(&self.layout.containers_json(container.location))?;
        records.push(&container.id, container)?;
        containers.save(container.location, &records)
    }

    /// Changes a container's own text.
    pub fn set_container_metadata(&self, id: &str, metadata: &str) -> Result<()> {
        self.change_container(id, |map| {
            map.insert("metadata".to_owned(), Value::String(metadata.to_owned()));
        })
    }

    /// Makes `names` a container's only names (rename). [`ErrorKind::Conflict`] if one is taken.
    pub fn set_container_names(&self, id: &str, names: &[String]) -> Result<()> {
        let others = self.read_containers()?;
        if let Some(taken) = others.iter().find(|c| c.id != id && c.names.iter().any(|n| names.contains(n))) {
            return Err(name_taken(taken.names.first().map_or("", String::as_str), &taken.id));
        }
        self.change_container(id, |map| file::set_field(map, "names", &names))
    }

    fn change_container(
        &self,
        id: &str,
        change: impl FnOnce(&mut serde_json::Map<String, Value>),
    ) -> Result<()> {
        let containers = Containers::lock(self)?;
        let location = self.container(id)?.location;
        let mut records = Records::load(&self.layout.containers_json(location))?;
        records.update(id, change)?;
        containers.save(location, &records)
    }

    /// Deletes a container with its layer (unmounted by force) and directories. What is left are files that nobody sees
    /// any more; dropping the trash removes them. No error if it is gone already.
    pub fn delete_container(&self, id: &str) -> Result<Option<Trash>> {
        check_id(id)?;
        let mut layers = Layers::lock(self)?;
        let Some(container) = file::found(self.container(id))? else {
            return self.remove_container_dirs(id).map(|()| None);
        };
        let pending = Pending::Removal { id: id.to_owned(), layer: container.layer.clone() };
        let note = Note::write(self, &pending)?;
        let trash = layers.delete(std::slice::from_ref(&container.layer))?;
        failpoint!("rm.layer-deleted");
        self.remove_container_dirs(id)?;
        self.forget_container(id)?;
        failpoint!("rm.container-forgotten");
        note.done();
        Ok(Some(trash))
    }

    /// Removes the record alone; no error if there is none. The caller holds the layers' lock.
    pub(super) fn forget_container(&self, id: &str) -> Result<()> {
        let containers = Containers::lock(self)?;
        let Some(container) = file::found(self.container(id))? else { return Ok(()) };
        let mut records = Records::load(&self.layout.containers_json(container.location))?;
        records.remove(id);
        containers.save(container.location, &records)
    }

    pub(super) fn remove_container_dirs(&self, id: &str) -> Result<()> {
        check_id(id)?;
        file::remove_tree(&self.layout.run_containers.join(id))?;
        file::remove_tree(&self.layout.containers.join(id))
    }

    /// `<graphroot>/overlay-containers/<id>/userdata`, created if missing.
    pub fn container_dir(&self, id: &str) -> Result<PathBuf> {
        user_data(self.layout.containers.join(id), id)
    }

    /// `<runroot>/overlay-containers/<id>/userdata`, created if missing.
    pub fn container_run_dir(&self, id: &str) -> Result<PathBuf> {
        user_data(self.layout.run_containers.join(id), id)
    }
}

fn user_data(directory: PathBuf, id: &str) -> Result<PathBuf> {
    check_id(id)?;
    let path = directory.join("userdata");
    file::make_dirs(&path, 0o700)?;
    Ok(path)
}

/// What a container's layer stands on, and the maps its files are then chowned for.
#[derive(Debug, Default)]
pub(super) struct Parent {
    pub(super) layer: Option<String>,
    pub(super) id_maps: IdMappings,
}

fn layer_record(new: &NewContainer, parent: Parent) -> Result<LayerRecord> {
    Ok(LayerRecord {
        id: random::id()?,
        parent: parent.layer,
        mount_label: new.mount_label.clone(),
        created: Timestamp::now(),
        uid_map: parent.id_maps.uids,
        gid_map: parent.id_maps.gids,
        ..LayerRecord::default()
    })
}

fn container_record(
    new: &NewContainer,
    layer: &LayerRecord,
    volatile: bool,
    location: Location,
) -> ContainerRecord {
    let mut flags = new.flags.clone();
    flags.insert(MOUNT_LABEL_FLAG.to_owned(), Value::String(new.mount_label.clone()));
    flags.insert(PROCESS_LABEL_FLAG.to_owned(), Value::String(new.process_label.clone()));
    if !new.mount_options.is_empty() {
        flags.insert(MOUNT_OPTS_FLAG.to_owned(), new.mount_options.clone().into());
    }
    if volatile {
        flags.insert(VOLATILE_FLAG.to_owned(), Value::Bool(true));
    }
    ContainerRecord {
        id: new.id.clone(),
        names: new.names.clone(),
        image: new.image.clone().unwrap_or_default(),
        layer: layer.id.clone(),
        metadata: new.metadata.clone(),
        created: layer.created,
        uid_map: new.id_maps.uids.clone(),
        gid_map: new.id_maps.gids.clone(),
        flags,
        location,
        ..ContainerRecord::default()
    }
}

fn name_taken(name: &str, by: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("the container name {name:?} is already in use by {by}"))
        .with_hint("remove that container, or use another name")
}

/// The container store, locked for writing.
#[derive(Debug)]
struct Containers<'s> {
    store: &'s Store,
    lock: FileLock,
}

impl<'s> Containers<'s> {
    fn lock(store: &'s Store) -> Result<Self> {
        Ok(Self { store, lock: FileLock::exclusive(&store.layout.containers_lock())? })
    }

    fn save(&self, location: Location, records: &Records) -> Result<()> {
        self.lock.record_write()?;
        let durability = if location == Location::Volatile { Durability::None } else { Durability::Synced };
        records.save(durability)
    }

    /// Whether ID and names are free, parsing a file only if one of them occurs in it.
    fn check_free(&self, new: &NewContainer) -> Result<()> {
        for location in LOCATIONS {
            let path = self.store.layout.containers_json(location);
            let bytes = read_bytes(&path)?;
            let quoted = |text: &str| format!("\"{text}\"").into_bytes();
            let wanted = new.names.iter().chain([&new.id]);
            if !wanted.clone().any(|w| contains(&bytes, &quoted(w))) {
                continue;
            }
            for container in file::read_list::<ContainerRecord>(&path)? {
                if container.id == new.id {
                    return Err(Error::new(ErrorKind::Conflict, format!("container {} exists", new.id)));
                }
                if let Some(name) = container.names.iter().find(|n| new.names.contains(n)) {
                    return Err(name_taken(name, &container.id));
                }
            }
        }
        Ok(())
    }
}
