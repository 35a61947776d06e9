//! An OCI image layout (image-spec, image-layout.md), in a directory or a tar, as a source.
//!
//! Read are layouts of skopeo, podman, buildah, docker (BuildKit's and those in `docker save` archives), kaniko, umoci,
//! bazel's rules_oci: with one image or several, indexes within indexes, names in either of the two annotations.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Deserialize;

use super::files::{Files, Stretch, StretchReader};
use super::location::Chosen;
use super::{BlobStream, Source};
use crate::engine::digest::{Algorithm, Hasher};
use crate::engine::registry::manifest::{MAX_CONFIG, MAX_MANIFEST};
use crate::engine::registry::{Content, Descriptor, Document, Index, referrers};
use crate::engine::{Context, Digest, Error, Result};

/// The specification's annotation for names.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// containerd's and docker's, always a full name.
pub const IMAGE_NAME: &str = "io.containerd.image.name";

/// A layout.
#[derive(Debug)]
pub struct Layout {
    files: Files,
    what: String,
    index: Index,
}

impl Layout {
    /// `None` if there is no `index.json`. `what` it is, for messages.
    ///
    /// # Errors
    /// `index.json` or `oci-layout` cannot be understood.
    pub fn open(files: Files, what: String) -> Result<Result<Self, Files>> {
        let Some(index) = files.get("index.json")? else { return Ok(Err(files)) };
        if let Some(version) = files.get("oci-layout")? {
            check_version(&version.read("oci-layout", MAX_MANIFEST as u64)?).context(what.clone())?;
        }
        let raw = index.read("index.json", MAX_MANIFEST as u64)?;
        let digest = Digest::sha256(&raw);
        match Document::parse(raw, digest, None).with_context(|| format!("index.json of {what}"))? {
            Document::Index(index) => Ok(Ok(Self { files, what, index })),
            Document::Manifest(_) => {
                Err(Error::corrupt(format!("index.json of {what} is the manifest of an image, not an index")))
            }
        }
    }

    /// What `index.json` names.
    pub fn images(&self) -> &[Descriptor] {
        &self.index.manifests
    }

    /// One of them.
    ///
    /// `NotFound` if it is not there; `Invalid` if there are several and none was chosen.
    pub fn choose(self: &Arc<Self>, chosen: &Chosen) -> Result<LayoutImage> {
        let images = self.images();
        let names = || {
            let names = images.iter().enumerate().map(|(i, d)| {
                let name = name_of(d).map(str::to_owned);
                name.unwrap_or_else(|| format!("@{i}"))
            });
            names.collect::<Vec<_>>().join(", ")
        };
        let root = match chosen {
            Chosen::Index(index) => Some(images.get(*index).ok_or_else(|| {
                Error::not_found(format!("{} has {} images, none is @{index}", self.what, images.len()))
            })?),
            Chosen::Name(name) => {
                let has = |d: &&Descriptor| names_of(d).any(|n| n == name);
                Some(images.iter().find(has).ok_or_else(|| {
                    let hint = format!("it has {}", names());
                    Error::not_found(format!("{} has no image {name}", self.what)).with_hint(hint)
                })?)
            }
            Chosen::Only => match images {
                [] => return Err(Error::not_found(format!("{} has no image", self.what))),
                [only] => Some(only),
                _ if is_one_image(images) => None,
                _ if self.only_image().is_some() => self.only_image(),
                _ => {
                    let hint = format!("append one of: {}", names());
                    return Err(Error::invalid(format!("{} has several images", self.what)).with_hint(hint));
                }
            },
        };
        Ok(LayoutImage { layout: Arc::clone(self), root: root.cloned() })
    }

    /// The one image beside which there is only what is about it.
    fn only_image(&self) -> Option<&Descriptor> {
        let mut images = self.images().iter().filter(|image| !self.is_referrer(image));
        images.next().filter(|_| images.next().is_none())
    }

    /// Whether an entry of `index.json` is not there for its own sake, but because of another: a list of referrers, or one
    /// of them without a name.
    pub fn is_referrer(&self, entry: &Descriptor) -> bool {
        match name_of(entry) {
            Some(name) => referrers::is_tag(name),
            None => matches!(self.any(entry).and_then(|document| referrers::subject(&document)), Ok(Some(_))),
        }
    }

    /// What is about a manifest: listed under the tag of the specification, as regctl does it, or in `index.json` itself,
    /// as oras does.
    fn referrers(&self, manifest: &Digest) -> Result<Vec<Descriptor>> {
        let tag = referrers::tag(manifest);
        let mut found: Vec<Descriptor> = Vec::new();
        for entry in self.images() {
            if names_of(entry).any(|name| name == tag) {
                if let Document::Index(index) = self.any(entry)? {
                    found.extend(index.manifests);
                }
            } else if self.any(entry).is_ok_and(|document| {
                referrers::subject(&document).is_ok_and(|subject| subject.as_ref() == Some(manifest))
            }) {
                found.push(entry.clone());
            }
        }
        found.sort_by(|a, b| a.digest.cmp(&b.digest));
        found.dedup_by(|a, b| a.digest == b.digest);
        Ok(found)
    }

    fn blob(&self, digest: &Digest) -> Result<Stretch> {
        let name = format!("blobs/{}/{}", digest.algorithm().name(), digest.hex());
        let found = self.files.get(&name)?;
        found.ok_or_else(|| Error::not_found(format!("{} has no blob {digest}", self.what)))
    }

    fn document(&self, descriptor: &Descriptor) -> Result<Document> {
        let (raw, media_type) = self.raw(descriptor)?;
        Document::parse(raw, descriptor.digest.clone(), media_type)
    }

    /// [`Layout::document`] of images and artifacts alike.
    fn any(&self, descriptor: &Descriptor) -> Result<Document> {
        let (raw, media_type) = self.raw(descriptor)?;
        Document::parse_any(raw, descriptor.digest.clone(), media_type)
    }

    fn raw<'a>(&self, descriptor: &'a Descriptor) -> Result<(Vec<u8>, Option<&'a str>)> {
        let raw = self.blob(&descriptor.digest)?.read("the manifest", MAX_MANIFEST as u64)?;
        verified(&descriptor.digest, &raw)?;
        Ok((raw, Some(descriptor.media_type.as_str()).filter(|t| !t.is_empty())))
    }
}

/// Several manifests without names, each for another platform, are one image.
fn is_one_image(images: &[Descriptor]) -> bool {
    let platforms: BTreeMap<String, ()> =
        images.iter().filter_map(|d| d.platform.as_ref()).map(|p| (p.to_string(), ())).collect();
    platforms.len() == images.len() && images.iter().all(|d| name_of(d) == name_of(&images[0]))
}

fn names_of(descriptor: &Descriptor) -> impl Iterator<Item = &str> {
    let annotations = descriptor.annotations.as_ref();
    [IMAGE_NAME, REF_NAME].into_iter().filter_map(move |key| annotations?.get(key)).map(String::as_str)
}

/// An image's name in a layout.
pub fn name_of(descriptor: &Descriptor) -> Option<&str> {
    names_of(descriptor).find(|name| !name.is_empty())
}

fn check_version(text: &[u8]) -> Result<()> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Marker {
        image_layout_version: String,
    }
    let marker: Marker =
        serde_json::from_slice(text).map_err(|e| Error::corrupt(format!("oci-layout: {e}")))?;
    match marker.image_layout_version.split('.').next() {
        Some("1") => Ok(()),
        _ => Err(Error::unsupported(format!("image layout version {}", marker.image_layout_version))),
    }
}

/// Fails with `Corrupt` if a document is not what its digest says.
pub(super) fn verified(digest: &Digest, raw: &[u8]) -> Result<()> {
    if digest.matches(raw) {
        return Ok(());
    }
    Err(Error::corrupt(format!("{digest}: the content does not match its digest")))
}

/// One image of a layout.
#[derive(Clone, Debug)]
pub struct LayoutImage {
    layout: Arc<Layout>,
    /// `None`: `index.json` itself is the image's index.
    root: Option<Descriptor>,
}

impl Source for LayoutImage {
    fn describe(&self) -> String {
        match self.root.as_ref().and_then(name_of) {
            Some(name) => format!("{name} in {}", self.layout.what),
            None => self.layout.what.clone(),
        }
    }

    fn document(&self) -> Result<Document> {
        match &self.root {
            Some(descriptor) => self.layout.document(descriptor),
            None => Ok(Document::Index(self.layout.index.clone())),
        }
    }

    fn child(&self, descriptor: &Descriptor) -> Result<Document> {
        self.layout.any(descriptor)
    }

    fn referrers(&self, manifest: &Digest) -> Result<Vec<Descriptor>> {
        self.layout.referrers(manifest)
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let raw = self.layout.blob(&descriptor.digest)?.read("the image configuration", MAX_CONFIG)?;
        verified(&descriptor.digest, &raw)?;
        Ok(raw)
    }

    fn layer<'a>(&'a self, layer: &'a Descriptor) -> Result<Box<dyn Content + 'a>> {
        Ok(Box::new(self.layout.blob(&layer.digest)?))
    }

    fn reader<'a>(&'a self, layer: &'a Descriptor, _: &Arc<AtomicBool>) -> Result<Box<dyn BlobStream + 'a>> {
        Ok(Box::new(Blob::new(&self.layout.blob(&layer.digest)?, &layer.digest)))
    }
}

/// A layer's bytes. Whoever reads them checks SHA-256; another algorithm is checked here.
pub(super) struct Blob {
    reader: StretchReader,
    digest: Digest,
    hasher: Option<Hasher>,
}

impl Blob {
    pub(super) fn new(stretch: &Stretch, digest: &Digest) -> Self {
        let other = digest.algorithm() != Algorithm::Sha256;
        Self {
            reader: stretch.reader(),
            digest: digest.clone(),
            hasher: other.then(|| Hasher::new(digest.algorithm())),
        }
    }
}

impl std::io::Read for Blob {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.reader.read(out)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&out[..count]);
            if count == 0 && !out.is_empty() && hasher.clone().finish() != self.digest {
                let e =
                    Error::corrupt(format!("blob {}: the content does not match its digest", self.digest));
                return Err(std::io::Error::other(e));
            }
        }
        Ok(count)
    }
}

impl BlobStream for Blob {}
