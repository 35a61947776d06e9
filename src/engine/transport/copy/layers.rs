//! The layers of one image on their way.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Copying, Moved};
use crate::engine::registry::{Descriptor, Manifest};
use crate::engine::transport::archive::Archive;
use crate::engine::transport::compress::{Algorithm, Method};
use crate::engine::transport::lanes::Lanes;
use crate::engine::transport::rewrite;
use crate::engine::transport::{BlobKind, Format, Held, LayerForm};
use crate::engine::{Context, Digest, Error, Result};

/// Layers at a time unless asked for otherwise: each keeps some megabytes of compressed blocks in memory.
const PARALLEL: usize = 3;

impl Copying<'_> {
    /// Moves every layer, several at a time; the same layer twice is moved once.
    pub(super) fn layers(&self, manifest: &Manifest, diff_ids: &[Digest]) -> Result<Vec<Placed>> {
        let mut shown = manifest.layers.clone();
        shown.push(manifest.config.clone());
        self.progress.blobs(&shown);
        let same = |i: usize| manifest.layers[..i].iter().position(|l| l.digest == manifest.layers[i].digest);
        let parallel = if self.options.parallel == 0 { PARALLEL } else { self.options.parallel };
        let troubles = || self.target.troubles() + self.source.troubles().unwrap_or_default();
        let lanes = Lanes::growing(parallel.min(manifest.layers.len()), &troubles);
        let next = AtomicUsize::new(0);
        let failed = AtomicBool::new(false);
        let outcome: Mutex<(Vec<Option<Placed>>, Option<Error>)> =
            Mutex::new((vec![None; manifest.layers.len()], None));
        let work = || {
            while !failed.load(Ordering::Relaxed) {
                let _lane = lanes.enter();
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(layer) = manifest.layers.get(index) else { return };
                if same(index).is_some() {
                    continue;
                }
                let placed = self
                    .layer(index, layer, diff_ids.get(index), &lanes)
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

    fn layer(
        &self,
        index: usize,
        layer: &Descriptor,
        diff_id: Option<&Digest>,
        lanes: &Lanes<'_>,
    ) -> Result<(Placed, Moved)> {
        let now = rewrite::layer_compression(layer);
        let fits = self.fits(now);
        if let Some(placed) = self.at_target(layer, now, fits, diff_id)? {
            return Ok((placed, Moved::Exists));
        }
        let before = AtomicU64::new(0);
        let sent = |bytes: u64| {
            lanes.moved(bytes.saturating_sub(before.swap(bytes, Ordering::Relaxed)));
            self.progress.sent(index, bytes);
        };
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
pub(super) struct Placed {
    pub(super) descriptor: Descriptor,
    /// How it is compressed; `None`: nobody knows, its media type stays.
    pub(super) compression: Option<Option<Algorithm>>,
}
