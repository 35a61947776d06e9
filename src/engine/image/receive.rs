//! Receiving: an image from any source into the store.
//!
//! [`super::layers`] brings the layers, and the store commits layers and image at once, so that a failure or a crash
//! before that leaves nothing behind.
//!
//! IDs, big data and names are those of containers/image's storage transport (`storage/storage_dest.go`): the image's ID
//! is the hex of its configuration's digest; a layer's is its DiffID's for the lowest, else the SHA-256 of
//! `PARENT+DIFFID`; the items are the configuration by its digest, an index and the manifest by `manifest-DIGEST`, and
//! the manifest once more as `manifest`. Signatures are two items likewise, with their sizes in the record's metadata.

use super::request::Progress;
use super::{ImageConfig, layers};
use crate::engine::registry::{Descriptor, Document, Manifest, PlatformRequest, Reference};
use crate::engine::store::{BigData, ImageRecord, NewImage, SignatureSizes};
use crate::engine::transport::compress::Algorithm;
use crate::engine::transport::copy::chosen;
use crate::engine::transport::storage::{SIGNATURES, signatures_key};
use crate::engine::transport::{KnownBlobs, Signing, Source, rewrite};
use crate::engine::trust::{Evidence, Rules, Signature};
use crate::engine::{Context, Digest, Engine, Error, Result};
use crate::failpoint;

/// What is to become of an image.
pub(super) struct Wanted<'a> {
    /// The names it gets; taken away from images that had them.
    pub(super) names: &'a [Reference],
    /// Which instance of an index.
    pub(super) platform: &'a PlatformRequest,
    /// What it is, for messages.
    pub(super) what: String,
    /// What it has to fulfil.
    pub(super) rules: &'a Rules,
    /// The name it has where it comes from, for the rules.
    pub(super) known_as: Option<&'a Reference>,
    /// What becomes of signatures.
    pub(super) signing: &'a Signing,
}

/// An image that is here now.
pub(super) struct Received {
    /// The record.
    pub(super) image: ImageRecord,
    /// Whether a name means another image now than before, or the image was not here.
    pub(super) changed: bool,
    blobs: Vec<(Digest, Descriptor)>,
}

impl Received {
    /// Notes that the image's blobs are in this repository.
    pub(super) fn note(&self, engine: &Engine, repository: &Reference) {
        let known = KnownBlobs::new(engine.store.graph_root());
        for (diff_id, blob) in &self.blobs {
            if let Some(compression) = rewrite::layer_compression(blob) {
                let compression = compression.map_or("uncompressed", Algorithm::name);
                known.note(diff_id, blob, compression, Some(repository));
            }
        }
    }
}

/// Brings one image whose manifest or index is at hand.
///
/// # Errors
/// Those of the source and of the store; `NotFound` if it is not for the platform; `Corrupt` if it is not what its digests
/// say.
pub(super) fn receive(
    engine: &Engine,
    source: &dyn Source,
    document: Document,
    wanted: &Wanted<'_>,
    progress: &dyn Progress,
) -> Result<Received> {
    let index = match &document {
        Document::Index(index) => Some(BigData {
            key: format!("manifest-{}", index.digest),
            data: index.raw.clone(),
            digest: Some(index.digest.clone()),
        }),
        Document::Manifest(_) => None,
    };
    let from_index = index.is_some();
    let Document::Manifest(manifest) = chosen(source, document, wanted.platform)? else {
        return Err(Error::corrupt("an index was chosen instead of an image"));
    };
    failpoint!("pull.manifest-fetched");
    let signatures = judged(source, &manifest, wanted)?;
    let raw_config = stored_config(engine, &manifest)
        .map_or_else(|| source.config(&manifest.config), Ok)
        .context("image configuration")?;
    let config = ImageConfig::parse(&raw_config)?;
    check_platform(&wanted.what, &config, wanted.platform, from_index)?;
    let names = wanted.names.to_vec();
    let image = ImageToStore { names, manifest, index, raw_config, config, signatures };
    store(engine, image, source, progress)
}

/// The signatures that the image is to have here, once the rules have been asked about those it has.
fn judged(source: &dyn Source, manifest: &Manifest, wanted: &Wanted<'_>) -> Result<Vec<Signature>> {
    let signing = wanted.signing;
    let asked = wanted.rules.need_signatures() || !signing.remove;
    let mut found = if asked { source.signatures(&manifest.digest)? } else { Vec::new() };
    let evidence = Evidence { name: wanted.known_as, manifest: &manifest.raw, signatures: &found };
    wanted.rules.judge(evidence)?;
    if signing.remove {
        found.clear();
    }
    if let (false, Some(name)) = (signing.signers.is_empty(), wanted.names.first()) {
        found.extend(signing.sign_as(&Document::Manifest(manifest.clone()), name)?);
    }
    Ok(found)
}

/// The configuration, if an image with it is here: it need not be fetched again.
fn stored_config(engine: &Engine, manifest: &Manifest) -> Option<Vec<u8>> {
    let digest = &manifest.config.digest;
    let raw = engine.store.image_big_data(digest.hex(), digest.as_str()).ok()?;
    digest.matches(&raw).then_some(raw)
}

/// A single manifest says nothing about its platform; its configuration does. An index was chosen from, so there the
/// configuration is only checked for a platform the user named.
fn check_platform(name: &str, config: &ImageConfig, want: &PlatformRequest, from_index: bool) -> Result<()> {
    let have = config.platform();
    if want.accepts(&have) {
        return Ok(());
    }
    let wanted = want.wanted().first().map(ToString::to_string).unwrap_or_default();
    if want.is_custom() && !from_index {
        return Err(Error::not_found(format!(
            "image {name} was found but does not match the specified platform: wanted {wanted}, actual: {have}"
        )));
    }
    tracing::warn!("image platform ({have}) does not match the expected platform ({wanted})");
    Ok(())
}

/// An image whose layers are to be brought and that is then recorded.
pub(super) struct ImageToStore {
    pub(super) names: Vec<Reference>,
    pub(super) manifest: Manifest,
    /// The index it was chosen from.
    pub(super) index: Option<BigData>,
    pub(super) raw_config: Vec<u8>,
    pub(super) config: ImageConfig,
    pub(super) signatures: Vec<Signature>,
}

impl ImageToStore {
    /// Which blob holds which archive.
    fn blobs(&self) -> Vec<(Digest, Descriptor)> {
        self.config.rootfs.diff_ids.iter().cloned().zip(self.manifest.layers.iter().cloned()).collect()
    }
}

/// Brings the layers and commits the image; tells whether a name meant something else before.
pub(super) fn store(
    engine: &Engine,
    image: ImageToStore,
    source: &dyn Source,
    progress: &dyn Progress,
) -> Result<Received> {
    let mut blobs = image.blobs();
    let ImageToStore { names, manifest, index, raw_config, config, signatures } = image;
    let chain = layers::chain(&manifest, &config)?;
    let brought = layers::bring(engine, &chain, source, progress)?;
    // What was not read as a whole is not known to hold what it should.
    let unverified: Vec<&str> = brought
        .staged
        .iter()
        .filter(|(_, new)| new.compressed_digest.is_none())
        .map(|(_, new)| &new.id[..])
        .collect();
    let mut ids = chain.iter().map(|layer| layer.id.as_str());
    blobs.retain(|_| ids.next().is_none_or(|id| !unverified.contains(&id)));
    failpoint!("pull.layers-unpacked");
    let id = manifest.config.digest.hex().to_owned();
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let before = engine.store.image(&id).is_ok_and(|i| names.iter().all(|name| i.names.contains(name)));
    let mut big_data = vec![BigData {
        key: manifest.config.digest.to_string(),
        digest: Some(manifest.config.digest.clone()),
        data: raw_config,
    }];
    big_data.extend(index);
    for key in [format!("manifest-{}", manifest.digest), "manifest".to_owned()] {
        big_data.push(BigData { key, data: manifest.raw.clone(), digest: Some(manifest.digest.clone()) });
    }
    let metadata = signature_items(&manifest.digest, &signatures, &mut big_data);
    let record = engine.store.commit_image(
        brought.staged,
        NewImage {
            id,
            names,
            top_layer: chain.last().map(|l| l.id.clone()),
            digest: Some(manifest.digest),
            created: config.created(),
            metadata,
            big_data,
            ..NewImage::default()
        },
    )?;
    drop(brought.locks);
    failpoint!("pull.image-committed");
    Ok(Received { image: record, changed: !before, blobs })
}

/// Adds the items of an image's signatures; returns the record's metadata.
fn signature_items(manifest: &Digest, signatures: &[Signature], items: &mut Vec<BigData>) -> String {
    if signatures.is_empty() {
        return "{}".to_owned();
    }
    let each: Vec<Vec<u8>> = signatures.iter().map(Signature::to_bytes).collect();
    let data = each.concat();
    for key in [SIGNATURES.to_owned(), signatures_key(manifest)] {
        items.push(BigData { key, digest: Some(Digest::sha256(&data)), data: data.clone() });
    }
    SignatureSizes::new(manifest, each.iter().map(Vec::len).collect()).text()
}
