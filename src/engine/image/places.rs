//! Places with a transport: opened as sources and targets of images.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::find;
use super::pull::locate_any;
use super::request::{RegistryAccess, client, registry_source, registry_target};
use crate::engine::registry::Reference;
use crate::engine::transport::daemon::Daemon;
use crate::engine::transport::directory::{Directory, DirectoryTarget};
use crate::engine::transport::docker_archive::DockerArchive;
use crate::engine::transport::docker_target::DockerWriter;
use crate::engine::transport::files::{Files, Index};
use crate::engine::transport::layout::Layout;
use crate::engine::transport::layout_target::LayoutWriter;
use crate::engine::transport::location::is_id;
use crate::engine::transport::sink::Sink;
use crate::engine::transport::storage::StorageSource;
use crate::engine::transport::{Chosen, LayerForm, Location, Source, Target};
use crate::engine::trust::{Policy, Rules, Scopes};
use crate::engine::{Context, Engine, Error, Result};

/// The directory for archives that must be written down before they can be read: `$TMPDIR`, containers.conf's
/// `image_copy_tmp_dir`, else /var/tmp.
pub fn temporary(engine: &Engine) -> PathBuf {
    let configured = engine.config.containers.engine.image_copy_tmp_dir.as_deref();
    match (engine.config.env.var("TMPDIR"), configured) {
        (Some(directory), _) => directory.into(),
        (None, Some("storage")) => engine.store.graph_root().to_owned(),
        (None, Some(directory)) => engine.config.env.expand(directory),
        (None, None) => "/var/tmp".into(),
    }
}

/// The files of an archive, or of a directory.
pub fn files(engine: &Engine, path: &Path) -> Result<Files> {
    if path.is_dir() {
        return Ok(Files::Directory(path.to_owned()));
    }
    let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    archive(engine, file, &path.display().to_string())
}

/// The files of an archive that is open, or comes through a pipe. `what` it is, for messages.
pub fn archive(engine: &Engine, file: File, what: &str) -> Result<Files> {
    let index = Index::of(file, &temporary(engine));
    Ok(Files::Archive(index.with_context(|| no_archive(what))?))
}

/// The files of an archive that is only to be had once, from its beginning to its end.
pub fn stream(engine: &Engine, from: impl Read, what: &str) -> Result<Files> {
    let index = Index::of_stream(from, &temporary(engine));
    Ok(Files::Archive(index.with_context(|| no_archive(what))?))
}

/// With podman's words, which scripts look for.
fn no_archive(what: &str) -> String {
    format!("{what} is no image archive: payload does not match any of the supported image formats")
}

/// The image layout at `path`.
pub(super) fn layout(engine: &Engine, path: &Path) -> Result<Arc<Layout>> {
    let what = path.display().to_string();
    match Layout::open(files(engine, path)?, what.clone())? {
        Ok(layout) => Ok(Arc::new(layout)),
        Err(_) => Err(Error::not_found(format!("{what} is no image layout: it has no index.json"))),
    }
}

/// The docker archive at `path`.
pub(super) fn docker_archive(engine: &Engine, path: &Path) -> Result<Arc<DockerArchive>> {
    DockerArchive::open(files(engine, path)?, path.display().to_string()).map(Arc::new)
}

/// The daemon that `DOCKER_HOST` names, else this host's.
pub(super) fn daemon(engine: &Engine) -> Result<Daemon> {
    Daemon::new(engine.config.env.var("DOCKER_HOST"), &temporary(engine))
}

/// Opens a place to read one image from.
///
/// # Errors
/// `NotFound` if there is none, `Invalid` if there are several and none was chosen.
pub fn source<'a>(
    engine: &'a Engine,
    location: &Location,
    access: &RegistryAccess,
) -> Result<Box<dyn Source + 'a>> {
    Ok(match location {
        Location::Name(name) | Location::Storage(name) => {
            Box::new(StorageSource::new(&engine.store, find(engine, name)?.image)?)
        }
        Location::Registry(name) => {
            let name = Reference::parse(name)?.digest_over_tag().or_latest();
            let repository = locate_any(&client(engine, access)?, &name)?;
            Box::new(registry_source(&engine.config, repository)?)
        }
        Location::Oci(path, chosen) | Location::OciArchive(path, chosen) => {
            Box::new(layout(engine, path)?.choose(chosen)?)
        }
        Location::DockerArchive(path, chosen) => Box::new(docker_archive(engine, path)?.choose(chosen)?),
        Location::Directory(path) => Box::new(Directory::new(path.clone())),
        Location::Daemon(name) => Box::new(daemon(engine)?.image(name)?),
    })
}

/// What policy.json wants of an image that comes from there. An image of the store was judged when it came there, and only
/// rules that are about the store judge it once more, as in podman.
///
/// `Denied` if it may be none.
pub(super) fn rules(engine: &Engine, policy: &Policy, location: &Location) -> Result<Option<Rules>> {
    let absolute =
        |path: &PathBuf| std::fs::canonicalize(path).unwrap_or_else(|_| engine.config.env.cwd.join(path));
    let scopes = match location {
        Location::Name(_) | Location::Storage(_) if !policy.mentions("containers-storage") => {
            return Ok(None);
        }
        Location::Name(name) | Location::Storage(name) => {
            let found = find(engine, name)?;
            let driver = engine.store.driver_name();
            Scopes::storage(driver, engine.store.graph_root(), found.name.as_ref(), &found.image.id)
        }
        Location::Registry(_) | Location::Daemon(_) => match (location, name_there(location)) {
            (Location::Registry(_), Some(name)) => Scopes::docker(&name),
            (_, name) => Scopes::daemon(name.as_ref()),
        },
        Location::Oci(path, _) => Scopes::path("oci", &absolute(path)),
        Location::OciArchive(path, _) => Scopes::path("oci-archive", &absolute(path)),
        Location::DockerArchive(path, _) => Scopes::path("docker-archive", &absolute(path)),
        Location::Directory(path) => Scopes::path("dir", &absolute(path)),
    };
    let rules = policy.rules(&scopes);
    rules.decide()?;
    Ok(Some(rules))
}

/// What an image is called where it is, as far as the place says it: for policy.json and for signatures.
pub(super) fn name_there(location: &Location) -> Option<Reference> {
    let name = match location {
        Location::Registry(name) => name,
        Location::Daemon(name) | Location::Name(name) | Location::Storage(name) if !is_id(name) => name,
        Location::DockerArchive(_, Chosen::Name(name)) => name,
        _ => return None,
    };
    Reference::parse(name).ok().map(Reference::digest_over_tag).map(Reference::or_latest)
}

/// Opens a place to write one image to. `name`: what the image is called where the place does not say it.
///
/// # Errors
/// `Invalid` if it cannot be written to: the store is not a target but receives.
pub fn target<'a>(
    engine: &'a Engine,
    location: &Location,
    access: &RegistryAccess,
    name: Option<&Reference>,
) -> Result<Box<dyn Target + 'a>> {
    let unindexed = |chosen: &Chosen| match chosen {
        Chosen::Index(index) => Err(Error::invalid(format!("an image is not written as number @{index}"))),
        Chosen::Only => Ok(None),
        Chosen::Name(name) => Ok(Some(name.clone())),
    };
    Ok(match location {
        Location::Registry(name) => {
            let name = Reference::parse(name)?.or_latest();
            Box::new(registry_target(engine, &client(engine, access)?, &name)?)
        }
        Location::Oci(path, chosen) => {
            let names = unindexed(chosen)?.into_iter().collect();
            Box::new(Arc::new(LayoutWriter::in_directory(path.clone())?).image(names, false))
        }
        Location::OciArchive(path, chosen) => {
            let names = unindexed(chosen)?.into_iter().collect();
            let sink = Sink::tar(path, &temporary(engine))?;
            Box::new(Arc::new(LayoutWriter::new(sink)).image(names, false))
        }
        Location::DockerArchive(path, chosen) => {
            let chosen = unindexed(chosen)?.map(|name| Reference::parse(&name)).transpose()?;
            let tagged = name.filter(|name| name.tag().is_some()).cloned();
            let names = chosen.map(Reference::or_latest).or(tagged).into_iter().collect();
            let sink = Sink::tar(path, &temporary(engine))?;
            Box::new(Arc::new(DockerWriter::new(sink)).image(names))
        }
        Location::Directory(path) => Box::new(DirectoryTarget::create(path.clone(), LayerForm::AsIs)?),
        Location::Daemon(name) => Box::new(daemon(engine)?.target(name)?),
        Location::Name(name) | Location::Storage(name) => {
            return Err(Error::invalid(format!("{name} is a name in the store")));
        }
    })
}
