//! One image from a source to a target.
//!
//! Layers are moved several at a time, each in one stream: read, checked against its digest and DiffID, compressed or
//! inflated if the target wants it in another form, written. A layer that the target has, as the blob the manifest
//! names or as another that is known to hold the same archive, is not moved. Then come configuration, manifest and, for
//! several instances, the index: what names something is written after it. Signatures go along ([`super::signing`]); a
//! document that has some is not changed.

mod layers;
mod referrers;

use layers::Placed;

use serde::Deserialize;

use super::compress::{Algorithm, Method};
use super::known::KnownBlobs;
use super::rewrite::{self, Replaced};
use super::variants::{self, Added, Forms};
use super::{BlobKind, Bytes, CopyOptions, LayerForm, Source, Target};
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
        let signatures = self.signatures(&document)?;
        let part = Copying { fixed: self.fixed || !signatures.is_empty(), ..*self };
        let written = match document {
            Document::Manifest(manifest) => Document::Manifest(part.manifest(manifest)?),
            Document::Index(index) => Document::Index(part.index(index, depth)?),
        };
        if part.fixed && *written.digest() != before {
            return Err(self.changed(&before));
        }
        self.put(&written, instance, signatures)?;
        self.referrers(&before, written.digest(), depth)?;
        Ok(written)
    }

    /// Writes a document whose blobs are there, with these signatures and those that are to be made.
    fn put(&self, document: &Document, instance: bool, mut signatures: Vec<Signature>) -> Result<()> {
        failpoint!("copy.blobs-written");
        self.target.put_document(document, instance)?;
        signatures.extend(self.options.signing.sign(document, self.target)?);
        if !signatures.is_empty() {
            self.target.put_signatures(document, instance, &signatures).context("write signatures")?;
        }
        Ok(())
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
        let mut forms = Forms::default();
        let mut originals = Vec::new();
        for descriptor in &index.manifests {
            let child = self.source.child(descriptor)?;
            if !self.options.variants.is_empty() {
                originals.push((descriptor, child.clone()));
            }
            let written = self
                .document(child, true, depth + 1)
                .with_context(|| format!("instance {}", called(descriptor)))?;
            forms.note(descriptor, &written);
            replaced.push(Replaced {
                before: descriptor.digest.clone(),
                digest: written.digest().clone(),
                size: written.raw().len() as u64,
                media_type: written.media_type().to_owned(),
            });
        }
        let added = self.variants(&originals, &mut forms)?;
        let wanted = match self.options.format {
            Some(format) => format.index(),
            None if !added.is_empty() => OCI_INDEX,
            None if self.keeps(&index.media_type) => &index.media_type,
            None => other_index(&index.media_type),
        };
        variants::index(&index, wanted, &replaced, &added)
    }

    /// Writes a copy of each image that lacks one of the forms that are asked for.
    fn variants(&self, images: &[(&Descriptor, Document)], forms: &mut Forms) -> Result<Vec<Added>> {
        let mut added = Vec::new();
        for (descriptor, document) in images {
            // What has no layers that could be compressed (attestations, nested indexes) has no forms.
            let Document::Manifest(manifest) = document else { continue };
            let is_layer = |layer: &Descriptor| rewrite::compression(&layer.media_type).is_some();
            if manifest.layers.is_empty() || !manifest.layers.iter().all(is_layer) {
                continue;
            }
            for algorithm in &self.options.variants {
                if !forms.lacks(descriptor, *algorithm) {
                    continue;
                }
                let method = Method { algorithm: *algorithm, level: None };
                let layers = Some(LayerForm::Compressed(method));
                let options = CopyOptions { layers, force: true, ..self.options.clone() };
                // The original's signatures are not the copy's.
                let part = Copying { options: &options, fixed: false, ..*self };
                let document = Document::Manifest(part.manifest(manifest.clone()).with_context(|| {
                    format!("copy of instance {} by {}", called(descriptor), algorithm.name())
                })?);
                self.put(&document, true, Vec::new())?;
                added.push(Added { copy_of: descriptor.digest.clone(), document });
            }
        }
        Ok(added)
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
}

/// An instance, for messages.
fn called(descriptor: &Descriptor) -> String {
    descriptor.platform.as_ref().map_or_else(|| descriptor.digest.to_string(), ToString::to_string)
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
