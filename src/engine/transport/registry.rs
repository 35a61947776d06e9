//! A repository of a registry, as a source and as a target.

use super::compress::{Algorithm, Method};
use super::{BlobKind, BlobStream, LayerForm, Source, Target};
use crate::engine::registry::manifest::{DOCKER_LIST, DOCKER_MANIFEST, MAX_CONFIG, OCI_INDEX, OCI_MANIFEST};
use crate::engine::registry::referrers;
use crate::engine::registry::{Content, Descriptor, Document, Reference, Repository, Uploaded};
use crate::engine::trust::{Signature, Whereabouts, attachment};
use crate::engine::{Context, Digest, Error, Result};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A name in a registry that is read from.
pub struct RegistrySource {
    /// The repository as [`crate::engine::registry::Client::sources`] gives it.
    pub repository: Repository,
    /// Where its signatures are.
    pub signatures: Whereabouts,
}

impl Source for RegistrySource {
    fn describe(&self) -> String {
        self.repository.reference().to_string()
    }

    fn document(&self) -> Result<Document> {
        self.repository.any_manifest(self.repository.reference().tag_or_digest())
    }

    fn child(&self, descriptor: &Descriptor) -> Result<Document> {
        self.repository.any_manifest(descriptor.digest.as_str())
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.repository.small_blob(descriptor, MAX_CONFIG)
    }

    fn layer<'a>(&'a self, layer: &'a Descriptor) -> Result<Box<dyn Content + 'a>> {
        Ok(Box::new(RemoteBlob { repository: &self.repository, descriptor: layer }))
    }

    fn reader<'a>(
        &'a self,
        layer: &'a Descriptor,
        cancel: &Arc<AtomicBool>,
    ) -> Result<Box<dyn BlobStream + 'a>> {
        Ok(Box::new(self.repository.blob(layer).cancelled_by(Arc::clone(cancel))))
    }

    fn signatures(&self, manifest: &Digest) -> Result<Vec<Signature>> {
        let mut found = self.signatures.read.read(manifest, &self.repository).context("read signatures")?;
        if self.signatures.attachments {
            let attached = attachment::read(&self.repository, manifest).context("read signatures")?;
            found.extend(attached.into_iter().map(Signature::Sigstore));
        }
        Ok(found)
    }

    fn referrers(&self, manifest: &Digest) -> Result<Vec<Descriptor>> {
        self.repository.referrers(manifest)
    }

    fn troubles(&self) -> Option<usize> {
        Some(self.repository.troubles())
    }

    fn in_parts(&self) -> Option<&Repository> {
        Some(&self.repository)
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
pub struct RegistryTarget {
    /// The repository.
    pub repository: Repository,
    /// Where its signatures are to be.
    pub signatures: Whereabouts,
}

impl Target for RegistryTarget {
    fn describe(&self) -> String {
        self.repository.reference().to_string()
    }

    fn repository(&self) -> Option<&Reference> {
        Some(self.repository.reference())
    }

    fn form(&self) -> LayerForm {
        LayerForm::Compressed(Method { algorithm: Algorithm::Gzip, level: None })
    }

    fn accepts(&self, media_type: &str) -> bool {
        matches!(media_type, OCI_MANIFEST | DOCKER_MANIFEST | OCI_INDEX | DOCKER_LIST)
    }

    fn reuse(&self, blob: &Descriptor, repositories: &[String]) -> Result<bool> {
        if self.repository.blob_size(&blob.digest)?.is_some() {
            return Ok(true);
        }
        let own = self.repository.reference();
        for name in repositories {
            let Ok(other) = Reference::parse(name) else { continue };
            if other.domain() == own.domain()
                && other.path() != own.path()
                && self.repository.mount_blob(&blob.digest, other.path())?
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
        self.repository.upload(content, expected, sent)
    }

    fn put_document(&self, document: &Document, instance: bool) -> Result<()> {
        let by =
            if instance { document.digest().as_str() } else { self.repository.reference().tag_or_digest() };
        let noted = self.repository.put_manifest(by, document.media_type(), document.raw())?;
        match referrers::subject(document)? {
            Some(subject) if !noted => self.repository.list_referrer(document, &subject),
            _ => Ok(()),
        }
    }

    fn troubles(&self) -> usize {
        self.repository.troubles()
    }

    fn keeps_referrers(&self) -> bool {
        true
    }

    fn refuses_signatures(&self) -> Option<&'static str> {
        None
    }

    fn check_signatures(&self, gpg: bool, sigstore: bool) -> Result<()> {
        if sigstore && !self.signatures.attachments {
            return Err(Error::unsupported("writing sigstore attachments is disabled by configuration")
                .with_hint("set use-sigstore-attachments: true for the registry in registries.d"));
        }
        if gpg { self.signatures.write.check_writable() } else { Ok(()) }
    }

    /// GPG's go to the lookaside, sigstore's are attached.
    fn put_signatures(&self, document: &Document, _: bool, signatures: &[Signature]) -> Result<()> {
        let mut attached = Vec::new();
        let mut beside = Vec::new();
        for signature in signatures {
            match signature {
                Signature::Sigstore(signature) => attached.push(signature.clone()),
                Signature::Gpg(_) => beside.push(signature.clone()),
            }
        }
        self.check_signatures(!beside.is_empty(), !attached.is_empty())?;
        if !attached.is_empty() {
            attachment::add(&self.repository, document.digest(), &attached)?;
        }
        match beside.is_empty() {
            true => Ok(()),
            false => self.signatures.write.write(document.digest(), &beside),
        }
    }
}
