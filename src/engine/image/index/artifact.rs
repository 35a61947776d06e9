//! Artifacts made of files and added to a list: their manifests are kept in it, the files stay where they are.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde_json::{Value, json};

use super::List;
use super::add::descriptor;
use super::entry::{Annotations, entry};
use crate::engine::digest::{Algorithm, Hasher};
use crate::engine::registry::manifest::OCI_MANIFEST;
use crate::engine::registry::{Descriptor, Document};
use crate::engine::transport::sniff;
use crate::engine::{Digest, Engine, Error, Result};

/// What an artifact consists of.
#[derive(Clone, Debug, Default)]
pub struct ArtifactRequest {
    /// The list.
    pub list: String,
    /// Its files.
    pub files: Vec<PathBuf>,
    /// `--artifact-type`.
    pub artifact_type: Option<String>,
    /// `--artifact-config`: a file.
    pub config: Option<PathBuf>,
    /// `--artifact-config-type`.
    pub config_type: Option<String>,
    /// `--artifact-layer-type`.
    pub layer_type: Option<String>,
    /// `--artifact-exclude-titles`.
    pub exclude_titles: bool,
    /// What it is about.
    pub subject: Option<Descriptor>,
    /// What the list says of it.
    pub annotations: Annotations,
}

/// The type of an artifact that has none.
pub const UNKNOWN_ARTIFACT: &str = "application/vnd.unknown.artifact.v1";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const EMPTY: &[u8] = b"{}";

/// Adds an artifact; returns the list's ID and the digest of the artifact's manifest.
pub fn add_artifact(engine: &Engine, request: &ArtifactRequest) -> Result<(String, Digest)> {
    let absolute = |path: &Path| engine.config.env.cwd.join(path);
    let mut list = List::named(engine, &request.list)?;
    let empty =
        json!({"mediaType": EMPTY_TYPE, "digest": Digest::sha256(EMPTY).as_str(), "size": 2, "data": "e30="});
    let config = match &request.config {
        Some(path) => {
            let path = absolute(path);
            let media_type = request
                .config_type
                .clone()
                .unwrap_or_else(|| "application/vnd.oci.image.config.v1+json".to_owned());
            file(&mut list, &path, media_type)?
        }
        None => {
            let mut config = empty.clone();
            if let Some(media_type) = &request.config_type {
                config["mediaType"] = media_type.as_str().into();
            }
            config
        }
    };
    let mut layers = Vec::new();
    for path in &request.files {
        let path = absolute(path);
        let media_type = match &request.layer_type {
            Some(media_type) => media_type.clone(),
            // As podman has it here: without the character set.
            None => sniff::file(&path)?.split(';').next().unwrap_or_default().to_owned(),
        };
        let mut layer = file(&mut list, &path, media_type)?;
        if !request.exclude_titles {
            let title = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            layer["annotations"] = json!({"org.opencontainers.image.title": title});
        }
        layers.push(layer);
    }
    if layers.is_empty() {
        layers.push(empty);
    }
    let inline = base64::engine::general_purpose::STANDARD.encode(EMPTY);
    list.artifacts.blobs.insert(Digest::sha256(EMPTY).to_string(), inline);
    let artifact_type = request.artifact_type.as_deref().unwrap_or(UNKNOWN_ARTIFACT);
    let mut manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST});
    // An empty type says that the configuration's is the artifact's.
    if !artifact_type.is_empty() {
        manifest["artifactType"] = artifact_type.into();
    }
    manifest["config"] = config.clone();
    manifest["layers"] = layers.clone().into();
    if let Some(subject) = &request.subject {
        manifest["subject"] = entry(&Descriptor { platform: None, ..subject.clone() });
    }
    let raw = serde_json::to_vec(&manifest).map_err(|e| Error::corrupt(e.to_string()))?;
    let digest = Digest::sha256(&raw);
    let words = |value: &Value| value["digest"].as_str().unwrap_or_default().to_owned();
    let key = digest.to_string();
    list.artifacts.manifests.insert(key.clone(), String::from_utf8_lossy(&raw).into_owned());
    let files = request.files.iter().map(|p| absolute(p).to_string_lossy().into_owned()).collect();
    list.artifacts.files.insert(key.clone(), files);
    list.artifacts.configs.insert(key.clone(), words(&config));
    list.artifacts.layers.insert(key, layers.iter().map(words).collect());
    let Document::Manifest(parsed) = Document::parse_any(raw, digest.clone(), None)? else {
        return Err(Error::corrupt("an artifact became an index"));
    };
    let mut value = entry(&descriptor(&parsed, None));
    if !artifact_type.is_empty() {
        value["artifactType"] = artifact_type.into();
    }
    request.annotations.apply(&mut value);
    list.put(value, None)?;
    list.save(engine)?;
    Ok((list.id, digest))
}

/// Notes a file of an artifact and describes it.
fn file(list: &mut List, path: &Path, media_type: String) -> Result<Value> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut source = std::fs::File::open(path).map_err(|e| Error::io("open", path, e))?;
    let size = std::io::copy(&mut source, &mut Sink(&mut hasher)).map_err(|e| Error::io("read", path, e))?;
    let digest = hasher.finish();
    list.artifacts.detached.insert(digest.to_string(), path.to_string_lossy().into_owned());
    Ok(json!({"mediaType": media_type, "digest": digest.as_str(), "size": size}))
}

struct Sink<'a>(&'a mut Hasher);

impl std::io::Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
