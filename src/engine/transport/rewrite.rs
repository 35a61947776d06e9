//! Manifests in another form, with other layers. Pure.
//!
//! A document is changed member by member, so that annotations and whatever else somebody put there stay; one that need
//! not change stays as it is, to the byte, and so keeps its digest.

use serde_json::{Value, json};

use super::compress::Algorithm;
use crate::engine::registry::manifest::{
    DOCKER_CONFIG, DOCKER_LIST, DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST,
};
use crate::engine::registry::{Descriptor, Document, Index, Manifest};
use crate::engine::store::diff::chunked;
use crate::engine::{Digest, Error, Result};

const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// The annotation by which an attestation names its image.
const ATTESTED: &str = "vnd.docker.reference.digest";
const OCI_FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";

/// How a layer's media type says that it is compressed. `None`: it is no layer type that is known here.
pub fn compression(media_type: &str) -> Option<Option<Algorithm>> {
    let (base, suffix) = split(media_type)?;
    match (base, suffix) {
        (_, "") => Some(None),
        (_, "gzip") => Some(Some(Algorithm::Gzip)),
        (OCI_LAYER | OCI_FOREIGN, "zstd") => Some(Some(Algorithm::Zstd)),
        _ => None,
    }
}

/// [`compression`] of a layer, whose annotations may say more.
pub fn layer_compression(layer: &Descriptor) -> Option<Option<Algorithm>> {
    match compression(&layer.media_type) {
        Some(Some(Algorithm::Zstd)) if chunked::is_chunked(layer.annotations.as_ref()) => {
            Some(Some(Algorithm::ZstdChunked))
        }
        other => other,
    }
}

fn split(media_type: &str) -> Option<(&'static str, &str)> {
    for (base, separator) in
        [(OCI_LAYER, '+'), (OCI_FOREIGN, '+'), (DOCKER_LAYER, '.'), (DOCKER_FOREIGN, '.')]
    {
        match media_type.strip_prefix(base) {
            Some("") => return Some((base, "")),
            Some(rest) => match rest.strip_prefix(separator) {
                Some(suffix) => return Some((base, suffix)),
                None => continue,
            },
            None => {}
        }
    }
    None
}

/// A layer's media type in the documents of type `manifest_type`, compressed so. A foreign layer stays one.
///
/// `Unsupported` for zstd in Docker's format.
pub fn layer_type(manifest_type: &str, now: &str, compression: Option<Algorithm>) -> Result<String> {
    let foreign = split(now).is_some_and(|(base, _)| matches!(base, DOCKER_FOREIGN | OCI_FOREIGN));
    let docker = manifest_type == DOCKER_MANIFEST;
    let base = match (docker, foreign) {
        (true, false) => DOCKER_LAYER,
        (true, true) => DOCKER_FOREIGN,
        (false, false) => OCI_LAYER,
        (false, true) => OCI_FOREIGN,
    };
    match (docker, compression) {
        (_, None) => Ok(base.to_owned()),
        (true, Some(Algorithm::Gzip)) => Ok(format!("{base}.gzip")),
        (true, Some(Algorithm::Zstd | Algorithm::ZstdChunked)) => {
            Err(Error::unsupported("Docker's image format knows no zstd layers")
                .with_hint("use the format oci, or gzip"))
        }
        (false, Some(algorithm)) => Ok(format!("{base}+{}", algorithm.suffix())),
    }
}

/// The manifest as `media_type` with these layers. One that is already so is returned as it is.
pub fn manifest(manifest: &Manifest, media_type: &str, layers: &[Descriptor]) -> Result<Manifest> {
    let same = |a: &Descriptor, b: &Descriptor| a.digest == b.digest && a.media_type == b.media_type;
    if manifest.media_type == media_type
        && manifest.layers.len() == layers.len()
        && manifest.layers.iter().zip(layers).all(|(a, b)| same(a, b))
    {
        return Ok(manifest.clone());
    }
    let bad = |e: serde_json::Error| Error::corrupt(format!("manifest {}: {e}", manifest.digest));
    let mut document: Value = serde_json::from_slice(&manifest.raw).map_err(bad)?;
    document["mediaType"] = media_type.into();
    if let Some(config_type) = converted_config(&manifest.config.media_type, media_type) {
        document["config"]["mediaType"] = config_type.into();
    }
    let before = document["layers"].as_array().cloned().unwrap_or_default();
    let after = layers.iter().enumerate().map(|(i, layer)| {
        let mut value = before.get(i).cloned().unwrap_or_else(|| json!({}));
        value["mediaType"] = layer.media_type.as_str().into();
        value["size"] = layer.size.into();
        if value["digest"].as_str() != Some(layer.digest.as_str())
            && let Some(object) = value.as_object_mut()
        {
            // They describe another blob (zstd:chunked, eStargz, addresses elsewhere).
            object.remove("annotations");
            object.remove("urls");
            if let Some(annotations) = &layer.annotations {
                object.insert("annotations".to_owned(), json!(annotations));
            }
        }
        value["digest"] = layer.digest.as_str().into();
        value
    });
    document["layers"] = after.collect();
    if media_type == DOCKER_MANIFEST
        && let Some(object) = document.as_object_mut()
    {
        for only_oci in ["annotations", "subject", "artifactType"] {
            object.remove(only_oci);
        }
        for layer in object.get_mut("layers").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(layer) = layer.as_object_mut() {
                layer.remove("annotations");
            }
        }
    }
    match reparsed(&document)? {
        Document::Manifest(manifest) => Ok(manifest),
        Document::Index(_) => Err(Error::corrupt("a manifest became an index")),
    }
}

fn converted_config(now: &str, media_type: &str) -> Option<&'static str> {
    match (media_type, now) {
        (DOCKER_MANIFEST, OCI_CONFIG) => Some(DOCKER_CONFIG),
        (OCI_MANIFEST, DOCKER_CONFIG) => Some(OCI_CONFIG),
        _ => None,
    }
}

/// What an instance became: its digest before, and the document now.
pub struct Replaced {
    /// Digest in the index so far.
    pub before: Digest,
    /// Digest now.
    pub digest: Digest,
    /// Bytes now.
    pub size: u64,
    /// Media type now.
    pub media_type: String,
}

/// The index as `media_type`, its instances replaced. One that is already so is returned as it is. Instances that are
/// not in `replaced` are dropped: they were not copied.
pub fn index(index: &Index, media_type: &str, replaced: &[Replaced]) -> Result<Index> {
    let unchanged = |d: &Descriptor| replaced.iter().any(|r| r.before == d.digest && r.digest == d.digest);
    if index.media_type == media_type && index.manifests.iter().all(unchanged) {
        return Ok(index.clone());
    }
    let bad = |e: serde_json::Error| Error::corrupt(format!("index {}: {e}", index.digest));
    let mut document: Value = serde_json::from_slice(&index.raw).map_err(bad)?;
    document["mediaType"] = media_type.into();
    let entries = document["manifests"].as_array().cloned().unwrap_or_default();
    let mut kept = Vec::new();
    for mut entry in entries {
        let digest = entry["digest"].as_str().unwrap_or_default().to_owned();
        let Some(now) = replaced.iter().find(|r| r.before.as_str() == digest) else { continue };
        entry["digest"] = now.digest.as_str().into();
        entry["size"] = now.size.into();
        entry["mediaType"] = now.media_type.as_str().into();
        // BuildKit's attestations say of which instance they are.
        if let Some(about) = entry.get_mut("annotations").and_then(|all| all.get_mut(ATTESTED))
            && let Some(now) = replaced.iter().find(|r| about.as_str() == Some(r.before.as_str()))
        {
            *about = now.digest.as_str().into();
        }
        kept.push(entry);
    }
    document["manifests"] = kept.into();
    if media_type == DOCKER_LIST
        && let Some(object) = document.as_object_mut()
    {
        for only_oci in ["annotations", "subject", "artifactType"] {
            object.remove(only_oci);
        }
    }
    reparsed_index(&document)
}

/// The index that a changed document is.
pub fn reparsed_index(document: &Value) -> Result<Index> {
    match reparsed(document)? {
        Document::Index(index) => Ok(index),
        Document::Manifest(_) => Err(Error::corrupt("an index became a manifest")),
    }
}

/// The index type that goes with a manifest type.
pub fn index_type(manifest_type: &str) -> &'static str {
    if manifest_type == DOCKER_MANIFEST { DOCKER_LIST } else { OCI_INDEX }
}

fn reparsed(document: &Value) -> Result<Document> {
    let raw = serde_json::to_vec(document).map_err(|e| Error::corrupt(e.to_string()))?;
    let digest = Digest::sha256(&raw);
    Document::parse_any(raw, digest, None)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Manifest {
        let raw = text.replace('D', &format!("sha256:{}", "a".repeat(64))).into_bytes();
        let digest = Digest::sha256(&raw);
        match Document::parse(raw, digest, None).unwrap() {
            Document::Manifest(manifest) => manifest,
            Document::Index(_) => panic!(),
        }
    }

    const OCI: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"D","size":2},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"D","size":3,"annotations":{"x":"y"}}],"annotations":{"a":"b"}}"#;

    #[test]
    fn what_need_not_change_stays_to_the_byte() {
        let before = parsed(OCI);
        let after = manifest(&before, OCI_MANIFEST, &before.layers).unwrap();
        assert_eq!(before.raw, after.raw);
    }

    #[test]
    fn a_conversion_drops_what_the_other_format_lacks() {
        let before = parsed(OCI);
        let mut layers = before.layers.clone();
        layers[0].media_type =
            layer_type(DOCKER_MANIFEST, &layers[0].media_type, Some(Algorithm::Gzip)).unwrap();
        let after = manifest(&before, DOCKER_MANIFEST, &layers).unwrap();
        assert_eq!(
            (after.media_type.as_str(), after.config.media_type.as_str()),
            (DOCKER_MANIFEST, DOCKER_CONFIG)
        );
        let text = String::from_utf8(after.raw.clone()).unwrap();
        assert!(!text.contains("annotations"), "{text}");
        let mut layers = after.layers.clone();
        layers[0].media_type = layer_type(OCI_MANIFEST, &layers[0].media_type, None).unwrap();
        layers[0].digest = Digest::sha256(b"other");
        let back = manifest(&after, OCI_MANIFEST, &layers).unwrap();
        assert_eq!(back.layers[0].media_type, "application/vnd.oci.image.layer.v1.tar");
        assert_eq!(back.layers[0].digest, Digest::sha256(b"other"));
        assert!(layer_type(DOCKER_MANIFEST, "", Some(Algorithm::Zstd)).is_err());
    }

    #[test]
    fn media_types_say_how_a_layer_is_compressed() {
        for (media_type, want) in [
            ("application/vnd.oci.image.layer.v1.tar", Some(None)),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Some(Some(Algorithm::Gzip))),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Some(Some(Algorithm::Zstd))),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Some(Some(Algorithm::Gzip))),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Some(Some(Algorithm::Gzip))),
            ("application/vnd.oci.image.layer.v1.tar+encrypted", None),
            ("text/plain", None),
        ] {
            assert_eq!(compression(media_type), want, "{media_type}");
        }
    }
}
