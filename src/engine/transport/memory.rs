//! An image in memory, as a source.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{BlobStream, Source};
use crate::engine::registry::{Content, Descriptor, Document, Manifest};
use crate::engine::{Error, Result};

/// An image whose layers are here.
pub struct MemoryImage {
    /// Its manifest.
    pub manifest: Manifest,
    /// Its configuration.
    pub config: Vec<u8>,
    /// Its layers' blobs, in the manifest's order.
    pub layers: Vec<Vec<u8>>,
}

impl MemoryImage {
    fn blob(&self, layer: &Descriptor) -> Result<&[u8]> {
        let at = self.manifest.layers.iter().position(|l| l.digest == layer.digest);
        let found = at.and_then(|at| self.layers.get(at)).map(Vec::as_slice);
        found.ok_or_else(|| Error::not_found(format!("there is no layer {}", layer.digest)))
    }
}

impl Source for MemoryImage {
    fn describe(&self) -> String {
        "an image in memory".to_owned()
    }

    fn document(&self) -> Result<Document> {
        Ok(Document::Manifest(self.manifest.clone()))
    }

    fn child(&self, descriptor: &Descriptor) -> Result<Document> {
        Err(Error::not_found(format!("there is no instance {}", descriptor.digest)))
    }

    fn config(&self, _: &Descriptor) -> Result<Vec<u8>> {
        Ok(self.config.clone())
    }

    fn layer<'a>(&'a self, layer: &'a Descriptor) -> Result<Box<dyn Content + 'a>> {
        Ok(Box::new(super::Bytes(self.blob(layer)?)))
    }

    fn reader<'a>(&'a self, layer: &'a Descriptor, _: &Arc<AtomicBool>) -> Result<Box<dyn BlobStream + 'a>> {
        Ok(Box::new(self.blob(layer)?))
    }
}
