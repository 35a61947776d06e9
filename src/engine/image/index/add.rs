//! Adding images to a list.

use super::entry::{Annotations, entry};
use super::{List, is_index};
use crate::engine::image::lookup::{Found, find};
use crate::engine::image::pull::candidates;
use crate::engine::image::request::{RegistryAccess, client};
use crate::engine::image::{config_of, raw_manifest};
use crate::engine::registry::manifest::MAX_CONFIG;
use crate::engine::registry::{
    Descriptor, Document, Manifest, Platform, PlatformRequest, Reference, Repository,
};
use crate::engine::store::ImageRecord;
use crate::engine::{Context, Digest, Engine, Error, ErrorKind, Result};

/// What to add to a list, and what to say of it.
#[derive(Clone, Debug, Default)]
pub struct AddRequest {
    /// The list.
    pub list: String,
    /// An image: a name with or without a transport, or an ID.
    pub image: String,
    /// Every instance of an index, not the one for this host.
    pub all: bool,
    /// What to say of it beyond what it says itself.
    pub annotations: Annotations,
    /// How the registry is reached.
    pub access: RegistryAccess,
}

/// Adds an image; returns the list's ID and the digest of what was added (the first of several).
///
/// A name is looked for at its registry first, then here, as podman does; `localhost/…` and IDs are here only.
pub fn add(engine: &Engine, request: &AddRequest) -> Result<(String, Digest)> {
    let described = describe(engine, request).with_context(|| format!("add {}", request.image))?;
    // Locked after the registry has answered, which may take its time.
    let mut list = List::named(engine, &request.list)?;
    let first = described.entries.first().map(|d| d.digest.clone());
    let first = first.ok_or_else(|| Error::invalid(format!("{} has no instances", request.image)))?;
    for (descriptor, own) in described.entries.iter().zip(&described.raw) {
        let mut value = own.clone().unwrap_or_else(|| entry(descriptor));
        request.annotations.apply(&mut value);
        list.put(value, Some(described.place.clone()))?;
    }
    list.save(engine)?;
    Ok((list.id, first))
}

struct Described {
    place: String,
    entries: Vec<Descriptor>,
    /// The entries as another index has them.
    raw: Vec<Option<serde_json::Value>>,
}

fn describe(engine: &Engine, request: &AddRequest) -> Result<Described> {
    let text = request.image.as_str();
    if let Some(name) = text.strip_prefix("docker://") {
        return remote(engine, request, &[Reference::parse(name)?.or_latest()]);
    }
    if let Some(name) = text.strip_prefix("containers-storage:") {
        let name = name.split_once(']').map_or(name, |(_, name)| name);
        return here(engine, request, &find(engine, name.trim_start_matches('@'))?);
    }
    let found = match find(engine, text) {
        Ok(found) => Some(found),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    let local_only = |f: &Found| f.name.as_ref().is_none_or(|n| n.domain() == "localhost");
    if let Some(found) = found.as_ref().filter(|f| local_only(f)) {
        return here(engine, request, found);
    }
    let (names, _) = candidates(text, client(engine, &request.access)?.registries())?;
    match (remote(engine, request, &names), found) {
        (Err(e), Some(found)) => {
            tracing::debug!("{e}; the local image is added");
            here(engine, request, &found)
        }
        (described, _) => described,
    }
}

/// An image of the store.
fn here(engine: &Engine, request: &AddRequest, found: &Found) -> Result<Described> {
    let image = &found.image;
    if is_index(image) {
        return nested(engine, request, image);
    }
    let raw = raw_manifest(engine, image)?;
    let digest = Digest::sha256(&raw);
    let Document::Manifest(manifest) = Document::parse(raw, digest, None)? else {
        return Err(Error::corrupt(format!("image {} is recorded with an index", image.id)));
    };
    let platform = config_of(engine, image)?.platform();
    let place = format!("containers-storage:{}@{}", store_words(engine), image.id);
    Ok(Described { place, entries: vec![descriptor(&manifest, Some(platform))], raw: vec![None] })
}

/// The store in containers/image's words.
fn store_words(engine: &Engine) -> String {
    let store = &engine.store;
    format!("[{}@{}+{}]", store.driver_name(), store.graph_root().display(), store.run_root().display())
}

/// The instances of another list.
fn nested(engine: &Engine, request: &AddRequest, image: &ImageRecord) -> Result<Described> {
    let index = super::parse(raw_manifest(engine, image)?)?;
    let chosen =
        if request.all { index.manifests.clone() } else { vec![index.choose(&wanted(request))?.clone()] };
    let place = format!("containers-storage:{}@{}", store_words(engine), image.id);
    let raw = chosen.iter().map(|d| own_entry(&index.raw, &d.digest)).collect();
    Ok(Described { place, entries: chosen, raw })
}

fn wanted(request: &AddRequest) -> PlatformRequest {
    PlatformRequest {
        os: request.annotations.os.clone(),
        architecture: request.annotations.architecture.clone(),
        variant: request.annotations.variant.clone(),
    }
}

/// An image at a registry.
fn remote(engine: &Engine, request: &AddRequest, names: &[Reference]) -> Result<Described> {
    let client = client(engine, &request.access)?;
    let mut failed = None;
    for name in names {
        for source in client.sources(name)? {
            match source.any_manifest(name.tag_or_digest()) {
                Ok(document) => return describe_remote(request, name, &source, document),
                Err(e) => failed = failed.or(Some(e)),
            }
        }
    }
    Err(failed.unwrap_or_else(|| Error::not_found(format!("{}: no such image", request.image))))
}

fn describe_remote(
    request: &AddRequest,
    name: &Reference,
    source: &Repository,
    document: Document,
) -> Result<Described> {
    let place = format!("docker://{name}");
    let index = match document {
        Document::Manifest(manifest) => {
            let config = source.small_blob(&manifest.config, MAX_CONFIG).context("image configuration")?;
            let platform = crate::engine::image::ImageConfig::parse(&config).ok().map(|c| c.platform());
            return Ok(Described { place, entries: vec![descriptor(&manifest, platform)], raw: vec![None] });
        }
        Document::Index(index) => index,
    };
    let chosen =
        if request.all { index.manifests.clone() } else { vec![index.choose(&wanted(request))?.clone()] };
    let raw = chosen.iter().map(|d| own_entry(&index.raw, &d.digest)).collect();
    Ok(Described { place, entries: chosen, raw })
}

/// The entry of an index as it stands there, with all its members.
fn own_entry(index: &[u8], digest: &Digest) -> Option<serde_json::Value> {
    let document: serde_json::Value = serde_json::from_slice(index).ok()?;
    document["manifests"].as_array()?.iter().find(|e| e["digest"].as_str() == Some(digest.as_str())).cloned()
}

pub(super) fn descriptor(manifest: &Manifest, platform: Option<Platform>) -> Descriptor {
    Descriptor {
        media_type: manifest.media_type.clone(),
        digest: manifest.digest.clone(),
        size: manifest.raw.len() as u64,
        urls: Vec::new(),
        platform: platform.filter(|p| !p.os.is_empty() || !p.architecture.is_empty()),
        annotations: None,
    }
}
