//! The whole file system of a layer or container, to be read.

use super::backend::Backend;
use super::layout::Driver;
use super::mounts::Mounts;
use super::overlay::layer_missing;
use super::stack::StackOptions;
use super::{MountOptions, Store, file};
use crate::engine::host::mount;
use crate::engine::host::rooted::open_directory;
use crate::engine::spec::IdMappings;
use crate::engine::{Error, Result};
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// An open file system. Where it was mounted for this, it is unmounted when this is dropped.
#[derive(Debug)]
pub struct View<'s> {
    root: OwnedFd,
    /// The maps of the user namespace that owners are outside of.
    pub id_maps: IdMappings,
    mounted: Option<(&'s Store, String)>,
}

impl View<'static> {
    /// Of a directory that is no part of a store.
    pub fn of_directory(path: &Path) -> Result<Self> {
        Ok(Self { root: open_directory(path)?, id_maps: IdMappings::default(), mounted: None })
    }
}

impl View<'_> {
    /// Its root directory.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        if let Some((store, id)) = &self.mounted
            && let Err(e) = store.unmount(id, false)
        {
            tracing::debug!("{e}");
        }
    }
}

impl Store {
    /// Opens the file system of a container (by its ID) or of a layer: where it is mounted, else through a mount that
    /// nobody else sees and that goes with this process, else, where the kernel has none such, through a counted one.
    pub fn view(&self, id: &str) -> Result<View<'_>> {
        let container = file::found(self.container(id))?;
        let layer = container.as_ref().map_or(id, |c| c.layer.as_str());
        let id_maps = match &container {
            Some(container) => container.id_mappings(),
            None => self.layer(layer)?.id_mappings(),
        };
        let known = Mounts::lock(self)?.get(layer).map(|(path, _)| path.to_owned());
        if let Some(path) = known.filter(|path| mount::is_mount_point(path).unwrap_or(false)) {
            return Ok(View { root: open_directory(&path)?, id_maps, mounted: None });
        }
        // The kernel shifts owners of the layers below, but the container's own files have the shifted ones already.
        let mixed = !id_maps.is_empty() && self.layer(layer)?.id_mappings() != id_maps;
        if !mixed && let Some(root) = self.detached(layer)? {
            return Ok(View { root, id_maps, mounted: None });
        }
        let path =
            self.mount(id, &MountOptions { read_only: container.is_none(), ..MountOptions::default() })?;
        let mounted = Some((self, id.to_owned()));
        let root = match open_directory(&path) {
            Ok(root) => root,
            Err(e) => {
                self.unmount(id, false)?;
                return Err(e);
            }
        };
        Ok(View { root, id_maps, mounted })
    }

    /// All layers of it, read-only, mounted nowhere. `None`: there is no such thing here.
    fn detached(&self, layer: &str) -> Result<Option<OwnedFd>> {
        let directory = self.layer_dir(layer).ok_or_else(|| layer_missing(layer))?;
        if self.driver == Driver::Vfs {
            return open_directory(&directory.path).map(Some);
        }
        if *self.backend()? != Backend::Native || directory.path.join("composefs-data").exists() {
            return Ok(None);
        }
        let mut lowers = vec![directory.path.join("diff")];
        lowers.extend(self.overlay_lowers(&directory)?);
        if lowers.len() == 1 {
            // Without another one the kernel refuses; a directory is its own file system then.
            return open_directory(&lowers[0]).map(Some);
        }
        let options = self.read_options(&StackOptions { read_only: true, ..StackOptions::default() });
        let overlay = mount::Overlay { lowers: &lowers, upper: None, options: &options, label: "" };
        let Some(mount) = mount::detached_overlay(&directory.path, &overlay)? else { return Ok(None) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(&mount, ".", flags, Mode::empty())
            .map_err(|e| Error::io("open", &directory.path, e))?;
        Ok(Some(root))
    }
}
