//! The layers of one image on their way into the store: fetched, verified, inflated and unpacked in one stream each,
//! several at a time, no blob ever on disk.
//!
//! The chain of layer IDs is known from the image's configuration before a byte is fetched, so a layer that is here is
//! found by its ID; one that is here on top of others is copied, by its tar-split. The blobs of the others are locked across processes for as long as it takes: whoever waits finds
//! the layers done. Nothing is visible before the store commits what [`bring`] returns; dropping it removes everything.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::request::{LayerInfo, Progress};
use super::{ImageConfig, partial};
use crate::engine::digest::Algorithm;
use crate::engine::host::relay::relay;
use crate::engine::registry::{Descriptor, Manifest};
use crate::engine::store::diff::{self, Applied, ApplyOptions, chunked};
use crate::engine::store::{BlobLocks, LayerRecord, NewLayer, StagedLayer};
use crate::engine::transport::lanes::Lanes;
use crate::engine::transport::{BlobStream, Source};
use crate::engine::{Context, Digest, Engine, Error, ErrorKind, Result};
use crate::failpoint;

/// Downloads at a time unless configured (containers.conf `image_parallel_copies`).
const PARALLEL: u32 = 6;

/// One layer of an image.
#[derive(Clone, Debug)]
pub struct ChainLayer {
    /// Its ID in the store.
    pub id: String,
    /// The layer below.
    pub parent: Option<String>,
    /// What its archive must hash to.
    pub diff_id: Digest,
    /// Its blob.
    pub blob: Descriptor,
}

/// Layers ready to be committed, lowest first, with the locks on their blobs.
#[derive(Debug)]
pub struct Brought {
    /// What [`crate::engine::store::Store::commit_image`] takes.
    pub staged: Vec<(StagedLayer, NewLayer)>,
    /// To be dropped after the commit.
    pub locks: Option<BlobLocks>,
}

/// The layers of an image with their IDs (containers/image `storage/storage_dest.go`: `layerID`).
///
/// `Corrupt` if manifest and configuration disagree about their number.
pub fn chain(manifest: &Manifest, config: &ImageConfig) -> Result<Vec<ChainLayer>> {
    let diff_ids = &config.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        return Err(Error::corrupt(format!(
            "the image's configuration has {} DiffIDs, its manifest {} layers",
            diff_ids.len(),
            manifest.layers.len()
        )));
    }
    let mut chain: Vec<ChainLayer> = Vec::with_capacity(diff_ids.len());
    for (diff_id, blob) in diff_ids.iter().zip(&manifest.layers) {
        let parent = chain.last().map(|l| l.id.clone());
        let id = match &parent {
            None => diff_id.hex().to_owned(),
            Some(parent) => Digest::sha256(format!("{parent}+{}", diff_id.hex()).as_bytes()).hex().to_owned(),
        };
        if blob.media_type.contains("encrypted") {
            return Err(Error::unsupported(format!("layer {} is encrypted", blob.digest)));
        }
        chain.push(ChainLayer { id, parent, diff_id: diff_id.clone(), blob: blob.clone() });
    }
    Ok(chain)
}

/// Brings every layer of the chain that is not here.
pub fn bring(
    engine: &Engine,
    chain: &[ChainLayer],
    source: &dyn Source,
    progress: &dyn Progress,
) -> Result<Brought> {
    let mut here = engine.store.layers()?;
    let mut present = present(&here, chain);
    let locks = if present < chain.len() {
        let digests: Vec<Digest> = chain[present..].iter().map(|l| l.blob.digest.clone()).collect();
        let locks = engine.store.lock_blobs(&digests)?;
        // Somebody may have brought them while we waited.
        here = engine.store.layers()?;
        present = self::present(&here, chain);
        Some(locks)
    } else {
        None
    };
    failpoint!("pull.blobs-locked");
    let copies: Vec<Option<LayerRecord>> = chain
        .iter()
        .enumerate()
        .map(|(i, l)| {
            here.iter().find(|h| i >= present && h.diff_digest.as_ref() == Some(&l.diff_id)).cloned()
        })
        .collect();
    let info = |(i, l): (usize, &ChainLayer)| LayerInfo {
        digest: l.blob.digest.clone(),
        size: l.blob.size,
        present: i < present || copies[i].is_some(),
    };
    progress.layers(&chain.iter().enumerate().map(info).collect::<Vec<_>>());
    if present == chain.len() {
        return Ok(Brought { staged: Vec::new(), locks: None });
    }
    let configured = engine.config.containers.engine.image_parallel_copies.unwrap_or(PARALLEL);
    let workers = (configured.clamp(1, 32) as usize).min(chain.len() - present);
    let troubles = || source.troubles().unwrap_or_default();
    let pull = Pull {
        engine,
        chain,
        source,
        copies,
        progress,
        options: engine.store.apply_options()?,
        // What is at hand is only a matter of cores.
        lanes: source.troubles().map(|_| Lanes::growing(workers, &troubles)),
        next: AtomicUsize::new(present),
        cancel: Arc::new(AtomicBool::new(false)),
        outcome: Mutex::new((Vec::new(), None)),
    };
    std::thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(|| pull.work());
        }
        pull.work();
    });
    let (mut staged, error) = pull.outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = error {
        return Err(error);
    }
    staged.sort_by_key(|(index, _)| *index);
    Ok(Brought { staged: staged.into_iter().map(|(_, layer)| layer).collect(), locks })
}

/// How many layers from the bottom up are here.
fn present(here: &[LayerRecord], chain: &[ChainLayer]) -> usize {
    let ids: HashSet<&str> = here.iter().map(|l| l.id.as_str()).collect();
    let top = (0..chain.len()).rev().find(|i| ids.contains(chain[*i].id.as_str()));
    top.map_or(0, |i| i + 1)
}

type Outcome = (Vec<(usize, (StagedLayer, NewLayer))>, Option<Error>);

struct Pull<'a> {
    engine: &'a Engine,
    chain: &'a [ChainLayer],
    source: &'a dyn Source,
    /// Layers here with the same content on top of others.
    copies: Vec<Option<LayerRecord>>,
    progress: &'a dyn Progress,
    options: ApplyOptions,
    lanes: Option<Lanes<'a>>,
    next: AtomicUsize,
    cancel: Arc<AtomicBool>,
    outcome: Mutex<Outcome>,
}

impl Pull<'_> {
    /// Takes layers from the bottom up until there are no more, or something failed.
    fn work(&self) {
        while !self.cancel.load(Ordering::Relaxed) {
            let _lane = self.lanes.as_ref().map(Lanes::enter);
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(layer) = self.chain.get(index) else { return };
            match self.stage(index, layer) {
                Ok(staged) => {
                    self.outcome().0.push((index, staged));
                    self.progress.unpacked(index);
                    failpoint!("pull.layer-unpacked");
                }
                Err(e) => {
                    self.cancel.store(true, Ordering::Relaxed);
                    // The first failure is the cause; what the others then say is a consequence.
                    self.outcome().1.get_or_insert(e);
                }
            }
        }
    }

    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stage(&self, index: usize, layer: &ChainLayer) -> Result<(StagedLayer, NewLayer)> {
        if let Some(original) = &self.copies[index] {
            match self.copy(layer, original) {
                Ok(copied) => return Ok(copied),
                Err(e) if e.kind() == ErrorKind::DiskFull => return Err(e),
                Err(e) => tracing::debug!("layer {} cannot be copied, it is fetched: {e}", original.id),
            }
        }
        let staged = match self.partial(index, layer)? {
            Partial::Whole(whole) => return Ok(*whole),
            Partial::Toc(staged) => staged,
            Partial::Nothing => self.engine.store.stage_layer()?,
        };
        let applied = self
            .source
            .reader(&layer.blob, &self.cancel)
            .and_then(|stream| self.apply(index, stream, &staged));
        let applied = applied.with_context(|| format!("layer {}", short(&layer.blob.digest)))?;
        check(layer, &applied)?;
        self.convert(&staged)?;
        let mut new = new_layer(layer, &applied);
        new.toc = staged.toc_path().exists();
        Ok((staged, new))
    }

    /// Gives the layer a table of contents, if it has none and that is wanted.
    fn convert(&self, staged: &StagedLayer) -> Result<()> {
        let path = staged.toc_path();
        if !self.engine.config.storage.pull_options.convert || path.exists() {
            return Ok(());
        }
        match partial::convert(self.engine, staged) {
            Err(e) if e.kind() == ErrorKind::DiskFull => Err(e),
            Err(e) => {
                tracing::debug!("a layer is not converted: {e}");
                match std::fs::remove_file(&path) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", &path, e)),
                    _ => Ok(()),
                }
            }
            Ok(()) => Ok(()),
        }
    }

    /// Brings only what the store lacks of a layer that says what is in it.
    fn partial(&self, index: usize, layer: &ChainLayer) -> Result<Partial> {
        let wanted = self.engine.config.storage.pull_options.partial;
        let annotations = layer.blob.annotations.as_ref();
        let chunked =
            wanted && (chunked::is_chunked(annotations) || chunked::estargz::is_estargz(annotations));
        let Some(repository) = self.source.in_parts().filter(|_| chunked) else {
            return Ok(Partial::Nothing);
        };
        let staged = self.engine.store.stage_layer()?;
        let request = partial::Request {
            engine: self.engine,
            repository,
            layer,
            options: &self.options,
            cancel: &self.cancel,
            received: &|bytes| self.progress.received(index, bytes),
        };
        match partial::fetch(&request, &staged) {
            Ok(Some(applied)) => {
                let mut new = NewLayer::from_applied(&layer.id, layer.parent.clone(), &applied);
                // Of the blob only parts were seen: nobody may take its digest for that of these contents.
                (new.compressed_digest, new.compressed_size) = (None, 0);
                new.toc = true;
                Ok(Partial::Whole(Box::new((staged, new))))
            }
            Ok(None) => Ok(Partial::Toc(staged)),
            Err(e) if e.kind() == ErrorKind::DiskFull => Err(e),
            Err(e) => {
                tracing::debug!("layer {} is fetched as a whole: {e}", layer.blob.digest);
                Ok(Partial::Nothing)
            }
        }
    }

    /// Makes the layer from one with the same content, as its archive came.
    fn copy(&self, layer: &ChainLayer, original: &LayerRecord) -> Result<(StagedLayer, NewLayer)> {
        let staged = self.engine.store.stage_layer()?;
        let path = staged.tar_split_path();
        let split = File::create(&path).map_err(|e| Error::io("create", &path, e))?;
        let store = &self.engine.store;
        let applied = relay(
            |mut out| store.layer_diff_tar(&original.id, &mut out),
            |archive| diff::apply(archive, staged.dir(), BufWriter::new(split), &self.options),
        )?;
        if applied.diff_id != layer.diff_id {
            return Err(Error::corrupt(format!("layer {} is not what its record says", original.id)));
        }
        let mut new = NewLayer::from_applied(&layer.id, layer.parent.clone(), &applied);
        if original.compressed_digest.as_ref() == Some(&layer.blob.digest) {
            new.compressed_digest = Some(layer.blob.digest.clone());
            new.compressed_size = layer.blob.size;
            new.compression = original.compression;
        }
        Ok((staged, new))
    }

    fn apply(&self, index: usize, stream: Box<dyn BlobStream + '_>, staged: &StagedLayer) -> Result<Applied> {
        let path = staged.tar_split_path();
        let split = File::create(&path).map_err(|e| Error::io("create", &path, e))?;
        let lanes = self.lanes.as_ref();
        let mut reader = Reporting { stream, index, seen: 0, progress: self.progress, lanes };
        let applied = diff::apply(&mut reader, staged.dir(), BufWriter::new(split), &self.options);
        match reader.stream.take_failure() {
            // The stream's own error says more than the unpacker's "read failed".
            Some(failure) => Err(failure),
            None => applied,
        }
    }
}

/// How far it came without the whole blob.
enum Partial {
    /// The layer is unpacked.
    Whole(Box<(StagedLayer, NewLayer)>),
    /// Nothing of it was here; its table of contents is staged.
    Toc(StagedLayer),
    /// Nothing was done.
    Nothing,
}

fn short(digest: &Digest) -> &str {
    super::short_id(digest.hex())
}

fn check(layer: &ChainLayer, applied: &Applied) -> Result<()> {
    let expected = &layer.blob.digest;
    if applied.blob_size != layer.blob.size {
        return Err(Error::corrupt(format!(
            "layer {}: {} bytes instead of the {} that the manifest promises",
            short(expected),
            applied.blob_size,
            layer.blob.size
        )));
    }
    // Another algorithm was verified by the reader.
    if expected.algorithm() == Algorithm::Sha256 && applied.blob_digest != *expected {
        return Err(Error::corrupt(format!(
            "layer {expected}: the content does not match its digest, it has {}",
            applied.blob_digest
        )));
    }
    if applied.diff_id != layer.diff_id {
        return Err(Error::corrupt(format!(
            "layer {}: the archive has the DiffID {}, the image's configuration says {}",
            short(expected),
            applied.diff_id,
            layer.diff_id
        )));
    }
    Ok(())
}

fn new_layer(layer: &ChainLayer, applied: &Applied) -> NewLayer {
    let mut new = NewLayer::from_applied(&layer.id, layer.parent.clone(), applied);
    new.compressed_digest = Some(layer.blob.digest.clone());
    new
}

/// Tells the front end how far a blob has come, in steps worth showing.
struct Reporting<'a> {
    stream: Box<dyn BlobStream + 'a>,
    index: usize,
    seen: u64,
    progress: &'a dyn Progress,
    lanes: Option<&'a Lanes<'a>>,
}

impl Read for Reporting<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(out)?;
        self.seen += count as u64;
        self.progress.received(self.index, self.seen);
        if let Some(lanes) = self.lanes {
            lanes.moved(count as u64);
        }
        Ok(count)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::image::config::RootFs;

    #[test]
    fn layer_ids_are_containers_images() {
        let digest = |c: char| Digest::parse(&format!("sha256:{}", c.to_string().repeat(64))).unwrap();
        let descriptor = |c: char| Descriptor {
            media_type: String::new(),
            digest: digest(c),
            size: 1,
            urls: Vec::new(),
            platform: None,
            annotations: None,
        };
        let manifest = Manifest {
            raw: Vec::new(),
            digest: digest('0'),
            media_type: String::new(),
            config: descriptor('1'),
            layers: vec![descriptor('a'), descriptor('b')],
        };
        let rootfs = RootFs { kind: "layers".into(), diff_ids: vec![digest('c'), digest('d')] };
        let mut config = ImageConfig { rootfs, ..ImageConfig::default() };
        let chain = super::chain(&manifest, &config).unwrap();
        assert_eq!(chain[0].id, "c".repeat(64));
        let want = Digest::sha256(format!("{}+{}", "c".repeat(64), "d".repeat(64)).as_bytes());
        assert_eq!(chain[1].id, want.hex());
        assert_eq!(chain[1].parent.as_deref(), Some(chain[0].id.as_str()));
        config.rootfs.diff_ids.pop();
        assert!(super::chain(&manifest, &config).is_err());
    }
}
