//! What is in layers and images: sizes, directories, the original tar stream.

use super::layout::{Driver, big_data_name};
use super::overlay::layer_missing;
use super::{ImageRecord, LayerRecord, Store, diff};
use crate::engine::host::rooted::open_directory;
use crate::engine::host::tree;
use crate::engine::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

/// The directories of a layer, as `inspect` shows them under `GraphDriver`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerPaths {
    /// The layer's own files.
    pub upper: PathBuf,
    /// Overlay's work directory; empty with vfs.
    pub work: PathBuf,
    /// Where it is mounted if it is; empty with vfs.
    pub merged: PathBuf,
    /// The layers below, the uppermost first.
    pub lower: Vec<PathBuf>,
}

impl Store {
    /// The directories of a container's or layer's file system.
    pub fn layer_paths(&self, id: &str) -> Result<LayerPaths> {
        let layer = super::file::found(self.container(id))?.map_or_else(|| id.to_owned(), |c| c.layer);
        let directory = self.layer_dir(&layer).ok_or_else(|| layer_missing(&layer))?;
        if self.driver == Driver::Vfs {
            return Ok(LayerPaths { upper: directory.path, ..LayerPaths::default() });
        }
        Ok(LayerPaths {
            upper: directory.path.join("diff"),
            work: directory.path.join("work"),
            merged: self.merged_dir(&layer, &directory),
            lower: self.overlay_lower_diffs(&directory)?,
        })
    }

    /// Writes the layer's tar stream, byte for byte what was applied. [`ErrorKind::Unsupported`] for a layer that was
    /// not made from one.
    pub fn layer_diff_tar(&self, id: &str, out: &mut dyn Write) -> Result<()> {
        let layer = self.layer_of(id)?;
        let mut candidates = vec![self.layout.tar_split(&layer.id)];
        if let Some(directory) = &self.layout.image_layers {
            candidates.push(directory.join(format!("{}.tar-split.gz", layer.id)));
        }
        candidates.extend(self.additional(&format!("layers/{}.tar-split.gz", layer.id)));
        let Some(path) = candidates.iter().find(|p| p.exists()) else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("layer {} was not made from a tar archive", layer.id),
            ));
        };
        let tar_split = File::open(path).map_err(|e| Error::io("open", path, e))?;
        let diff = self.layer_paths(&layer.id)?.upper;
        let fd = open_directory(&diff)?;
        diff::reassemble(BufReader::new(tar_split), fd.as_fd(), out)
    }

    /// Bytes in a layer's own files: those of its archive, or what is on disk.
    pub fn layer_size(&self, id: &str) -> Result<u64> {
        let layer = self.layer_of(id)?;
        match recorded_size(&layer) {
            Some(size) => Ok(size),
            None => self.directory_size(&layer.id),
        }
    }

    fn directory_size(&self, layer: &str) -> Result<u64> {
        let directory = self.layer_dir(layer).ok_or_else(|| layer_missing(layer))?;
        let own = if self.driver == Driver::Vfs { directory.path } else { directory.path.join("diff") };
        tree::size(&own)
    }

    /// Bytes of each layer below and including `top`, the lowest first.
    pub fn layer_sizes(&self, top: Option<&str>) -> Result<Vec<u64>> {
        let mut sizes = Vec::new();
        let mut next = top.map(str::to_owned);
        while let Some(id) = next.take() {
            let layer = self.layer_of(&id)?;
            sizes.push(self.layer_size(&layer.id)?);
            next = layer.parent;
        }
        sizes.reverse();
        Ok(sizes)
    }

    /// Bytes of an image: all its layers and big data.
    pub fn image_size(&self, id: &str) -> Result<u64> {
        let image = self.image(id)?;
        Ok(self.sizes_of(std::slice::from_ref(&image))?.remove(&image.id).unwrap_or_default())
    }

    /// [`Store::image_size`] of many images by ID, reading the layers once.
    pub fn sizes_of(&self, images: &[ImageRecord]) -> Result<HashMap<String, u64>> {
        let records = self.layers()?;
        let layers: HashMap<&str, &LayerRecord> = records.iter().map(|l| (l.id.as_str(), l)).collect();
        let mut sizes = HashMap::with_capacity(images.len());
        for image in images {
            let mut size = image.big_data_sizes.total();
            let mut next = image.top_layer.as_deref();
            while let Some(layer) = next.and_then(|id| layers.get(id)) {
                size += match recorded_size(layer) {
                    Some(size) => size,
                    None => self.directory_size(&layer.id)?,
                };
                next = layer.parent.as_deref();
            }
            sizes.insert(image.id.clone(), size);
        }
        Ok(sizes)
    }

    /// Bytes a container wrote.
    pub fn container_rw_size(&self, id: &str) -> Result<u64> {
        self.directory_size(&self.container(id)?.layer)
    }

    /// The file of an image's big data item, for programs that read it themselves.
    pub fn image_big_data_path(&self, id: &str, key: &str) -> PathBuf {
        self.layout.images.join(id).join(big_data_name(key))
    }
}

fn recorded_size(layer: &LayerRecord) -> Option<u64> {
    if layer.diff_digest.is_none() && layer.toc_digest.is_none() {
        return None;
    }
    u64::try_from(layer.diff_size).ok()
}
