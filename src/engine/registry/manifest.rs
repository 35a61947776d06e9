//! Manifests and indexes: parsing and choosing. Pure.
//!
//! Understood are Docker's manifest version 2 schema 2 and its list, and OCI's image manifest and index. The raw bytes
//! are kept: digests are over them. A document that is both manifest and index is refused whatever its media type says
//! (CVE-2021-41190), and so is one whose own media type contradicts the registry's.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::platform::{Platform, PlatformRequest};
use crate::engine::{Digest, Error, ErrorKind, Result};

/// Docker's image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// OCI's image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI's image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker's image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// OCI's image configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The annotation, with the value `true`, of an instance with zstd layers (containers/image
/// `internal/manifest/oci_index.go`: `OCI1InstanceAnnotationCompressionZSTD`).
pub const COMPRESSED_BY_ZSTD: &str = "io.github.containers.compression.zstd";

/// What a registry is asked for, in the order of preference.
pub const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

/// Largest manifest or index read (as containers/image and distribution have it).
pub const MAX_MANIFEST: usize = 4 << 20;
/// Largest image configuration read.
pub const MAX_CONFIG: u64 = 4 << 20;
/// Most layers of one image: overlay cannot mount more in one go (a page of options, short links).
pub const MAX_LAYERS: usize = 500;

/// A reference to content.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type.
    #[serde(default)]
    pub media_type: String,
    /// Digest.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Where else it may be fetched (foreign layers).
    #[serde(default)]
    pub urls: Vec<String>,
    /// Of an instance in an index.
    #[serde(default)]
    pub platform: Option<Platform>,
    /// Annotations.
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
}

impl Descriptor {
    /// Whether an index says that this instance's layers are compressed by zstd.
    pub fn is_zstd(&self) -> bool {
        let annotation = self.annotations.as_ref().and_then(|all| all.get(COMPRESSED_BY_ZSTD));
        annotation.is_some_and(|value| value == "true")
    }
}

/// A manifest or an index.
#[derive(Clone, Debug)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several instances.
    Index(Index),
}

/// An image manifest.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The document as it came.
    pub raw: Vec<u8>,
    /// Digest of `raw`.
    pub digest: Digest,
    /// [`DOCKER_MANIFEST`] or [`OCI_MANIFEST`].
    pub media_type: String,
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, lowest first.
    pub layers: Vec<Descriptor>,
}

/// An index or manifest list.
#[derive(Clone, Debug)]
pub struct Index {
    /// The document as it came.
    pub raw: Vec<u8>,
    /// Digest of `raw`.
    pub digest: Digest,
    /// [`DOCKER_LIST`] or [`OCI_INDEX`].
    pub media_type: String,
    /// The instances.
    pub manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    schema_version: Option<u64>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// The document as it came.
    pub fn raw(&self) -> &[u8] {
        match self {
            Self::Manifest(manifest) => &manifest.raw,
            Self::Index(index) => &index.raw,
        }
    }

    /// Digest of it.
    pub fn digest(&self) -> &Digest {
        match self {
            Self::Manifest(manifest) => &manifest.digest,
            Self::Index(index) => &index.digest,
        }
    }

    /// Its media type.
    pub fn media_type(&self) -> &str {
        match self {
            Self::Manifest(manifest) => &manifest.media_type,
            Self::Index(index) => &index.media_type,
        }
    }

    /// Parses what a registry sent. `content_type` is its header, if it sent one; `digest` the digest of `raw`.
    ///
    /// `Unsupported` for manifests that are of no container image.
    pub fn parse(raw: Vec<u8>, digest: Digest, content_type: Option<&str>) -> Result<Self> {
        let (document, artifact_type) = Self::read(raw, digest, content_type)?;
        if let Self::Manifest(manifest) = &document {
            check_is_image(artifact_type.as_deref(), &manifest.config)?;
        }
        Ok(document)
    }

    /// [`Document::parse`] of images and artifacts alike.
    pub fn parse_any(raw: Vec<u8>, digest: Digest, content_type: Option<&str>) -> Result<Self> {
        Self::read(raw, digest, content_type).map(|(document, _)| document)
    }

    /// Fails with `Unsupported` if this is a manifest that is of no container image.
    pub fn check_is_image(&self) -> Result<()> {
        Self::parse(self.raw().to_vec(), self.digest().clone(), Some(self.media_type())).map(drop)
    }

    /// The document, and what kind of artifact it says it is.
    fn read(raw: Vec<u8>, digest: Digest, content_type: Option<&str>) -> Result<(Self, Option<String>)> {
        let bad = |why: String| Error::corrupt(format!("manifest {digest}: {why}"));
        let parsed: Raw = serde_json::from_slice(&raw).map_err(|e| bad(e.to_string()))?;
        let header = content_type.map(|t| t.split(';').next().unwrap_or_default().trim());
        let own = parsed.media_type.as_deref().filter(|t| !t.is_empty());
        let is_manifest = parsed.config.is_some() || parsed.layers.is_some();
        let is_index = parsed.manifests.is_some();
        if parsed.schema_version == Some(1) || parsed.fs_layers.is_some() {
            return Err(Error::unsupported(
                "the image is in Docker's manifest version 2 schema 1, which is obsolete",
            )
            .with_hint("pull it and push it again with a current tool, which converts it"));
        }
        if is_manifest && is_index {
            return Err(bad("the document is both a manifest and an index".into()));
        }
        let class = |media_type: &str| match media_type {
            DOCKER_MANIFEST | OCI_MANIFEST => Some(false),
            DOCKER_LIST | OCI_INDEX => Some(true),
            _ => None,
        };
        for media_type in header.into_iter().chain(own) {
            if class(media_type).is_some_and(|index| index != is_index) {
                return Err(bad(format!("the media type {media_type} does not fit the content")));
            }
        }
        let known = |t: &&str| class(t).is_some();
        let media_type = own.filter(known).or(header.filter(known));
        if let Some(manifests) = parsed.manifests {
            let media_type = media_type.unwrap_or(OCI_INDEX).to_owned();
            return Ok((Self::Index(Index { raw, digest, media_type, manifests }), None));
        }
        let (Some(config), Some(layers)) = (parsed.config, parsed.layers) else {
            let what = own.or(header).unwrap_or("unknown type");
            return Err(Error::unsupported(format!("content of {what} is no image manifest or index")));
        };
        if layers.len() > MAX_LAYERS {
            return Err(bad(format!("{} layers, more than {MAX_LAYERS}", layers.len())));
        }
        let media_type = match media_type {
            Some(media_type) => media_type.to_owned(),
            None if config.media_type == DOCKER_CONFIG => DOCKER_MANIFEST.to_owned(),
            None => OCI_MANIFEST.to_owned(),
        };
        Ok((Self::Manifest(Manifest { raw, digest, media_type, config, layers }), parsed.artifact_type))
    }
}

fn check_is_image(artifact_type: Option<&str>, config: &Descriptor) -> Result<()> {
    let config_type = config.media_type.as_str();
    let kind = match (artifact_type.filter(|t| !t.is_empty()), config_type) {
        (_, DOCKER_CONFIG | OCI_CONFIG | "" | "application/octet-stream") => return Ok(()),
        (Some(artifact), _) => artifact,
        (None, config) => config,
    };
    Err(Error::unsupported(format!("this is an OCI artifact of type {kind}, not a container image")))
}

impl Index {
    /// The instance for the platform: the best platform first, and within it one with zstd layers, which are smaller and
    /// sooner unpacked, or else the index's order.
    ///
    /// NotFound, with what there is, if there is none.
    pub fn choose(&self, request: &PlatformRequest) -> Result<&Descriptor> {
        let wanted = request.wanted();
        for want in &wanted {
            let fits = |descriptor: &&Descriptor| {
                descriptor.platform.as_ref().is_some_and(|platform| {
                    let (architecture, implied) = super::platform::normalized(&platform.architecture);
                    let variant = if platform.variant.is_empty() { &implied } else { &platform.variant };
                    platform.os == want.os && architecture == want.architecture && *variant == want.variant
                })
            };
            let mut fitting = self.manifests.iter().filter(fits);
            if let Some(first) = fitting.next() {
                return Ok(Some(first)
                    .filter(|d| d.is_zstd())
                    .or(fitting.find(|d| d.is_zstd()))
                    .unwrap_or(first));
            }
        }
        // A nested index, or a list of one, need not say for what it is.
        if let [only] = &self.manifests[..]
            && only.platform.is_none()
        {
            return Ok(only);
        }
        let real = |d: &&Descriptor| d.platform.as_ref().is_none_or(|p| p.os != "unknown");
        let listed = self.manifests.iter().filter(real).filter_map(|d| d.platform.as_ref());
        let listed: Vec<String> = listed.map(ToString::to_string).collect();
        let want = wanted.first().map(ToString::to_string).unwrap_or_default();
        let have = if listed.is_empty() { "none".to_owned() } else { listed.join(", ") };
        Err(Error::new(
            ErrorKind::NotFound,
            format!("no matching manifest for {want} in the manifest list entries: it has {have}"),
        )
        .with_hint("choose one with --platform"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn parse(text: &str, content_type: Option<&str>) -> Result<Document> {
        let raw = text.replace('D', &format!("sha256:{}", "a".repeat(64))).into_bytes();
        let digest = Digest::sha256(&raw);
        Document::parse(raw, digest, content_type)
    }

    const IMAGE: &str = r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"D","size":2},"layers":[{"mediaType":"x","digest":"D","size":3}]}"#;

    #[test]
    fn images_are_recognised_with_and_without_a_media_type() {
        let Document::Manifest(manifest) = parse(IMAGE, None).unwrap() else { panic!() };
        assert_eq!((manifest.media_type.as_str(), manifest.layers[0].size), (OCI_MANIFEST, 3));
        parse(IMAGE, Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8")).unwrap();
        parse(IMAGE, Some("text/plain")).unwrap();
        let docker = IMAGE.replace(OCI_CONFIG, DOCKER_CONFIG);
        let Document::Manifest(manifest) = parse(&docker, None).unwrap() else { panic!() };
        assert_eq!(manifest.media_type, DOCKER_MANIFEST);
    }

    #[test]
    fn ambiguous_and_foreign_documents_are_refused() {
        let both = IMAGE.replace("\"layers\"", "\"manifests\":[],\"layers\"");
        let artifact = IMAGE.replace(OCI_CONFIG, "application/vnd.oci.empty.v1+json");
        let typed = IMAGE.replacen('{', "{\"mediaType\":\"application/vnd.oci.image.index.v1+json\",", 1);
        let negative = IMAGE.replace("\"size\":3", "\"size\":-3");
        let path = IMAGE.replacen("\"D\"", "\"../../etc/passwd\"", 1);
        for (text, header, want) in [
            (both.as_str(), None, "both a manifest and an index"),
            (IMAGE, Some(OCI_INDEX), "does not fit the content"),
            (&typed, None, "does not fit the content"),
            (&artifact, None, "OCI artifact"),
            (&negative, None, "invalid value"),
            (&path, None, "invalid digest"),
            (r#"{"schemaVersion":1,"fsLayers":[],"name":"x"}"#, None, "schema 1"),
            ("{}", None, "no image manifest"),
            ("[", None, "EOF"),
        ] {
            let e = parse(text, header).expect_err(text).to_string();
            assert!(e.contains(want), "{text}: {e}");
        }
    }

    #[test]
    fn an_instance_is_chosen_and_a_missing_one_lists_what_there_is() {
        let instance = |arch: &str, variant: &str, size: u32| {
            format!(
                r#"{{"digest":"D","size":{size},"platform":{{"os":"linux","architecture":"{arch}","variant":"{variant}"}}}}"#
            )
        };
        let unknown = r#"{"digest":"D","size":9,"platform":{"os":"unknown","architecture":"unknown"}}"#;
        let text = format!(
            r#"{{"schemaVersion":2,"manifests":[{},{},{},{unknown}]}}"#,
            instance("arm", "v6", 1),
            instance("arm", "v7", 2),
            instance("arm64", "v8", 3)
        );
        let Document::Index(index) = parse(&text, None).unwrap() else { panic!() };
        let size = |p: &str| index.choose(&PlatformRequest::parse(p).unwrap()).map(|d| d.size);
        assert_eq!(size("linux/arm/v8").unwrap(), 2);
        assert_eq!(size("linux/arm/v6").unwrap(), 1);
        assert_eq!(size("linux/arm64").unwrap(), 3);
        let e = size("linux/s390x").unwrap_err();
        assert_eq!(e.kind(), ErrorKind::NotFound);
        assert!(e.to_string().ends_with("it has linux/arm/v6, linux/arm/v7, linux/arm64/v8"), "{e}");
    }
}
