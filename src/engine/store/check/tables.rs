//! The JSON files as far as they can be read, and what is done about one that cannot.

use super::{Look, Mend, Subject};
use crate::engine::Result;
use crate::engine::store::file::Records;
use crate::engine::store::{ContainerRecord, ImageRecord, LayerRecord, Location, Store, file};
use serde::de::DeserializeOwned;
use std::fs;
use std::path::{Path, PathBuf};

/// One of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Layers(Location),
    Images,
    Containers(Location),
}

/// Everything that is recorded.
pub(super) struct Tables {
    /// Of our own; incomplete ones, too.
    pub(super) layers: Vec<LayerRecord>,
    /// Of additional stores.
    pub(super) read_only: Vec<LayerRecord>,
    pub(super) images: Vec<ImageRecord>,
    pub(super) containers: Vec<ContainerRecord>,
    /// Files that are damaged, and how.
    broken: Vec<(Table, String)>,
    /// Those of additional stores.
    pub(super) broken_read_only: Vec<(PathBuf, String)>,
}

impl Table {
    pub(super) fn path(self, store: &Store) -> PathBuf {
        match self {
            Self::Layers(location) => store.layout.layers_json(location),
            Self::Images => store.layout.images_json(),
            Self::Containers(location) => store.layout.containers_json(location),
        }
    }

    /// Where what a record of this table is about lies.
    fn place(self, store: &Store, id: &str) -> PathBuf {
        match self {
            Self::Layers(_) => {
                store.layer_dir(id).map_or_else(|| store.home_of(&store.layout.home, id), |d| d.path)
            }
            Self::Images => store.layout.images.join(id),
            // Its directory may never have been made; the layer's is looked for by the next round.
            Self::Containers(_) => store.layout.containers.clone(),
        }
    }
}

impl Tables {
    pub(super) fn read(store: &Store) -> Result<Self> {
        let mut tables = Self {
            layers: Vec::new(),
            read_only: Vec::new(),
            images: Vec::new(),
            containers: Vec::new(),
            broken: Vec::new(),
            broken_read_only: Vec::new(),
        };
        for &location in store.layout.layer_locations() {
            let found: Vec<LayerRecord> = tables.read_table(store, Table::Layers(location))?;
            tables.layers.extend(found.into_iter().map(|layer| LayerRecord { location, ..layer }));
        }
        tables.images = tables.read_table(store, Table::Images)?;
        for location in [Location::Stable, Location::Volatile] {
            let found: Vec<ContainerRecord> = tables.read_table(store, Table::Containers(location))?;
            tables.containers.extend(found.into_iter().map(|c| ContainerRecord { location, ..c }));
        }
        for path in store.additional("layers/layers.json") {
            match file::read_list::<LayerRecord>(&path) {
                Ok(layers) => tables.read_only.extend(layers),
                Err(e) => tables.broken_read_only.push((path, e.to_string())),
            }
        }
        Ok(tables)
    }

    fn read_table<T: DeserializeOwned>(&mut self, store: &Store, table: Table) -> Result<Vec<T>> {
        let (records, damage) = Records::salvage(&table.path(store))?;
        let mut damage = damage;
        let mut found = Vec::new();
        for id in records.ids() {
            match records.get(id) {
                Ok(Some(record)) => found.push(record),
                Ok(None) => {}
                Err(e) => damage = Some(e.to_string()),
            }
        }
        if let Some(damage) = damage {
            self.broken.push((table, damage));
        }
        Ok(found)
    }

    /// A layer of ours or of a read-only store.
    pub(super) fn layer(&self, id: &str) -> Option<&LayerRecord> {
        self.layers.iter().chain(&self.read_only).find(|layer| layer.id == id)
    }

    /// The layer and those below it, the uppermost first, as far as they are recorded.
    pub(super) fn chain(&self, top: &str) -> Vec<&LayerRecord> {
        let mut chain: Vec<&LayerRecord> = Vec::new();
        let mut next = self.layer(top);
        while let Some(layer) = next {
            if chain.iter().any(|known| known.id == layer.id) {
                break;
            }
            chain.push(layer);
            next = layer.parent.as_deref().and_then(|parent| self.layer(parent));
        }
        chain
    }
}

/// What other versions of the files hold, read before a repair writes them anew.
pub(super) struct Earlier(Vec<(Table, Vec<Records>)>);

impl Earlier {
    pub(super) fn read(store: &Store) -> Self {
        let versions = |table: Table| {
            let paths = earlier(store, &table.path(store)).into_iter();
            paths.filter_map(|path| Records::salvage(&path).ok().map(|(records, _)| records)).collect()
        };
        Self(all(store).into_iter().map(|table| (table, versions(table))).collect())
    }

    /// The newest first.
    pub(super) fn of(&self, table: Table) -> &[Records] {
        self.0.iter().find(|(known, _)| *known == table).map_or(&[], |(_, versions)| versions)
    }
}

impl Look<'_, '_> {
    /// Files that cannot be read as a whole. What is whole in them is kept; what is missing comes from the file that was
    /// there before, if what it is about is still on disk, and from what is on disk itself, in the next rounds.
    pub(super) fn tables(&mut self) {
        for (table, damage) in &self.tables.broken {
            let (table, store) = (*table, self.store);
            let mend: Mend<'_> = Box::new(move |bench| {
                let (mut records, _) = Records::salvage(&table.path(store))?;
                records.drop_unreadable();
                bench.keep_aside(&table.path(store))?;
                for old in bench.earlier(table) {
                    records.adopt(old, |id| table.place(store, id).exists());
                }
                bench.replace(table, &records)
            });
            self.found(Subject::File(table.path(store)), format!("is damaged: {damage}"), mend);
        }
    }
}

/// Every table.
pub(super) fn all(store: &Store) -> Vec<Table> {
    let layers = store.layout.layer_locations().iter().map(|location| Table::Layers(*location));
    let containers = [Location::Stable, Location::Volatile].map(Table::Containers);
    layers.chain([Table::Images]).chain(containers).collect()
}

/// Other versions of a file, the newest first: the copy of what we last wrote, and what a writer left that died before its rename.
fn earlier(store: &Store, path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut found = vec![file::kept(path)];
    found.retain(|path| path.exists());
    let directory = path.parent().unwrap_or(store.graph_root());
    let mut temporary: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!(".tmp-{name}")))
        .map(|entry| entry.path())
        .collect();
    temporary.sort_by_key(|path| fs::metadata(path).and_then(|meta| meta.modified()).ok());
    found.extend(temporary.into_iter().rev());
    found
}
