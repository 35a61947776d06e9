//! A docker archive that is being written: a tar with `manifest.json`, as `docker save` and podman make it.
//!
//! Configurations are `HEX.json`, layers `HEX.tar`, uncompressed: their digests are the DiffIDs, so whoever loads the
//! archive gets the same image ID.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::sink::Sink;
use super::{BlobKind, LayerForm, Target};
use crate::engine::registry::manifest::DOCKER_MANIFEST;
use crate::engine::registry::{Content, Descriptor, Document, Reference, Uploaded};
use crate::engine::{Digest, Error, Result};

/// The archive, which may get several images.
pub struct DockerWriter {
    sink: Sink,
    images: Mutex<Vec<Item>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
    /// For `repositories`.
    #[serde(skip)]
    top: String,
}

impl DockerWriter {
    /// Into this tar.
    pub fn new(sink: Sink) -> Self {
        Self { sink, images: Mutex::default() }
    }

    /// The target for one image with these names.
    pub fn image(self: &Arc<Self>, names: Vec<Reference>) -> DockerTarget {
        DockerTarget { writer: Arc::clone(self), names }
    }

    fn finish(&self) -> Result<()> {
        let images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        let manifest =
            serde_json::to_vec(&*images).map_err(|e| Error::corrupt(format!("manifest.json: {e}")))?;
        let mut repositories: BTreeMap<String, BTreeMap<String, &str>> = BTreeMap::new();
        for image in images.iter() {
            for tag in &image.repo_tags {
                if let Some((name, tag)) = tag.rsplit_once(':') {
                    repositories.entry(name.to_owned()).or_default().insert(tag.to_owned(), &image.top);
                }
            }
        }
        let repositories =
            serde_json::to_vec(&repositories).map_err(|e| Error::corrupt(format!("repositories: {e}")))?;
        self.sink.write("manifest.json", &manifest)?;
        self.sink.write("repositories", &repositories)?;
        self.sink.finish()
    }
}

/// One image on its way into an archive.
pub struct DockerTarget {
    writer: Arc<DockerWriter>,
    names: Vec<Reference>,
}

fn config_name(digest: &Digest) -> String {
    format!("{}.json", digest.hex())
}

fn layer_name(digest: &Digest) -> String {
    format!("{}.tar", digest.hex())
}

impl Target for DockerTarget {
    fn describe(&self) -> String {
        self.writer.sink.describe()
    }

    fn refuses_signatures(&self) -> Option<&'static str> {
        Some("storing signatures for docker tar files is not supported")
    }

    fn form(&self) -> LayerForm {
        LayerForm::Plain
    }

    fn accepts(&self, media_type: &str) -> bool {
        media_type == DOCKER_MANIFEST
    }

    fn reuse(&self, blob: &Descriptor, _: &[String]) -> Result<bool> {
        let has = |name: String| self.writer.sink.has(&name, blob.size);
        Ok(has(config_name(&blob.digest)) || has(layer_name(&blob.digest)))
    }

    fn put(
        &self,
        kind: BlobKind,
        content: &dyn Content,
        expected: Option<&Digest>,
        size: Option<u64>,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<Uploaded> {
        match kind {
            BlobKind::Config => self.writer.sink.put(&config_name, content, expected, size, sent),
            BlobKind::Layer => self.writer.sink.put(&layer_name, content, expected, size, sent),
        }
    }

    fn put_document(&self, document: &Document, _: bool) -> Result<()> {
        let Document::Manifest(manifest) = document else {
            return Err(Error::unsupported("a docker archive holds one platform of an image"));
        };
        let names = self.names.iter().map(ToString::to_string);
        let config = config_name(&manifest.config.digest);
        let mut images = self.writer.images.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(same) = images.iter_mut().find(|image| image.config == config) {
            same.repo_tags.extend(names);
            same.repo_tags.sort();
            same.repo_tags.dedup();
            return Ok(());
        }
        images.push(Item {
            config,
            repo_tags: names.collect(),
            layers: manifest.layers.iter().map(|l| layer_name(&l.digest)).collect(),
            top: manifest.layers.last().map(|l| l.digest.hex().to_owned()).unwrap_or_default(),
        });
        Ok(())
    }

    fn finish(&self) -> Result<()> {
        self.writer.finish()
    }
}
