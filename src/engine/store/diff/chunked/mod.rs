//! Layers that say what is in them: zstd:chunked and eStargz, a tar in pieces that are compressed one by one, with a table
//! of contents (TOC) at its end that names each file's pieces and digests.
//!
//! The format is containers/storage's (`pkg/chunked/internal/minimal/compression.go`, `pkg/chunked/compressor`): zstd
//! frames, then the TOC, the tar-split and a footer in skippable frames, which other readers pass over. Where they are
//! stands in annotations of the layer's descriptor. The TOC of eStargz is the same JSON in a gzip member.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod cut;
pub mod estargz;
pub mod toc;
mod write;

pub use write::{Frames, write};

/// Annotation: digest of the compressed TOC.
pub const CHECKSUM: &str = "io.github.containers.zstd-chunked.manifest-checksum";
/// Annotation: `OFFSET:LENGTH:UNCOMPRESSED LENGTH:TYPE` of the TOC.
pub const POSITION: &str = "io.github.containers.zstd-chunked.manifest-position";
/// Annotation: `OFFSET:LENGTH:UNCOMPRESSED LENGTH` of the tar-split.
pub const TAR_SPLIT: &str = "io.github.containers.zstd-chunked.tarsplit-position";
/// The type of TOC that there is.
const TOC_TYPE: u64 = 1;
/// Magic number of the skippable frames.
const SKIPPABLE: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];
/// Last bytes of the footer.
const FOOTER: &[u8; 8] = b"GNUlInUx";

/// What is written about a chunk of zeros.
const ZEROS: &str = "zeros";

/// The annotations of a layer.
pub type Annotations = BTreeMap<String, String>;

/// Whether these are the annotations of a zstd:chunked layer.
pub fn is_chunked(annotations: Option<&Annotations>) -> bool {
    annotations.is_some_and(|all| all.contains_key(CHECKSUM))
}

/// What an entry of the TOC is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TocKind {
    /// A regular file.
    #[default]
    Reg,
    /// Another name of an earlier file.
    Hardlink,
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A directory.
    Dir,
    /// A fifo.
    Fifo,
    /// A symbolic link.
    Symlink,
    /// A further chunk of the file before.
    Chunk,
    /// Anything else.
    #[serde(other, skip_serializing)]
    Other,
}

/// An entry of the TOC, in the order of its JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TocEntry {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: TocKind,
    /// Its path as it is in the tar.
    pub name: String,
    /// A link's target.
    #[serde(rename = "linkName", skip_serializing_if = "String::is_empty")]
    pub link: String,
    /// The mode in its header.
    #[serde(skip_serializing_if = "is_zero")]
    pub mode: i64,
    /// Bytes of a file.
    #[serde(skip_serializing_if = "is_zero")]
    pub size: i64,
    /// Owner.
    #[serde(skip_serializing_if = "is_zero")]
    pub uid: i64,
    /// Group.
    #[serde(skip_serializing_if = "is_zero")]
    pub gid: i64,
    /// Modification, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modtime: Option<String>,
    /// Access.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accesstime: Option<String>,
    /// Change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changetime: Option<String>,
    /// Major number.
    #[serde(rename = "devMajor", skip_serializing_if = "is_zero")]
    pub major: i64,
    /// Minor number.
    #[serde(rename = "devMinor", skip_serializing_if = "is_zero")]
    pub minor: i64,
    /// Extended attributes, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xattrs: Option<BTreeMap<String, String>>,
    /// Digest of a file's content; empty for an empty file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// Where in the blob its content begins.
    #[serde(skip_serializing_if = "is_zero")]
    pub offset: i64,
    /// Where in the blob it ends.
    #[serde(rename = "endOffset", skip_serializing_if = "is_zero")]
    pub end_offset: i64,
    /// Bytes of this chunk.
    #[serde(rename = "chunkSize", skip_serializing_if = "is_zero")]
    pub chunk_size: i64,
    /// Where in the file it begins.
    #[serde(rename = "chunkOffset", skip_serializing_if = "is_zero")]
    pub chunk_offset: i64,
    /// Digest of its content.
    #[serde(rename = "chunkDigest", skip_serializing_if = "String::is_empty")]
    pub chunk_digest: String,
    /// Empty, or `zeros`.
    #[serde(rename = "chunkType", skip_serializing_if = "String::is_empty")]
    pub chunk_type: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}
