//! Mounting containers, images and layers, with upstream's mount counts (`layerStore.Mount`, `unmount`).

use super::layout::Driver;
use super::mounts::Mounts;
use super::overlay::layer_missing;
use super::stack::StackOptions;
use super::{ContainerRecord, LayerRecord, MountOptions, Store, file};
use crate::engine::Result;
use crate::engine::host::lock::FileLock;
use crate::engine::host::mount::is_mount_point;
use crate::engine::spec::IdMappings;
use crate::failpoint;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

impl Store {
    /// Mounts a container's (by its ID) or a layer's file system and counts the mount. Returns where.
    ///
    /// Upstream holds `storage.lock` around mounts, and the layers' lock so that the layer stays.
    pub fn mount(&self, id: &str, options: &MountOptions) -> Result<PathBuf> {
        let container = file::found(self.container(id))?;
        let layer = container.as_ref().map_or(id, |c| c.layer.as_str());
        let stack = self.stack_options(layer, container.as_ref(), options)?;
        let _graph = FileLock::shared(&self.layout.graph_lock)?;
        let _layers = FileLock::shared(&self.layout.layer_locks()[0])?;
        let mut mounts = Mounts::lock(self)?;
        if let Some((path, count)) = mounts.get(layer) {
            let path = path.to_owned();
            if self.still_mounted(&path)? {
                mounts.set(layer, &path, count + 1)?;
                return Ok(path);
            }
        }
        let path = match self.uncounted(layer)? {
            Some(path) => path,
            None => self.stack(layer, &stack)?,
        };
        failpoint!("mount.mounted");
        if let Err(e) = mounts.set(layer, &path, 1) {
            let _ = self.unstack(layer);
            return Err(e);
        }
        Ok(path)
    }

    fn stack_options(
        &self,
        layer: &str,
        container: Option<&ContainerRecord>,
        options: &MountOptions,
    ) -> Result<StackOptions> {
        let recorded = container.map(ContainerRecord::id_mappings).unwrap_or_default();
        let mut id_maps = options.id_maps.clone().unwrap_or(recorded);
        if !id_maps.is_empty() && self.layer(layer)?.id_mappings() == id_maps {
            // Its files belong to the right owners already.
            id_maps = IdMappings::default();
        }
        let label = options
            .label
            .clone()
            .or_else(|| container.map(|c| c.mount_label().to_owned()))
            .unwrap_or_default();
        let own = container.map(ContainerRecord::mount_options).unwrap_or_default();
        Ok(StackOptions {
            read_only: options.read_only,
            volatile: options.volatile || container.is_some_and(ContainerRecord::volatile),
            label,
            options: if options.options.is_empty() { own } else { options.options.clone() },
            id_maps,
        })
    }

    /// Undoes one [`Store::mount`], or all with `force`; unmounts at the last. `true`: still mounted.
    ///
    /// Only the lock of the mount counts is taken, so that the end of a container waits for nobody's pull.
    pub fn unmount(&self, id: &str, force: bool) -> Result<bool> {
        let layer = file::found(self.container(id))?.map_or_else(|| id.to_owned(), |c| c.layer);
        let mut mounts = Mounts::lock(self)?;
        let known = mounts.get(&layer).map(|(path, count)| (path.to_owned(), count));
        if let Some((path, count)) = &known
            && *count > 1
            && !force
            && self.still_mounted(path)?
        {
            mounts.set(&layer, path, count - 1)?;
            return Ok(true);
        }
        self.unstack(&layer)?;
        failpoint!("unmount.unmounted");
        if let Some((path, _)) = known {
            mounts.set(&layer, &path, 0)?;
        }
        Ok(false)
    }

    /// Where a container or layer is mounted; `None` if it is not.
    pub fn mounted(&self, id: &str) -> Result<Option<PathBuf>> {
        let layer = file::found(self.container(id))?.map_or_else(|| id.to_owned(), |c| c.layer);
        let mounts = Mounts::lock(self)?;
        match mounts.get(&layer) {
            Some((path, _)) if self.still_mounted(path)? => Ok(Some(path.to_owned())),
            _ => Ok(None),
        }
    }

    /// Every layer that is mounted and counted: where, and how often.
    pub fn mounts(&self) -> Result<HashMap<String, (PathBuf, i64)>> {
        let mounts = Mounts::lock(self)?;
        let mut found = HashMap::new();
        for (layer, path, count) in mounts.all().filter(|(_, _, count)| *count > 0) {
            if self.still_mounted(path)? {
                found.insert(layer.to_owned(), (path.to_owned(), count));
            }
        }
        Ok(found)
    }

    /// Mounts an image read-only. Undone by [`Store::unmount`] with the returned layer's ID.
    pub fn mount_image(&self, id: &str, options: &MountOptions) -> Result<(String, PathBuf)> {
        let image = self.image(id)?;
        let top = image.top_layer.ok_or_else(|| layer_missing("of an image without content"))?;
        let options = MountOptions { read_only: true, ..options.clone() };
        let path = self.mount(&top, &options)?;
        Ok((top, path))
    }

    /// Mounts an image read-only at `target`, a directory of the caller's, who unmounts it; it is counted nowhere. Returns where
    /// its files are: there, or for vfs in the store itself. Owners are shifted by `id_maps`, where the kernel lets us.
    pub fn show_image(&self, id: &str, target: &Path, id_maps: &IdMappings) -> Result<PathBuf> {
        let image = self.image(id)?;
        let top = image.top_layer.ok_or_else(|| layer_missing("of an image without content"))?;
        // In a user namespace trees of others cannot be shifted.
        let id_maps = if self.options.rootless { IdMappings::default() } else { id_maps.clone() };
        let options = MountOptions { read_only: true, id_maps: Some(id_maps), ..MountOptions::default() };
        let stack = self.stack_options(&top, None, &options)?;
        let _graph = FileLock::shared(&self.layout.graph_lock)?;
        let _layers = FileLock::shared(&self.layout.layer_locks()[0])?;
        // Shifted trees have a place of their own while the mount is made.
        let _mounts = Mounts::lock(self)?;
        let directory = self.layer_dir(&top).ok_or_else(|| layer_missing(&top))?;
        self.stack_at(&top, &directory, target, &stack)?;
        Ok(if self.driver == Driver::Vfs { directory.path } else { target.to_owned() })
    }

    /// Where we mounted a layer whose count somebody dropped: podman, which unmounts where it mounts itself.
    pub fn uncounted(&self, layer: &str) -> Result<Option<PathBuf>> {
        let path = self.layout.run_home.join(layer).join("merged");
        Ok((self.driver == Driver::Overlay && is_mount_point(&path)?).then_some(path))
    }

    /// Whether a counted mount is there. A layer of vfs is a directory: there the count is all.
    fn still_mounted(&self, path: &Path) -> Result<bool> {
        Ok(self.driver == Driver::Vfs || is_mount_point(path)?)
    }

    /// The record behind a container's or layer's ID.
    pub(super) fn layer_of(&self, id: &str) -> Result<LayerRecord> {
        let layer = file::found(self.container(id))?.map_or_else(|| id.to_owned(), |c| c.layer);
        self.layer(&layer)
    }
}
