//! A docker archive (`docker save`): a tar with `manifest.json`, or with `repositories` and a directory for each layer,
//! as it was before Docker 1.10.
//!
//! `manifest.json` names files; nothing says what is in them. A layer that is a plain tar has its DiffID for its digest; a
//! compressed one (bazel, containerd) is often named by its digest, and else is hashed. From that a manifest is made, so
//! that the image goes the way of every other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Deserialize;
use serde_json::json;

use super::docker_legacy;
use super::files::{Files, Stretch};
use super::layout::Blob;
use super::location::Chosen;
use super::{BlobStream, Source};
use crate::engine::registry::manifest::{
    DOCKER_CONFIG, DOCKER_MANIFEST, MAX_CONFIG, MAX_LAYERS, OCI_CONFIG, OCI_MANIFEST,
};
use crate::engine::registry::{Content, Descriptor, Document, Manifest, Reference};
use crate::engine::store::diff::Compression;
use crate::engine::{Context, Digest, Error, Result};

/// Largest `manifest.json`.
const MAX_INDEX: u64 = 4 << 20;
/// Most images of one archive.
const MAX_IMAGES: usize = 10_000;

/// An archive.
#[derive(Debug)]
pub struct DockerArchive {
    files: Files,
    what: String,
    items: Vec<Item>,
}

/// An image as the archive lists it.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its names.
    pub names: Vec<Reference>,
    kind: ItemKind,
}

#[derive(Clone, Debug)]
enum ItemKind {
    Files { config: String, layers: Vec<String> },
    Legacy { id: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

impl DockerArchive {
    /// Whether these files are one.
    pub fn is(files: &Files) -> Result<bool> {
        Ok(files.get("manifest.json")?.is_some() || files.get("repositories")?.is_some())
    }

    /// `what` it is, for messages.
    ///
    /// `Corrupt` if it has neither `manifest.json` nor `repositories`, or they cannot be understood.
    pub fn open(files: Files, what: String) -> Result<Self> {
        let items = match files.get("manifest.json")? {
            Some(list) => listed(&list.read("manifest.json", MAX_INDEX)?),
            None => match files.get("repositories")? {
                Some(list) => legacy(&list.read("repositories", MAX_INDEX)?),
                None => Err(Error::corrupt("it has neither manifest.json nor repositories")),
            },
        };
        let items = items.with_context(|| format!("{what} is no docker archive"))?;
        if items.len() > MAX_IMAGES {
            return Err(Error::corrupt(format!("{what} has more than {MAX_IMAGES} images")));
        }
        Ok(Self { files, what, items })
    }

    /// What it lists.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// One image, with its configuration read and its layers found.
    ///
    /// `NotFound` if it is not there; `Invalid` if there are several and none was chosen.
    pub fn choose(self: &Arc<Self>, chosen: &Chosen) -> Result<ArchivedImage> {
        let item = match chosen {
            Chosen::Index(index) => self.items.get(*index).ok_or_else(|| {
                Error::not_found(format!("{} has {} images, none is @{index}", self.what, self.items.len()))
            })?,
            Chosen::Name(name) => {
                let name = Reference::parse(name)?.or_latest();
                let found = self.items.iter().find(|item| item.names.contains(&name));
                found.ok_or_else(|| {
                    Error::not_found(format!("{} has no image {}", self.what, name.familiar()))
                        .with_hint(format!("it has {}", self.names()))
                })?
            }
            Chosen::Only => match &self.items[..] {
                [only] => only,
                [] => return Err(Error::not_found(format!("{} has no image", self.what))),
                _ => {
                    return Err(Error::invalid(format!("{} has several images", self.what))
                        .with_hint(format!("append one of: {}", self.names())));
                }
            },
        };
        self.image(item)
    }

    fn names(&self) -> String {
        let name = |(i, item): (usize, &Item)| {
            item.names.first().map_or_else(|| format!("@{i}"), Reference::familiar)
        };
        self.items.iter().enumerate().map(name).collect::<Vec<_>>().join(", ")
    }

    /// One of [`DockerArchive::items`].
    pub fn image(self: &Arc<Self>, item: &Item) -> Result<ArchivedImage> {
        let (config, layers) = match &item.kind {
            ItemKind::Files { config, layers } => {
                let config = self.files.read(config, MAX_CONFIG).with_context(|| self.what.clone())?;
                (config, self.layers(layers)?)
            }
            ItemKind::Legacy { id } => {
                let image = docker_legacy::image(&self.files, id).with_context(|| self.what.clone())?;
                (image.config, image.layers)
            }
        };
        let name = item.names.first().map(Reference::familiar);
        let manifest = manifest(&config, &layers)?;
        let layers = manifest.layers.iter().map(|l| l.digest.clone()).zip(layers.into_iter().map(|l| l.file));
        Ok(ArchivedImage {
            what: name.map_or_else(|| self.what.clone(), |name| format!("{name} in {}", self.what)),
            layers: layers.collect(),
            config,
            manifest,
        })
    }

    fn layers(&self, names: &[String]) -> Result<Vec<LayerFile>> {
        if names.len() > MAX_LAYERS {
            return Err(Error::corrupt(format!("{} layers, more than {MAX_LAYERS}", names.len())));
        }
        let find = |name: &String| {
            let missing = || Error::corrupt(format!("{} has no file {name}", self.what));
            let file = self.files.get(name)?.ok_or_else(missing)?;
            let compression = file.compression()?;
            let digest = match compression {
                Compression::None => None,
                _ => Some(named_digest(name).map_or_else(|| file.digest(), Ok)?),
            };
            Ok(LayerFile { file, compression, digest })
        };
        names.iter().map(find).collect()
    }
}

/// A layer's file.
#[derive(Debug)]
pub(super) struct LayerFile {
    pub(super) file: Stretch,
    pub(super) compression: Compression,
    /// Of the file; `None`: it is the DiffID.
    pub(super) digest: Option<Digest>,
}

/// `blobs/sha256/HEX`, `HEX.tar.gz`: the digest is checked when the layer is read.
fn named_digest(name: &str) -> Option<Digest> {
    let base = name.rsplit('/').next()?;
    let hex = base.split('.').next()?;
    Digest::parse(base.strip_suffix(".tar.gz").unwrap_or(base))
        .ok()
        .or_else(|| Digest::parse(&format!("sha256:{hex}")).ok())
}

fn listed(raw: &[u8]) -> Result<Vec<Item>> {
    let listed: Vec<Listed> =
        serde_json::from_slice(raw).map_err(|e| Error::corrupt(format!("manifest.json: {e}")))?;
    let item = |one: Listed| {
        let names = one.repo_tags.unwrap_or_default();
        let names = names.iter().filter(|name| !name.is_empty() && *name != "<none>:<none>");
        let names =
            names.map(|name| Reference::parse(name).map(Reference::or_latest)).collect::<Result<_>>()?;
        let kind = ItemKind::Files { config: one.config, layers: one.layers.unwrap_or_default() };
        Ok(Item { names, kind })
    };
    listed.into_iter().map(item).collect()
}

fn legacy(raw: &[u8]) -> Result<Vec<Item>> {
    let repositories: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_slice(raw).map_err(|e| Error::corrupt(format!("repositories: {e}")))?;
    let mut items: Vec<Item> = Vec::new();
    for (repository, tags) in repositories {
        for (tag, id) in tags {
            let name = Reference::parse(&repository)?.with_tag(&tag)?;
            let same =
                |item: &&mut Item| matches!(&item.kind, ItemKind::Legacy { id: other } if *other == id);
            match items.iter_mut().find(same) {
                Some(item) => item.names.push(name),
                None => items.push(Item { names: vec![name], kind: ItemKind::Legacy { id } }),
            }
        }
    }
    Ok(items)
}

/// The manifest that such an image would have.
fn manifest(config: &[u8], layers: &[LayerFile]) -> Result<Manifest> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(default)]
        rootfs: Option<RootFs>,
    }
    #[derive(Deserialize)]
    struct RootFs {
        #[serde(default)]
        diff_ids: Option<Vec<Digest>>,
    }
    let parsed: Config =
        serde_json::from_slice(config).map_err(|e| Error::corrupt(format!("image configuration: {e}")))?;
    let diff_ids = parsed.rootfs.and_then(|r| r.diff_ids).unwrap_or_default();
    if diff_ids.len() != layers.len() {
        return Err(Error::corrupt(format!(
            "the image's configuration has {} DiffIDs, manifest.json {} layers",
            diff_ids.len(),
            layers.len()
        )));
    }
    let oci = layers
        .iter()
        .any(|l| matches!(l.compression, Compression::Zstd | Compression::Xz | Compression::Bzip2));
    let base = match oci {
        true => "application/vnd.oci.image.layer.v1.tar",
        false => "application/vnd.docker.image.rootfs.diff.tar",
    };
    let described = layers.iter().zip(&diff_ids).map(|(layer, diff_id)| {
        let media_type = match (layer.compression, oci) {
            (Compression::None, _) => base.to_owned(),
            (Compression::Zstd, _) => format!("{base}+zstd"),
            (Compression::Xz, _) => format!("{base}+xz"),
            (Compression::Bzip2, _) => format!("{base}+bzip2"),
            (Compression::Gzip, true) => format!("{base}+gzip"),
            (Compression::Gzip, false) => format!("{base}.gzip"),
        };
        json!({"mediaType": media_type, "size": layer.file.size(), "digest": layer.digest.as_ref().unwrap_or(diff_id)})
    });
    let document = json!({
        "schemaVersion": 2,
        "mediaType": if oci { OCI_MANIFEST } else { DOCKER_MANIFEST },
        "config": {
            "mediaType": if oci { OCI_CONFIG } else { DOCKER_CONFIG },
            "size": config.len(),
            "digest": Digest::sha256(config),
        },
        "layers": described.collect::<Vec<_>>(),
    });
    let raw = document.to_string().into_bytes();
    let digest = Digest::sha256(&raw);
    match Document::parse(raw, digest, None)? {
        Document::Manifest(manifest) => Ok(manifest),
        Document::Index(_) => Err(Error::corrupt("an image became an index")),
    }
}

/// One image of an archive.
#[derive(Debug)]
pub struct ArchivedImage {
    what: String,
    config: Vec<u8>,
    manifest: Manifest,
    layers: Vec<(Digest, Stretch)>,
}

impl ArchivedImage {
    fn file(&self, layer: &Descriptor) -> Result<&Stretch> {
        let found = self.layers.iter().find(|(digest, _)| *digest == layer.digest);
        found
            .map(|(_, file)| file)
            .ok_or_else(|| Error::not_found(format!("{} has no layer {}", self.what, layer.digest)))
    }
}

impl Source for ArchivedImage {
    fn describe(&self) -> String {
        self.what.clone()
    }

    fn document(&self) -> Result<Document> {
        Ok(Document::Manifest(self.manifest.clone()))
    }

    fn child(&self, descriptor: &Descriptor) -> Result<Document> {
        Err(Error::not_found(format!("{} has no instance {}", self.what, descriptor.digest)))
    }

    fn config(&self, _: &Descriptor) -> Result<Vec<u8>> {
        Ok(self.config.clone())
    }

    fn layer<'a>(&'a self, layer: &'a Descriptor) -> Result<Box<dyn Content + 'a>> {
        Ok(Box::new(self.file(layer)?.clone()))
    }

    fn reader<'a>(&'a self, layer: &'a Descriptor, _: &Arc<AtomicBool>) -> Result<Box<dyn BlobStream + 'a>> {
        Ok(Box::new(Blob::new(self.file(layer)?, &layer.digest)))
    }
}
