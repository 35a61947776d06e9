//! Syncing: which images are to be copied where, as `skopeo sync` has it.

use std::path::{Path, PathBuf};

use super::request::RegistryAccess;
use super::sync_list;
use super::transfer::tags;
use crate::engine::registry::Reference;
use crate::engine::transport::Location;
use crate::engine::{Context, Digest, Engine, Error, Result};

/// What stands on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Repositories of a registry.
    Registry,
    /// Directories of `dir:`, one for each image.
    Directory,
    /// Images of registries, listed in a YAML file: a source only.
    List,
}

/// What to bring where.
#[derive(Clone, Debug)]
pub struct SyncRequest {
    /// What the source is.
    pub from: Side,
    /// What the destination is.
    pub to: Side,
    /// A repository (all its tags), an image, or a directory below which there are images.
    pub source: String,
    /// A registry with or without a path, or a directory.
    pub destination: String,
    /// Whether images keep their whole names below the destination, not the last part of it alone.
    pub scoped: bool,
    /// What is appended to tags.
    pub suffix: String,
}

/// One image to copy.
#[derive(Clone, Debug)]
pub struct Step {
    /// From where.
    pub source: Location,
    /// To where.
    pub destination: Location,
    /// How the source's registry is reached, where that is different for each.
    pub access: Option<RegistryAccess>,
}

/// Deepest directory that is looked into.
const MAX_DEPTH: usize = 16;

/// What is to be copied, in the order of the tags or names.
///
/// # Errors
/// `NotFound` if there is nothing; those of asking the registry for its tags.
pub fn plan(engine: &Engine, request: &SyncRequest, access: &RegistryAccess) -> Result<Vec<Step>> {
    let images = match request.from {
        Side::List => return listed(engine, request, access),
        Side::Registry => repository(engine, &request.source, access)?,
        Side::Directory => {
            let root = Path::new(&request.source);
            let mut found = Vec::new();
            directories(root, root, 0, &mut found)?;
            found.sort();
            found.into_iter().map(|(path, name)| (Location::Directory(path), name)).collect()
        }
    };
    if images.is_empty() {
        return Err(Error::not_found(format!("there are no images in {}", request.source)));
    }
    images.into_iter().map(|(source, name)| step(request, source, &name, None)).collect()
}

fn step(request: &SyncRequest, source: Location, name: &str, access: Option<RegistryAccess>) -> Result<Step> {
    let name = if request.scoped { name } else { name.rsplit('/').next().unwrap_or(name) };
    let target = format!("{}/{name}{}", request.destination.trim_end_matches('/'), request.suffix);
    let destination = match request.to {
        Side::Registry => {
            Reference::parse(&target)?;
            Location::Registry(target)
        }
        Side::Directory => Location::Directory(target.into()),
        Side::List => return Err(Error::invalid("a list of images is no destination")),
    };
    Ok(Step { source, destination, access })
}

/// What a YAML file lists.
fn listed(engine: &Engine, request: &SyncRequest, access: &RegistryAccess) -> Result<Vec<Step>> {
    let path = Path::new(&request.source);
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    let lists = sync_list::parse(&text).with_context(|| path.display().to_string())?;
    let mut steps = Vec::new();
    for list in lists {
        let access = RegistryAccess {
            credentials: list.credentials.or_else(|| access.credentials.clone()),
            tls_verify: list.tls_verify.or(access.tls_verify),
            cert_dir: list.cert_dir.or_else(|| access.cert_dir.clone()),
            ..access.clone()
        };
        for (repository, which) in list.repositories {
            let full = format!("{}/{repository}", list.registry);
            let name = Reference::parse(&full)?;
            let chosen = which.choose(|| tags(&engine.config, &full, &access).map(|(_, tags)| tags))?;
            if chosen.is_empty() {
                tracing::warn!("no tags of {full} are wanted");
            }
            for tag in chosen {
                let image = match Digest::parse(&tag) {
                    Ok(digest) => name.clone().with_digest(digest),
                    Err(_) => name.clone().with_tag(&tag)?,
                };
                let image = image.to_string();
                steps.push(step(request, Location::Registry(image.clone()), &image, Some(access.clone()))?);
            }
        }
    }
    match steps.is_empty() {
        true => Err(Error::not_found(format!("there are no images in {}", path.display()))),
        false => Ok(steps),
    }
}

fn repository(engine: &Engine, source: &str, access: &RegistryAccess) -> Result<Vec<(Location, String)>> {
    let reference = Reference::parse(source)?;
    let all = match reference.tag().is_some() || reference.digest().is_some() {
        true => vec![reference],
        false => {
            let (name, tags) = tags(&engine.config, source, access)?;
            tags.iter().map(|tag| name.clone().with_tag(tag)).collect::<Result<_>>()?
        }
    };
    Ok(all.into_iter().map(|r| (Location::Registry(r.to_string()), r.to_string())).collect())
}

fn directories(root: &Path, at: &Path, depth: usize, found: &mut Vec<(PathBuf, String)>) -> Result<()> {
    if at.join("manifest.json").is_file() {
        let name = at.strip_prefix(root).ok().and_then(Path::to_str).filter(|name| !name.is_empty());
        let own = at.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        found.push((at.to_owned(), name.unwrap_or(own).to_owned()));
        return Ok(());
    }
    if depth > MAX_DEPTH {
        return Ok(());
    }
    for entry in std::fs::read_dir(at).map_err(|e| Error::io("read", at, e))?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            directories(root, &entry.path(), depth + 1, found)?;
        }
    }
    Ok(())
}
