//! One image from a source to a target.
//!
//! Layers are moved several at a time, each in one stream: read, checked against its digest and DiffID, compressed or
//! inflated if the target wants it in another form, written. A layer that the target has, as the blob the manifest
//! names or as another that is known to hold the same archive, is not moved. Then come configuration, manifest and, for
//! several instances, the index: what names something is written after it. Signatures go along ([`super::signing`]); a
//! document that has some is not changed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use super::archive::Archive;
use super::compress::{Algorithm, Method};
use super::known::KnownBlobs;
use super::rewrite::{self, Replaced};
use super::{BlobKind, Bytes, CopyOptions, Format, Held, LayerForm, Source, Target};
use crate::engine::registry::manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use crate::engine::registry::{Descriptor, Document, Index, Manifest, PlatformRequest};
use crate::engine::trust::{Evidence, Rules, Signature};
use crate::engine::{Context, Digest, Error, Result};
use crate::failpoint;

/// What was written.
#[derive(Clone, Debug)]
pub struct Copied {
    /// The document that the name means now.
    pub document: Document,
}

impl Copied {
    /// The digest of what was written.
    pub fn digest(&self) -> &Digest {
        self.document.digest()
    }
}

/// How a blob got to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// It was there.
    Exists,
    /// It was written.
    Written,
}

/// What a front end may show meanwhile. Called from several threads.
pub trait Progress: Sync {
    /// The blobs of one image that are to be moved; they are named by their index from now on.
    fn blobs(&self, blobs: &[Descriptor]) {
        let _ = blobs;
    }
    /// So many bytes of a blob have been written.
    fn sent(&self, index: usize, bytes: u64) {
        let _ = (index, bytes);
    }
    /// A blob is there.
    fn done(&self, index: usize, how: Moved) {
        let _ = (index, how);
    }
}

/// Shows nothing.
#[derive(Debug)]
pub struct Quiet;

impl Progress for Quiet {}

/// Layers at a time unless asked for otherwise: each keeps some megabytes of compressed blocks in memory.
const PARALLEL: usize = 3;
/// Deepest nesting of indexes that is followed.
const MAX_NESTING: u32 = 4;

/// Copies what `source` names to `target`.
///
/// # Errors
/// Those of source and target; `Corrupt` if content does not match its digest; `Unsupported` if a form cannot be
/// written. What was written before stays at the target, unnamed.
pub fn copy(
    source: &dyn Source,
    target: &dyn Target,
    known: &KnownBlobs,
    options: &CopyOptions,
    progress: &dyn Progress,
) -> Result<Copied> {
    options.signing.check(target)?;
    let fixed = options.preserve_digests;
    let copying = Copying { source, target, known, options, progress, fixed };
    let document = copying.source.document()?;
    let document = if options.all { document } else { chosen(source, document, &options.platform)? };
    if let Document::Index(_) = &document
        && ![OCI_INDEX, DOCKER_LIST].iter().any(|index| target.takes(index))
    {
        return Err(Error::unsupported(format!(
            "{} can hold one platform of an image, not all of them",
            target.describe()
        )));
    }
    let document = copying.document(document, false, 0)?;
    Ok(Copied { document })
}

/// The instance of a document for a platform.
///
/// `NotFound` if there is none.
pub fn chosen(source: &dyn Source, document: Document, platform: &PlatformRequest) -> Result<Document> {
    let mut document = document;
    for _ in 0..MAX_NESTING {
        let Document::Index(index) = document else { return Ok(document) };
        document = source.child(index.choose(platform)?)?;
    }
    Err(Error::corrupt(format!("more than {MAX_NESTING} indexes within one another")))
}

#[derive(Clone, Copy)]
struct Copying<'a> {
    source: &'a dyn Source,
    target: &'a dyn Target,
    known: &'a KnownBlobs,
    options: &'a CopyOptions,
    progress: &'a dyn Progress,
    /// Whether documents have to stay what they are.
    fixed: bool,
}

impl Copying<'_> {
    fn document(&self, document: Document, instance: bool, depth: u32) -> Result<Document> {
        let before = document.digest().clone();
        let mut signatures = self.signatures(&document)?;
        let part = Copying { fixed: self.fixed || !signatures.is_empty(), ..*self };
        let written = match document {
            Document::Manifest(manifest) => Document::Manifest(part.manifest(manifest)?),
            Document::Index(index) => Document::Index(part.index(index, depth)?),
        };
        if part.fixed && *written.digest() != before {
            return Err(self.changed(&before));
        }
        failpoint!("copy.blobs-written");
        self.target.put_document(&written, instance)?;
        signatures.extend(self.options.signing.sign(&written, self.target)?);
        if !signatures.is_empty() {
            self.target.put_signatures(&written, instance, &signatures).context("write signatures")?;
        }
        Ok(written)
    }

    /// The signatures that are to go along, once an image has been judged by all it has.
    fn signatures(&self, document: &Document) -> Result<Vec<Signature>> {
        let rules = self.options.rules.as_ref().filter(|_| matches!(document, Document::Manifest(_)));
        let asked = rules.is_some_and(Rules::need_signatures) || !self.options.signing.remove;
        let found = if asked { self.source.signatures(document.digest())? } else { Vec::new() };
        if let Some(rules) = rules {
            let name = self.options.name.as_ref();
            rules.judge(Evidence { name, manifest: document.raw(), signatures: &found })?;
        }
        if self.options.signing.remove || found.is_empty() {
            return Ok(Vec::new());
        }
        match self.target.refuses_signatures() {
            None => {
                let sigstore = |signature: &Signature| matches!(signature, Signature::Sigstore(_));
                let some = found.iter().any(sigstore);
                let checked = self.target.check_signatures(!found.iter().all(sigstore), some);
                checked.with_context(|| format!("copy signatures to {}", self.target.describe()))?;
                Ok(found)
            }
            Some(why) => Err(Error::unsupported(format!(
                "can not copy signatures to {}: {why}",
                self.target.describe()
            ))
            .with_hint("leave them out with --remove-signatures")),
        }
    }

    fn changed(&self, before: &Digest) -> Error {
        let target = self.target.describe();
        let e = |why: &str| {
            Error::unsupported(format!(
                "the manifest {before} would have to be changed to be written to {target}{why}"
            ))
        };
        match self.options.preserve_digests {
            true => e("").with_hint("leave out --preserve-digests"),
            false => e(": would invalidate signatures").with_hint("leave them out with --remove-signatures"),
        }
    }

    fn index(&self, index: Index, depth: u32) -> Result<Index> {
        if depth >= MAX_NESTING {
            return Err(Error::corrupt(format!("more than {MAX_NESTING} indexes within one another")));
        }
        let mut replaced = Vec::new();
        for descriptor in &index.manifests {
            let child = self.source.child(descriptor)?;
            let written = self.document(child, true, depth + 1).with_context(|| {
                let platform = descriptor.platform.as_ref().map(ToString::to_string);
                format!("instance {}", platform.unwrap_or_else(|| descriptor.digest.to_string()))
            })?;
            replaced.push(Replaced {
                before: descriptor.digest.clone(),
                digest: written.digest().clone(),
                size: written.raw().len() as u64,
                media_type: written.media_type().to_owned(),
            });
        }
        let wanted = match self.options.format {
            Some(format) => format.index(),
            None if self.keeps(&index.media_type) => &index.media_type,
            None => other_index(&index.media_type),
        };
        rewrite::index(&index, wanted, &replaced)
    }

    fn manifest(&self, manifest: Manifest) -> Result<Manifest> {
        let config = self.source.config(&manifest.config).context("image configuration")?;
        let diff_ids = diff_ids(&config);
        let layers = self.layers(&manifest, &diff_ids)?;
        let mut media_type = self.manifest_type(&manifest);
        let compressions: Vec<_> = layers.iter().map(|l| l.compression).collect();
        if self.options.format.is_none()
            && compressions.iter().any(|c| c.flatten().is_some_and(Algorithm::is_zstd))
        {
            media_type = OCI_MANIFEST;
        }
        let described = |layer: &Placed| {
            let mut descriptor = layer.descriptor.clone();
            if let Some(compression) = layer.compression {
                descriptor.media_type = rewrite::layer_type(media_type, &descriptor.media_type, compression)?;
            }
            Ok(descriptor)
        };
        let descriptors = layers.iter().map(described).collect::<Result<Vec<_>>>()?;
        let written = rewrite::manifest(&manifest, media_type, &descriptors)?;
        self.config(&written.config, &config, manifest.layers.len())?;
        Ok(written)
    }

    /// Whether documents of this media type are written as they are.
    fn keeps(&self, media_type: &str) -> bool {
        match self.fixed {
            true => self.target.takes(media_type),
            false => self.target.accepts(media_type),
        }
    }

    fn manifest_type(&self, manifest: &Manifest) -> &'static str {
        let now = if manifest.media_type == DOCKER_MANIFEST { DOCKER_MANIFEST } else { OCI_MANIFEST };
        match self.options.format {
            Some(format) => format.manifest(),
            None if self.keeps(now) => now,
            None if now == OCI_MANIFEST => DOCKER_MANIFEST,
            None => OCI_MANIFEST,
        }
    }

    fn config(&self, descriptor: &Descriptor, raw: &[u8], index: usize) -> Result<()> {
        let how = if self.target.reuse(descriptor, &[])? {
            Moved::Exists
        } else {
            let size = Some(raw.len() as u64);
            self.target.put(BlobKind::Config, &Bytes(raw), Some(&descriptor.digest), size, &|_| {})?;
            Moved::Written
        };
        self.progress.done(index, how);
        Ok(())
    }

    /// Moves every layer, several at a time; the same layer twice is moved once.
    fn layers(&self, manifest: &Manifest, diff_ids: &[Digest]) -> Result<Vec<Placed>> {
        let mut shown = manifest.layers.clone();
        shown.push(manifest.config.clone());
        self.progress.blobs(&shown);
        let same = |i: usize| manifest.layers[..i].iter().position(|l| l.digest == manifest.layers[i].digest);
        let next = AtomicUsize::new(0);
        let failed = AtomicBool::new(false);
        let outcome: Mutex<(Vec<Option<Placed>>, Option<Error>)> =
            Mutex::new((vec![None; manifest.layers.len()], None));
        let work = || {
            while !failed.load(Ordering::Relaxed) {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(layer) = manifest.layers.get(index) else { return };
                if same(index).is_some() {
                    continue;
                }
                let placed = self
                    .layer(index, layer, diff_ids.get(index))
                    .with_context(|| format!("layer {}", &layer.digest.hex()[..12]));
                let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
                match placed {
                    Ok((placed, how)) => {
                        self.progress.done(index, how);
                        outcome.0[index] = Some(placed);
                    }
                    Err(e) => {
                        failed.store(true, Ordering::Relaxed);
                        outcome.1.get_or_insert(e);
                    }
                }
            }
        };
        let parallel = if self.options.parallel == 0 { PARALLEL } else { self.options.parallel };
        std::thread::scope(|scope| {
            for _ in 1..parallel.min(manifest.layers.len()) {
                scope.spawn(work);
            }
            work();
        });
        let (mut placed, error) = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = error {
            return Err(error);
        }
        for index in 0..placed.len() {
            if let Some(first) = same(index) {
                placed[index] = placed[first].clone();
                self.progress.done(index, Moved::Exists);
            }
        }
        placed.into_iter().map(|p| p.ok_or_else(|| Error::corrupt("a layer was not moved"))).collect()
    }

    fn layer(&self, index: usize, layer: &Descriptor, diff_id: Option<&Digest>) -> Result<(Placed, Moved)> {
        let now = rewrite::layer_compression(layer);
        let fits = self.fits(now);
        if let Some(placed) = self.at_target(layer, now, fits, diff_id)? {
            return Ok((placed, Moved::Exists));
        }
        let sent = |bytes| self.progress.sent(index, bytes);
        let held = self.source.held(layer)?;
        if held != Held::Blob || !fits {
            return self.anew(layer, diff_id, &held, &sent);
        }
        let content = self.source.layer(layer)?;
        let (digest, size) = (Some(&layer.digest), Some(layer.size));
        self.target.put(BlobKind::Layer, content.as_ref(), digest, size, &sent)?;
        if let (Some(diff_id), Some(compression)) = (diff_id, now) {
            self.note(diff_id, layer, compression);
        }
        Ok((Placed { descriptor: layer.clone(), compression: now }, Moved::Written))
    }

    /// Whether a layer so compressed is in the form that is wanted; `None`: not a layer that could be changed.
    fn fits(&self, now: Option<Option<Algorithm>>) -> bool {
        match (self.form(), now) {
            (_, None) | (LayerForm::AsIs, _) => true,
            (LayerForm::Plain, Some(compression)) => compression.is_none(),
            (LayerForm::Compressed(_), Some(None)) => false,
            (LayerForm::Compressed(method), Some(Some(algorithm))) => {
                !self.options.force && !self.unfit(algorithm)
                    || algorithm == method.algorithm && method.level.is_none()
            }
        }
    }

    /// The layer, if the target has it: as the blob that the manifest names, or as another that is known to hold the same
    /// archive.
    fn at_target(
        &self,
        layer: &Descriptor,
        now: Option<Option<Algorithm>>,
        fits: bool,
        diff_id: Option<&Digest>,
    ) -> Result<Option<Placed>> {
        let blobs = diff_id.map(|id| self.known.of(id)).unwrap_or_default();
        if fits {
            let known = blobs.iter().find(|b| b.digest == layer.digest);
            let repositories = known.map(|b| &b.repositories[..]).unwrap_or_default();
            if self.target.reuse(layer, repositories)? {
                return Ok(Some(Placed { descriptor: layer.clone(), compression: now }));
            }
        }
        let (LayerForm::Compressed(Method { algorithm, level: None }), Some(_)) = (self.form(), now) else {
            return Ok(None);
        };
        for blob in blobs.iter().filter(|b| b.compression == algorithm.name()) {
            let descriptor = Descriptor {
                digest: blob.digest.clone(),
                size: blob.size,
                annotations: blob.annotations.clone(),
                ..layer.clone()
            };
            if self.target.reuse(&descriptor, &blob.repositories)? {
                return Ok(Some(Placed { descriptor, compression: Some(Some(algorithm)) }));
            }
        }
        Ok(None)
    }

    /// Makes a blob of the layer's archive.
    fn anew(
        &self,
        layer: &Descriptor,
        diff_id: Option<&Digest>,
        held: &Held,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<(Placed, Moved)> {
        let method = match self.form() {
            LayerForm::Compressed(method) => Some(method),
            LayerForm::AsIs | LayerForm::Plain => None,
        };
        let (known, size) = match held {
            Held::Archive { diff_id, size } if method.is_none() => (Some(diff_id), *size),
            _ => (None, None),
        };
        if let (Some(digest), Some(size)) = (known, size) {
            let plain = Descriptor { digest: digest.clone(), size, ..layer.clone() };
            if self.target.reuse(&plain, &[])? {
                return Ok((Placed { descriptor: plain, compression: Some(None) }, Moved::Exists));
            }
        }
        let content = self.source.layer(layer)?;
        let archive = Archive::new(content.as_ref(), *held == Held::Blob, method);
        let written = self.target.put(BlobKind::Layer, &archive, known, size, sent)?;
        let (found, annotations) = match archive.into_made() {
            Some(made) => (Some(made.diff_id), made.annotations),
            None => (None, None),
        };
        let expected = match held {
            Held::Archive { diff_id, .. } => Some(diff_id),
            Held::Blob => diff_id,
        };
        if let (Some(found), Some(expected)) = (&found, expected)
            && found != expected
        {
            return Err(Error::corrupt(format!("the archive has the DiffID {found} instead of {expected}")));
        }
        let compression = method.map(|m| m.algorithm);
        let descriptor =
            Descriptor { digest: written.digest, size: written.size, annotations, ..layer.clone() };
        if let Some(diff_id) = found {
            self.note(&diff_id, &descriptor, compression);
        }
        Ok((Placed { descriptor, compression: Some(compression) }, Moved::Written))
    }

    fn form(&self) -> LayerForm {
        match (self.options.layers, self.target.form()) {
            (Some(form), _) => form,
            // Compressing would change the digest as surely as the wrong form of the manifest.
            (None, LayerForm::Compressed(_)) if self.fixed => LayerForm::AsIs,
            (None, form) => form,
        }
    }

    /// Docker's format has no zstd.
    fn unfit(&self, algorithm: Algorithm) -> bool {
        algorithm.is_zstd() && self.options.format == Some(Format::Docker)
    }

    fn note(&self, diff_id: &Digest, blob: &Descriptor, compression: Option<Algorithm>) {
        if let Some(repository) = self.target.repository() {
            let compression = compression.map_or("uncompressed", Algorithm::name);
            self.known.note(diff_id, blob, compression, Some(repository));
        }
    }
}

/// A layer at the target.
#[derive(Clone)]
struct Placed {
    descriptor: Descriptor,
    /// How it is compressed; `None`: nobody knows, its media type stays.
    compression: Option<Option<Algorithm>>,
}

fn other_index(media_type: &str) -> &'static str {
    if media_type == OCI_INDEX { DOCKER_LIST } else { OCI_INDEX }
}

/// The DiffIDs of an image configuration; none for other artifacts.
fn diff_ids(config: &[u8]) -> Vec<Digest> {
    #[derive(Deserialize)]
    struct Config {
        rootfs: RootFs,
    }
    #[derive(Deserialize)]
    struct RootFs {
        diff_ids: Vec<Digest>,
    }
    serde_json::from_slice::<Config>(config).map(|c| c.rootfs.diff_ids).unwrap_or_default()
}
