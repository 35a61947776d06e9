//! The OCI image layout that artifacts are in.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::engine::digest::{Algorithm, Hasher};
use crate::engine::host::atomic::{self, Durability};
use crate::engine::host::lock::FileLock;
use crate::engine::host::random;
use crate::engine::registry::manifest::{MAX_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use crate::engine::registry::{Content, Descriptor, Document, Uploaded};
use crate::engine::transport::{BlobKind, BlobStream, LayerForm, Source, Target};
use crate::engine::{Digest, Error, ErrorKind, Result};
use crate::failpoint;

const NAME: &str = "org.opencontainers.image.ref.name";
/// How long content that nothing names is left alone: somebody may be about to name it.
const SETTLED: Duration = Duration::from_secs(24 * 3600);

/// The layout.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    root: PathBuf,
}

/// An entry of index.json.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) digest: Digest,
}

impl Layout {
    /// Below a graph root; nothing is made.
    pub(super) fn new(graph_root: &Path) -> Self {
        Self { root: graph_root.join("artifacts") }
    }

    /// Makes what is missing.
    pub(super) fn make(&self) -> Result<()> {
        let blobs = self.root.join("blobs/sha256");
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&blobs)
            .map_err(|e| Error::io("mkdir", &blobs, e))?;
        let _lock = self.lock()?;
        let version = self.root.join("oci-layout");
        if !version.exists() {
            atomic::write(&version, br#"{"imageLayoutVersion":"1.0.0"}"#, 0o644, Durability::None)?;
        }
        if !self.index_path().exists() {
            self.write_index(&json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}))?;
        }
        Ok(())
    }

    pub(super) fn lock(&self) -> Result<FileLock> {
        FileLock::exclusive(&self.root.join("index.lock"))
    }

    /// `None`: there is no layout yet.
    pub(super) fn lock_shared(&self) -> Result<Option<FileLock>> {
        match self.root.exists() {
            true => FileLock::shared(&self.root.join("index.lock")).map(Some),
            false => Ok(None),
        }
    }

    fn index_path(&self) -> PathBuf {
        self.root.join("index.json")
    }

    fn index(&self) -> Result<Value> {
        let path = self.index_path();
        let text = match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Ok(json!({"schemaVersion": 2, "manifests": []}));
            }
            read => read.map_err(|e| Error::io("read", &path, e))?,
        };
        serde_json::from_slice(&text).map_err(|e| Error::corrupt(format!("{}: {e}", path.display())))
    }

    fn write_index(&self, index: &Value) -> Result<()> {
        let text = serde_json::to_vec(index).map_err(|e| Error::corrupt(e.to_string()))?;
        atomic::write(&self.index_path(), &text, 0o644, Durability::Synced)
    }

    /// What has a name.
    pub(super) fn named(&self) -> Result<Vec<Named>> {
        let index = self.index()?;
        let entries = index["manifests"].as_array().cloned().unwrap_or_default();
        let named = |entry: &Value| {
            let name = entry["annotations"][NAME].as_str()?.to_owned();
            Some(Named { name, digest: Digest::parse(entry["digest"].as_str()?).ok()? })
        };
        Ok(entries.iter().filter_map(named).collect())
    }

    pub(super) fn blob_path(&self, digest: &Digest) -> Result<PathBuf> {
        if digest.algorithm() != Algorithm::Sha256 {
            return Err(Error::unsupported(format!("{digest}: only sha256 is kept here")));
        }
        Ok(self.root.join("blobs/sha256").join(digest.hex()))
    }

    /// A manifest, verified.
    pub(super) fn document(&self, digest: &Digest) -> Result<Document> {
        let path = self.blob_path(digest)?;
        let file = File::open(&path).map_err(|e| Error::io("open", &path, e))?;
        let mut raw = Vec::new();
        file.take(MAX_MANIFEST as u64 + 1).read_to_end(&mut raw).map_err(|e| Error::io("read", &path, e))?;
        crate::engine::registry::client::verify(digest, &raw)?;
        Document::parse_any(raw, digest.clone(), None)
    }

    /// Writes a manifest and gives it a name, if `check` allows it under the lock.
    pub(super) fn record(
        &self,
        name: &str,
        document: &Document,
        check: impl FnOnce(&Self) -> Result<()>,
    ) -> Result<()> {
        let (raw, digest, media_type) = match document {
            Document::Manifest(m) => (&m.raw, &m.digest, m.media_type.as_str()),
            Document::Index(i) => (&i.raw, &i.digest, i.media_type.as_str()),
        };
        let _lock = self.lock()?;
        check(self)?;
        atomic::write(&self.blob_path(digest)?, raw, 0o644, Durability::Synced)?;
        failpoint!("artifact.manifest-written");
        let mut index = self.index()?;
        let entry = json!({
            "mediaType": media_type,
            "digest": digest.as_str(),
            "size": raw.len(),
            "annotations": {NAME: name},
        });
        let mut entries = index["manifests"].as_array().cloned().unwrap_or_default();
        let before: Vec<Digest> = entries
            .iter()
            .filter(|e| e["annotations"][NAME].as_str() == Some(name))
            .filter_map(|e| Digest::parse(e["digest"].as_str()?).ok())
            .collect();
        entries.retain(|e| e["annotations"][NAME].as_str() != Some(name));
        entries.push(entry);
        index["manifests"] = entries.into();
        self.write_index(&index)?;
        before.iter().filter(|b| *b != digest).try_for_each(|b| self.sweep(Some(b)))
    }

    /// Takes a name away. Needs the lock.
    pub(super) fn forget(&self, named: &Named) -> Result<()> {
        let mut index = self.index()?;
        if let Some(entries) = index["manifests"].as_array_mut() {
            entries.retain(|e| e["annotations"][NAME].as_str() != Some(named.name.as_str()));
        }
        self.write_index(&index)?;
        failpoint!("artifact.forgotten");
        self.sweep(Some(&named.digest))
    }

    /// Removes the content of a manifest that has no name any more, and old content that nothing names.
    fn sweep(&self, gone: Option<&Digest>) -> Result<()> {
        let mut kept: Vec<Digest> = Vec::new();
        let index = self.index()?;
        for entry in index["manifests"].as_array().into_iter().flatten() {
            let Some(digest) = entry["digest"].as_str().and_then(|d| Digest::parse(d).ok()) else { continue };
            kept.extend(self.content(&digest));
        }
        let of_gone: Vec<Digest> = gone.map(|d| self.content(d)).unwrap_or_default();
        let directory = self.root.join("blobs/sha256");
        let entries = fs::read_dir(&directory).map_err(|e| Error::io("read directory", &directory, e))?;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if kept.iter().any(|d| d.hex() == name) {
                continue;
            }
            let old = entry
                .metadata()
                .and_then(|m| m.modified())
                .is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > SETTLED));
            if old || of_gone.iter().any(|d| d.hex() == name) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// A manifest and all it names.
    fn content(&self, digest: &Digest) -> Vec<Digest> {
        let mut all = vec![digest.clone()];
        match self.document(digest) {
            Ok(Document::Manifest(m)) => {
                all.push(m.config.digest);
                all.extend(m.layers.into_iter().map(|l| l.digest));
            }
            Ok(Document::Index(i)) => i.manifests.iter().for_each(|d| all.extend(self.content(&d.digest))),
            Err(e) => tracing::debug!("artifact {digest}: {e}"),
        }
        all
    }

    /// Writes content; returns what it is.
    pub(super) fn put(
        &self,
        content: &dyn Content,
        expected: Option<&Digest>,
        _size: Option<u64>,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<Uploaded> {
        let directory = self.root.join("blobs/sha256");
        let temporary = directory.join(format!(".tmp-{}", hex::encode(random::bytes::<8>()?)));
        let file = File::options().write(true).create_new(true).open(&temporary);
        let file = file.map_err(|e| Error::io("create", &temporary, e))?;
        let mut writer = Writer { file, hasher: Hasher::new(Algorithm::Sha256), size: 0, sent };
        let written = content.write_to(&mut writer).and_then(|()| {
            writer.file.sync_all().map_err(|e| Error::io("fsync", &temporary, e))?;
            let (digest, size) = (writer.hasher.finish(), writer.size);
            if let Some(expected) = expected.filter(|e| **e != digest) {
                return Err(Error::corrupt(format!("blob {expected}: the content has the digest {digest}")));
            }
            let path = self.blob_path(&digest)?;
            fs::rename(&temporary, &path).map_err(|e| Error::io("rename to", &path, e))?;
            Ok(Uploaded { digest, size })
        });
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// The layout as a target for one name.
    pub(super) fn named_target(&self, name: &str) -> NamedTarget {
        NamedTarget { layout: self.clone(), name: name.to_owned() }
    }

    /// One name of the layout as a source.
    pub(super) fn source(&self, named: &Named) -> NamedSource {
        NamedSource { layout: self.clone(), named: named.clone() }
    }

    /// The content of a blob.
    pub(super) fn layer(&self, blob: &Descriptor) -> Result<FileContent> {
        Ok(FileContent(self.blob_path(&blob.digest)?))
    }
}

struct Writer<'a> {
    file: File,
    hasher: Hasher,
    size: u64,
    sent: &'a (dyn Fn(u64) + Sync),
}

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        (self.sent)(self.size);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A file's content.
pub(super) struct FileContent(pub(super) PathBuf);

impl Content for FileContent {
    fn write_to(&self, out: &mut dyn Write) -> Result<()> {
        let mut file = File::open(&self.0).map_err(|e| Error::io("open", &self.0, e))?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Error::io("read", &self.0, e)),
            };
            out.write_all(&buffer[..count]).map_err(|e| Error::os("write", e))?;
        }
    }
}

pub(super) struct NamedSource {
    layout: Layout,
    named: Named,
}

impl Source for NamedSource {
    fn describe(&self) -> String {
        self.named.name.clone()
    }

    fn document(&self) -> Result<Document> {
        self.layout.document(&self.named.digest)
    }

    fn child(&self, descriptor: &Descriptor) -> Result<Document> {
        self.layout.document(&descriptor.digest)
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.layout.layer(descriptor)?.write_to(&mut bytes)?;
        crate::engine::registry::client::verify(&descriptor.digest, &bytes)?;
        Ok(bytes)
    }

    fn layer<'a>(&'a self, layer: &'a Descriptor) -> Result<Box<dyn Content + 'a>> {
        Ok(Box::new(self.layout.layer(layer)?))
    }

    fn reader<'a>(&'a self, layer: &'a Descriptor, _: &Arc<AtomicBool>) -> Result<Box<dyn BlobStream + 'a>> {
        let FileContent(path) = self.layout.layer(layer)?;
        Ok(Box::new(File::open(&path).map_err(|e| Error::io("open", &path, e))?))
    }
}

pub(super) struct NamedTarget {
    layout: Layout,
    name: String,
}

impl Target for NamedTarget {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn refuses_signatures(&self) -> Option<&'static str> {
        Some("pushing signatures for OCI images is not supported")
    }

    fn form(&self) -> LayerForm {
        LayerForm::AsIs
    }

    fn accepts(&self, media_type: &str) -> bool {
        media_type == OCI_MANIFEST
    }

    fn reuse(&self, blob: &Descriptor, _repositories: &[String]) -> Result<bool> {
        let path = self.layout.blob_path(&blob.digest)?;
        let file = match File::options().write(true).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(Error::io("open", &path, e)),
        };
        // Fresh again, so that nobody sweeps it before it is named.
        file.set_modified(SystemTime::now()).map_err(|e| Error::io("touch", &path, e))?;
        Ok(file.metadata().is_ok_and(|m| m.len() == blob.size))
    }

    fn put(
        &self,
        _kind: BlobKind,
        content: &dyn Content,
        expected: Option<&Digest>,
        size: Option<u64>,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<Uploaded> {
        self.layout.put(content, expected, size, sent)
    }

    fn put_document(&self, document: &Document, instance: bool) -> Result<()> {
        if instance {
            return Err(Error::new(ErrorKind::Unsupported, "an artifact is one manifest, no index"));
        }
        self.layout.record(&self.name, document, |_| Ok(()))
    }
}
