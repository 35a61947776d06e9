//! What is on disk without a record: layers, images and containers that are whole get their record back, from an earlier
//! version of the file or from what is on disk; the rest is left over.

use super::images::{OnDisk, record_of};
use super::rebuild::parse_split;
use super::tables::Table;
use super::{Claim, Look, Mend, Subject};
use crate::engine::store::layers::check_id;
use crate::engine::store::layout::Driver;
use crate::engine::store::record::{MOUNT_LABEL_FLAG, PROCESS_LABEL_FLAG, VOLATILE_FLAG};
use crate::engine::store::{ContainerRecord, ImageRecord, LayerRecord, Location, file};
use crate::engine::{Digest, Error, Result};
use jiff::Timestamp;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What is needed of a layer that has no record.
struct Wanted {
    id: String,
    location: Location,
    /// What its archive should hash to, where an image's configuration says that.
    digest: Option<Digest>,
}

/// A directory of a layer without a record.
struct Orphan {
    id: String,
    directory: PathBuf,
}

impl<'s> Look<'s, '_> {
    /// What gets its record back. As long as there is any such thing, nothing is taken for left over.
    pub(super) fn adoptions(&mut self) -> Result<()> {
        let orphans = self.orphaned_layers()?;
        let wanted = self.wanted();
        for orphan in &orphans {
            self.adopt_layer(orphan, &orphans, &wanted);
        }
        for id in self.orphaned_images()? {
            self.adopt_image(&id);
        }
        self.lost_containers()
    }

    /// What is whole no more, or needed by nobody.
    pub(super) fn left_over(&mut self) -> Result<()> {
        let store = self.store;
        let wanted = self.wanted();
        for orphan in self.orphaned_layers()? {
            if wanted.iter().any(|w| w.id == orphan.id) {
                // Its image or container is lost without it, which is said of that.
                continue;
            }
            let (id, text) = (orphan.id.clone(), "is of no image and no container, and has no record");
            self.found(Subject::Layer(orphan.id), text, Box::new(move |bench| bench.clear_layer(&id)));
        }
        for id in self.orphaned_images()? {
            let directory = store.layout.images.join(&id);
            let text = "is not whole, and has no record";
            self.found(Subject::Image(id), text, Box::new(move |_| file::remove_tree(&directory)));
        }
        for id in ids_in(&store.layout.containers)? {
            let path = store.layout.containers.join(&id);
            let known = self.tables.containers.iter().any(|c| c.id == id)
                || self.options.claims.iter().any(|claim| claim.id == id)
                || root_of_bundle(&path).is_some_and(|layer| store.layer_dir(&layer).is_some());
            if !known {
                let subject = Subject::File(path.clone());
                self.found(subject, "is of no container", Box::new(move |_| file::remove_tree(&path)));
            }
        }
        Ok(())
    }

    fn orphaned_layers(&self) -> Result<Vec<Orphan>> {
        let layout = &self.store.layout;
        let mut homes = vec![layout.home.clone()];
        if layout.image_home != layout.home {
            homes.push(layout.image_home.clone());
        }
        let mut orphans = Vec::new();
        for home in homes {
            let home = if self.store.driver == Driver::Vfs { home.join("dir") } else { home };
            for id in ids_in(&home)? {
                if !self.tables.layers.iter().any(|layer| layer.id == id) {
                    orphans.push(Orphan { directory: home.join(&id), id });
                }
            }
        }
        Ok(orphans)
    }

    fn orphaned_images(&self) -> Result<Vec<String>> {
        let mut ids = ids_in(&self.store.layout.images)?;
        ids.retain(|id| !self.tables.images.iter().any(|image| image.id == *id));
        Ok(ids)
    }

    /// The layers that something needs, recorded or not: those of images and containers and below, and those that
    /// images without a record name.
    fn wanted(&self) -> Vec<Wanted> {
        let mut wanted: Vec<Wanted> = Vec::new();
        let image = self.store.layout.image_location();
        for id in ids_in(&self.store.layout.images).unwrap_or_default() {
            let Some(disk) = OnDisk::read(&self.store.layout.images.join(id)) else { continue };
            for (id, digest) in chain_ids(&disk.diff_ids).into_iter().zip(disk.diff_ids) {
                wanted.push(Wanted { id, location: image, digest: Some(digest) });
            }
        }
        let mut add = |id: String, location: Location| {
            if !wanted.iter().any(|w| w.id == id) {
                wanted.push(Wanted { id, location, digest: None });
            }
        };
        for record in &self.tables.images {
            record.top_layer.iter().chain(&record.mapped_layers).for_each(|id| add(id.clone(), image));
        }
        for container in &self.tables.containers {
            add(container.layer.clone(), container.location);
        }
        for layer in self.tables.layers.iter().filter_map(|layer| layer.parent.clone()) {
            add(layer, image);
        }
        for claim in self.options.claims {
            if let Some(layer) = &claim.layer {
                add(layer.clone(), if claim.volatile { Location::Volatile } else { Location::Stable });
            }
        }
        for id in ids_in(&self.store.layout.containers).unwrap_or_default() {
            if let Some(layer) = root_of_bundle(&self.store.layout.containers.join(id)) {
                add(layer, Location::Stable);
            }
        }
        // Those below, by the links.
        let mut at = 0;
        while at < wanted.len() {
            let below = self.parent_on_disk(&wanted[at].id);
            if let Some(below) = below
                && !wanted.iter().any(|w| w.id == below)
            {
                wanted.push(Wanted { id: below, location: image, digest: None });
            }
            at += 1;
        }
        wanted
    }

    /// The layer that the first link of `lower` leads to.
    fn parent_on_disk(&self, id: &str) -> Option<String> {
        let directory = self.store.layer_dir(id)?;
        let lower = fs::read_to_string(directory.path.join("lower")).ok()?;
        let first = lower.trim().split(':').next().filter(|first| !first.is_empty())?.to_owned();
        let home = directory.path.parent()?;
        let target = fs::read_link(home.join(first)).ok()?;
        let id = target.parent()?.file_name()?.to_str()?.to_owned();
        Some(id)
    }

    fn adopt_layer(&mut self, orphan: &Orphan, orphans: &[Orphan], wanted: &[Wanted]) {
        let Some(needed) = wanted.iter().find(|w| w.id == orphan.id) else { return };
        let parent = self.parent_on_disk(&orphan.id);
        let below = |id: &String| self.tables.layer(id).is_some() || orphans.iter().any(|o| o.id == *id);
        if !self.store.files_of(&orphan.directory).is_dir() || !parent.as_ref().is_none_or(below) {
            return;
        }
        // From the lowest to the uppermost, a round each.
        let ready = parent.as_deref().is_none_or(|parent| self.tables.layer(parent).is_some());
        let (store, id, location) = (self.store, orphan.id.clone(), needed.location);
        let (digest, directory) = (needed.digest.clone(), orphan.directory.clone());
        let mend: Mend<'s> = Box::new(move |bench| {
            if !ready {
                return Ok(());
            }
            if restore_record(bench, Table::Layers(location), &id, |old: &LayerRecord| old.parent == parent)?
            {
                return Ok(());
            }
            let mut layer =
                LayerRecord { id, parent, created: made(&directory), location, ..LayerRecord::default() };
            let of_image = parse_split(&store.layout.tar_split(&layer.id)).is_ok();
            match store.read_back(&layer.id) {
                Ok(back) if of_image => {
                    layer.diff_digest = Some(back.digest);
                    layer.diff_size = i64::try_from(back.size).unwrap_or(-1);
                    layer.uids = back.uids.into_iter().collect();
                    layer.gids = back.gids.into_iter().collect();
                }
                // It is damaged, which the next round finds.
                _ => (layer.diff_digest, layer.diff_size) = (digest, -1),
            }
            bench.record_layer(&layer)
        });
        self.found(Subject::Layer(orphan.id.clone()), "has no record", mend);
    }

    fn adopt_image(&mut self, id: &str) {
        let Some(disk) = OnDisk::read(&self.store.layout.images.join(id)) else { return };
        let top = self.top_of(&disk.diff_ids);
        if !disk.diff_ids.is_empty() && top.is_none() {
            return;
        }
        let owned = id.to_owned();
        let mend: Mend<'s> = Box::new(move |bench| {
            if restore_record(bench, Table::Images, &owned, |_: &ImageRecord| true)? {
                return Ok(());
            }
            let image = record_of(&owned, &disk, top);
            bench.change(Table::Images, |records| records.push(&owned, &image))
        });
        let text = "has no record; its names are lost unless they were kept";
        self.found(Subject::Image(id.to_owned()), text, mend);
    }

    /// Containers whose record is gone and whose layer is there.
    fn lost_containers(&mut self) -> Result<()> {
        for claim in self.options.claims {
            if self.tables.containers.iter().any(|c| c.id == claim.id) {
                continue;
            }
            let Some(layer) = self.layer_for(claim) else { continue };
            self.lost_container(claim.clone(), layer);
        }
        for id in ids_in(&self.store.layout.containers)? {
            let claimed = self.options.claims.iter().any(|claim| claim.id == id);
            if claimed || self.tables.containers.iter().any(|c| c.id == id) {
                continue;
            }
            let Some(layer) = root_of_bundle(&self.store.layout.containers.join(&id)) else { continue };
            if self.store.layer_dir(&layer).is_none() {
                continue;
            }
            let image = self.image_below(&layer).unwrap_or_default();
            let created = made(&self.store.layout.containers.join(&id));
            let claim = Claim { id, image, created, ..Claim::default() };
            self.lost_container(claim, layer);
        }
        Ok(())
    }

    fn lost_container(&mut self, claim: Claim, layer: String) {
        let location = if claim.volatile { Location::Volatile } else { Location::Stable };
        let subject = Subject::Container(claim.id.clone());
        if self.tables.layer(&layer).is_none() {
            return;
        }
        let mend: Mend<'s> = Box::new(move |bench| {
            let table = Table::Containers(location);
            if restore_record(bench, table, &claim.id, |old: &ContainerRecord| old.layer == layer)? {
                return Ok(());
            }
            let mut flags = serde_json::Map::new();
            flags.insert(MOUNT_LABEL_FLAG.to_owned(), "".into());
            flags.insert(PROCESS_LABEL_FLAG.to_owned(), "".into());
            if claim.volatile {
                flags.insert(VOLATILE_FLAG.to_owned(), true.into());
            }
            let container = ContainerRecord {
                id: claim.id,
                names: claim.names,
                image: claim.image,
                layer,
                metadata: claim.metadata,
                created: claim.created,
                flags,
                location,
                ..ContainerRecord::default()
            };
            bench.change(table, |records| records.push(&container.id, &container))
        });
        self.found(subject, "has no record in the store", mend);
    }

    /// The layer of a container: the one it was last mounted with, else the only one that nobody has, that stands on its
    /// image, and is as old as it.
    fn layer_for(&self, claim: &Claim) -> Option<String> {
        if let Some(layer) = claim.layer.as_ref().filter(|id| self.store.layer_dir(id).is_some()) {
            return Some(layer.clone());
        }
        const APART: i64 = 5;
        let image = self.tables.images.iter().find(|i| i.id == claim.image)?;
        let taken: HashSet<&str> = self.tables.containers.iter().map(|c| c.layer.as_str()).collect();
        let fits = |layer: &&LayerRecord| {
            layer.diff_digest.is_none()
                && !taken.contains(layer.id.as_str())
                && layer.parent.is_some()
                && (layer.parent == image.top_layer
                    || image.mapped_layers.iter().any(|m| layer.parent.as_ref() == Some(m)))
                && layer.created.duration_since(claim.created).as_secs().abs() <= APART
        };
        let mut fitting = self.tables.layers.iter().filter(fits);
        match (fitting.next(), fitting.next()) {
            (Some(layer), None) => Some(layer.id.clone()),
            _ => None,
        }
    }

    fn image_below(&self, layer: &str) -> Option<String> {
        let parent = self.tables.layer(layer)?.parent.clone()?;
        let on =
            |i: &&ImageRecord| i.top_layer.as_ref() == Some(&parent) || i.mapped_layers.contains(&parent);
        self.tables.images.iter().find(on).map(|image| image.id.clone())
    }
}

/// Takes a record back from an earlier version of its file, if it fits.
fn restore_record<T: serde::de::DeserializeOwned>(
    bench: &super::Bench<'_>,
    table: Table,
    id: &str,
    fits: impl Fn(&T) -> bool,
) -> Result<bool> {
    for old in bench.earlier(table) {
        if old.get::<T>(id).ok().flatten().is_some_and(|record| fits(&record)) {
            bench.change(table, |records| {
                records.adopt(old, |other| other == id);
                Ok(())
            })?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// The layer IDs that containers/image gives a chain of digests.
fn chain_ids(diff_ids: &[Digest]) -> Vec<String> {
    let mut ids: Vec<String> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        ids.push(match ids.last() {
            None => diff_id.hex().to_owned(),
            Some(parent) => Digest::sha256(format!("{parent}+{}", diff_id.hex()).as_bytes()).hex().to_owned(),
        });
    }
    ids
}

/// The layer that podman's runtime configuration of a container names: `…/overlay/<layer>/merged`.
fn root_of_bundle(directory: &Path) -> Option<String> {
    let text = fs::read(directory.join("userdata/config.json")).ok()?;
    let config: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let merged = Path::new(config["root"]["path"].as_str()?);
    let layer = merged.parent()?.file_name()?.to_str()?;
    check_id(layer).ok()?;
    Some(layer.to_owned())
}

/// When something on disk was last changed.
fn made(path: &Path) -> Timestamp {
    let time = fs::metadata(path).and_then(|meta| meta.modified()).ok();
    time.and_then(|time| Timestamp::try_from(time).ok()).unwrap_or_else(Timestamp::now)
}

/// The entries that look like IDs, sorted.
pub(super) fn ids_in(directory: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("read", directory, e)),
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut ids: Vec<String> = names.filter(|name| check_id(name).is_ok()).collect();
    ids.sort();
    Ok(ids)
}
