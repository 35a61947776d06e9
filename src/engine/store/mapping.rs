//! Layers for containers in a user namespace of their own (upstream's `imageTopLayerForMapping`).
//!
//! Best the kernel shifts owners when the layer is mounted: idmapped mounts, or fuse-overlayfs. Where it cannot (a
//! user's own overlay), the image gets a second top layer whose files are chowned once and shared by all containers
//! with the same maps.

use super::backend::Backend;
use super::containers::Parent;
use super::images::Images;
use super::layers::Layers;
use super::layout::Driver;
use super::overlay::NewDir;
use super::pending::{Note, Pending};
use super::stack::{StackOptions, map_text};
use super::{ImageRecord, LayerRecord, Store, file};
use crate::engine::host::lock::FileLock;
use crate::engine::host::mount;
use crate::engine::host::quota::Limits;
use crate::engine::host::random;
use crate::engine::spec::{IdMapping, IdMappings, to_container, to_host};
use crate::engine::{Error, ErrorKind, Result};
use jiff::Timestamp;
use std::collections::HashSet;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;

impl Store {
    /// What a new container's layer stands on. `images` is the read lock of the images, given up when the image must
    /// be changed: the layers are locked, and whoever deletes an image needs those.
    pub(super) fn container_parent(
        &self,
        layers: &mut Layers<'_>,
        image: Option<&ImageRecord>,
        maps: &IdMappings,
        images: FileLock,
    ) -> Result<Parent> {
        let Some(image) = image else { return Ok(Parent::default()) };
        let Some(top) = &image.top_layer else { return Ok(Parent::default()) };
        if maps.is_empty() || self.can_shift()? {
            return Ok(Parent { layer: Some(top.clone()), id_maps: IdMappings::default() });
        }
        for id in image.mapped_layers.iter().chain([top]) {
            if let Some(layer) = file::found(self.layer(id))?
                && layer.id_mappings() == *maps
            {
                return Ok(Parent { layer: Some(layer.id), id_maps: maps.clone() });
            }
        }
        drop(images);
        let mapped = self.make_mapped(layers, image, top, maps)?;
        Ok(Parent { layer: Some(mapped), id_maps: maps.clone() })
    }

    /// Whether owners can be shifted by the mount.
    pub fn can_shift(&self) -> Result<bool> {
        if self.driver == Driver::Vfs {
            return Ok(false);
        }
        match self.backend()? {
            Backend::Program(_) => Ok(true),
            Backend::Native if self.options.rootless => Ok(false),
            Backend::Native => self.remembered("idmapped-lower-dir", || Ok(self.try_shift().is_ok())),
        }
    }

    fn try_shift(&self) -> Result<()> {
        let base = self.layout.home.join(format!("compat{}", super::random_name()?));
        for name in ["merged", "view", "lower", "upper", "work"] {
            file::make_dirs(&base.join(name), 0o700)?;
        }
        let map = [IdMapping { container_id: 0, host_id: 0, size: 65536 }];
        let (view, merged) = (base.join("view"), base.join("merged"));
        let tried = mount::user_namespace(&map_text(&map), &map_text(&map)).and_then(|namespace| {
            let tree = mount::clone_tree(&base.join("lower"))?;
            mount::id_map_tree(tree.as_fd(), namespace.as_fd())?;
            mount::attach(tree.as_fd(), &view)?;
            let lowers = [view.clone()];
            let upper = (base.join("upper"), base.join("work"));
            let overlay = mount::Overlay {
                lowers: &lowers,
                upper: Some((&upper.0, &upper.1)),
                options: &[],
                label: "",
            };
            let mounted = mount::overlay(&merged, &overlay);
            mount::detach(&merged)?;
            mounted
        });
        mount::detach(&view)?;
        file::remove_tree(&base)?;
        tried
    }

    fn make_mapped(
        &self,
        layers: &mut Layers<'_>,
        image: &ImageRecord,
        top: &str,
        maps: &IdMappings,
    ) -> Result<String> {
        if image.read_only {
            return Err(Error::unsupported(format!(
                "image {} lies in a read-only store, where its owners cannot be mapped",
                image.id
            )));
        }
        let template = self.layer(top)?;
        let id = random::id()?;
        let note = Note::write(self, &Pending::Layer { id: id.clone() })?;
        let root = maps.root().ok_or_else(|| Error::invalid("the ID maps do not map root"))?;
        self.make_layer_dir(&NewDir {
            id: &id,
            parent: Some(top),
            staged: None,
            root,
            image: true,
            limits: Limits::default(),
        })?;
        let made = self.chown_layer(&id, &template.id_mappings(), maps).and_then(|()| {
            let record = LayerRecord {
                id: id.clone(),
                created: Timestamp::now(),
                uid_map: maps.uids.clone(),
                gid_map: maps.gids.clone(),
                ..template.clone()
            };
            let location = self.layout.image_location();
            layers.file(location)?.push(&id, &record)?;
            layers.save(location)?;
            let tar_split = self.layout.tar_split(top);
            if tar_split.exists() {
                fs::copy(&tar_split, self.layout.tar_split(&id))
                    .map_err(|e| Error::io("copy", &tar_split, e))?;
            }
            Images::lock(self)?.add_mapped_layer(&image.id, &id)
        });
        match made {
            Ok(()) => {
                note.done();
                Ok(id)
            }
            Err(e) => {
                drop(layers.delete(std::slice::from_ref(&id))?);
                note.done();
                Err(e)
            }
        }
    }

    /// Mounts a layer for a moment and gives everything in it its new owner.
    fn chown_layer(&self, id: &str, from: &IdMappings, to: &IdMappings) -> Result<()> {
        tracing::debug!("mapping the owners in layer {id}");
        let root = self.stack(id, &StackOptions::default())?;
        let root = if self.driver == Driver::Vfs { self.vfs_dir(id) } else { root };
        let changed = Chown { from, to, seen: HashSet::new() }.tree(&root);
        self.unstack(id)?;
        changed
    }
}

struct Chown<'a> {
    from: &'a IdMappings,
    to: &'a IdMappings,
    /// Files with several names: once is enough, twice would map the mapped.
    seen: HashSet<(u64, u64)>,
}

impl Chown<'_> {
    fn tree(&mut self, path: &Path) -> Result<()> {
        let meta = fs::symlink_metadata(path).map_err(|e| Error::io("stat", path, e))?;
        if meta.is_dir() {
            for entry in fs::read_dir(path).map_err(|e| Error::io("read", path, e))? {
                self.tree(&entry.map_err(|e| Error::io("read", path, e))?.path())?;
            }
        } else if meta.nlink() > 1 && !self.seen.insert((meta.dev(), meta.ino())) {
            return Ok(());
        }
        self.one(path, &meta)
    }

    fn one(&self, path: &Path, meta: &fs::Metadata) -> Result<()> {
        let uid = remap(&self.from.uids, &self.to.uids, meta.uid(), path)?;
        let gid = remap(&self.from.gids, &self.to.gids, meta.gid(), path)?;
        let mut capability = [0u8; 64];
        let had = rustix::fs::lgetxattr(path, "security.capability", &mut capability).unwrap_or(0);
        lchown(path, Some(uid), Some(gid)).map_err(|e| Error::io("chown", path, e))?;
        // Changing the owner takes set-ID bits and capabilities away.
        if !meta.is_symlink() && meta.mode() & 0o6000 != 0 {
            fs::set_permissions(path, meta.permissions()).map_err(|e| Error::io("chmod", path, e))?;
        }
        if had > 0 {
            rustix::fs::lsetxattr(
                path,
                "security.capability",
                &capability[..had],
                rustix::fs::XattrFlags::empty(),
            )
            .map_err(|e| Error::io("set capabilities of", path, e))?;
        }
        Ok(())
    }
}

fn remap(from: &[IdMapping], to: &[IdMapping], id: u32, path: &Path) -> Result<u32> {
    to_container(from, id).and_then(|inside| to_host(to, inside)).ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            format!("ID {id} of {} is not in the ID maps of the container", path.display()),
        )
        .with_hint("map more IDs, with --uidmap, --gidmap or more subordinate IDs")
    })
}
