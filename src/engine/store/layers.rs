//! layers.json and its volatile twin, and the layers' directories (upstream's `layers.go`).

use super::file::{self, Records};
use super::layout::{Driver, big_data_name};
use super::mounts::Mounts;
use super::overlay::{NewDir, layer_missing};
use super::pending::{self, Note, Pending};
use super::record::INCOMPLETE_FLAG;
use super::staging::{StagedLayer, Trash};
use super::{LAYER_TOC, LayerRecord, Location, NewLayer, Store};
use crate::engine::host::atomic::Durability;
use crate::engine::host::lock::FileLock;
use crate::engine::host::quota::Limits;
use crate::engine::{Digest, Error, ErrorKind, Result};
use crate::failpoint;
use jiff::Timestamp;
use serde_json::Value;
use std::path::Path;

impl Store {
    /// Every layer, those of additional stores included, without incomplete ones. Takes no lock.
    pub fn layers(&self) -> Result<Vec<LayerRecord>> {
        let mut all = Vec::new();
        for &location in self.layout.layer_locations() {
            self.read_layers(&self.layout.layers_json(location), location, &mut all)?;
        }
        for path in self.additional("layers/layers.json") {
            self.read_layers(&path, Location::ReadOnly, &mut all)?;
        }
        Ok(all)
    }

    fn read_layers(&self, path: &Path, location: Location, all: &mut Vec<LayerRecord>) -> Result<()> {
        for mut layer in file::read_list::<LayerRecord>(path)? {
            layer.location = location;
            let known = location == Location::ReadOnly && all.iter().any(|l| l.id == layer.id);
            if !known && !layer.incomplete() {
                all.push(layer);
            }
        }
        Ok(())
    }

    /// The layer with this full ID. [`ErrorKind::NotFound`] if there is none, or an incomplete one. Takes no lock.
    pub fn layer(&self, id: &str) -> Result<LayerRecord> {
        let own = self.layout.layer_locations().iter().map(|&l| (self.layout.layers_json(l), l));
        let additional = self.additional("layers/layers.json").into_iter().map(|p| (p, Location::ReadOnly));
        for (path, location) in own.chain(additional) {
            if let Some(mut layer) = file::read_record::<LayerRecord>(&path, id)?
                && !layer.incomplete()
            {
                layer.location = location;
                return Ok(layer);
            }
        }
        Err(layer_missing(id))
    }

    /// Layers with this DiffID.
    pub fn layers_by_diff_id(&self, digest: &Digest) -> Result<Vec<LayerRecord>> {
        let mut layers = self.layers()?;
        layers.retain(|l| l.diff_digest.as_ref() == Some(digest));
        Ok(layers)
    }

    /// Layers that came from a blob with this digest.
    pub fn layers_by_blob_digest(&self, digest: &Digest) -> Result<Vec<LayerRecord>> {
        let mut layers = self.layers()?;
        layers.retain(|l| l.compressed_digest.as_ref() == Some(digest));
        Ok(layers)
    }

    /// Commits one layer: syncfs, rename into place, record. An existing layer of that ID is kept and returned, and
    /// the staged one dropped. For a whole image, [`Store::commit_image`] costs one syncfs instead of many.
    pub fn commit_layer(&self, staged: StagedLayer, layer: NewLayer) -> Result<LayerRecord> {
        let id = layer.id.clone();
        self.sync_image()?;
        let staged = vec![(staged, layer)];
        let mut layers = Layers::lock(self)?;
        layers.commit(&staged)?;
        drop(layers);
        self.layer(&id)
    }

    /// Deletes a layer that nothing uses: no child, image, or container. [`ErrorKind::InUse`] if something does.
    pub fn delete_layer(&self, id: &str) -> Result<()> {
        let mut layers = Layers::lock(self)?;
        let users = self.layer_users()?;
        if users.contains(id) || layers.children(id)? > 0 {
            return Err(Error::new(ErrorKind::InUse, format!("layer {id} is in use")));
        }
        let trash = layers.delete(&[id.to_owned()])?;
        drop(layers);
        drop(trash);
        Ok(())
    }

    /// For readers: if a dead writer left something, and nobody else is at it, settles that. Looks into two
    /// directories that are normally empty; never waits, never fails.
    pub(super) fn settle_abandoned(&self) {
        self.sweep_trash();
        if !pending::any(self) {
            return;
        }
        match Layers::try_lock(self) {
            Ok(_) => {}
            Err(e) => tracing::debug!("{e}"),
        }
    }

    /// Layers that images and containers stand on.
    pub(super) fn layer_users(&self) -> Result<std::collections::HashSet<String>> {
        let mut users = std::collections::HashSet::new();
        for image in self.read_images()? {
            users.extend(image.top_layer);
            users.extend(image.mapped_layers);
        }
        users.extend(self.read_containers()?.into_iter().map(|c| c.layer));
        Ok(users)
    }
}

/// The layer store, locked for writing. Files are read when they are needed; what dead writers left half done is
/// finished or undone first.
#[derive(Debug)]
pub(super) struct Layers<'s> {
    store: &'s Store,
    locks: Vec<FileLock>,
    files: Vec<(Location, Records)>,
}

impl<'s> Layers<'s> {
    /// Waits for the write locks.
    pub(super) fn lock(store: &'s Store) -> Result<Self> {
        let locks =
            store.layout.layer_locks().iter().map(|p| FileLock::exclusive(p)).collect::<Result<_>>()?;
        let mut layers = Self { store, locks, files: Vec::new() };
        layers.settle()?;
        Ok(layers)
    }

    /// The same if nobody holds one of them.
    fn try_lock(store: &'s Store) -> Result<Option<Self>> {
        let mut locks = Vec::new();
        for path in store.layout.layer_locks() {
            match FileLock::try_exclusive(&path)? {
                Some(lock) => locks.push(lock),
                None => return Ok(None),
            }
        }
        let mut layers = Self { store, locks, files: Vec::new() };
        layers.settle()?;
        Ok(Some(layers))
    }

    /// One of the files. On first use incomplete layers in it are deleted, as everybody who gets this lock does.
    pub(super) fn file(&mut self, location: Location) -> Result<&mut Records> {
        let at = match self.files.iter().position(|(l, _)| *l == location) {
            Some(at) => at,
            None => {
                let path = self.store.layout.layers_json(location);
                self.files.push((location, Records::load(&path)?));
                self.delete_incomplete(location)?;
                self.files.len() - 1
            }
        };
        Ok(&mut self.files[at].1)
    }

    fn delete_incomplete(&mut self, location: Location) -> Result<()> {
        let records: Vec<LayerRecord> = self.file(location)?.all()?;
        let ids: Vec<String> = records.into_iter().filter(LayerRecord::incomplete).map(|l| l.id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        tracing::debug!("deleting incomplete layers {ids:?}");
        self.remove(&ids)?;
        Ok(())
    }

    /// Finishes or undoes what writers who died left (see [`pending`]).
    fn settle(&mut self) -> Result<()> {
        self.store.sweep_trash();
        for (note, pending) in pending::list(self.store)? {
            tracing::debug!("settling {pending:?}");
            match &pending {
                Pending::Layer { id } => {
                    if self.location(id)?.is_none() {
                        drop(self.discard(std::slice::from_ref(id))?);
                    }
                }
                Pending::Container { id, layer } => {
                    if super::file::found(self.store.container(id))?.is_none() {
                        drop(self.delete(std::slice::from_ref(layer))?);
                        self.store.remove_container_dirs(id)?;
                    }
                }
                Pending::Removal { id, layer } => {
                    drop(self.delete(std::slice::from_ref(layer))?);
                    self.store.remove_container_dirs(id)?;
                    self.store.forget_container(id)?;
                }
                Pending::Drop { image, layer } => {
                    if super::file::found(self.store.image(image))?.is_none() {
                        self.store.remove_image_dir(image)?;
                        let chain = self.unused_chain(layer)?;
                        drop(self.delete(&chain)?);
                    }
                }
            }
            note.done();
        }
        Ok(())
    }

    /// In which file a layer is recorded.
    pub(super) fn location(&mut self, id: &str) -> Result<Option<Location>> {
        for &location in self.store.layout.layer_locations() {
            if self.file(location)?.has(id) {
                return Ok(Some(location));
            }
        }
        Ok(None)
    }

    /// Every layer of our own.
    pub(super) fn all(&mut self) -> Result<Vec<LayerRecord>> {
        let mut all = Vec::new();
        for &location in self.store.layout.layer_locations() {
            let records: Vec<LayerRecord> = self.file(location)?.all()?;
            all.extend(records.into_iter().map(|l| LayerRecord { location, ..l }));
        }
        Ok(all)
    }

    /// How many layers stand on this one.
    fn children(&mut self, id: &str) -> Result<usize> {
        Ok(self.all()?.iter().filter(|l| l.parent.as_deref() == Some(id)).count())
    }

    /// The layer and those below it which no image, container or other layer uses, the uppermost first.
    pub(super) fn unused_chain(&mut self, top: &str) -> Result<Vec<String>> {
        let users = self.store.layer_users()?;
        let all = self.all()?;
        let mut chain: Vec<String> = Vec::new();
        let mut next = Some(top.to_owned());
        while let Some(id) = next {
            let Some(layer) = all.iter().find(|l| l.id == id) else { break };
            let child = |l: &&LayerRecord| l.parent.as_ref() == Some(&id) && !chain.contains(&l.id);
            if users.contains(&id) || all.iter().any(|l| child(&l)) {
                break;
            }
            next = layer.parent.clone();
            chain.push(id);
        }
        Ok(chain)
    }

    /// Writes a file, after telling the others.
    pub(super) fn save(&mut self, location: Location) -> Result<()> {
        for lock in &self.locks {
            lock.record_write()?;
        }
        let durability = if location == Location::Volatile { Durability::None } else { Durability::Synced };
        self.file(location)?.save(durability)
    }

    /// Gives staged layers their place and record, parents first, in one write. Existing ones are skipped. On failure
    /// nothing of it remains.
    pub(super) fn commit(&mut self, staged: &[(StagedLayer, NewLayer)]) -> Result<()> {
        let location = self.store.layout.image_location();
        let mut made = Vec::new();
        let mut notes = Vec::new();
        let result = self
            .place_all(location, staged, &mut made, &mut notes)
            .and_then(|()| if made.is_empty() { Ok(()) } else { self.save(location) });
        if result.is_err() {
            // What was written is read anew by whoever comes next under this lock.
            self.files.retain(|(l, _)| *l != location);
            drop(self.discard(&made));
        }
        failpoint!("pull.layers-committed");
        notes.into_iter().for_each(Note::done);
        result
    }

    fn place_all(
        &mut self,
        location: Location,
        staged: &[(StagedLayer, NewLayer)],
        made: &mut Vec<String>,
        notes: &mut Vec<Note>,
    ) -> Result<()> {
        for (staged, new) in staged {
            check_id(&new.id)?;
            if self.location(&new.id)?.is_some() {
                continue;
            }
            notes.push(Note::write(self.store, &Pending::Layer { id: new.id.clone() })?);
            made.push(new.id.clone());
            let directory = NewDir {
                id: &new.id,
                parent: new.parent.as_deref(),
                staged: Some(staged),
                root: (0, 0),
                image: true,
                limits: Limits::default(),
            };
            self.store.make_layer_dir(&directory)?;
            failpoint!("pull.layer-placed");
            let tar_split = self.store.layout.tar_split(&new.id);
            if staged.tar_split_path().exists() {
                staged.move_out("tar-split.gz", &tar_split)?;
            }
            if new.toc {
                let directory = self.store.layout.layers.join(&new.id);
                file::make_dirs(&directory, 0o700)?;
                staged.move_out("toc.json", &directory.join(big_data_name(LAYER_TOC)))?;
            }
            self.file(location)?.push(&new.id, &record(new))?;
        }
        Ok(())
    }

    /// Deletes layers: unmounts them, moves their directories away, forgets their records. The bulk of the work is
    /// done when the trash is dropped, which is best after the locks. Missing ones are no error.
    pub(super) fn delete(&mut self, ids: &[String]) -> Result<Trash> {
        if ids.len() > 1 {
            self.flag_incomplete(ids)?;
        }
        self.remove(ids)
    }

    /// Whoever finds the flag finishes the deletion if we do not.
    fn flag_incomplete(&mut self, ids: &[String]) -> Result<()> {
        for &location in self.store.layout.layer_locations() {
            let records = self.file(location)?;
            let mut changed = false;
            for id in ids {
                changed |= records.update(id, |map| {
                    let flags = map.entry("flags").or_insert_with(|| Value::Object(serde_json::Map::new()));
                    if let Value::Object(flags) = flags {
                        flags.insert(INCOMPLETE_FLAG.to_owned(), Value::Bool(true));
                    }
                })?;
            }
            if changed {
                self.save(location)?;
            }
        }
        Ok(())
    }

    fn remove(&mut self, ids: &[String]) -> Result<Trash> {
        let trash = self.discard(ids)?;
        for &location in self.store.layout.layer_locations() {
            // A volatile layer's deletion need not read the big file.
            if !ids.is_empty()
                && self.files.iter().all(|(l, _)| *l != location)
                && !self.mentions(location, ids)?
            {
                continue;
            }
            let records = self.file(location)?;
            let before = records.len();
            for id in ids {
                records.remove(id);
            }
            if records.len() != before {
                self.save(location)?;
            }
        }
        Ok(trash)
    }

    fn mentions(&self, location: Location, ids: &[String]) -> Result<bool> {
        let bytes = file::read_bytes(&self.store.layout.layers_json(location))?;
        Ok(ids.iter().any(|id| file::contains(&bytes, id.as_bytes())))
    }

    /// Moves what lies on disk for these layers into the trash.
    fn discard(&self, ids: &[String]) -> Result<Trash> {
        let store = self.store;
        let trash = Trash::new(store)?;
        if ids.is_empty() {
            return Ok(trash);
        }
        let mut mounts = Mounts::lock(store)?;
        for id in ids.iter().filter(|id| is_directory_name(id)) {
            // A mount may be there without a count too.
            store.unstack(id)?;
            mounts.set(id, Path::new(""), 0)?;
            store.discard_layer_dir(id, &trash.path)?;
            file::remove_file(&store.layout.tar_split(id))?;
            file::remove_tree(&store.layout.layers.join(id))?;
        }
        Ok(trash)
    }
}

/// What others recorded as a layer's ID is a path to be deleted: it must be one name, and none of the driver's own.
fn is_directory_name(id: &str) -> bool {
    !matches!(id, "" | "l" | "staging" | "tempdirs" | "dir")
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// IDs become paths: nothing but what upstream makes.
pub(super) fn check_id(id: &str) -> Result<()> {
    if id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()) {
        return Ok(());
    }
    Err(Error::invalid(format!("{id:?} is no ID of a layer, image or container")))
}

fn record(new: &NewLayer) -> LayerRecord {
    LayerRecord {
        id: new.id.clone(),
        parent: new.parent.clone(),
        created: Timestamp::now(),
        compressed_digest: new.compressed_digest.clone(),
        compressed_size: i64::try_from(new.compressed_size).unwrap_or(i64::MAX),
        diff_digest: new.diff_digest.clone(),
        diff_size: i64::try_from(new.diff_size).unwrap_or(i64::MAX),
        compression: new.compression,
        uids: new.uids.clone(),
        gids: new.gids.clone(),
        flags: new.flags.clone(),
        big_data_names: if new.toc { vec![LAYER_TOC.to_owned()] } else { Vec::new() },
        ..LayerRecord::default()
    }
}

impl Store {
    /// A layer's table of contents.
    ///
    /// `NotFound` if it has none.
    pub fn layer_toc(&self, id: &str) -> Result<std::fs::File> {
        check_id(id)?;
        let path = self.layout.layers.join(id).join(big_data_name(LAYER_TOC));
        std::fs::File::open(&path).map_err(|e| Error::io("open", &path, e))
    }

    /// Makes a layer's directory, whatever the driver.
    pub(super) fn make_layer_dir(&self, new: &NewDir<'_>) -> Result<()> {
        match self.driver {
            Driver::Overlay => self.overlay_make(new),
            Driver::Vfs => self.vfs_make(new),
        }
    }

    pub(super) fn discard_layer_dir(&self, id: &str, trash: &Path) -> Result<()> {
        match self.driver {
            Driver::Overlay => self.overlay_discard(id, trash),
            Driver::Vfs => self.vfs_discard(id, trash),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_layers_are_deleted() {
        assert!(is_directory_name(&"a".repeat(64)) && is_directory_name("layer-1"));
        for bad in ["", ".", "..", "l", "staging", "a/b", "../x", "/"] {
            assert!(!is_directory_name(bad), "{bad}");
        }
        assert!(check_id(&"a".repeat(64)).is_ok());
        for bad in ["", "../../etc", &"A".repeat(64), &"a".repeat(63)] {
            assert!(check_id(bad).is_err(), "{bad}");
        }
    }
}
