//! Images outside the store's own rules: where they can be read from, where they can be written to, and the copy between
//! the two.
//!
//! A [`Source`] gives manifests, configurations and layers; a [`Target`] takes them; [`copy()`] moves one image, or all
//! instances of an index, and changes on the way only what it must: the compression of layers and the form of the
//! manifest. What is not changed keeps its digest. Names with a transport (`docker-archive:/tmp/x.tar`) are parsed by
//! [`Location`]. Writing into the store is not done here but by `image::pull`, which takes any [`Source`].
//!
//! Uses `registry` and `store`; used by `image`.

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
pub mod layout;
pub mod layout_target;
pub mod location;
pub mod memory;
pub mod registry;
pub mod rewrite;
pub mod sink;
pub mod sniff;
pub mod storage;

pub use copy::{Copied, CopyOptions, Format, LayerForm, Moved, Progress, Quiet, copy};
pub use known::KnownBlobs;
pub use location::{Chosen, Location};

use crate::engine::registry::{BlobReader, Content, Descriptor, Document, Reference, Uploaded};
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
    /// After the last image: writes what tells about all of them. Without it nothing stays.
    fn finish(&self) -> Result<()> {
        Ok(())
    }
}
