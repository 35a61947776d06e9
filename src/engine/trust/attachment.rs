//! sigstore signatures attached to an image in its registry, as cosign does it: the layers of an image with the tag
//! `sha256-DIGEST.sig` in the same repository.

use serde_json::{Value, json};

use super::signature::{MAX_SIGNATURE, Sigstore};
use crate::engine::registry::manifest::{MAX_CONFIG, OCI_CONFIG, OCI_MANIFEST};
use crate::engine::registry::{Document, Manifest, Repository};
use crate::engine::{Context, Digest, Error, ErrorKind, Result};

fn tag(manifest: &Digest) -> String {
    format!("{}-{}.sig", manifest.algorithm().name(), manifest.hex())
}

/// What is attached to a manifest.
pub fn read(repository: &Repository, manifest: &Digest) -> Result<Vec<Sigstore>> {
    let Some(image) = image(repository, manifest)? else { return Ok(Vec::new()) };
    let layers = image.layers.iter().map(|layer| {
        Ok(Sigstore {
            media_type: layer.media_type.clone(),
            payload: repository.small_blob(layer, MAX_SIGNATURE as u64)?,
            annotations: layer.annotations.clone().unwrap_or_default(),
        })
    });
    layers.collect::<Result<Vec<_>>>().with_context(|| format!("signatures of {manifest}"))
}

fn image(repository: &Repository, manifest: &Digest) -> Result<Option<Manifest>> {
    match repository.any_manifest(&tag(manifest)) {
        Ok(Document::Manifest(image)) if image.media_type == OCI_MANIFEST => Ok(Some(image)),
        Ok(_) => {
            let name = repository.reference().name();
            Err(Error::corrupt(format!("{name}:{} is no image of signatures", tag(manifest))))
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Attaches signatures to a manifest, to those it has.
pub fn add(repository: &Repository, manifest: &Digest, signatures: &[Sigstore]) -> Result<()> {
    let corrupt = |e: serde_json::Error| Error::corrupt(format!("{}: {e}", tag(manifest)));
    let (mut image, mut config): (Value, Value) = match image(repository, manifest)? {
        Some(image) => {
            let config = repository.small_blob(&image.config, MAX_CONFIG)?;
            (
                serde_json::from_slice(&image.raw).map_err(corrupt)?,
                serde_json::from_slice(&config).map_err(corrupt)?,
            )
        }
        None => (
            json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": {}, "layers": []}),
            json!({"architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}}),
        ),
    };
    let no_list = || Error::corrupt(format!("{} has no list of layers", tag(manifest)));
    let mut changed = false;
    for signature in signatures {
        let digest = Digest::sha256(&signature.payload);
        let layer = json!({
            "mediaType": signature.media_type,
            "digest": digest.as_str(),
            "size": signature.payload.len(),
            "annotations": signature.annotations,
        });
        let layers = image["layers"].as_array_mut().ok_or_else(no_list)?;
        if layers.contains(&layer) {
            continue;
        }
        layers.push(layer);
        config["rootfs"]["diff_ids"].as_array_mut().ok_or_else(no_list)?.push(digest.as_str().into());
        repository.upload(signature.payload.as_slice(), Some(&digest), &|_| {})?;
        changed = true;
    }
    if !changed {
        return Ok(());
    }
    let config = config.to_string().into_bytes();
    let written = repository.upload(config.as_slice(), None, &|_| {})?;
    image["config"] =
        json!({"mediaType": OCI_CONFIG, "digest": written.digest.as_str(), "size": written.size});
    repository.put_manifest(&tag(manifest), OCI_MANIFEST, image.to_string().as_bytes()).map(drop)
}
