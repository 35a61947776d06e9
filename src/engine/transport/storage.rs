//! An image in the store, as a source: its layers are archives, made again from tar-split.

use super::{BlobStream, Held, Source};
use crate::engine::registry::{Content, Descriptor, Document, Manifest};
use crate::engine::store::{ImageRecord, LayerRecord, SignatureSizes, Store};
use crate::engine::trust::Signature;
use crate::engine::{Digest, Error, Result};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// An image of a store.
pub struct StorageSource<'a> {
    store: &'a Store,
    image: ImageRecord,
    manifest: Manifest,
    /// Lowest first; as many as the manifest has.
    layers: Vec<LayerRecord>,
}

impl<'a> StorageSource<'a> {
    /// `Corrupt` if the image has no manifest, or not the layers it names.
    pub fn new(store: &'a Store, image: ImageRecord) -> Result<Self> {
        let raw = store.image_big_data(&image.id, "manifest")?;
        let digest = Digest::sha256(&raw);
        let Document::Manifest(manifest) = Document::parse(raw, digest, None)? else {
            return Err(Error::corrupt(format!(
                "image {} is recorded with an index instead of a manifest",
                image.id
            )));
        };
        let layers = chain(store, image.top_layer.as_deref())?;
        if layers.len() != manifest.layers.len() {
            return Err(Error::corrupt(format!(
                "image {} has {} layers in the store and {} in its manifest",
                image.id,
                layers.len(),
                manifest.layers.len()
            )));
        }
        Ok(Self { store, image, manifest, layers })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn record(&self, layer: &Descriptor) -> Result<&LayerRecord> {
        let at = self.manifest.layers.iter().position(|l| std::ptr::eq(l, layer) || l.digest == layer.digest);
        at.and_then(|at| self.layers.get(at))
            .ok_or_else(|| Error::not_found(format!("image {} has no layer {}", self.image.id, layer.digest)))
    }
}

/// The big data item with the signatures of the manifest that the image is recorded with.
pub const SIGNATURES: &str = "signatures";

/// The big data item with the signatures of a manifest.
pub fn signatures_key(manifest: &Digest) -> String {
    format!("signature-{}", manifest.hex())
}

fn chain(store: &Store, top: Option<&str>) -> Result<Vec<LayerRecord>> {
    let mut chain = Vec::new();
    let mut next = top.map(str::to_owned);
    while let Some(id) = next.take() {
        let layer = store.layer(&id)?;
        next.clone_from(&layer.parent);
        chain.push(layer);
    }
    chain.reverse();
    Ok(chain)
}

impl Source for StorageSource<'_> {
    fn describe(&self) -> String {
        match self.image.names.first() {
            Some(name) => name.clone(),
            None => format!("image {}", self.image.id),
        }
    }

    fn document(&self) -> Result<Document> {
        Ok(Document::Manifest(self.manifest.clone()))
    }

    fn child(&self, descriptor: &Descriptor) -> Result<Document> {
        Err(Error::not_found(format!("{} has no instance {}", self.describe(), descriptor.digest)))
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.store.image_big_data(&self.image.id, descriptor.digest.as_str())
    }

    fn held(&self, layer: &Descriptor) -> Result<Held> {
        let record = self.record(layer)?;
        let diff_id = record.diff_digest.clone().ok_or_else(|| {
            Error::unsupported(format!(
                "layer {} was not made from an archive that could be made again",
                record.id
            ))
        })?;
        Ok(Held::Archive { diff_id, size: u64::try_from(record.diff_size).ok() })
    }

    fn layer<'a>(&'a self, layer: &'a Descriptor) -> Result<Box<dyn Content + 'a>> {
        Ok(Box::new(Archive { store: self.store, id: &self.record(layer)?.id }))
    }

    /// Nothing is brought into the store that is there.
    fn reader<'a>(&'a self, layer: &'a Descriptor, _: &Arc<AtomicBool>) -> Result<Box<dyn BlobStream + 'a>> {
        Err(Error::unsupported(format!("layer {} is in this store", layer.digest)))
    }

    fn signatures(&self, manifest: &Digest) -> Result<Vec<Signature>> {
        let sizes = SignatureSizes::parse(&self.image.metadata)?;
        let (key, sizes) = match sizes.of(manifest) {
            Some(sizes) => (signatures_key(manifest), sizes),
            None if *manifest == self.manifest.digest => (SIGNATURES.to_owned(), sizes.main()),
            None => return Ok(Vec::new()),
        };
        if sizes.is_empty() {
            return Ok(Vec::new());
        }
        let damaged = || {
            Error::corrupt(format!("the signatures of image {} are not as long as recorded", self.image.id))
                .with_hint("pull it again, or leave them out with --remove-signatures")
        };
        let bytes = self.store.image_big_data(&self.image.id, &key)?;
        let mut rest = bytes.as_slice();
        let mut found = Vec::new();
        for size in sizes {
            let (one, after) = rest.split_at_checked(*size).ok_or_else(damaged)?;
            found.push(Signature::from_bytes(one)?);
            rest = after;
        }
        if rest.is_empty() { Ok(found) } else { Err(damaged()) }
    }
}

/// The archive of a layer.
struct Archive<'a> {
    store: &'a Store,
    id: &'a str,
}

impl Content for Archive<'_> {
    fn write_to(&self, out: &mut dyn Write) -> Result<()> {
        self.store.layer_diff_tar(self.id, out)
    }
}
