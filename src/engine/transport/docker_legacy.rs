//! Images as Docker wrote them before 1.10: each layer a directory `ID` with `json` and `layer.tar`, each knowing its
//! parent. The configuration that newer ones have is made as Docker itself does (`image/v1`: `MakeConfigFromV1Config`).

use serde_json::{Map, Value, json};

use super::docker_archive::LayerFile;
use super::files::Files;
use crate::engine::registry::manifest::{MAX_CONFIG, MAX_LAYERS};
use crate::engine::store::diff::Compression;
use crate::engine::{Error, Result};

pub(super) struct LegacyImage {
    pub(super) config: Vec<u8>,
    pub(super) layers: Vec<LayerFile>,
}

/// The image with this ID.
pub(super) fn image(files: &Files, id: &str) -> Result<LegacyImage> {
    let mut chain: Vec<(String, Map<String, Value>)> = Vec::new();
    let mut next = Some(id.to_owned());
    while let Some(id) = next.take() {
        if chain.len() > MAX_LAYERS {
            return Err(Error::corrupt(format!("image {id} has more than {MAX_LAYERS} layers")));
        }
        let raw = files.read(&format!("{id}/json"), MAX_CONFIG)?;
        let parsed: Map<String, Value> =
            serde_json::from_slice(&raw).map_err(|e| Error::corrupt(format!("{id}/json: {e}")))?;
        next = parsed.get("parent").and_then(Value::as_str).filter(|p| !p.is_empty()).map(str::to_owned);
        chain.push((id, parsed));
    }
    chain.reverse();
    let (mut layers, mut diff_ids, mut history) = (Vec::new(), Vec::new(), Vec::new());
    for (id, parsed) in &chain {
        let name = format!("{id}/layer.tar");
        let file = files.get(&name)?.ok_or_else(|| Error::corrupt(format!("there is no file {name}")))?;
        let (compression, diff_id) = file.inflated_digest()?;
        let digest = match compression {
            Compression::None => None,
            _ => Some(file.digest()?),
        };
        diff_ids.push(diff_id);
        layers.push(LayerFile { file, compression, digest });
        history.push(step(parsed));
    }
    let mut config = chain.pop().map(|(_, parsed)| parsed).unwrap_or_default();
    for own in ["id", "parent", "Size", "parent_id", "layer_id", "throwaway"] {
        config.remove(own);
    }
    config.insert("rootfs".into(), json!({"type": "layers", "diff_ids": diff_ids}));
    config.insert("history".into(), history.into());
    let config = serde_json::to_vec(&config).map_err(|e| Error::corrupt(e.to_string()))?;
    Ok(LegacyImage { config, layers })
}

fn step(parsed: &Map<String, Value>) -> Value {
    let mut step = Map::new();
    for key in ["created", "author", "comment"] {
        if let Some(value) = parsed.get(key).filter(|v| v.as_str() != Some("")) {
            step.insert(key.into(), value.clone());
        }
    }
    let command = parsed.get("container_config").and_then(|c| c["Cmd"].as_array());
    if let Some(command) = command {
        let words: Vec<&str> = command.iter().filter_map(Value::as_str).collect();
        step.insert("created_by".into(), words.join(" ").into());
    }
    step.into()
}
