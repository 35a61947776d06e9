//! What is known about blobs: which compressed blob holds which archive, and which repositories have it.
//!
//! A layer in the store is a directory; the blob it came from is gone. That it came, or went, as a certain blob is noted
//! here, so that a push need not compress it to learn that the registry has it, and can take it over from another
//! repository there. It is a cache: a file per archive below `<graph root>/coracle/blobs`, replaced by rename, never
//! synced; losing it costs time only. podman has the same in `blob-info-cache-v1`, a database whose format changed
//! between its versions.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::engine::host::atomic::{self, Durability};
use crate::engine::registry::{Descriptor, Reference};
use crate::engine::store::diff::chunked::{self, Annotations};
use crate::engine::{Digest, Result};

/// Most archives remembered.
const MOST_ARCHIVES: usize = 1000;
/// Most blobs remembered for one archive, and most repositories for one blob.
const MOST: usize = 8;

/// The cache.
#[derive(Clone, Debug)]
pub struct KnownBlobs {
    directory: PathBuf,
}

/// One blob that holds an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// `gzip`, `zstd`, `uncompressed` …
    pub compression: String,
    /// Where its table of contents is, of `zstd:chunked`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
    /// `registry/path` of repositories that had it, the latest first.
    #[serde(default)]
    pub repositories: Vec<String>,
}

impl KnownBlobs {
    /// The cache below a graph root.
    pub fn new(graph_root: &Path) -> Self {
        Self { directory: graph_root.join("coracle/blobs") }
    }

    /// The blobs that hold this archive, the latest first. What cannot be read is not known.
    pub fn of(&self, diff_id: &Digest) -> Vec<KnownBlob> {
        let text = std::fs::read(self.path(diff_id)).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Notes that the blob holds the archive, and that `repository` has it. Only told if it fails: it is a cache.
    pub fn note(
        &self,
        diff_id: &Digest,
        descriptor: &Descriptor,
        compression: &str,
        repository: Option<&Reference>,
    ) {
        if let Err(e) = self.try_note(diff_id, descriptor, compression, repository) {
            tracing::debug!("blob {} is not noted: {e}", descriptor.digest);
        }
    }

    fn try_note(
        &self,
        diff_id: &Digest,
        descriptor: &Descriptor,
        compression: &str,
        repository: Option<&Reference>,
    ) -> Result<()> {
        let before = self.of(diff_id);
        let mut blobs = before.clone();
        let mut blob = match blobs.iter().position(|b| b.digest == descriptor.digest) {
            Some(at) => blobs.remove(at),
            None => KnownBlob {
                digest: descriptor.digest.clone(),
                size: descriptor.size,
                compression: compression.to_owned(),
                annotations: None,
                repositories: Vec::new(),
            },
        };
        if chunked::is_chunked(descriptor.annotations.as_ref()) {
            blob.annotations.clone_from(&descriptor.annotations);
        }
        if let Some(repository) = repository.map(Reference::name) {
            blob.repositories.retain(|r| *r != repository);
            blob.repositories.insert(0, repository);
            blob.repositories.truncate(MOST);
        }
        blobs.insert(0, blob);
        blobs.truncate(MOST);
        if blobs == before {
            return Ok(());
        }
        std::fs::create_dir_all(&self.directory)
            .map_err(|e| crate::engine::Error::io("create", &self.directory, e))?;
        if before.is_empty() {
            self.make_room();
        }
        let text = serde_json::to_vec(&blobs).unwrap_or_default();
        atomic::write(&self.path(diff_id), &text, 0o600, Durability::None)
    }

    /// Forgets the older half when there are too many.
    fn make_room(&self) {
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let mut entries: Vec<_> = entries.collect();
        if entries.len() < MOST_ARCHIVES {
            return;
        }
        entries.sort_by_cached_key(|entry| entry.metadata().and_then(|m| m.modified()).ok());
        for entry in &entries[..entries.len() / 2] {
            let _ = std::fs::remove_file(entry.path());
        }
    }

    fn path(&self, diff_id: &Digest) -> PathBuf {
        self.directory.join(diff_id.as_str().replace(':', "-"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_blob_and_repository_come_first() {
        let directory = tempfile::tempdir().unwrap();
        let known = KnownBlobs::new(directory.path());
        let (archive, a, b) = (Digest::sha256(b"archive"), Digest::sha256(b"a"), Digest::sha256(b"b"));
        assert!(known.of(&archive).is_empty());
        let repository = |name: &str| Reference::parse(name).unwrap();
        let blob = |digest: &Digest| Descriptor {
            media_type: String::new(),
            digest: digest.clone(),
            size: 1,
            urls: Vec::new(),
            platform: None,
            annotations: None,
        };
        known.note(&archive, &blob(&a), "gzip", Some(&repository("h:1/x")));
        known.note(&archive, &blob(&b), "zstd", None);
        known.note(&archive, &blob(&a), "gzip", Some(&repository("h:1/y:tag")));
        let found = known.of(&archive);
        assert_eq!((&found[0].digest, &found[1].digest), (&a, &b));
        assert_eq!(found[0].repositories, ["h:1/y", "h:1/x"]);
        std::fs::write(known.path(&archive), "{").unwrap();
        assert!(known.of(&archive).is_empty());
    }
}
