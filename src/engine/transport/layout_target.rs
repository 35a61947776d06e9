//! An OCI image layout that is being written, in a directory or a tar.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use super::compress::{Algorithm, Method};
use super::files::Files;
use super::layout::{IMAGE_NAME, REF_NAME};
use super::sink::Sink;
use super::{BlobKind, LayerForm, Target};
use crate::engine::registry::manifest::{
    DOCKER_LIST, DOCKER_MANIFEST, MAX_MANIFEST, OCI_INDEX, OCI_MANIFEST,
};
use crate::engine::registry::{Content, Descriptor, Document, Uploaded, referrers};
use crate::engine::{Context, Digest, Error, Result};

/// The layout, which may get several images.
pub struct LayoutWriter {
    sink: Sink,
    manifests: Mutex<Vec<Value>>,
    /// What was there before.
    before: Option<Files>,
    /// Lists of what is about a manifest, by their tags.
    referrers: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl LayoutWriter {
    /// In a tar.
    pub fn new(sink: Sink) -> Self {
        Self { sink, manifests: Mutex::default(), before: None, referrers: Mutex::default() }
    }

    /// In a directory; images that it has stay.
    ///
    /// `Corrupt` if its index cannot be read.
    pub fn in_directory(path: PathBuf) -> Result<Self> {
        let files = Files::Directory(path.clone());
        let manifests = match files.get("index.json")? {
            None => Vec::new(),
            Some(index) => {
                let raw = index.read("index.json", MAX_MANIFEST as u64)?;
                let index: Value = serde_json::from_slice(&raw)
                    .map_err(|e| Error::corrupt(format!("{}/index.json: {e}", path.display())))?;
                index["manifests"].as_array().cloned().unwrap_or_default()
            }
        };
        Ok(Self {
            sink: Sink::directory(path)?,
            manifests: Mutex::new(manifests),
            before: Some(files),
            referrers: Mutex::default(),
        })
    }

    /// The target for one image with these names. `full`: they are references, which containerd and docker want to be
    /// told in an annotation of their own.
    pub fn image(self: &Arc<Self>, names: Vec<String>, full: bool) -> LayoutTarget {
        LayoutTarget { writer: Arc::clone(self), names, full }
    }

    fn add(&self, entry: Value) {
        let mut manifests = self.manifests.lock().unwrap_or_else(PoisonError::into_inner);
        let name = |entry: &Value| entry["annotations"][REF_NAME].as_str().map(str::to_owned);
        let new = name(&entry);
        manifests.retain(|old| match &new {
            Some(_) => name(old) != new,
            None => name(old).is_some() || old["digest"] != entry["digest"],
        });
        manifests.push(entry);
    }

    /// Lists a document with what else is about the same manifest, in an index with the tag that a registry would have.
    fn list_referrer(&self, document: &Document, subject: &Digest) -> Result<()> {
        let tag = referrers::tag(subject);
        let mut lists = self.referrers.lock().unwrap_or_else(PoisonError::into_inner);
        if !lists.contains_key(&tag)
            && let Some(before) = self.listed_before(&tag)?
        {
            lists.insert(tag.clone(), before);
        }
        if let Some(index) = referrers::listed(lists.get(&tag).map(Vec::as_slice), document)? {
            lists.insert(tag, index);
        }
        Ok(())
    }

    fn listed_before(&self, tag: &str) -> Result<Option<Vec<u8>>> {
        let manifests = self.manifests.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = manifests.iter().find(|entry| entry["annotations"][REF_NAME].as_str() == Some(tag));
        let (Some(entry), Some(files)) = (entry, &self.before) else { return Ok(None) };
        let digest = Digest::parse(entry["digest"].as_str().unwrap_or_default())?;
        let blob = files.get(&blob_name(&digest))?;
        let blob =
            blob.ok_or_else(|| Error::not_found(format!("{} has no blob {digest}", self.sink.describe())))?;
        blob.read(tag, MAX_MANIFEST as u64).map(Some)
    }

    fn finish(&self) -> Result<()> {
        for (tag, raw) in &*self.referrers.lock().unwrap_or_else(PoisonError::into_inner) {
            let digest = Digest::sha256(raw);
            self.sink.write(&blob_name(&digest), raw).context("manifest")?;
            self.add(json!({"mediaType": OCI_INDEX, "digest": digest, "size": raw.len(),
                "annotations": {REF_NAME: tag}}));
        }
        let manifests = self.manifests.lock().unwrap_or_else(PoisonError::into_inner);
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": *manifests});
        self.sink.write("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        self.sink.write("index.json", index.to_string().as_bytes())?;
        self.sink.finish()
    }
}

/// One image on its way into a layout.
pub struct LayoutTarget {
    writer: Arc<LayoutWriter>,
    names: Vec<String>,
    full: bool,
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

impl Target for LayoutTarget {
    fn describe(&self) -> String {
        self.writer.sink.describe()
    }

    fn refuses_signatures(&self) -> Option<&'static str> {
        Some("pushing signatures for OCI images is not supported")
    }

    fn form(&self) -> LayerForm {
        LayerForm::Compressed(Method { algorithm: Algorithm::Gzip, level: None })
    }

    fn accepts(&self, media_type: &str) -> bool {
        matches!(media_type, OCI_MANIFEST | OCI_INDEX)
    }

    fn takes(&self, media_type: &str) -> bool {
        self.accepts(media_type) || matches!(media_type, DOCKER_MANIFEST | DOCKER_LIST)
    }

    fn reuse(&self, blob: &Descriptor, _: &[String]) -> Result<bool> {
        Ok(self.writer.sink.has(&blob_name(&blob.digest), blob.size))
    }

    fn put(
        &self,
        _: BlobKind,
        content: &dyn Content,
        expected: Option<&Digest>,
        size: Option<u64>,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<Uploaded> {
        self.writer.sink.put(&blob_name, content, expected, size, sent)
    }

    fn put_document(&self, document: &Document, instance: bool) -> Result<()> {
        let (raw, digest) = (document.raw(), document.digest());
        self.writer.sink.write(&blob_name(digest), raw).context("manifest")?;
        if let Some(subject) = referrers::subject(document)? {
            self.writer.list_referrer(document, &subject)?;
        }
        if instance {
            return Ok(());
        }
        let entry = json!({"mediaType": document.media_type(), "digest": digest, "size": raw.len()});
        for name in &self.names {
            let mut named = entry.clone();
            named["annotations"] = json!({REF_NAME: name});
            if self.full {
                named["annotations"][IMAGE_NAME] = name.as_str().into();
            }
            self.writer.add(named);
        }
        if self.names.is_empty() {
            self.writer.add(entry);
        }
        Ok(())
    }

    fn keeps_referrers(&self) -> bool {
        true
    }

    fn finish(&self) -> Result<()> {
        self.writer.finish()
    }
}
