//! The store under all its write locks, for repairs.

use super::tables::{Earlier, Table};
use crate::engine::host::atomic::Durability;
use crate::engine::host::lock::FileLock;
use crate::engine::store::file::Records;
use crate::engine::store::mounts::Mounts;
use crate::engine::store::staging::Trash;
use crate::engine::store::{LayerRecord, Location, Store, file};
use crate::engine::{Error, Result};
use serde_json::{Map, Value};
use std::fs;
use std::path::Path;

/// The locks, and what is done under them.
pub(super) struct Bench<'s> {
    pub(super) store: &'s Store,
    earlier: &'s Earlier,
    layers: Vec<FileLock>,
    images: FileLock,
    containers: FileLock,
}

impl<'s> Bench<'s> {
    /// Waits until nobody reads or writes.
    pub(super) fn exclusive(store: &'s Store, earlier: &'s Earlier) -> Result<Self> {
        let layers =
            store.layout.layer_locks().iter().map(|p| FileLock::exclusive(p)).collect::<Result<_>>()?;
        let images = FileLock::exclusive(&store.layout.images_lock())?;
        let containers = FileLock::exclusive(&store.layout.containers_lock())?;
        Ok(Self { store, earlier, layers, images, containers })
    }

    /// Waits until nobody writes.
    pub(super) fn shared(store: &Store) -> Result<Vec<FileLock>> {
        let mut paths = store.layout.layer_locks();
        paths.extend([store.layout.images_lock(), store.layout.containers_lock()]);
        paths.iter().map(|path| FileLock::shared(path)).collect()
    }

    /// What other versions of a file held when the repair began, the newest first.
    pub(super) fn earlier(&self, table: Table) -> &[Records] {
        self.earlier.of(table)
    }

    /// Changes one of the files.
    pub(super) fn change(&self, table: Table, change: impl FnOnce(&mut Records) -> Result<()>) -> Result<()> {
        let mut records = Records::load(&table.path(self.store))?;
        change(&mut records)?;
        self.replace(table, &records)
    }

    /// Changes one record.
    pub(super) fn update(
        &self,
        table: Table,
        id: &str,
        change: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<()> {
        self.change(table, |records| records.update(id, change).map(drop))
    }

    /// Writes one of the files, after telling the others.
    pub(super) fn replace(&self, table: Table, records: &Records) -> Result<()> {
        let (locks, location) = match table {
            Table::Layers(location) => (&self.layers[..], location),
            Table::Images => (std::slice::from_ref(&self.images), Location::Stable),
            Table::Containers(location) => (std::slice::from_ref(&self.containers), location),
        };
        for lock in locks {
            lock.record_write()?;
        }
        records.save(if location == Location::Volatile { Durability::None } else { Durability::Synced })
    }

    /// Leaves a damaged file beside its place, for whoever wants to look at it.
    pub(super) fn keep_aside(&self, path: &Path) -> Result<()> {
        let aside = self.store.graph_root().join("coracle/damaged");
        file::make_dirs(&aside, 0o700)?;
        let name = path.file_name().unwrap_or_default();
        match fs::copy(path, aside.join(name)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("copy", path, e)),
            _ => Ok(()),
        }
    }

    /// Forgets a layer that nothing stands on, and removes what is on disk of it.
    pub(super) fn drop_layer(&self, id: &str) -> Result<()> {
        self.clear_layer(id)?;
        for &location in self.store.layout.layer_locations() {
            let table = Table::Layers(location);
            let (records, _) = Records::salvage(&table.path(self.store))?;
            if records.has(id) {
                self.change(table, |records| {
                    records.remove(id);
                    Ok(())
                })?;
            }
        }
        Ok(())
    }

    /// Removes what is on disk of a layer.
    pub(super) fn clear_layer(&self, id: &str) -> Result<()> {
        let store = self.store;
        let trash = Trash::new(store)?;
        store.unstack(id)?;
        Mounts::lock(store)?.set(id, Path::new(""), 0)?;
        store.discard_layer_dir(id, &trash.path)?;
        file::remove_file(&store.layout.tar_split(id))?;
        file::remove_tree(&store.layout.layers.join(id))
    }

    /// Records a layer.
    pub(super) fn record_layer(&self, layer: &LayerRecord) -> Result<()> {
        self.change(Table::Layers(layer.location), |records| records.push(&layer.id, layer))
    }
}
