//! A new image: layers that are here, perhaps a new one on top, and a configuration.
//!
//! Manifest, configuration and IDs are what containers/image makes of an image that is built in the store: layers
//! uncompressed, so that their digests are their DiffIDs and another program that copies the image keeps its digest.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::ImageConfig;
use super::config::{History, RunConfig};
use crate::engine::digest::{Algorithm, Hasher};
use crate::engine::registry::manifest::{DOCKER_CONFIG, DOCKER_MANIFEST, OCI_CONFIG, OCI_MANIFEST};
use crate::engine::store::diff::Applied;
use crate::engine::store::{BigData, ImageRecord, LayerRecord, NewImage, NewLayer, StagedLayer};
use crate::engine::{Context, Digest, Engine, Error, Result};

/// The documents' dialect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The image specification's.
    #[default]
    Oci,
    /// Docker's (schema 2).
    Docker,
}

impl Format {
    /// `oci` or `docker`.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "oci" => Ok(Self::Oci),
            "docker" => Ok(Self::Docker),
            _ => Err(Error::invalid(format!("unrecognized image format {text:?}"))
                .with_hint("formats are oci and docker")),
        }
    }

    fn media_types(self) -> [&'static str; 3] {
        match self {
            Self::Oci => [OCI_MANIFEST, OCI_CONFIG, "application/vnd.oci.image.layer.v1.tar"],
            Self::Docker => [DOCKER_MANIFEST, DOCKER_CONFIG, "application/vnd.docker.image.rootfs.diff.tar"],
        }
    }
}

/// Layers of the store that an image stands on, the lowest first.
#[derive(Clone, Debug, Default)]
pub struct Base {
    /// What their archives hash to, and their sizes.
    pub layers: Vec<(Digest, u64)>,
    /// The uppermost one's ID.
    pub top: Option<String>,
}

/// An image to be made.
#[derive(Debug, Default)]
pub struct Draft {
    /// The configuration document, `rootfs` left out.
    pub document: Map<String, Value>,
    /// What it stands on.
    pub base: Base,
    /// A new layer.
    pub layer: Option<(StagedLayer, Applied)>,
    /// The documents' dialect.
    pub format: Format,
    /// Its full name.
    pub name: Option<String>,
    /// Of the manifest (OCI's only).
    pub annotations: BTreeMap<String, String>,
}

/// What is below an image: its own layers.
///
/// # Errors
/// A layer is missing, or the configuration names another number of them.
pub fn base_of(engine: &Engine, image: &ImageRecord, config: &ImageConfig) -> Result<Base> {
    let mut chain = Vec::new();
    let mut next = image.top_layer.clone();
    while let Some(id) = next.take() {
        let layer = engine.store.layer(&id)?;
        next.clone_from(&layer.parent);
        chain.push(layer);
    }
    let promised = config.rootfs.diff_ids.len();
    if chain.len() != promised {
        return Err(Error::corrupt(format!(
            "image {} has {} layers, its configuration says {promised}",
            super::short_id(&image.id),
            chain.len()
        )));
    }
    let layers = chain.iter().rev().map(|layer| described(engine, layer)).collect::<Result<_>>()?;
    Ok(Base { layers, top: image.top_layer.clone() })
}

/// Digest and size of a layer's archive: as recorded, else by making it.
fn described(engine: &Engine, layer: &LayerRecord) -> Result<(Digest, u64)> {
    if let (Some(digest), Ok(size)) = (&layer.diff_digest, u64::try_from(layer.diff_size))
        && size > 0
    {
        return Ok((digest.clone(), size));
    }
    let mut counted = Counted { hasher: Hasher::new(Algorithm::Sha256), size: 0 };
    engine.store.layer_diff_tar(&layer.id, &mut counted)?;
    Ok((counted.hasher.finish(), counted.size))
}

struct Counted {
    hasher: Hasher,
    size: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Records the image with its new layer.
pub fn commit(engine: &Engine, draft: Draft) -> Result<ImageRecord> {
    let Draft { mut document, base, layer, format, name, annotations } = draft;
    let Base { mut layers, mut top } = base;
    let staged = layer.map(|(staged, applied)| {
        let diff_id = applied.diff_id.hex();
        let id = match &top {
            None => diff_id.to_owned(),
            Some(parent) => Digest::sha256(format!("{parent}+{diff_id}").as_bytes()).hex().to_owned(),
        };
        layers.push((applied.diff_id.clone(), applied.diff_size));
        (staged, NewLayer::from_applied(&id, top.replace(id.clone()), &applied))
    });
    let diff_ids: Vec<&Digest> = layers.iter().map(|(digest, _)| digest).collect();
    document.insert("rootfs".to_owned(), json!({"type": "layers", "diff_ids": diff_ids}));
    let created = document.get("created").and_then(Value::as_str).and_then(|text| text.parse().ok());
    let config = Value::Object(document).to_string().into_bytes();
    let config_digest = Digest::sha256(&config);
    let manifest = manifest(format, (&config_digest, config.len()), &layers, &annotations);
    let manifest_digest = Digest::sha256(&manifest);
    let item = |key: String, data: &[u8], digest: &Digest| BigData {
        key,
        data: data.to_vec(),
        digest: Some(digest.clone()),
    };
    let image = NewImage {
        id: config_digest.hex().to_owned(),
        names: name.into_iter().collect(),
        top_layer: top,
        digest: Some(manifest_digest.clone()),
        created,
        metadata: "{}".to_owned(),
        big_data: vec![
            item(config_digest.to_string(), &config, &config_digest),
            item(format!("manifest-{manifest_digest}"), &manifest, &manifest_digest),
            item("manifest".to_owned(), &manifest, &manifest_digest),
        ],
        ..NewImage::default()
    };
    engine.store.commit_image(staged.into_iter().collect(), image).context("record the image")
}

fn manifest(
    format: Format,
    (config, config_size): (&Digest, usize),
    layers: &[(Digest, u64)],
    annotations: &BTreeMap<String, String>,
) -> Vec<u8> {
    let [manifest_type, config_type, layer_type] = format.media_types();
    let layers: Vec<Value> = layers
        .iter()
        .map(|(digest, size)| json!({"mediaType": layer_type, "digest": digest, "size": size}))
        .collect();
    let mut document = json!({
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": {"mediaType": config_type, "digest": config, "size": config_size},
        "layers": layers,
    });
    if format == Format::Oci && !annotations.is_empty() {
        document["annotations"] = json!(annotations);
    }
    document.to_string().into_bytes()
}

/// Puts what containers get into a configuration's `config`; what we do not know of there stays.
pub fn put_run_config(object: &mut Map<String, Value>, config: &RunConfig) {
    let mut put = |key: &str, value: Value| {
        let empty = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            _ => false,
        };
        match empty {
            true => drop(object.shift_remove(key)),
            false => drop(object.insert(key.to_owned(), value)),
        }
    };
    let set = |items: &[String]| -> Value {
        Value::Object(items.iter().map(|item| (item.clone(), json!({}))).collect())
    };
    put("User", json!(config.user));
    put("ExposedPorts", set(&config.exposed_ports));
    put("Env", json!(config.env));
    put("Entrypoint", json!(config.entrypoint));
    put("Cmd", json!(config.cmd));
    put("Volumes", set(&config.volumes));
    put("WorkingDir", json!(config.working_dir));
    put("Labels", json!(config.labels));
    put("StopSignal", json!(config.stop_signal));
    put("StopTimeout", json!(config.stop_timeout));
    put("Healthcheck", json!(config.healthcheck));
    put("Shell", json!(config.shell));
    put("OnBuild", json!(config.on_build));
}

/// A configuration document for a platform (os, architecture, variant).
pub fn document(
    created: &str,
    author: &str,
    [os, architecture, variant]: [&str; 3],
    config: Map<String, Value>,
    history: Vec<Value>,
) -> Map<String, Value> {
    let mut document = Map::new();
    let mut put = |key: &str, value: Value| drop(document.insert(key.to_owned(), value));
    put("created", json!(created));
    if !author.is_empty() {
        put("author", json!(author));
    }
    put("architecture", json!(architecture));
    if !variant.is_empty() {
        put("variant", json!(variant));
    }
    put("os", json!(os));
    put("config", Value::Object(config));
    // In its usual place; filled when the layers are known.
    put("rootfs", Value::Null);
    put("history", Value::Array(history));
    document
}

/// A step of the history; what is empty is left out.
pub fn step(step: &History) -> Value {
    let mut object = Map::new();
    for (key, text) in [
        ("created", &step.created),
        ("created_by", &step.created_by),
        ("author", &step.author),
        ("comment", &step.comment),
    ] {
        if !text.is_empty() {
            object.insert(key.to_owned(), json!(text));
        }
    }
    if step.empty_layer {
        object.insert("empty_layer".to_owned(), json!(true));
    }
    Value::Object(object)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_what_is_unknown_stays() {
        let text = r#"{"Hostname":"h","Cmd":["old"],"Entrypoint":["e"],"ArgsEscaped":true}"#;
        let mut object: Map<String, Value> = serde_json::from_str(text).unwrap();
        let mut config: RunConfig = serde_json::from_str(text).unwrap();
        config.cmd = Some(vec!["new".into()]);
        config.entrypoint = None;
        config.exposed_ports = vec!["80/tcp".into()];
        config.volumes = vec!["/v".into()];
        config.labels.insert("a".into(), "b".into());
        put_run_config(&mut object, &config);
        assert_eq!(object["Hostname"], "h");
        assert_eq!(object["ExposedPorts"], json!({"80/tcp": {}}));
        assert!(!object.contains_key("Entrypoint") && !object.contains_key("User"));
        assert_eq!(serde_json::from_value::<RunConfig>(Value::Object(object)).unwrap(), config);
    }
}
