//! Reading a list here, or a manifest at a registry.

use super::{ImageRecord, is_index, parse};
use crate::engine::image::lookup::find;
use crate::engine::image::pull::candidates;
use crate::engine::image::raw_manifest;
use crate::engine::image::request::{RegistryAccess, client};
use crate::engine::registry::{Client, Descriptor, Document, Reference, Repository};
use crate::engine::{Digest, Engine, Error, ErrorKind, Result};

/// A manifest or index, and what is in it.
#[derive(Clone, Debug)]
pub struct Read {
    /// As it is stored.
    pub raw: Vec<u8>,
    /// What an index would say of it.
    pub descriptor: Descriptor,
    /// Whether it is an index.
    pub is_index: bool,
    /// Itself, or the manifests of the index as far as they can be had.
    pub manifests: Vec<Shown>,
}

/// One manifest.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its full name.
    pub name: String,
    /// What the index says of it.
    pub descriptor: Descriptor,
    /// As it is stored.
    pub raw: Vec<u8>,
}

/// Reads what `name` means: a list here, else a manifest or index at a registry, else an image here. `deep`: the manifests
/// of an index, too.
pub fn read(engine: &Engine, name: &str, access: &RegistryAccess, deep: bool) -> Result<Read> {
    let found = match find(engine, name.strip_prefix("containers-storage:").unwrap_or(name)) {
        Ok(found) => Some(found.image),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    let client = client(engine, access)?;
    if let Some(list) = found.as_ref().filter(|image| is_index(image)) {
        return local_list(engine, &client, list, deep);
    }
    let remote = candidates(name.strip_prefix("docker://").unwrap_or(name), client.registries())
        .and_then(|(names, _)| remote(&client, name, &names, deep));
    match (remote, found) {
        (Err(e), Some(image)) => {
            tracing::debug!("{e}; the local image is shown");
            let raw = raw_manifest(engine, &image)?;
            let document = Document::parse_any(raw.clone(), Digest::sha256(&raw), None)?;
            let descriptor = descriptor(&document);
            let name = image.names.first().cloned().unwrap_or(image.id);
            let manifests = vec![Shown { name, descriptor: descriptor.clone(), raw: raw.clone() }];
            Ok(Read { raw, descriptor, is_index: false, manifests })
        }
        (read, _) => read,
    }
}

fn descriptor(document: &Document) -> Descriptor {
    let (raw, digest, media_type) = match document {
        Document::Manifest(m) => (&m.raw, &m.digest, &m.media_type),
        Document::Index(i) => (&i.raw, &i.digest, &i.media_type),
    };
    Descriptor {
        media_type: media_type.clone(),
        digest: digest.clone(),
        size: raw.len() as u64,
        urls: Vec::new(),
        platform: None,
        annotations: None,
    }
}

fn remote(client: &Client, name: &str, names: &[Reference], deep: bool) -> Result<Read> {
    let mut failed = None;
    for name in names {
        for source in client.sources(name)? {
            match source.any_manifest(name.tag_or_digest()) {
                Ok(document) => return Ok(whole(&source, name, &document, deep)),
                Err(e) => failed = failed.or(Some(e)),
            }
        }
    }
    Err(failed.unwrap_or_else(|| Error::not_found(format!("{name}: no such manifest"))))
}

fn whole(source: &Repository, name: &Reference, document: &Document, deep: bool) -> Read {
    let own = descriptor(document);
    let (raw, is_index, manifests) = match document {
        Document::Manifest(m) => {
            let only = Shown { name: name.to_string(), descriptor: own.clone(), raw: m.raw.clone() };
            (m.raw.clone(), false, vec![only])
        }
        Document::Index(index) => {
            let one = |d: &Descriptor| {
                let raw = raw_of(source.any_manifest(d.digest.as_str()).ok()?);
                let name = format!("{}@{}", name.name(), d.digest);
                Some(Shown { name, descriptor: d.clone(), raw })
            };
            let inner = index.manifests.iter().filter(|_| deep);
            (index.raw.clone(), true, inner.filter_map(one).collect())
        }
    };
    Read { raw, descriptor: own, is_index, manifests }
}

fn raw_of(document: Document) -> Vec<u8> {
    match document {
        Document::Manifest(m) => m.raw,
        Document::Index(i) => i.raw,
    }
}

fn local_list(engine: &Engine, client: &Client, list: &ImageRecord, deep: bool) -> Result<Read> {
    let raw = raw_manifest(engine, list)?;
    let index = parse(raw.clone())?;
    let places = super::places(engine, &list.id);
    let mut manifests = Vec::new();
    for instance in index.manifests.iter().filter(|_| deep) {
        let digest = &instance.digest;
        let shown = match super::local(engine, digest)? {
            Some(image) => {
                let raw = raw_manifest(engine, &image)?;
                Some((image.names.first().cloned().unwrap_or(image.id), raw))
            }
            None => places.get(digest.as_str()).and_then(|p| p.strip_prefix("docker://")).and_then(|place| {
                let name = Reference::parse(place).ok()?.with_digest(digest.clone()).digest_over_tag();
                let found = client
                    .sources(&name)
                    .ok()?
                    .into_iter()
                    .find_map(|s| s.any_manifest(digest.as_str()).ok());
                Some((name.to_string(), raw_of(found?)))
            }),
        };
        if let Some((name, raw)) = shown {
            manifests.push(Shown { name, descriptor: instance.clone(), raw });
        }
    }
    Ok(Read { descriptor: descriptor(&Document::Index(index)), raw, is_index: true, manifests })
}
