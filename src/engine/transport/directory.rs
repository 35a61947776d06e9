//! `dir:`, one image in a directory (containers/image's `directory` transport): `version`, `manifest.json`, each blob by
//! the hex digits of its digest, instances of an index as `HEX.manifest.json`, signatures as `signature-1`, those of an
//! instance as `HEX.signature-1`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::files::{Files, Stretch};
use super::layout::{Blob, verified};
use super::sink::Sink;
use super::{BlobKind, BlobStream, LayerForm, Source, Target};
use crate::engine::registry::manifest::{
    DOCKER_LIST, DOCKER_MANIFEST, MAX_CONFIG, MAX_MANIFEST, OCI_INDEX, OCI_MANIFEST,
};
use crate::engine::registry::{Content, Descriptor, Document, Uploaded};
use crate::engine::trust::Signature;
use crate::engine::trust::signature::{MAX_SIGNATURE, MAX_SIGNATURES};
use crate::engine::{Context, Digest, Error, ErrorKind, Result};

const VERSION: &str = "version";
const VERSION_TEXT: &str = "Directory Transport Version: 1.1\n";

/// Such a directory.
#[derive(Debug)]
pub struct Directory {
    files: Files,
    what: String,
}

impl Directory {
    /// At `path`. Nothing is read yet.
    pub fn new(path: PathBuf) -> Self {
        Self { what: path.display().to_string(), files: Files::Directory(path) }
    }

    fn blob(&self, digest: &Digest) -> Result<Stretch> {
        // Version 1.0 called some layers so.
        for name in [digest.hex().to_owned(), format!("{}.tar", digest.hex())] {
            if let Some(found) = self.files.get(&name)? {
                return Ok(found);
            }
        }
        Err(Error::not_found(format!("{} has no blob {digest}", self.what)))
    }
}

impl Source for Directory {
    fn describe(&self) -> String {
        self.what.clone()
    }

    fn document(&self) -> Result<Document> {
        let raw = self.files.read("manifest.json", MAX_MANIFEST as u64).map_err(|e| match e.kind() {
            ErrorKind::NotFound => {
                Error::not_found(format!("{} is no image directory: it has no manifest.json", self.what))
            }
            _ => e,
        })?;
        let digest = Digest::sha256(&raw);
        Document::parse(raw, digest, None).with_context(|| self.what.clone())
    }

    fn child(&self, descriptor: &Descriptor) -> Result<Document> {
        let name = format!("{}.manifest.json", descriptor.digest.hex());
        let raw = self.files.read(&name, MAX_MANIFEST as u64).context(self.what.clone())?;
        verified(&descriptor.digest, &raw)?;
        let media_type = Some(descriptor.media_type.as_str()).filter(|t| !t.is_empty());
        Document::parse(raw, descriptor.digest.clone(), media_type)
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let raw = self.blob(&descriptor.digest)?.read("the image configuration", MAX_CONFIG)?;
        verified(&descriptor.digest, &raw)?;
        Ok(raw)
    }

    fn layer<'a>(&'a self, layer: &'a Descriptor) -> Result<Box<dyn Content + 'a>> {
        Ok(Box::new(self.blob(&layer.digest)?))
    }

    fn reader<'a>(&'a self, layer: &'a Descriptor, _: &Arc<AtomicBool>) -> Result<Box<dyn BlobStream + 'a>> {
        Ok(Box::new(Blob::new(&self.blob(&layer.digest)?, &layer.digest)))
    }

    fn signatures(&self, manifest: &Digest) -> Result<Vec<Signature>> {
        let main = self.files.read("manifest.json", MAX_MANIFEST as u64)?;
        let instance = !manifest.matches(&main);
        let mut found = Vec::new();
        for number in 1..=MAX_SIGNATURES {
            let name = signature_name(manifest, instance, number);
            let Some(file) = self.files.get(&name)? else { break };
            let bytes = file.read(&name, MAX_SIGNATURE as u64)?;
            found.push(Signature::from_bytes(&bytes).with_context(|| format!("{}/{name}", self.what))?);
        }
        Ok(found)
    }
}

fn signature_name(manifest: &Digest, instance: bool, number: usize) -> String {
    match instance {
        true => format!("{}.signature-{number}", manifest.hex()),
        false => format!("signature-{number}"),
    }
}

/// Such a directory that is being written.
pub struct DirectoryTarget {
    sink: Sink,
    form: LayerForm,
}

impl DirectoryTarget {
    /// At `path`, which is made if need be; `form`: what becomes of layers unless the caller decides it.
    ///
    /// # Errors
    /// The directory holds something else.
    pub fn create(path: PathBuf, form: LayerForm) -> Result<Self> {
        let files = Files::Directory(path.clone());
        let ours = match files.get(VERSION)? {
            Some(version) => version.read(VERSION, 1 << 10)?.starts_with(b"Directory Transport Version:"),
            None => false,
        };
        if !ours && std::fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("{} is not empty and no image directory", path.display()),
            ));
        }
        Ok(Self { sink: Sink::directory(path)?, form })
    }
}

impl Target for DirectoryTarget {
    fn describe(&self) -> String {
        self.sink.describe()
    }

    fn form(&self) -> LayerForm {
        self.form
    }

    fn accepts(&self, media_type: &str) -> bool {
        matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST | OCI_INDEX | DOCKER_LIST)
    }

    fn reuse(&self, blob: &Descriptor, _: &[String]) -> Result<bool> {
        Ok(self.sink.has(blob.digest.hex(), blob.size))
    }

    fn put(
        &self,
        _: BlobKind,
        content: &dyn Content,
        expected: Option<&Digest>,
        size: Option<u64>,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<Uploaded> {
        self.sink.put(&|digest| digest.hex().to_owned(), content, expected, size, sent)
    }

    fn put_document(&self, document: &Document, instance: bool) -> Result<()> {
        let name = match instance {
            true => format!("{}.manifest.json", document.digest().hex()),
            false => "manifest.json".to_owned(),
        };
        // Those of another image that was here are none of this one's.
        let signature = |number| signature_name(document.digest(), instance, number);
        (1..).map(signature).take_while(|name| self.sink.forget(name)).for_each(drop);
        self.sink.write(&name, document.raw())
    }

    fn refuses_signatures(&self) -> Option<&'static str> {
        None
    }

    fn put_signatures(&self, document: &Document, instance: bool, signatures: &[Signature]) -> Result<()> {
        for (signature, number) in signatures.iter().zip(1..) {
            self.sink.write(&signature_name(document.digest(), instance, number), &signature.to_bytes())?;
        }
        Ok(())
    }

    fn finish(&self) -> Result<()> {
        self.sink.write(VERSION, VERSION_TEXT.as_bytes())?;
        self.sink.finish()
    }
}
