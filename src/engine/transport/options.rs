//! What is asked of a copy.

use super::compress::{Algorithm, Method};
use super::signing::Signing;
use crate::engine::registry::manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use crate::engine::registry::{PlatformRequest, Reference};
use crate::engine::trust::Rules;
use crate::engine::{Error, Result};

/// The form of manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The OCI image specification's.
    Oci,
    /// Docker's manifest version 2, schema 2.
    Docker,
}

impl Format {
    /// Parses `oci`, `v2s2` and `docker`.
    ///
    /// `Unsupported` for `v2s1`, which nobody reads any more.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "oci" => Ok(Self::Oci),
            "v2s2" | "docker" => Ok(Self::Docker),
            "v2s1" => Err(Error::unsupported("the manifest format v2s1 is obsolete and is not written")),
            _ => {
                Err(Error::invalid(format!("unknown manifest format {text:?}")).with_hint("use oci or v2s2"))
            }
        }
    }

    pub(super) fn manifest(self) -> &'static str {
        match self {
            Self::Oci => OCI_MANIFEST,
            Self::Docker => DOCKER_MANIFEST,
        }
    }

    pub(super) fn index(self) -> &'static str {
        match self {
            Self::Oci => OCI_INDEX,
            Self::Docker => DOCKER_LIST,
        }
    }
}

/// The form of layers in the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerForm {
    /// As the source has them.
    AsIs,
    /// Compressed; what is compressed already stays as it is, unless [`CopyOptions::force`].
    Compressed(Method),
    /// Not compressed.
    Plain,
}

/// How to copy.
#[derive(Clone, Debug, Default)]
pub struct CopyOptions {
    /// The form of the manifest; `None`: the source's, if the target takes it.
    pub format: Option<Format>,
    /// The form of the layers; `None`: what the target prefers.
    pub layers: Option<LayerForm>,
    /// Compress again what is compressed by another algorithm.
    pub force: bool,
    /// Forms that each image of an index is to have as well: it gets a copy of those that lack one.
    pub variants: Vec<Algorithm>,
    /// What is about the documents (`subject`: bills of materials, signatures) goes along.
    pub referrers: bool,
    /// All instances of an index, not the one for `platform`.
    pub all: bool,
    /// Which instance.
    pub platform: PlatformRequest,
    /// Fail instead of changing a digest.
    pub preserve_digests: bool,
    /// Layers moved at a time; 0: three.
    pub parallel: usize,
    /// What each image has to fulfil.
    pub rules: Option<Rules>,
    /// What the image is called where it comes from, for the rules.
    pub name: Option<Reference>,
    /// What becomes of signatures.
    pub signing: Signing,
}
