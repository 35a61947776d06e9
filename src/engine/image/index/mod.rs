//! Manifest lists that are put together here: indexes of images that may be local or at a registry.
//!
//! One is an image of the store without layers, as libimage keeps it (`libimage/manifests/manifests.go`): the big data
//! `manifest` is the index, `instances.json` says where each instance's image is, `artifacts.json` has the manifests and
//! blobs of artifacts that were made for it. Whoever changes one holds the store's lock of the digest `sha256:ID`, as
//! podman and buildah do.

mod add;
mod artifact;
mod entry;
mod push;
mod read;

pub use add::{AddRequest, add};
pub use artifact::{ArtifactRequest, add_artifact};
pub use entry::{Annotations, annotate};
pub use push::{IndexPush, push};
pub use read::{Read, Shown, read};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

use super::lookup::{Found, find, no_such_image};
use super::tag::new_name;
use crate::engine::host::random;
use crate::engine::registry::manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX};
use crate::engine::registry::{Document, Index, PlatformRequest};
use crate::engine::store::{BigData, BlobLocks, ImageRecord, NewImage};
use crate::engine::{Context, Digest, Engine, Error, ErrorKind, Result};
use crate::failpoint;

const INSTANCES: &str = "instances.json";
const ARTIFACTS: &str = "artifacts.json";

/// Whether a record is such a list.
pub fn is_index(image: &ImageRecord) -> bool {
    image.top_layer.is_none() && image.big_data_names.iter().any(|name| name == INSTANCES)
}

/// A list, read under its lock.
pub struct List {
    /// The record's ID.
    pub id: String,
    /// The index.
    document: Map<String, Value>,
    /// Where instances are, in containers/image's words: `docker://…`, `containers-storage:…`.
    instances: BTreeMap<String, String>,
    artifacts: Artifacts,
    _lock: BlobLocks,
}

/// Artifacts that are in the list and nowhere else; the names are libimage's.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Artifacts {
    /// Manifests by digest, as text.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    manifests: BTreeMap<String, String>,
    /// The files a manifest is about.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    files: BTreeMap<String, Vec<String>>,
    /// The configuration of a manifest.
    #[serde(rename = "config", skip_serializing_if = "BTreeMap::is_empty")]
    configs: BTreeMap<String, String>,
    /// The layers of a manifest.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    layers: BTreeMap<String, Vec<String>>,
    /// Blobs that are files.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    detached: BTreeMap<String, String>,
    /// Blobs kept here, in base64.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    blobs: BTreeMap<String, String>,
}

/// Finds the list that `name` means.
///
/// `NotFound` if there is no such image, or if it is one.
pub fn lookup(engine: &Engine, name: &str) -> Result<Found> {
    let found = find(engine, name)?;
    if is_index(&found.image) {
        return Ok(found);
    }
    Err(Error::not_found(format!("{name}: image is not a manifest list")))
}

/// Makes an empty list; returns its ID.
///
/// `Conflict` if an image or list has that name, unless `amend`: then it is that list.
pub fn create(engine: &Engine, name: &str, amend: bool, annotations: &[(String, String)]) -> Result<String> {
    let full = new_name(name)?.to_string();
    let taken = || Error::new(ErrorKind::Conflict, format!("that name is already in use: {full}"));
    match find(engine, &full) {
        Ok(found) if amend && is_index(&found.image) => {
            let id = found.image.id.clone();
            if !annotations.is_empty() {
                let mut list = List::open(engine, &id)?;
                list.annotate(annotations);
                list.save(engine)?;
            }
            return Ok(id);
        }
        Ok(_) if amend => return Err(taken().with_hint("it is an image, not a manifest list")),
        Ok(_) => return Err(taken().with_hint("add to it with --amend, or remove it first")),
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let id = hex::encode(random::bytes::<32>()?);
    let document = json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": []});
    let mut list = List {
        _lock: lock(engine, &id)?,
        id: id.clone(),
        document: document.as_object().cloned().unwrap_or_default(),
        instances: BTreeMap::new(),
        artifacts: Artifacts::default(),
    };
    list.annotate(annotations);
    failpoint!("manifest.before-create");
    list.write(engine, vec![full])?;
    Ok(id)
}

fn lock(engine: &Engine, id: &str) -> Result<BlobLocks> {
    engine.store.lock_blobs(&[Digest::parse(&format!("sha256:{id}"))?])
}

/// Takes an instance out of a list; returns the list's ID.
///
/// `NotFound` if it is not in it.
pub fn remove(engine: &Engine, name: &str, instance: &str) -> Result<String> {
    let digest = Digest::parse(instance).with_context(|| format!("invalid image digest {instance:?}"))?;
    let mut list = List::named(engine, name)?;
    let entries = list.entries_mut()?;
    let before = entries.len();
    entries.retain(|entry| entry["digest"].as_str() != Some(digest.as_str()));
    if entries.len() == before {
        return Err(Error::not_found(format!("no instance {digest} found in {name}")));
    }
    list.save(engine)?;
    Ok(list.id)
}

/// The index as it is stored.
///
/// `NotFound` as [`lookup`].
pub fn raw(engine: &Engine, name: &str) -> Result<Vec<u8>> {
    super::raw_manifest(engine, &lookup(engine, name)?.image)
}

/// The image that a list stands for on this host: the instance for `platform`, if it is here.
///
/// `NotFound`, with the place of the instance, if it is not.
pub fn instance(engine: &Engine, list: &ImageRecord, platform: &PlatformRequest) -> Result<ImageRecord> {
    let index = parse(super::raw_manifest(engine, list)?)?;
    let chosen = index.choose(platform)?;
    if let Some(image) = local(engine, &chosen.digest)? {
        return Ok(image);
    }
    let places = places(engine, &list.id);
    let missing = no_such_image(chosen.digest.as_str());
    Err(match places.get(chosen.digest.as_str()).and_then(|place| place.strip_prefix("docker://")) {
        Some(place) => missing.with_hint(format!("pull {place} first: the manifest list only names it")),
        None => missing,
    })
}

/// Where the instances of a list are.
fn places(engine: &Engine, id: &str) -> BTreeMap<String, String> {
    let raw = engine.store.image_big_data(id, INSTANCES).unwrap_or_default();
    serde_json::from_slice(&raw).unwrap_or_default()
}

/// The image here that has this manifest.
fn local(engine: &Engine, digest: &Digest) -> Result<Option<ImageRecord>> {
    let images = engine.store.images()?;
    Ok(images.into_iter().find(|image| !is_index(image) && image.digests().contains(digest)))
}

fn parse(raw: Vec<u8>) -> Result<Index> {
    let digest = Digest::sha256(&raw);
    match Document::parse_any(raw, digest, None)? {
        Document::Index(index) => Ok(index),
        Document::Manifest(_) => Err(Error::corrupt("a manifest list is recorded as a manifest")),
    }
}

impl List {
    /// The list that `name` means, locked.
    fn named(engine: &Engine, name: &str) -> Result<Self> {
        Self::open(engine, &lookup(engine, name)?.image.id)
    }

    fn open(engine: &Engine, id: &str) -> Result<Self> {
        let lock = lock(engine, id)?;
        let bad =
            |what: &str, e: serde_json::Error| Error::corrupt(format!("{what} of manifest list {id}: {e}"));
        let raw = engine.store.image_big_data(id, "manifest")?;
        let document = serde_json::from_slice(&raw).map_err(|e| bad("index", e))?;
        let instances = engine.store.image_big_data(id, INSTANCES)?;
        let instances = serde_json::from_slice::<Option<_>>(&instances).map_err(|e| bad(INSTANCES, e))?;
        let artifacts = match engine.store.image_big_data(id, ARTIFACTS) {
            Ok(raw) => serde_json::from_slice(&raw).map_err(|e| bad(ARTIFACTS, e))?,
            Err(e) if e.kind() == ErrorKind::NotFound => Artifacts::default(),
            Err(e) => return Err(e),
        };
        Ok(Self {
            id: id.to_owned(),
            document,
            instances: instances.unwrap_or_default(),
            artifacts,
            _lock: lock,
        })
    }

    /// The entries; libimage writes `null` for none.
    fn entries_mut(&mut self) -> Result<&mut Vec<Value>> {
        let entries = self.document.entry("manifests").or_insert_with(|| json!([]));
        if entries.is_null() {
            *entries = json!([]);
        }
        entries.as_array_mut().ok_or_else(|| Error::corrupt("the manifests of a manifest list are no list"))
    }

    fn entries(&self) -> impl Iterator<Item = &Value> {
        self.document.get("manifests").and_then(Value::as_array).into_iter().flatten()
    }

    /// Puts an entry in; one of the same digest is replaced.
    fn put(&mut self, entry: Value, place: Option<String>) -> Result<()> {
        let digest = entry["digest"].as_str().unwrap_or_default().to_owned();
        let entries = self.entries_mut()?;
        match entries.iter_mut().find(|e| e["digest"] == entry["digest"]) {
            Some(old) => *old = entry,
            None => entries.push(entry),
        }
        if let Some(place) = place {
            self.instances.entry(digest).or_insert(place);
        }
        Ok(())
    }

    /// Annotations of the list itself.
    fn annotate(&mut self, annotations: &[(String, String)]) {
        for (key, value) in annotations {
            let all = self.document.entry("annotations").or_insert_with(|| json!({}));
            all[key.as_str()] = value.as_str().into();
        }
    }

    /// Docker's form holds as long as there is nothing in the list that it has no place for.
    fn media_type(&self) -> &'static str {
        let docker = |entry: &Value| {
            entry["mediaType"] == DOCKER_MANIFEST
                && entry.get("annotations").is_none()
                && entry.get("artifactType").is_none()
        };
        let whole =
            ["annotations", "subject", "artifactType"].iter().all(|key| !self.document.contains_key(*key));
        if whole && self.entries().all(docker) { DOCKER_LIST } else { OCI_INDEX }
    }

    fn save(&mut self, engine: &Engine) -> Result<()> {
        self.write(engine, Vec::new())
    }

    /// The index comes last: places that nothing names do no harm.
    fn write(&mut self, engine: &Engine, names: Vec<String>) -> Result<()> {
        let media_type = self.media_type();
        self.document.insert("mediaType".to_owned(), media_type.into());
        let raw = text(&self.document)?;
        parse(raw.clone())?;
        let digest = Digest::sha256(&raw);
        let item = |key: &str, data: Vec<u8>| BigData { key: key.to_owned(), data, digest: None };
        let image = NewImage {
            id: self.id.clone(),
            names,
            digest: Some(digest.clone()),
            big_data: vec![
                item(ARTIFACTS, text(&self.artifacts)?),
                item(INSTANCES, text(&self.instances)?),
                BigData { digest: Some(digest), ..item("manifest", raw) },
            ],
            ..NewImage::default()
        };
        engine.store.create_image(image)?;
        failpoint!("manifest.written");
        Ok(())
    }
}

fn text(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|e| Error::corrupt(format!("a manifest list that is no JSON: {e}")))
}
