//! Images outside the store's own rules: where they can be read from, where they can be written to, and the copy between
//! the two.
//!
//! A [`Source`] gives manifests, configurations and layers; a [`Target`] takes them; [`copy()`] moves one image, or all
//! instances of an index, and changes on the way only what it must: the compression of layers and the form of the
//! manifest. What is not changed keeps its digest. Names with a transport (`docker-archive:/tmp/x.tar`) are parsed by
//! [`Location`]. Writing into the store is not done here but by `image::pull`, which takes any [`Source`].
//!
//! Uses `registry` and `store`; used by `image`.

pub mod compress;
pub mod copy;
pub mod known;
pub mod registry;
pub mod rewrite;
pub mod storage;

pub use copy::{Copied, CopyOptions, Format, LayerForm, Moved, Progress, Quiet, copy};
pub use known::KnownBlobs;

use crate::engine::registry::{Content, Descriptor, Document, Reference, Uploaded};
use crate::engine::{Digest, Result};

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
}

/// Where an image is written to.
pub trait Target: Sync {
    /// What it is, for messages.
    fn describe(&self) -> String;
    /// What becomes of layers unless the caller decides it.
    fn form(&self) -> LayerForm;
    /// Whether documents of this media type can be written.
    fn accepts(&self, media_type: &str) -> bool;
    /// The repository this writes to, if it is one.
    fn repository(&self) -> Option<&Reference> {
        None
    }
    /// Whether a blob is there, or can be had without its bytes; `repositories` (`registry/path`) have had it.
    fn reuse(&self, blob: &Descriptor, repositories: &[String]) -> Result<bool>;
    /// Writes a blob. `expected`: its digest, if known before; `size` likewise. `sent` hears how far it has come.
    fn put(
        &self,
        content: &dyn Content,
        expected: Option<&Digest>,
        size: Option<u64>,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<Uploaded>;
    /// Writes a manifest or index: that of the name, or (`instance`) one that an index will name.
    fn put_document(&self, document: &Document, instance: bool) -> Result<()>;
}
