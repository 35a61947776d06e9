//! Loading: every image of an archive or a directory into the store.
//!
//! What it is, is found out by looking: an image layout, a docker archive, or one image in a directory. Archives of
//! Docker 25 and later are both of the first two; as layouts they keep their manifests' digests and all their platforms.

use std::sync::Arc;

use super::places;
use super::receive::{Received, Wanted, receive};
use super::request::Progress;
use super::told::tell;
use crate::engine::registry::{Descriptor, PlatformRequest, Reference};
use crate::engine::store::ImageRecord;
use crate::engine::transport::directory::Directory;
use crate::engine::transport::docker_archive::{DockerArchive, Item};
use crate::engine::transport::files::Files;
use crate::engine::transport::layout::{IMAGE_NAME, Layout, REF_NAME};
use crate::engine::transport::location::is_id;
use crate::engine::transport::{Chosen, Location, Signing, Source};
use crate::engine::trust::{Policy, Rules, Scopes};
use crate::engine::{Context, Engine, Error, ErrorKind, Result};
use crate::failpoint;

/// How to load.
#[derive(Clone, Debug, Default)]
pub struct LoadRequest {
    /// Which instance of an index.
    pub platform: PlatformRequest,
    /// policy.json or what was given instead of it.
    pub signature_policy: Option<std::path::PathBuf>,
}

/// An image that is here now.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The record.
    pub image: ImageRecord,
    /// The names it was loaded by; none: it has none in the archive.
    pub names: Vec<Reference>,
}

struct Loading<'a> {
    engine: &'a Engine,
    request: &'a LoadRequest,
    progress: &'a dyn Progress,
    rules: Rules,
    /// What the image is called where it is, if the place says it.
    known_as: Option<Reference>,
}

/// Loads all images of some files. `what` they are, for messages.
///
/// # Errors
/// `Corrupt` if they are no images, or not what their digests say; `NotFound` if none is for the platform. Images before the
/// one that failed are here.
pub fn load(
    engine: &Engine,
    files: Files,
    what: &str,
    request: &LoadRequest,
    progress: &dyn Progress,
) -> Result<Vec<Loaded>> {
    let policy = Policy::load(&engine.config.env, request.signature_policy.as_deref())?;
    let path = std::fs::canonicalize(what).unwrap_or_else(|_| engine.config.env.cwd.join(what));
    let loading = |transport: &'static str| -> Result<Loading<'_>> {
        let rules = policy.rules(&Scopes::path(transport, &path));
        rules.decide()?;
        Ok(Loading { engine, request, progress, rules, known_as: None })
    };
    let directory = matches!(files, Files::Directory(_));
    let files = match Layout::open(files, what.to_owned())? {
        Ok(layout) => {
            let transport = if directory { "oci" } else { "oci-archive" };
            return loading(transport)?.layout(&Arc::new(layout));
        }
        Err(files) => files,
    };
    if let Some(directory) = image_directory(&files)? {
        return Ok(vec![loading("dir")?.one(&directory, Vec::new(), what)?]);
    }
    if !DockerArchive::is(&files)? {
        return Err(Error::corrupt(format!(
            "{what} is no image: payload does not match any of the supported image formats"
        ))
        .with_hint("load reads docker archives, OCI layouts and archives, and dir: directories; a file system is imported"));
    }
    loading("docker-archive")?.docker(&Arc::new(DockerArchive::open(files, what.to_owned())?), &Chosen::Only)
}

/// Loads from a place with a transport: all its images, unless one is chosen.
pub fn load_from(
    engine: &Engine,
    location: &Location,
    request: &LoadRequest,
    progress: &dyn Progress,
) -> Result<Vec<Loaded>> {
    let policy = Policy::load(&engine.config.env, request.signature_policy.as_deref())?;
    let no_archive = || Error::invalid(format!("{location} is no archive"));
    let rules = places::rules(engine, &policy, location)?.ok_or_else(no_archive)?;
    let known_as = places::name_there(location);
    let loading = Loading { engine, request, progress, rules, known_as };
    match location {
        Location::Oci(path, Chosen::Only) | Location::OciArchive(path, Chosen::Only) => {
            loading.layout(&places::layout(engine, path)?)
        }
        Location::Oci(path, chosen) | Location::OciArchive(path, chosen) => {
            let source = places::layout(engine, path)?.choose(chosen)?;
            let names = match chosen {
                Chosen::Name(name) => super::tag::new_name(name).into_iter().collect(),
                _ => Vec::new(),
            };
            Ok(vec![loading.one(&source, names, &source.describe())?])
        }
        Location::DockerArchive(path, chosen) => {
            loading.docker(&places::docker_archive(engine, path)?, chosen)
        }
        Location::Directory(path) => {
            let source = Directory::new(path.clone());
            Ok(vec![loading.one(&source, Vec::new(), &source.describe())?])
        }
        Location::Daemon(name) => {
            let source = places::daemon(engine)?.image(name)?;
            let named = Reference::parse(name).ok().filter(|_| !is_id(name)).map(Reference::or_latest);
            Ok(vec![loading.one(&source, named.into_iter().collect(), name)?])
        }
        Location::Name(_) | Location::Storage(_) | Location::Registry(_) => Err(no_archive()),
    }
}

/// One image in a directory has a `manifest.json`, too, but it is the image's own.
fn image_directory(files: &Files) -> Result<Option<Directory>> {
    let Files::Directory(path) = files else { return Ok(None) };
    let Some(manifest) = files.get("manifest.json")? else { return Ok(None) };
    let text = manifest.read("manifest.json", 4 << 20)?;
    let is_object = text.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{');
    Ok(is_object.then(|| Directory::new(path.clone())))
}

impl Loading<'_> {
    fn one(&self, source: &dyn Source, names: Vec<Reference>, what: &str) -> Result<Loaded> {
        let wanted = Wanted {
            names: &names,
            platform: &self.request.platform,
            what: what.to_owned(),
            rules: &self.rules,
            known_as: self.known_as.as_ref(),
            signing: &Signing::default(),
        };
        let document = source.document()?;
        let Received { image, .. } = receive(self.engine, source, document, &wanted, self.progress)
            .with_context(|| format!("load {}", source.describe()))?;
        failpoint!("load.image-loaded");
        tell(self.engine, "load", &image.id, &names.first().map(ToString::to_string).unwrap_or_default());
        Ok(Loaded { image, names })
    }

    fn docker(&self, archive: &Arc<DockerArchive>, chosen: &Chosen) -> Result<Vec<Loaded>> {
        if *chosen == Chosen::Only {
            let load = |item: &Item| {
                let source = archive.image(item)?;
                self.one(&source, item.names.clone(), &source.describe())
            };
            return archive.items().iter().map(load).collect();
        }
        let source = archive.choose(chosen)?;
        let names = match chosen {
            Chosen::Name(name) => vec![Reference::parse(name)?.or_latest()],
            _ => Vec::new(),
        };
        Ok(vec![self.one(&source, names, &source.describe())?])
    }

    /// The same image by several names is loaded once. Signatures and other artifacts that a layout may have are no
    /// images.
    fn layout(&self, layout: &Arc<Layout>) -> Result<Vec<Loaded>> {
        if let Ok(only) = layout.choose(&Chosen::Only) {
            let names = layout.images().iter().filter_map(full_name).take(1).collect();
            return Ok(vec![self.one(&only, names, &only.describe())?]);
        }
        let images = layout.images();
        let mut loaded = Vec::new();
        let mut refused = None;
        for (index, image) in images.iter().enumerate() {
            if images[..index].iter().any(|earlier| earlier.digest == image.digest)
                || layout.is_referrer(image)
            {
                continue;
            }
            let same = images.iter().filter(|other| other.digest == image.digest);
            let names = same.filter_map(full_name).collect();
            let source = layout.choose(&Chosen::Index(index))?;
            match self.one(&source, names, &source.describe()) {
                Ok(one) => loaded.push(one),
                Err(e) if e.kind() == ErrorKind::Unsupported => {
                    tracing::warn!("{e}");
                    refused.get_or_insert(e);
                }
                Err(e) => return Err(e),
            }
        }
        match (loaded.is_empty(), refused) {
            (true, Some(e)) => Err(e),
            (true, None) => Err(Error::not_found("the image layout has no image")),
            _ => Ok(loaded),
        }
    }
}

/// A layout's name for an image as a full name: containerd's is one, the specification's may be short, which is podman's
/// `localhost/` then.
fn full_name(descriptor: &Descriptor) -> Option<Reference> {
    let annotations = descriptor.annotations.as_ref()?;
    let full = annotations.get(IMAGE_NAME).and_then(|name| Reference::parse(name).ok());
    let full = full.filter(|name| name.digest().is_none()).map(Reference::or_latest);
    full.or_else(|| annotations.get(REF_NAME).and_then(|name| super::tag::new_name(name).ok()))
}
