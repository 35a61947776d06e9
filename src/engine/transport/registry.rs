//! A repository of a registry, as a source and as a target.

use super::compress::{Algorithm, Method};
use super::{BlobKind, BlobStream, LayerForm, Source, Target};
use crate::engine::registry::manifest::{DOCKER_LIST, DOCKER_MANIFEST, MAX_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::engine::registry::{Content, Descriptor, Document, Reference, Repository, Uploaded};
use crate::engine::{Digest, Error, Result};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

impl Source for Repository {
    fn describe(&self) -> String {
        self.reference().to_string()
    }

    fn document(&self) -> Result<Document> {
        self.any_manifest(self.reference().tag_or_digest())
    }

    fn child(&self, descriptor: &Descriptor) -> Result<Document> {
        self.any_manifest(descriptor.digest.as_str())
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.small_blob(descriptor, MAX_CONFIG)
    }

    fn layer<'a>(&'a self, layer: &'a Descriptor) -> Result<Box<dyn Content + 'a>> {
        Ok(Box::new(RemoteBlob { repository: self, descriptor: layer }))
    }

    fn reader<'a>(
        &'a self,
        layer: &'a Descriptor,
        cancel: &Arc<AtomicBool>,
    ) -> Result<Box<dyn BlobStream + 'a>> {
        Ok(Box::new(self.blob(layer).cancelled_by(Arc::clone(cancel))))
    }
}

struct RemoteBlob<'a> {
    repository: &'a Repository,
    descriptor: &'a Descriptor,
}

impl Content for RemoteBlob<'_> {
    fn write_to(&self, out: &mut dyn Write) -> Result<()> {
        let mut reader = self.repository.blob(self.descriptor);
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(e) => return Err(reader.take_failure().unwrap_or_else(|| Error::os("read a blob", e))),
            };
            out.write_all(&buffer[..count]).map_err(|e| Error::os("write a blob", e))?;
        }
    }
}

/// A name in a registry that is written to: a repository as [`crate::engine::registry::Client::target`] gives it.
pub struct RegistryTarget(pub Repository);

impl Target for RegistryTarget {
    fn describe(&self) -> String {
        self.0.reference().to_string()
    }

    fn repository(&self) -> Option<&Reference> {
        Some(self.0.reference())
    }

    fn form(&self) -> LayerForm {
        LayerForm::Compressed(Method { algorithm: Algorithm::Gzip, level: None })
    }

    fn accepts(&self, media_type: &str) -> bool {
        matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST | OCI_INDEX | DOCKER_LIST)
    }

    fn reuse(&self, blob: &Descriptor, repositories: &[String]) -> Result<bool> {
        if self.0.blob_size(&blob.digest)?.is_some() {
            return Ok(true);
        }
        let own = self.0.reference();
        for name in repositories {
            let Ok(other) = Reference::parse(name) else { continue };
            if other.domain() == own.domain()
                && other.path() != own.path()
                && self.0.mount_blob(&blob.digest, other.path())?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn put(
        &self,
        _kind: BlobKind,
        content: &dyn Content,
        expected: Option<&Digest>,
        _size: Option<u64>,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<Uploaded> {
        self.0.upload(content, expected, sent)
    }

    fn put_document(&self, document: &Document, instance: bool) -> Result<()> {
        let by = if instance { document.digest().as_str() } else { self.0.reference().tag_or_digest() };
        self.0.put_manifest(by, document.media_type(), document.raw())
    }
}
