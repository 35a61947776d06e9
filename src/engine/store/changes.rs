//! What a layer or a container has changed, as a list and as the tar of a new layer; and everything in it, as a tar.

use super::backend::Backend;
use super::diff::channel::channel;
use super::diff::create::{
    Archive, ArchiveOptions, Change, ChangeKind, List, Node, Sink, Tree, Upper, Without, compare, everything,
    overlay,
};
use super::diff::{Applied, apply};
use super::layout::Driver;
use super::overlay::layer_missing;
use super::{StagedLayer, Store, file};
use crate::engine::host::rooted::open_directory;
use crate::engine::spec::IdMappings;
use crate::engine::{Error, Result};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::fd::{AsFd, OwnedFd};

/// Says of a file that it stays out of an archive.
pub type LeaveOut<'a> = &'a dyn Fn(&[u8], &Node) -> bool;

impl Store {
    /// What the container or layer `id` changed of what is below it.
    pub fn changes(&self, id: &str) -> Result<Vec<Change>> {
        let mut list = List::default();
        self.send_changes(id, &mut list)?;
        Ok(list.into_changes())
    }

    /// What makes the layer or container `from` into `to`.
    pub fn changes_between(&self, from: &str, to: &str) -> Result<Vec<Change>> {
        let (from, to) = (self.view(from)?, self.view(to)?);
        let mut list = List::default();
        let new = Tree { root: to.root(), id_maps: &to.id_maps };
        compare(new, Some(Tree { root: from.root(), id_maps: &from.id_maps }), &mut list)?;
        Ok(list.into_changes())
    }

    /// Writes the changes of a container or layer as the tar of an image's layer, owners as inside of its user
    /// namespace. Two runs over the same files write the same bytes.
    pub fn write_changes(&self, id: &str, leave_out: LeaveOut<'_>, out: &mut dyn Write) -> Result<()> {
        let mut archive = Archive::new(out, self.archive_options(self.maps_of(id)?));
        self.send_changes(id, &mut Without { leave_out, sink: &mut archive })?;
        archive.finish().map(drop)
    }

    /// Writes the whole file system of a container or layer as a tar, owners as inside of its user namespace.
    pub fn write_tree(&self, id: &str, leave_out: LeaveOut<'_>, out: &mut dyn Write) -> Result<()> {
        let view = self.view(id)?;
        let mut archive = Archive::new(out, self.archive_options(view.id_maps.clone()));
        everything(view.root(), &mut Without { leave_out, sink: &mut archive })?;
        archive.finish().map(drop)
    }

    /// Unpacks the changes of a container (or `everything` in it, squashed into one layer) as a layer that can be
    /// committed. The archive passes from one thread to another and is nowhere whole.
    pub fn stage_changes(
        &self,
        id: &str,
        everything: bool,
        leave_out: &(dyn Fn(&[u8], &Node) -> bool + Sync),
    ) -> Result<(StagedLayer, Applied)> {
        let staged = self.stage_layer()?;
        let options = self.apply_options()?;
        let path = staged.tar_split_path();
        let split = File::create(&path).map_err(|e| Error::io("create", &path, e))?;
        let (mut source, drain) = channel();
        let applied = std::thread::scope(|scope| {
            scope.spawn(move || {
                let written = match everything {
                    true => self.write_tree(id, &|path, node| leave_out(path, node), &mut source),
                    false => self.write_changes(id, &|path, node| leave_out(path, node), &mut source),
                };
                if let Err(e) = written {
                    source.fail(e);
                }
            });
            apply(drain, staged.dir(), BufWriter::new(split), &options)
        })?;
        Ok((staged, applied))
    }

    /// Writes what is new or modified in a container as a tar without marks, and returns what is gone: paths relative to the root.
    /// Unpacked over the image's files, and those removed, they are the container's again, whatever knows of no marks.
    pub fn write_difference(
        &self,
        id: &str,
        leave_out: LeaveOut<'_>,
        out: &mut dyn Write,
    ) -> Result<Vec<Vec<u8>>> {
        let mut gone = Gone::default();
        self.send_changes(id, &mut gone)?;
        let mut archive = Archive::new(out, self.archive_options(self.maps_of(id)?));
        let mut present = Present(&mut archive);
        let mut without = Without { leave_out, sink: &mut present };
        if gone.opaque {
            // A directory that was made anew says of nothing below it that it is gone.
            gone.paths.clear();
            self.compare_with_parent(id, &mut gone)?;
            self.compare_with_parent(id, &mut without)?;
        } else {
            self.send_changes(id, &mut without)?;
        }
        archive.finish()?;
        Ok(gone.paths)
    }

    fn compare_with_parent(&self, id: &str, sink: &mut dyn Sink) -> Result<()> {
        let new = self.view(id)?;
        let parent = self.layer_of(id)?.parent;
        let old = parent.as_deref().map(|parent| self.view(parent)).transpose()?;
        let old = old.as_ref().map(|old| Tree { root: old.root(), id_maps: &old.id_maps });
        compare(Tree { root: new.root(), id_maps: &new.id_maps }, old, sink)
    }

    fn send_changes(&self, id: &str, sink: &mut dyn Sink) -> Result<()> {
        let layer = self.layer_of(id)?;
        if self.must_compare()? {
            return self.compare_with_parent(id, sink);
        }
        let directory = self.layer_dir(&layer.id).ok_or_else(|| layer_missing(&layer.id))?;
        let root = open_directory(&directory.path.join("diff"))?;
        let lowers = self.overlay_lowers(&directory)?;
        let lowers: Vec<OwnedFd> = lowers.iter().map(|path| open_directory(path)).collect::<Result<_>>()?;
        let whiteouts = self.apply_options()?.whiteouts;
        overlay(&Upper { root: root.as_fd(), lowers: &lowers, whiteouts }, sink)
    }

    /// Whether the upper directory does not say everything: vfs has none, and with `metacopy` and `redirect_dir` it
    /// names files and directories that are below (overlay's documentation, "Metadata only copy up"). Both need
    /// attributes that user namespaces do not have.
    fn must_compare(&self) -> Result<bool> {
        if self.driver == Driver::Vfs {
            return Ok(true);
        }
        if *self.backend()? != Backend::Native || self.options.rootless {
            return Ok(false);
        }
        let mut options = self.driver_options.mount_options.iter();
        let parameter = |name: &str| {
            let path = format!("/sys/module/overlay/parameters/{name}");
            fs::read_to_string(path).is_ok_and(|text| text.starts_with('Y'))
        };
        Ok(options.any(|o| o == "metacopy=on" || o == "redirect_dir=on")
            || parameter("metacopy")
            || parameter("redirect_dir"))
    }

    fn maps_of(&self, id: &str) -> Result<IdMappings> {
        match file::found(self.container(id))? {
            Some(container) => Ok(container.id_mappings()),
            None => Ok(self.layer(id)?.id_mappings()),
        }
    }

    fn archive_options(&self, id_maps: IdMappings) -> ArchiveOptions {
        let overrides = self.driver_options.force_mask.is_some();
        ArchiveOptions { id_maps, subsecond: false, overrides, sparse: false }
    }
}

/// Collects what is gone.
#[derive(Default)]
struct Gone {
    paths: Vec<Vec<u8>>,
    /// A directory hides all that was below it.
    opaque: bool,
}

impl Sink for Gone {
    fn wants_kinds(&self) -> bool {
        false
    }

    fn present(&mut self, _: &[u8], _: &Node, _: ChangeKind) -> Result<()> {
        Ok(())
    }

    fn deleted(&mut self, path: &[u8], _: Option<&Node>) -> Result<()> {
        self.paths.push(path.to_vec());
        Ok(())
    }

    fn opaque(&mut self, _: &[u8], _: &Node) -> Result<()> {
        self.opaque = true;
        Ok(())
    }
}

/// Passes on what is there.
struct Present<'a>(&'a mut dyn Sink);

impl Sink for Present<'_> {
    fn wants_kinds(&self) -> bool {
        self.0.wants_kinds()
    }

    fn present(&mut self, path: &[u8], node: &Node, kind: ChangeKind) -> Result<()> {
        self.0.present(path, node, kind)
    }

    fn deleted(&mut self, _: &[u8], _: Option<&Node>) -> Result<()> {
        Ok(())
    }

    fn opaque(&mut self, _: &[u8], _: &Node) -> Result<()> {
        Ok(())
    }
}
