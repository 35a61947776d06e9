//! Pulling: from a name to a recorded image.
//!
//! A name is completed to candidates (short names, aliases), each candidate has sources (mirrors, the registry); the
//! first source that has the manifest serves the pull. Then [`super::layers`] brings the layers, and the store commits
//! layers and image at once, so that a failure or a crash before that leaves nothing behind.
//!
//! IDs, big data and names are those of containers/image's storage transport (`storage/storage_dest.go`): the image's ID
//! is the hex of its configuration's digest; a layer's is its DiffID's for the lowest, else the SHA-256 of
//! `PARENT+DIFFID`; the items are the configuration by its digest, an index and the manifest by `manifest-DIGEST`, and
//! the manifest once more as `manifest`.

use super::lookup::{Found, find_for, no_such_image};
use super::request::{Progress, PullPolicy, PullRequest, PulledImage, client};
use super::{ImageConfig, config_of, hello, layers};
use crate::engine::config::policy::Policy;
use crate::engine::config::registries::{Registries, ShortNameMode};
use crate::engine::registry::manifest::MAX_CONFIG;
use crate::engine::registry::reference::is_identifier;
use crate::engine::registry::{
    Client, Descriptor, Document, Manifest, PlatformRequest, Reference, Repository, ShortName,
};
use crate::engine::store::{BigData, ImageRecord, NewImage};
use crate::engine::transport::compress::Algorithm;
use crate::engine::transport::{KnownBlobs, rewrite};
use crate::engine::{Context, Digest, Engine, Error, ErrorKind, Result};
use crate::failpoint;

/// Makes sure the image is here as the policy says, and returns it.
///
/// `NotFound` if nobody has it, or not for the platform; `Unauthorized`, `Network`, `Denied`, `Corrupt`, `DiskFull` as
/// they are; nothing is left behind then.
pub fn pull(engine: &Engine, request: &PullRequest, progress: &dyn Progress) -> Result<PulledImage> {
    let here = match find_for(engine, &request.name, &request.platform) {
        Ok(found) => Some(found),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    let by_id = request.name.starts_with("sha256:") || is_identifier(&request.name);
    // What happens to begin an ID here is a name to whoever wants it from a registry.
    let here = here.filter(|found| by_id || found.name.is_some() || request.policy != PullPolicy::Always);
    if let Some(found) = &here
        && (found.name.is_none() || by_id)
    {
        return match request.policy {
            PullPolicy::Always => Err(Error::invalid(format!(
                "pull policy is always but image has been referred to by ID ({})",
                request.name
            ))),
            _ => Ok(present(found)),
        };
    }
    if by_id {
        return Err(no_such_image(&request.name));
    }
    match (request.policy, &here) {
        (PullPolicy::Never, None) => {
            return Err(
                no_such_image(&request.name).with_hint("it may not be pulled: the pull policy is never")
            );
        }
        (PullPolicy::Never | PullPolicy::Missing, Some(found)) => return Ok(present(found)),
        _ => {}
    }
    if let Some(pulled) = hello::load(engine, request, progress)? {
        return Ok(pulled);
    }
    let client = client(engine, &request.access)?;
    // A local `localhost/app` makes `pull app` mean that one, as in podman.
    let local_name = here.as_ref().filter(|_| !request.platform.is_custom()).and_then(|f| f.name.clone());
    let (candidates, note) = match local_name {
        Some(name) => (vec![name], None),
        None => candidates(&request.name, client.registries())?,
    };
    let newer_than = here.as_ref().filter(|_| request.policy == PullPolicy::Newer);
    match (
        pull_first(engine, request, &client, &candidates, note.as_deref(), newer_than, progress),
        newer_than,
    ) {
        (Err(e), Some(found)) if e.kind() != ErrorKind::DiskFull => {
            tracing::debug!("{e}; the local image is used");
            Ok(present(found))
        }
        (pulled, _) => pulled,
    }
}

/// Pulls every tag of a repository; images that fail after the first error are not tried.
pub fn pull_all_tags(
    engine: &Engine,
    request: &PullRequest,
    progress: &dyn Progress,
) -> Result<Vec<PulledImage>> {
    let client = client(engine, &request.access)?;
    let (candidates, _) = candidates(&request.name, client.registries())?;
    let mut last = None;
    for candidate in &candidates {
        let name = candidate.clone().without_tag();
        for source in client.sources(&name)? {
            match source.tags() {
                Ok(tags) => {
                    return tags
                        .iter()
                        .map(|tag| {
                            let reference = name.clone().with_tag(tag)?;
                            pull_first(engine, request, &client, &[reference], None, None, progress)
                        })
                        .collect();
                }
                Err(e) => last = Some(e),
            }
        }
    }
    Err(last.unwrap_or_else(|| no_such_image(&request.name)))
}

fn present(found: &Found) -> PulledImage {
    PulledImage { image: found.image.clone(), name: found.name.clone(), digest: None, changed: false }
}

/// The full names to try for a typed one, and how a short name was resolved.
fn candidates(name: &str, registries: &Registries) -> Result<(Vec<Reference>, Option<String>)> {
    let finish = |r: Reference| r.digest_over_tag().or_latest();
    let Some(short) = ShortName::parse(name)? else {
        return Ok((vec![finish(Reference::parse(name)?)], None));
    };
    if let Some((value, path)) = registries.alias(&short.name) {
        let note = format!("Resolved {:?} as an alias ({})", short.name, path.display());
        return Ok((vec![finish(short.within(value)?)], Some(note)));
    }
    let search = registries.search();
    let names = search.iter().map(|registry| short.within(&format!("{registry}/{}", short.name)).map(finish));
    let names = names.collect::<Result<Vec<_>>>()?;
    if names.len() > 1 && registries.short_name_mode() == ShortNameMode::Enforcing {
        let list = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(Error::invalid(format!("short-name resolution enforced: {name:?} may be any of {list}"))
            .with_hint("type the full name, or add an alias to registries.conf"));
    }
    let note = registries.search_origin().map(|path| {
        format!("Resolving {:?} using unqualified-search registries ({})", short.name, path.display())
    });
    Ok((names, note))
}

fn pull_first(
    engine: &Engine,
    request: &PullRequest,
    client: &Client,
    candidates: &[Reference],
    note: Option<&str>,
    newer_than: Option<&Found>,
    progress: &dyn Progress,
) -> Result<PulledImage> {
    let policy = Policy::load(&engine.config.env, request.signature_policy.as_deref())?;
    let mut errors: Vec<Error> = Vec::new();
    for candidate in candidates {
        policy.check(&candidate.to_string())?;
        let pulled =
            locate(client, candidate, || progress.started(candidate, note)).and_then(|(source, document)| {
                let digest = digest_of(&document).clone();
                match newer_than {
                    Some(found) if found.image.digests().contains(&digest) => Ok(present(found)),
                    _ => fetch(engine, request, candidate, &source, document, progress),
                }
            });
        match pulled {
            Ok(pulled) => {
                progress.finished(&pulled);
                return Ok(pulled);
            }
            Err(e) => {
                tracing::debug!("{candidate}: {e}");
                errors.push(e);
            }
        }
    }
    let mut errors = errors.into_iter();
    let Some(first) = errors.next() else { return Err(no_such_image(&request.name)) };
    if errors.len() == 0 {
        return Err(first);
    }
    let kind = first.kind();
    let all = std::iter::once(first).chain(errors).map(|e| format!("\n * {e}")).collect::<String>();
    Err(Error::new(kind, format!("{} errors occurred while pulling:{all}", candidates.len())))
}

fn digest_of(document: &Document) -> &Digest {
    match document {
        Document::Manifest(manifest) => &manifest.digest,
        Document::Index(index) => &index.digest,
    }
}

/// The first source that has the manifest.
fn locate(client: &Client, candidate: &Reference, started: impl FnOnce()) -> Result<(Repository, Document)> {
    let sources = client.sources(candidate)?;
    started();
    let mut last = None;
    for source in sources {
        match source.manifest(candidate.tag_or_digest()) {
            Ok(document) => return Ok((source, document)),
            Err(e) => {
                tracing::debug!("{}: {e}", source.reference());
                last = Some(e);
            }
        }
    }
    Err(last.unwrap_or_else(|| no_such_image(&candidate.to_string())))
}

/// Deepest nesting of indexes that is followed.
const MAX_NESTING: u32 = 4;

fn instance(source: &Repository, document: Document, platform: &PlatformRequest) -> Result<Manifest> {
    let mut document = document;
    for _ in 0..MAX_NESTING {
        let index = match document {
            Document::Manifest(manifest) => return Ok(manifest),
            Document::Index(index) => index,
        };
        let chosen = index.choose(platform)?;
        document = source.manifest(chosen.digest.as_str())?;
    }
    Err(Error::corrupt(format!("more than {MAX_NESTING} indexes within one another")))
}

/// Brings one image whose manifest or index is at hand.
fn fetch(
    engine: &Engine,
    request: &PullRequest,
    name: &Reference,
    source: &Repository,
    document: Document,
    progress: &dyn Progress,
) -> Result<PulledImage> {
    let digest = digest_of(&document).clone();
    let index = match &document {
        Document::Index(index) => Some(BigData {
            key: format!("manifest-{}", index.digest),
            data: index.raw.clone(),
            digest: Some(index.digest.clone()),
        }),
        Document::Manifest(_) => None,
    };
    let from_index = index.is_some();
    let manifest = instance(source, document, &request.platform)?;
    failpoint!("pull.manifest-fetched");
    let raw_config = stored_config(engine, &manifest)
        .map_or_else(|| source.small_blob(&manifest.config, MAX_CONFIG), Ok)
        .context("image configuration")?;
    let config = ImageConfig::parse(&raw_config)?;
    check_platform(name, &config, &request.platform, from_index)?;
    let image = ImageToStore { name: name.clone(), manifest, index, raw_config, config };
    let blobs = image.blobs();
    let from = layers::Origin::Registry(source);
    let (record, changed) =
        store(engine, image, &from, progress).with_context(|| format!("pull {}", name.familiar()))?;
    let known = KnownBlobs::new(engine.store.graph_root());
    for (diff_id, blob) in blobs {
        if let Some(compression) = rewrite::compression(&blob.media_type) {
            let compression = compression.map_or("uncompressed", Algorithm::name);
            known.note(&diff_id, &blob.digest, blob.size, compression, Some(source.reference()));
        }
    }
    Ok(PulledImage { image: record, name: Some(name.clone()), digest: Some(digest), changed })
}

/// The configuration, if an image with it is here: it need not be fetched again.
fn stored_config(engine: &Engine, manifest: &Manifest) -> Option<Vec<u8>> {
    let digest = &manifest.config.digest;
    let raw = engine.store.image_big_data(digest.hex(), digest.as_str()).ok()?;
    digest.matches(&raw).then_some(raw)
}

/// A single manifest says nothing about its platform; its configuration does. An index was chosen from, so there the
/// configuration is only checked for a platform the user named.
fn check_platform(
    name: &Reference,
    config: &ImageConfig,
    want: &PlatformRequest,
    from_index: bool,
) -> Result<()> {
    let have = config.platform();
    if want.accepts(&have) {
        return Ok(());
    }
    let wanted = want.wanted().first().map(ToString::to_string).unwrap_or_default();
    if want.is_custom() && !from_index {
        return Err(Error::not_found(format!(
            "image {} was found but does not match the specified platform: wanted {wanted}, actual: {have}",
            name.familiar()
        )));
    }
    tracing::warn!("image platform ({have}) does not match the expected platform ({wanted})");
    Ok(())
}

/// An image whose layers are to be brought and that is then recorded.
pub(super) struct ImageToStore {
    pub(super) name: Reference,
    pub(super) manifest: Manifest,
    /// The index it was chosen from.
    pub(super) index: Option<BigData>,
    pub(super) raw_config: Vec<u8>,
    pub(super) config: ImageConfig,
}

impl ImageToStore {
    /// Which blob holds which archive.
    fn blobs(&self) -> Vec<(Digest, Descriptor)> {
        self.config.rootfs.diff_ids.iter().cloned().zip(self.manifest.layers.iter().cloned()).collect()
    }
}

/// Brings the layers and commits the image; tells whether the name meant something else before.
pub(super) fn store(
    engine: &Engine,
    image: ImageToStore,
    origin: &layers::Origin<'_>,
    progress: &dyn Progress,
) -> Result<(ImageRecord, bool)> {
    let ImageToStore { name, manifest, index, raw_config, config } = image;
    let chain = layers::chain(&manifest, &config)?;
    let brought = layers::bring(engine, &chain, origin, progress)?;
    failpoint!("pull.layers-unpacked");
    let id = manifest.config.digest.hex().to_owned();
    let name = name.to_string();
    let before = engine.store.image(&id).is_ok_and(|i| i.names.contains(&name));
    let mut big_data = vec![BigData {
        key: manifest.config.digest.to_string(),
        digest: Some(manifest.config.digest.clone()),
        data: raw_config,
    }];
    big_data.extend(index);
    for key in [format!("manifest-{}", manifest.digest), "manifest".to_owned()] {
        big_data.push(BigData { key, data: manifest.raw.clone(), digest: Some(manifest.digest.clone()) });
    }
    let record = engine.store.commit_image(
        brought.staged,
        NewImage {
            id,
            names: vec![name],
            top_layer: chain.last().map(|l| l.id.clone()),
            digest: Some(manifest.digest),
            created: config.created(),
            metadata: "{}".to_owned(),
            big_data,
            ..NewImage::default()
        },
    )?;
    drop(brought.locks);
    failpoint!("pull.image-committed");
    Ok((record, !before))
}

/// The configuration of an image that is here as the policy says: what `create` starts from.
pub fn ensure(
    engine: &Engine,
    request: &PullRequest,
    progress: &dyn Progress,
) -> Result<(PulledImage, ImageConfig)> {
    let pulled = pull(engine, request, progress)?;
    let config = config_of(engine, &pulled.image)?;
    Ok((pulled, config))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_by_search_registries() {
        let (names, note) = candidates("x", &Registries::default()).unwrap();
        assert_eq!(names[0].to_string(), "docker.io/library/x:latest");
        assert_eq!(note, None);
        let (names, _) = candidates("h:5000/x:1", &Registries::default()).unwrap();
        assert_eq!(names[0].to_string(), "h:5000/x:1");
    }
}
