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

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::lookup::{Found, find_for, no_such_image};
use super::{ImageConfig, config_of, hello, layers};
use crate::engine::config::auth::Credentials;
use crate::engine::config::policy::Policy;
use crate::engine::config::registries::{Registries, ShortNameMode};
use crate::engine::registry::host::Retry;
use crate::engine::registry::manifest::MAX_CONFIG;
use crate::engine::registry::reference::is_identifier;
use crate::engine::registry::{
    Client, ClientOptions, Document, Manifest, PlatformRequest, Reference, Repository, ShortName,
};
use crate::engine::store::{BigData, ImageRecord, NewImage};
use crate::engine::{Context, Digest, Engine, Error, ErrorKind, Result};
use crate::failpoint;

/// When to ask a registry for an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PullPolicy {
    /// Every time.
    Always,
    /// If there is none here.
    #[default]
    Missing,
    /// If the registry has another one than is here; a registry that cannot be reached is no error then.
    Newer,
    /// Never.
    Never,
}

impl PullPolicy {
    /// Parses `always`, `missing` (`ifnotpresent`, `true`), `newer` (`ifnewer`) and `never` (`false`).
    pub fn parse(text: &str) -> Result<Self> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "always" => Self::Always,
            "missing" | "ifmissing" | "ifnotpresent" | "true" | "" => Self::Missing,
            "newer" | "ifnewer" => Self::Newer,
            "never" | "false" => Self::Never,
            _ => {
                return Err(Error::invalid(format!("unsupported pull policy {text:?}"))
                    .with_hint("use always, missing, newer or never"));
            }
        })
    }
}

/// What to pull, and how.
#[derive(Clone, Debug, Default)]
pub struct PullRequest {
    /// The name as typed.
    pub name: String,
    /// When to ask the registry.
    pub policy: PullPolicy,
    /// Which instance of a multi-platform image.
    pub platform: PlatformRequest,
    /// `--tls-verify`.
    pub tls_verify: Option<bool>,
    /// `--cert-dir`.
    pub cert_dir: Option<PathBuf>,
    /// `--authfile`.
    pub authfile: Option<PathBuf>,
    /// `--creds`.
    pub credentials: Option<Credentials>,
    /// `--signature-policy`.
    pub signature_policy: Option<PathBuf>,
    /// `--retry`; `None`: as configured.
    pub retry: Option<u32>,
    /// `--retry-delay`; `None`: as configured.
    pub retry_delay: Option<Duration>,
}

/// An image that is here now.
#[derive(Clone, Debug)]
pub struct PulledImage {
    /// The record.
    pub image: ImageRecord,
    /// The full name it was pulled or found by; `None` if by ID.
    pub name: Option<Reference>,
    /// Digest of what the name means at the registry (an index, if it is one); `None` if no registry was asked.
    pub digest: Option<Digest>,
    /// Whether the name means another image now than before.
    pub changed: bool,
}

/// A layer of an image that is being pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerInfo {
    /// Digest of its blob.
    pub digest: Digest,
    /// Bytes of its blob.
    pub size: u64,
    /// Whether it is here already.
    pub present: bool,
}

/// What a front end may show meanwhile. Called from several threads.
pub trait Progress: Send + Sync {
    /// A name is about to be asked for at its registry. `note` tells how a short name was resolved.
    fn started(&self, reference: &Reference, note: Option<&str>) {
        let _ = (reference, note);
    }
    /// The layers are known; they are named by their index from now on.
    fn layers(&self, layers: &[LayerInfo]) {
        let _ = layers;
    }
    /// So many bytes of a layer have come in all.
    fn received(&self, index: usize, bytes: u64) {
        let _ = (index, bytes);
    }
    /// A layer is complete, verified and unpacked.
    fn unpacked(&self, index: usize) {
        let _ = index;
    }
    /// The image is recorded, or was here already.
    fn finished(&self, pulled: &PulledImage) {
        let _ = pulled;
    }
}

/// Shows nothing.
#[derive(Debug)]
pub struct Silent;

impl Progress for Silent {}

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
    let client = client(engine, request)?;
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
    let client = client(engine, request)?;
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

/// The client for a request, with the configuration's retries unless the request has its own.
pub fn client(engine: &Engine, request: &PullRequest) -> Result<Client> {
    let env = &engine.config.env;
    let conf = &engine.config.containers.engine;
    let default = Retry::default();
    let delay = match (request.retry_delay, &conf.retry_delay) {
        (Some(delay), _) => delay,
        (None, Some(text)) => go_duration(text)
            .ok_or_else(|| Error::invalid(format!("containers.conf: retry_delay {text:?} is no duration")))?,
        (None, None) => default.delay,
    };
    let options = ClientOptions {
        tls_verify: request.tls_verify,
        cert_dir: request.cert_dir.clone(),
        authfile: request.authfile.clone(),
        credentials: request.credentials.clone(),
        retry: Retry { attempts: request.retry.or(conf.retry).unwrap_or(default.attempts), delay, ..default },
    };
    Ok(Client::new(env, Registries::load(env)?, options))
}

/// Parses Go's durations: `300ms`, `1.5s`, `2m`, `1h30m`; a bare number is seconds.
pub fn go_duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(u64::from(seconds)));
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit_end = rest[number..].find(|c: char| c.is_ascii_digit() || c == '.');
        let end = unit_end.map_or(rest.len(), |e| number + e);
        let factor = match &rest[number..end] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += rest[..number].parse::<f64>().ok()? * factor;
        rest = &rest[end..];
    }
    if text.is_empty() { None } else { Duration::try_from_secs_f64(total).ok() }
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
    let from = layers::Origin::Registry(source);
    let (record, changed) =
        store(engine, image, &from, progress).with_context(|| format!("pull {}", name.familiar()))?;
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
    fn durations_are_gos() {
        for (text, want) in [("1s", 1000), ("1.5s", 1500), ("1m30s", 90_000), ("250ms", 250), ("2", 2000)] {
            assert_eq!(go_duration(text), Some(Duration::from_millis(want)), "{text}");
        }
        for bad in ["", "s", "1x", "-1s", "1s2"] {
            assert_eq!(go_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_are_completed_by_search_registries() {
        let (names, note) = candidates("x", &Registries::default()).unwrap();
        assert_eq!(names[0].to_string(), "docker.io/library/x:latest");
        assert_eq!(note, None);
        let (names, _) = candidates("h:5000/x:1", &Registries::default()).unwrap();
        assert_eq!(names[0].to_string(), "h:5000/x:1");
    }
}
