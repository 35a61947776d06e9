//! Pushing: a local image to a repository.

use super::find;
use super::index::{self, IndexPush};
use super::request::{RegistryAccess, client, parallel, registry_target};
use super::told::tell;
use crate::engine::registry::{Document, Reference};
use crate::engine::transport::storage::StorageSource;
use crate::engine::transport::{CopyOptions, KnownBlobs, Progress, copy};
use crate::engine::{Context, Digest, Engine, Error, Result};

/// What to push, and how.
#[derive(Clone, Debug, Default)]
pub struct PushRequest {
    /// The local image: a name or an ID.
    pub image: String,
    /// Where to; `None`: the image's own name.
    pub destination: Option<String>,
    /// How the registry is reached.
    pub access: RegistryAccess,
    /// The form of manifest and layers.
    pub options: CopyOptions,
}

/// What the registry has now.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// By this name.
    pub name: Reference,
    /// Digest of the manifest.
    pub digest: Digest,
    /// Bytes of the manifest.
    pub size: usize,
}

/// Pushes one image. `started` hears the name it will have, before anything is sent.
///
/// `NotFound` if there is no such image here; `Unauthorized`, `Network` as they are.
pub fn push(
    engine: &Engine,
    request: &PushRequest,
    started: &dyn Fn(&Reference),
    progress: &dyn Progress,
) -> Result<Pushed> {
    let found = find(engine, &request.image)?;
    if index::is_index(&found.image) {
        let list = IndexPush {
            list: found.image.id,
            destination: request.destination.clone().or(found.name.map(|name| name.to_string())),
            all: true,
            remove: false,
            access: request.access.clone(),
            options: request.options.clone(),
        };
        return index::push(engine, &list, started, progress);
    }
    let name = match (&request.destination, &found.name) {
        (Some(destination), _) => Reference::parse(destination)?.or_latest(),
        (None, Some(name)) => name.clone(),
        (None, None) => {
            return Err(Error::invalid(format!(
                "image {} was given by its ID: where is it to be pushed to?",
                request.image
            ))
            .with_hint("push ID REGISTRY/NAME, or give it a name with `tag` first"));
        }
    };
    if name.domain() == "localhost" && request.destination.is_none() {
        return Err(Error::invalid(format!("{name} is the name of an image of this host, of no registry"))
            .with_hint(format!(
                "push {} REGISTRY/NAME, or give it such a name with `tag` first",
                request.image
            )));
    }
    if !request.options.platform.is_custom() {
        return push_image(engine, request, &found.image.id, name, started, progress);
    }
    let config = super::config_of(engine, &found.image)?;
    if !request.options.platform.accepts(&config.platform()) {
        return Err(Error::not_found(format!(
            "image {} is for {}, not for the platform asked for",
            request.image,
            config.platform()
        )));
    }
    push_image(engine, request, &found.image.id, name, started, progress)
}

fn push_image(
    engine: &Engine,
    request: &PushRequest,
    id: &str,
    name: Reference,
    started: &dyn Fn(&Reference),
    progress: &dyn Progress,
) -> Result<Pushed> {
    let source = StorageSource::new(&engine.store, engine.store.image(id)?)?;
    let target = registry_target(engine, &client(engine, &request.access)?, &name)?;
    started(&name);
    let known = KnownBlobs::new(engine.store.graph_root());
    let options =
        CopyOptions { parallel: parallel(engine, request.options.parallel), ..request.options.clone() };
    let copied = copy(&source, &target, &known, &options, progress)
        .with_context(|| format!("push {}", name.familiar()))?;
    tell(engine, "push", id, &name.to_string());
    let size = match &copied.document {
        Document::Manifest(manifest) => manifest.raw.len(),
        Document::Index(index) => index.raw.len(),
    };
    Ok(Pushed { digest: copied.digest().clone(), name, size })
}

/// The names that the images here have in the repository of `name`, for `push --all-tags`.
///
/// `NotFound` if there is none; `Invalid` if `name` has a tag or a digest.
pub fn tags(engine: &Engine, name: &str) -> Result<Vec<Reference>> {
    let asked = Reference::parse(name)?;
    if asked.tag().is_some() || asked.digest().is_some() {
        return Err(Error::invalid("tag can't be used with --all-tags/-a"));
    }
    let mut found: Vec<Reference> = Vec::new();
    for image in engine.store.images()? {
        let names = image.names.iter().filter_map(|n| Reference::parse(n).ok());
        found.extend(names.filter(|n| n.name() == asked.name() && n.tag().is_some()));
    }
    found.sort();
    if found.is_empty() {
        return Err(Error::not_found(format!(
            "An image does not exist locally with the tag: {}",
            asked.familiar_name()
        )));
    }
    Ok(found)
}
