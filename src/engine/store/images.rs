//! images.json and the images' big data (upstream's `images.go`, `store.DeleteImage`).

use super::file::{self, Records, set_field};
use super::layers::{Layers, check_id};
use super::layout::big_data_name;
use super::pending::{Note, Pending};
use super::staging::StagedLayer;
use super::{BigData, ImageRecord, NewImage, NewLayer, Store, signatures};
use crate::engine::host::atomic::{self, Durability};
use crate::engine::host::lock::FileLock;
use crate::engine::{Digest, Error, ErrorKind, Result};
use crate::failpoint;
use jiff::Timestamp;
use std::fs;
use std::path::Path;

impl Store {
    /// Every image, those of additional stores included. Waits for no lock.
    pub fn images(&self) -> Result<Vec<ImageRecord>> {
        self.settle_abandoned();
        self.read_images()
    }

    /// [`Store::images`] as they are recorded: nothing that a dead writer left is settled.
    pub fn read_images(&self) -> Result<Vec<ImageRecord>> {
        let mut images: Vec<ImageRecord> = file::read_list(&self.layout.images_json())?;
        for path in self.additional("images/images.json") {
            for mut image in file::read_list::<ImageRecord>(&path)? {
                image.read_only = true;
                if images.iter().all(|i| i.id != image.id) {
                    images.push(image);
                }
            }
        }
        Ok(images)
    }

    /// The image with this full ID. [`ErrorKind::NotFound`] if there is none. Takes no lock.
    pub fn image(&self, id: &str) -> Result<ImageRecord> {
        if let Some(image) = file::read_record(&self.layout.images_json(), id)? {
            return Ok(image);
        }
        for path in self.additional("images/images.json") {
            if let Some(image) = file::read_record::<ImageRecord>(&path, id)? {
                return Ok(ImageRecord { read_only: true, ..image });
            }
        }
        Err(image_missing(id))
    }

    /// Waits until whoever deletes images now has done so, and tells which of these are not there.
    pub fn missing_images<'i>(&self, ids: &[&'i str]) -> Result<Vec<&'i str>> {
        let _settled = FileLock::shared(&self.layout.images_lock())?;
        let mut missing = Vec::new();
        for id in ids {
            match self.image(id) {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::NotFound => missing.push(*id),
                Err(e) => return Err(e),
            }
        }
        Ok(missing)
    }

    /// The image by full name, ID, unambiguous ID prefix (`sha256:` before it is allowed) or manifest digest; no
    /// short-name resolution. [`ErrorKind::Conflict`] if a prefix matches several.
    pub fn lookup_image(&self, name: &str) -> Result<ImageRecord> {
        let images = self.images()?;
        let wanted = name.strip_prefix("sha256:").unwrap_or(name);
        let by = |test: &dyn Fn(&ImageRecord) -> bool| images.iter().position(test);
        let digest = Digest::parse(name).ok();
        let exact = by(&|i| i.id == wanted)
            .or_else(|| by(&|i| i.names.iter().any(|n| n == name)))
            .or_else(|| digest.and_then(|d| by(&|i| i.digests().contains(&d))));
        if let Some(at) = exact {
            return Ok(images.into_iter().nth(at).unwrap_or_default());
        }
        if wanted.is_empty() || !wanted.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(image_missing(name));
        }
        let mut matches = images.into_iter().filter(|i| i.id.starts_with(wanted));
        let first = matches.next().ok_or_else(|| image_missing(name))?;
        match matches.next() {
            None => Ok(first),
            Some(_) => Err(Error::new(
                ErrorKind::Conflict,
                format!("several images have an ID that begins with {name}"),
            )
            .with_hint("give more digits of the ID")),
        }
    }

    /// A big data item of an image. [`ErrorKind::NotFound`] if there is none of that name.
    pub fn image_big_data(&self, id: &str, key: &str) -> Result<Vec<u8>> {
        let name = big_data_name(key);
        let mut directories = vec![self.layout.images.clone()];
        directories.extend(self.additional("images"));
        for directory in directories {
            let path = directory.join(id).join(&name);
            match fs::read(&path) {
                Ok(bytes) => return Ok(bytes),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io("read", &path, e)),
            }
        }
        match self.image(id) {
            Ok(_) => Err(Error::not_found(format!("image {id} has no {key}"))),
            // It was removed after the caller saw its record.
            Err(_) => Err(image_missing(id)),
        }
    }

    /// Commits a whole pull: one syncfs, then the layers in order (parents first), then the image. A layer that exists
    /// meanwhile is kept and the staged one dropped; an image that exists gets the names and big data.
    ///
    /// When this returns the image survives a power cut; when it fails nothing of it is there but layers that were.
    pub fn commit_image(&self, layers: Vec<(StagedLayer, NewLayer)>, image: NewImage) -> Result<ImageRecord> {
        check_id(&image.id)?;
        let data = self.stage_layer()?;
        write_items(&data.image_path(), &image.big_data, Durability::None)?;
        self.sync_image()?;
        failpoint!("pull.synced");
        let mut locked = Layers::lock(self)?;
        locked.commit(&layers)?;
        // Still under the lock: nobody can take the layers for unused and delete them before the image is there.
        let record = self.write_image(image, Some(&data.image_path()))?;
        drop(locked);
        drop(layers);
        Ok(record)
    }

    /// Records an image whose layers are committed. An existing image of that ID gets the names and big data.
    pub fn create_image(&self, image: NewImage) -> Result<ImageRecord> {
        check_id(&image.id)?;
        let locked = Layers::lock(self)?;
        if let Some(top) = &image.top_layer {
            self.layer(top)?;
        }
        let record = self.write_image(image, None);
        drop(locked);
        record
    }

    /// `data`: a directory that holds the big data already, synced.
    fn write_image(&self, image: NewImage, data: Option<&Path>) -> Result<ImageRecord> {
        let mut images = Images::lock(self)?;
        let directory = self.layout.images.join(&image.id);
        let existed = images.records.has(&image.id);
        if !existed {
            file::remove_tree(&directory)?;
        }
        let placed = data.is_some_and(|data| !existed && fs::rename(data, &directory).is_ok());
        let result = images.put(&image, placed);
        if result.is_err() && !existed {
            let _ = file::remove_tree(&directory);
        }
        result?;
        failpoint!("pull.image-recorded");
        // The renames of this and of layers.json reach the disk with this directory's.
        atomic::sync_directory(&self.layout.images)?;
        images.records.get(&image.id)?.ok_or_else(|| image_missing(&image.id))
    }

    /// Makes `names` the image's only names.
    pub fn set_image_names(&self, id: &str, names: &[String]) -> Result<()> {
        Images::lock(self)?.rename(id, |_| names.to_vec())
    }

    /// Adds names, taking them away from images that had them. The added ones come first.
    pub fn add_image_names(&self, id: &str, names: &[String]) -> Result<()> {
        Images::lock(self)?.rename(id, |old| names.iter().chain(old).cloned().collect())
    }

    /// Removes names; those the image does not have are no error.
    pub fn remove_image_names(&self, id: &str, names: &[String]) -> Result<()> {
        Images::lock(self)?.rename(id, |old| old.iter().filter(|n| !names.contains(n)).cloned().collect())
    }

    /// Writes a big data item of an existing image.
    pub fn set_image_big_data(&self, id: &str, item: BigData) -> Result<()> {
        let mut images = Images::lock(self)?;
        let mut image = images.get(id)?;
        let items = [item];
        write_items(&self.layout.images.join(&image.id), &items, Durability::Synced)?;
        note_big_data(&mut image, &items);
        images.set_big_data_fields(&image)?;
        images.save()
    }

    /// Deletes an image and the layers only it used; returns the IDs of those.
    /// [`ErrorKind::InUse`] if a container uses it, [`ErrorKind::Unsupported`] if it lies in a read-only store.
    pub fn delete_image(&self, id: &str) -> Result<Vec<String>> {
        self.delete_image_unless(id, || Ok(()))
    }

    /// [`Store::delete_image`], if `refuse` has no error: it is asked under the locks.
    pub fn delete_image_unless(&self, id: &str, refuse: impl FnOnce() -> Result<()>) -> Result<Vec<String>> {
        let mut layers = Layers::lock(self)?;
        let mut images = Images::lock(self)?;
        let image = images.get(id)?;
        if let Some(container) = self.read_containers()?.into_iter().find(|c| c.image == image.id) {
            let name = container.names.first().unwrap_or(&container.id);
            return Err(Error::new(ErrorKind::InUse, format!("image {id} is in use by container {name}")));
        }
        refuse()?;
        let stands_on = image.mapped_layers.iter().chain(&image.top_layer);
        let mut notes = Vec::new();
        // An image without layers has its directory to lose.
        let none = "0".to_owned();
        let noted = stands_on.clone().chain(stands_on.clone().next().is_none().then_some(&none));
        for layer in noted {
            let pending = Pending::Drop { image: image.id.clone(), layer: layer.clone() };
            notes.push(Note::write(self, &pending)?);
        }
        images.records.remove(&image.id);
        images.save()?;
        failpoint!("rmi.image-forgotten");
        self.remove_image_dir(&image.id)?;
        let mut removed = Vec::new();
        let mut trash = Vec::new();
        for layer in stands_on {
            let chain = layers.unused_chain(layer)?;
            trash.push(layers.delete(&chain)?);
            removed.extend(chain);
        }
        notes.into_iter().for_each(Note::done);
        drop((images, layers));
        drop(trash);
        Ok(removed)
    }
}

impl Store {
    pub(super) fn remove_image_dir(&self, id: &str) -> Result<()> {
        check_id(id)?;
        file::remove_tree(&self.layout.images.join(id))
    }
}

fn image_missing(name: &str) -> Error {
    Error::not_found(format!("{name}: no such image"))
}

/// The image store, locked for writing.
#[derive(Debug)]
pub(super) struct Images<'s> {
    store: &'s Store,
    lock: FileLock,
    pub(super) records: Records,
}

impl<'s> Images<'s> {
    pub(super) fn lock(store: &'s Store) -> Result<Self> {
        let lock = FileLock::exclusive(&store.layout.images_lock())?;
        let records = Records::load(&store.layout.images_json())?;
        Ok(Self { store, lock, records })
    }

    fn get(&self, id: &str) -> Result<ImageRecord> {
        if let Some(image) = self.records.get(id)? {
            return Ok(image);
        }
        match self.store.image(id) {
            Ok(_) => Err(Error::unsupported(format!("image {id} lies in a read-only store"))),
            Err(e) => Err(e),
        }
    }

    pub(super) fn save(&self) -> Result<()> {
        self.lock.record_write()?;
        self.records.save(Durability::Synced)
    }

    fn put(&mut self, new: &NewImage, placed: bool) -> Result<()> {
        let mut image = match self.records.get::<ImageRecord>(&new.id)? {
            Some(image) => image,
            None => {
                let image = ImageRecord {
                    id: new.id.clone(),
                    digest: new.digest.clone(),
                    top_layer: new.top_layer.clone(),
                    metadata: new.metadata.clone(),
                    created: new.created.unwrap_or_else(Timestamp::now),
                    flags: new.flags.clone(),
                    ..ImageRecord::default()
                };
                self.records.push(&new.id, &image)?;
                image
            }
        };
        if let Some(digest) = new.digest.as_ref().filter(|_| !new.metadata.is_empty()) {
            let metadata = signatures::merged(&image.metadata, &new.metadata, digest);
            if metadata != image.metadata {
                self.records.update(&new.id, |map| set_field(map, "metadata", &metadata))?;
            }
        }
        if !placed {
            write_items(&self.store.layout.images.join(&image.id), &new.big_data, Durability::Synced)?;
        }
        note_big_data(&mut image, &new.big_data);
        self.set_big_data_fields(&image)?;
        if let Some(digest) = &new.digest {
            self.records.update(&new.id, |map| set_field(map, "digest", digest))?;
        }
        let added = new.names.clone();
        self.assign_names(&new.id, |old| added.iter().chain(old).cloned().collect())?;
        self.save()
    }

    fn set_big_data_fields(&mut self, image: &ImageRecord) -> Result<()> {
        self.records.update(&image.id, |map| {
            set_field(map, "big-data-names", &image.big_data_names);
            set_field(map, "big-data-sizes", &image.big_data_sizes);
            set_field(map, "big-data-digests", &image.big_data_digests);
        })?;
        Ok(())
    }

    fn rename(&mut self, id: &str, change: impl FnOnce(&[String]) -> Vec<String>) -> Result<()> {
        let id = self.get(id)?.id;
        self.assign_names(&id, change)?;
        self.save()
    }

    /// Gives an image names; whoever had one of them loses it. New ones enter the history.
    fn assign_names(&mut self, id: &str, change: impl FnOnce(&[String]) -> Vec<String>) -> Result<()> {
        let image = self.get(id)?;
        let mut names: Vec<String> = Vec::new();
        for name in change(&image.names) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let mut history = image.names_history;
        for name in &names {
            history.retain(|n| n != name);
            history.insert(0, name.clone());
        }
        let others: Vec<ImageRecord> = self.records.all()?;
        for other in others.iter().filter(|o| o.id != id && o.names.iter().any(|n| names.contains(n))) {
            let kept: Vec<&String> = other.names.iter().filter(|n| !names.contains(n)).collect();
            self.records.update(&other.id, |map| set_field(map, "names", &kept))?;
        }
        self.records.update(id, |map| {
            set_field(map, "names", &names);
            set_field(map, "names-history", &history);
        })?;
        Ok(())
    }

    /// Notes a copy of the image's top layer with other owners.
    pub(super) fn add_mapped_layer(&mut self, id: &str, layer: &str) -> Result<()> {
        let mut mapped = self.get(id)?.mapped_layers;
        mapped.push(layer.to_owned());
        self.records.update(id, |map| set_field(map, "mapped-layers", &mapped))?;
        self.save()
    }
}

fn write_items(directory: &Path, items: &[BigData], durability: Durability) -> Result<()> {
    file::make_dirs(directory, 0o700)?;
    for item in items {
        file::write(&directory.join(big_data_name(&item.key)), &item.data, durability)?;
    }
    Ok(())
}

fn note_big_data(image: &mut ImageRecord, items: &[BigData]) {
    for item in items {
        let digest = item.digest.clone().unwrap_or_else(|| Digest::sha256(&item.data));
        if !image.big_data_names.contains(&item.key) {
            image.big_data_names.push(item.key.clone());
        }
        let size = i64::try_from(item.data.len()).unwrap_or(i64::MAX);
        image.big_data_sizes.insert(&item.key, size);
        image.big_data_digests.insert(&item.key, digest.to_string());
    }
}
