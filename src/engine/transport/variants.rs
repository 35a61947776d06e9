//! The same image with its layers compressed in several ways, side by side in one index (podman's `--add-compression`).
//!
//! An instance with zstd layers says so by an annotation; readers that do not know zstd take the first one of their
//! platform, so those with gzip come first (containers/image `internal/manifest/oci_index.go`). Pure.

use serde_json::{Value, json};

use super::compress::Algorithm;
use super::rewrite::{self, Replaced};
use crate::engine::registry::manifest::{COMPRESSED_BY_ZSTD, DOCKER_LIST};
use crate::engine::registry::platform::Platform;
use crate::engine::registry::{Descriptor, Document, Index};
use crate::engine::{Digest, Error, Result};

/// An instance that an index gets.
pub struct Added {
    /// The instance of which it is a copy: its digest before.
    pub copy_of: Digest,
    /// What it is.
    pub document: Document,
}

/// How the layers of an instance are compressed, zstd:chunked being zstd. `None`: it is no image with layers.
pub fn compression(document: &Document) -> Option<Algorithm> {
    let Document::Manifest(manifest) = document else { return None };
    let mut found = None;
    for layer in &manifest.layers {
        let algorithm = match rewrite::compression(&layer.media_type)?? {
            algorithm if algorithm.is_zstd() => Algorithm::Zstd,
            algorithm => algorithm,
        };
        if *found.get_or_insert(algorithm) != algorithm {
            return None;
        }
    }
    found
}

/// Which forms of which platforms there are.
#[derive(Default)]
pub struct Forms(Vec<(Option<Platform>, Algorithm)>);

impl Forms {
    /// Notes an instance.
    pub fn note(&mut self, descriptor: &Descriptor, written: &Document) {
        let annotated = descriptor.is_zstd().then_some(Algorithm::Zstd);
        if let Some(algorithm) = annotated.or(compression(written)) {
            self.0.push((descriptor.platform.clone(), algorithm));
        }
    }

    /// Whether the platform of this image lacks the form; it is taken to have it from now on.
    pub fn lacks(&mut self, descriptor: &Descriptor, algorithm: Algorithm) -> bool {
        let algorithm = if algorithm.is_zstd() { Algorithm::Zstd } else { algorithm };
        let form = (descriptor.platform.clone(), algorithm);
        let lacks = !self.0.contains(&form);
        if lacks {
            self.0.push(form);
        }
        lacks
    }
}

/// The index as [`rewrite::index`] makes it, with further instances.
///
/// `Unsupported` if Docker's form, which has no annotations, would have to tell one form from the other.
pub fn index(index: &Index, media_type: &str, replaced: &[Replaced], added: &[Added]) -> Result<Index> {
    let index = rewrite::index(index, media_type, replaced)?;
    if added.is_empty() {
        return Ok(index);
    }
    if media_type == DOCKER_LIST {
        return Err(Error::unsupported("Docker's image format knows no zstd layers")
            .with_hint("use the format oci, or gzip"));
    }
    let bad = |e: serde_json::Error| Error::corrupt(format!("index {}: {e}", index.digest));
    let mut document: Value = serde_json::from_slice(&index.raw).map_err(bad)?;
    let mut entries = document["manifests"].as_array().cloned().unwrap_or_default();
    for new in added {
        let before = replaced.iter().find(|replaced| replaced.before == new.copy_of);
        let digest = before.map_or(&new.copy_of, |replaced| &replaced.digest);
        let original = entries.iter().find(|entry| entry["digest"].as_str() == Some(digest.as_str()));
        let mut entry = original.cloned().unwrap_or_else(|| json!({}));
        entry["digest"] = new.document.digest().as_str().into();
        entry["size"] = new.document.raw().len().into();
        entry["mediaType"] = new.document.media_type().into();
        if let Some(annotations) = entry["annotations"].as_object_mut() {
            annotations.remove(COMPRESSED_BY_ZSTD);
        }
        if compression(&new.document) == Some(Algorithm::Zstd) {
            if !entry["annotations"].is_object() {
                entry["annotations"] = json!({});
            }
            entry["annotations"][COMPRESSED_BY_ZSTD] = "true".into();
        } else if entry["annotations"].as_object().is_none_or(serde_json::Map::is_empty)
            && let Some(entry) = entry.as_object_mut()
        {
            entry.remove("annotations");
        }
        entries.push(entry);
    }
    entries.sort_by_key(|entry| entry["annotations"][COMPRESSED_BY_ZSTD].as_str() == Some("true"));
    document["manifests"] = entries.into();
    rewrite::reparsed_index(&document)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::registry::manifest::{OCI_INDEX, OCI_MANIFEST};

    fn document(value: &Value) -> Document {
        let raw = serde_json::to_vec(value).unwrap();
        let digest = Digest::sha256(&raw);
        Document::parse_any(raw, digest, None).unwrap()
    }

    fn image(layers: &[&str]) -> Document {
        let digest = Digest::sha256(b"x");
        let blob = |media_type: &str| json!({"mediaType": media_type, "digest": digest.as_str(), "size": 1});
        document(&json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": blob("application/vnd.oci.image.config.v1+json"),
            "layers": layers.iter().map(|layer| blob(&format!("application/vnd.oci.image.layer.v1.tar{layer}"))).collect::<Vec<_>>(),
        }))
    }

    #[test]
    fn an_image_has_a_form_if_its_layers_agree() {
        for (layers, want) in [
            (&["+gzip", "+gzip"][..], Some(Algorithm::Gzip)),
            (&["+zstd"], Some(Algorithm::Zstd)),
            (&["+gzip", "+zstd"], None),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(compression(&image(layers)), want, "{layers:?}");
        }
    }

    #[test]
    fn copies_stand_behind_all_others_and_say_what_they_are() {
        let (one, copy) = (image(&["+gzip"]), image(&["+zstd"]));
        let platform = json!({"os": "linux", "architecture": "amd64"});
        let entry = |document: &Document| {
            json!({"mediaType": document.media_type(), "digest": document.digest().as_str(),
                "size": document.raw().len(), "platform": platform.clone()})
        };
        let list = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry(&one)]});
        let Document::Index(list) = document(&list) else { panic!("no index") };
        let mut forms = Forms::default();
        forms.note(&list.manifests[0], &one);
        assert!(!forms.lacks(&list.manifests[0], Algorithm::Gzip));
        assert!(forms.lacks(&list.manifests[0], Algorithm::ZstdChunked));
        assert!(!forms.lacks(&list.manifests[0], Algorithm::Zstd), "it has been promised");
        let same = Replaced {
            before: one.digest().clone(),
            digest: one.digest().clone(),
            size: one.raw().len() as u64,
            media_type: OCI_MANIFEST.to_owned(),
        };
        let added = [Added { copy_of: one.digest().clone(), document: copy.clone() }];
        let both = index(&list, OCI_INDEX, &[same], &added).unwrap();
        let digests: Vec<_> = both.manifests.iter().map(|d| d.digest.clone()).collect();
        assert_eq!(digests, [one.digest().clone(), copy.digest().clone()]);
        assert_eq!(both.manifests[1].platform, both.manifests[0].platform);
        assert!(both.manifests[1].is_zstd() && !both.manifests[0].is_zstd());
        assert_eq!(
            both.choose(&Default::default()).map(|d| d.digest.clone()).ok(),
            Some(copy.digest().clone()).filter(|_| cfg!(target_arch = "x86_64"))
        );
        assert!(index(&list, DOCKER_LIST, &[], &added).is_err());
    }
}
