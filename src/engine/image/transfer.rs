//! Copying between any two places, and looking at an image where it is.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::find;
use super::places::{self, source, target};
use super::pull::locate;
use super::receive::{Wanted, receive};
use super::request::{self, RegistryAccess, client, client_of, registry_source};
use super::tag::new_name;
use crate::engine::config::Config;
use crate::engine::registry::{Client, Document, PlatformRequest, Reference};
use crate::engine::transport::copy::chosen;
use crate::engine::transport::{Chosen, CopyOptions, KnownBlobs, Location, Progress, Source, copy};
use crate::engine::trust::{Policy, Scopes};
use crate::engine::{Context, Digest, Engine, Error, ErrorKind, Result};

/// Which instances of an index are copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Instances {
    /// The one for the platform.
    #[default]
    System,
    /// All of them, and the index.
    All,
    /// The index alone: its instances are there.
    IndexOnly,
}

/// What to copy, and how.
#[derive(Clone, Debug)]
pub struct TransferRequest {
    /// From where.
    pub source: Location,
    /// To where.
    pub destination: Location,
    /// How the source's registry is reached.
    pub source_access: RegistryAccess,
    /// How the destination's registry is reached.
    pub destination_access: RegistryAccess,
    /// Which instances.
    pub instances: Instances,
    /// Forms and platform.
    pub options: CopyOptions,
    /// Further names in a docker archive or in the store.
    pub additional_tags: Vec<String>,
    /// Instead of policy.json.
    pub signature_policy: Option<PathBuf>,
}

/// What was copied.
#[derive(Clone, Debug)]
pub struct Transferred {
    /// Digest of the manifest or index at the destination.
    pub digest: Digest,
    /// The image's ID, if it is in the store now.
    pub id: Option<String>,
}

/// Copies one image. `receiving` is told of a copy into the store, `sending` of any other.
///
/// # Errors
/// Those of both places; `Unsupported` if a form cannot be had there.
pub fn transfer(
    engine: &Engine,
    request: &TransferRequest,
    receiving: &dyn request::Progress,
    sending: &dyn Progress,
) -> Result<Transferred> {
    let policy = Policy::load(&engine.config.env, request.signature_policy.as_deref())?;
    let name = match &request.destination {
        Location::Storage(name) => Some(Reference::parse(name)?.or_latest()),
        Location::Name(name) => Some(new_name(name)?),
        _ => None,
    };
    let rules = places::rules(engine, &policy, &request.source)?;
    let from = source(engine, &request.source, &request.source_access)?;
    let known_as = places::name_there(&request.source);
    let what = || format!("copy {} to {}", request.source, request.destination);
    let Some(name) = name else {
        let named = name_of_source(engine, &request.source);
        let to = target(engine, &request.destination, &request.destination_access, named.as_ref())?;
        if request.instances == Instances::IndexOnly {
            let document = from.document()?;
            if let Document::Manifest(_) = &document {
                return Err(Error::invalid(format!("{} has no index", request.source)));
            }
            let signing = &request.options.signing;
            signing.check(to.as_ref())?;
            let mut signatures =
                if signing.remove { Vec::new() } else { from.signatures(document.digest())? };
            to.put_document(&document, false)?;
            signatures.extend(signing.sign(&document, to.as_ref())?);
            if !signatures.is_empty() {
                to.put_signatures(&document, false, &signatures)?;
            }
            to.finish()?;
            return Ok(Transferred { digest: document.digest().clone(), id: None });
        }
        let known = KnownBlobs::new(engine.store.graph_root());
        let all = request.instances == Instances::All;
        let parallel = request::parallel(engine, request.options.parallel);
        let options = CopyOptions { all, rules, name: known_as, parallel, ..request.options.clone() };
        let copied = copy(from.as_ref(), to.as_ref(), &known, &options, sending).with_context(what)?;
        to.finish()?;
        return Ok(Transferred { digest: copied.digest().clone(), id: None });
    };
    if request.instances == Instances::IndexOnly {
        return Err(Error::unsupported("the store keeps images, not indexes alone"));
    }
    let mut names = vec![name];
    for tag in &request.additional_tags {
        names.push(Reference::parse(tag)?.or_latest());
    }
    if let Location::Name(here) | Location::Storage(here) = &request.source {
        let image = find(engine, here)?.image;
        let texts: Vec<_> = names.iter().map(ToString::to_string).collect();
        engine.store.add_image_names(&image.id, &texts)?;
        let digest = from.document()?.digest().clone();
        return Ok(Transferred { digest, id: Some(image.id) });
    }
    let Some(rules) = rules else {
        return Err(Error::corrupt(format!("{} is in the store already", request.source)));
    };
    let wanted = Wanted {
        names: &names,
        platform: &request.options.platform,
        what: request.source.to_string(),
        rules: &rules,
        known_as: known_as.as_ref(),
        signing: &request.options.signing,
    };
    let document = from.document()?;
    document.check_is_image()?;
    if request.instances == Instances::All && matches!(document, Document::Index(_)) {
        return Err(Error::unsupported("the store keeps one platform of an image under one name")
            .with_hint("leave out --all, or copy to an oci: directory or a registry"));
    }
    let received = receive(engine, from.as_ref(), document, &wanted, receiving).with_context(what)?;
    if let Location::Registry(source) = &request.source {
        received.note(engine, &Reference::parse(source)?);
    }
    let digest = received.image.digest.clone();
    let digest = digest.ok_or_else(|| Error::corrupt("the image has no digest"))?;
    Ok(Transferred { digest, id: Some(received.image.id) })
}

fn name_of_source(engine: &Engine, source: &Location) -> Option<Reference> {
    match source {
        Location::Name(name) | Location::Storage(name) => find(engine, name).ok()?.name,
        Location::Registry(name) | Location::Daemon(name) => {
            Reference::parse(name).ok().map(Reference::or_latest)
        }
        _ => None,
    }
}

/// An image as it is somewhere.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What its name means there: an index, if it is one.
    pub document: Document,
    /// The instance for the platform, and its configuration. `None`: only the document was asked for.
    pub image: Option<(Document, Vec<u8>)>,
    /// The tags of its repository, if it is in a registry and they were asked for.
    pub tags: Vec<String>,
}

/// Looks at an image without bringing it here. `with_image`: more than the document; `with_tags`: the repository's tags,
/// where there are tags and the registry lists them.
pub fn look(
    engine: &Engine,
    location: &Location,
    access: &RegistryAccess,
    platform: &PlatformRequest,
    (with_image, with_tags): (bool, bool),
) -> Result<Seen> {
    if let Location::Registry(name) = location {
        return look_at_registry(&engine.config, name, access, platform, (with_image, with_tags));
    }
    let policy = Policy::load(&engine.config.env, None)?;
    places::rules(engine, &policy, location)?;
    seen(source(engine, location, access)?.as_ref(), platform, with_image)
}

/// [`look`] at a registry, which takes neither store nor user namespace.
pub fn look_at_registry(
    config: &Config,
    name: &str,
    access: &RegistryAccess,
    platform: &PlatformRequest,
    (with_image, with_tags): (bool, bool),
) -> Result<Seen> {
    let policy = Policy::load(&config.env, None)?;
    let name = Reference::parse(name)?.digest_over_tag().or_latest();
    policy.rules(&Scopes::docker(&name)).decide()?;
    // One client, so that what it learns of the registry is learnt once.
    let client = Arc::new(client_of(config, access)?);
    // Of what is asked at the same time nothing waits for the tags but success.
    let tags = with_tags.then(|| {
        let (client, name) = (Arc::clone(&client), name.clone().without_tag());
        std::thread::spawn(move || tags_of(&client, &name))
    });
    let (repository, document) = locate(&client, &name, || {})?;
    let repository = registry_source(config, repository)?;
    let mut seen = describe(&repository, document, platform, with_image)?;
    match tags.map(JoinHandle::join) {
        None => {}
        Some(Ok(Ok(tags))) => seen.tags = tags,
        // Some registries show their images to people whom they do not tell what there is.
        Some(Ok(Err(e))) if matches!(e.kind(), ErrorKind::Unauthorized | ErrorKind::NotFound) => {
            tracing::warn!("the tags of {} are not known: {e}", name.familiar_name());
        }
        Some(Ok(Err(e))) => return Err(e),
        Some(Err(_)) => return Err(Error::corrupt("listing the tags panicked")),
    }
    Ok(seen)
}

fn seen(from: &dyn Source, platform: &PlatformRequest, with_image: bool) -> Result<Seen> {
    describe(from, from.document()?, platform, with_image)
}

fn describe(
    from: &dyn Source,
    document: Document,
    platform: &PlatformRequest,
    with_image: bool,
) -> Result<Seen> {
    let mut seen = Seen { document: document.clone(), image: None, tags: Vec::new() };
    if with_image {
        let image = chosen(from, document, platform)?;
        let Document::Manifest(manifest) = &image else {
            return Err(Error::corrupt("an index was chosen instead of an image"));
        };
        let config = from.config(&manifest.config).context("image configuration")?;
        seen.image = Some((image, config));
    }
    Ok(seen)
}

/// The tags of a repository, by its full name.
pub fn tags(config: &Config, name: &str, access: &RegistryAccess) -> Result<(Reference, Vec<String>)> {
    let name = Reference::parse(name)?.without_tag();
    let tags = tags_of(&client_of(config, access)?, &name)?;
    Ok((name, tags))
}

fn tags_of(client: &Client, name: &Reference) -> Result<Vec<String>> {
    let mut last = None;
    for repository in client.sources(name)? {
        match repository.tags() {
            Ok(tags) => return Ok(tags),
            Err(e) => last = Some(e),
        }
    }
    Err(last.unwrap_or_else(|| Error::not_found(format!("repository {} not found", name.familiar_name()))))
}

/// The names in a docker archive, each image's together.
pub fn archive_names(engine: &Engine, location: &Location) -> Result<Vec<String>> {
    let Location::DockerArchive(path, Chosen::Only) = location else {
        return Err(Error::unsupported(format!("{location}: only registries and docker archives list tags")));
    };
    let archive = places::docker_archive(engine, path)?;
    Ok(archive.items().iter().flat_map(|item| &item.names).map(ToString::to_string).collect())
}

/// Deletes an image at a registry, with all tags of its digest.
///
/// `Unsupported` if the registry does not allow it.
pub fn delete(engine: &Engine, name: &str, access: &RegistryAccess) -> Result<()> {
    let name = Reference::parse(name)?.digest_over_tag().or_latest();
    let repository = client(engine, access)?.target(&name)?;
    let digest = match name.digest() {
        Some(digest) => digest.clone(),
        None => repository.manifest(name.tag_or_digest())?.digest().clone(),
    };
    repository.delete_manifest(&digest).with_context(|| format!("delete {}", name.familiar()))
}
