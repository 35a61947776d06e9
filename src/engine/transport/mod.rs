//! Images outside the store's own rules: where they can be read from, where they can be written to, and the copy between
//! the two.
//!
//! A [`Source`] gives manifests, configurations and layers; a [`Target`] takes them; [`copy()`] moves one image, or all
//! instances of an index, and changes on the way only what it must: the compression of layers and the form of the
//! manifest. What is not changed keeps its digest. Names with a transport (`docker-archive:/tmp/x.tar`) are parsed by
//! [`Location`]. Writing into the store is not done here but by `image::pull`, which takes any [`Source`].
//!
//! Uses `registry`, `store` and `trust`; used by `image`.

pub mod archive;
pub mod compress;
pub mod copy;
pub mod daemon;
pub mod directory;
pub mod docker_archive;
mod docker_legacy;
pub mod docker_target;
pub mod files;
pub mod known;
pub mod lanes;
pub mod layout;
pub mod layout_target;
pub mod location;
pub mod memory;
mod options;
pub mod registry;
pub mod rewrite;
pub mod signing;
pub mod sink;
pub mod sniff;
pub mod storage;
mod variants;

pub use copy::{Copied, Moved, Progress, Quiet, copy};
pub use known::KnownBlobs;
pub use location::{Chosen, Location};
pub use options::{CopyOptions, Format, LayerForm};
pub use signing::Signing;

use crate::engine::registry::{BlobReader, Content, Descriptor, Document, Reference, Repository, Uploaded};
use crate::engine::trust::Signature;
use crate::engine::{Digest, Error, Result};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A layer as a source has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// The blob that the manifest names.
    Blob,
    /// The archive that was in the blob; the blob itself is gone.
    Archive {
        /// The archive's digest.
        diff_id: Digest,
        /// Bytes of the archive, if known.
        size: Option<u64>,
    },
}

/// Where an image is read from.
pub trait Source: Sync {
    /// What it is, for messages.
    fn describe(&self) -> String;
    /// The manifest or index.
    fn document(&self) -> Result<Document>;
    /// An instance of the index, or a nested index.
    fn child(&self, descriptor: &Descriptor) -> Result<Document>;
    /// A configuration: a small blob as a whole, verified.
    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>>;
    /// The form in which a layer is here.
    fn held(&self, layer: &Descriptor) -> Result<Held> {
        let _ = layer;
        Ok(Held::Blob)
    }
    /// The layer in that form.
    fn layer<'a>(&'a self, layer: &'a Descriptor) -> Result<Box<dyn Content + 'a>>;
    /// The layer's blob as a stream, for the store. Whoever reads it checks its SHA-256. `cancel` ends it with an error
    /// once it is set, where it might take long.
    fn reader<'a>(
        &'a self,
        layer: &'a Descriptor,
        cancel: &Arc<AtomicBool>,
    ) -> Result<Box<dyn BlobStream + 'a>>;
    /// The signatures of the manifest or index with this digest. Nobody has verified them.
    fn signatures(&self, manifest: &Digest) -> Result<Vec<Signature>> {
        let _ = manifest;
        Ok(Vec::new())
    }
    /// What is there about a manifest or index; [`Source::child`] has it.
    fn referrers(&self, manifest: &Digest) -> Result<Vec<Descriptor>> {
        let _ = manifest;
        Ok(Vec::new())
    }
    /// How often the other side has had enough of us; `None`: there is no other side.
    fn troubles(&self) -> Option<usize> {
        None
    }
    /// The repository whose blobs can be read in parts.
    fn in_parts(&self) -> Option<&Repository> {
        None
    }
}

/// A blob that is being read.
pub trait BlobStream: Read + Send {
    /// Why the last read failed, where an I/O error does not carry it all.
    fn take_failure(&mut self) -> Option<Error> {
        None
    }
}

impl BlobStream for &[u8] {}

impl BlobStream for std::fs::File {}

impl BlobStream for BlobReader {
    fn take_failure(&mut self) -> Option<Error> {
        Self::take_failure(self)
    }
}

/// What a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobKind {
    /// An image's configuration.
    Config,
    /// A layer.
    Layer,
}

/// Bytes at hand.
struct Bytes<'a>(&'a [u8]);

impl Content for Bytes<'_> {
    fn write_to(&self, out: &mut dyn Write) -> Result<()> {
        self.0.write_to(out)
    }
}

/// Where an image is written to.
pub trait Target: Sync {
    /// What it is, for messages.
    fn describe(&self) -> String;
    /// What becomes of layers unless the caller decides it.
    fn form(&self) -> LayerForm;
    /// Whether documents of this media type can be written.
    fn accepts(&self, media_type: &str) -> bool;
    /// Whether they can be written, even if the target's own form is another.
    fn takes(&self, media_type: &str) -> bool {
        self.accepts(media_type)
    }
    /// The repository this writes to, if it is one.
    fn repository(&self) -> Option<&Reference> {
        None
    }
    /// Whether a blob is there, or can be had without its bytes; `repositories` (`registry/path`) have had it.
    fn reuse(&self, blob: &Descriptor, repositories: &[String]) -> Result<bool>;
    /// Writes a blob. `expected`: its digest, if known before; `size` likewise. `sent` hears how far it has come.
    fn put(
        &self,
        kind: BlobKind,
        content: &dyn Content,
        expected: Option<&Digest>,
        size: Option<u64>,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<Uploaded>;
    /// Writes a manifest or index: that of the name, or (`instance`) one that an index will name.
    fn put_document(&self, document: &Document, instance: bool) -> Result<()>;
    /// How often the other side has had enough of us.
    fn troubles(&self) -> usize {
        0
    }
    /// Whether what is about a document ([`Source::referrers`]) is found there once it is written as an instance.
    fn keeps_referrers(&self) -> bool {
        false
    }
    /// Why signatures cannot be kept there; `None`: they can.
    fn refuses_signatures(&self) -> Option<&'static str> {
        Some("storing signatures there is not supported")
    }
    /// Whether signatures of these kinds can be written, as far as that can be told before anything is.
    fn check_signatures(&self, gpg: bool, sigstore: bool) -> Result<()> {
        let _ = (gpg, sigstore);
        Ok(())
    }
    /// Makes these the signatures of a document that was written.
    fn put_signatures(&self, document: &Document, instance: bool, signatures: &[Signature]) -> Result<()> {
        let _ = (document, instance, signatures);
        Err(Error::unsupported(self.refuses_signatures().unwrap_or("signatures are not kept there")))
    }
    /// After the last image: writes what tells about all of them. Without it nothing stays.
    fn finish(&self) -> Result<()> {
        Ok(())
    }
}
