//! Reading the store's files without the product's code, to say whether they agree with each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::Sandbox;

/// Whether a name is a layer's, an image's or a container's full id.
pub fn is_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Records of one kind by id, permanent and volatile.
fn records(sandbox: &Sandbox, kind: &str, problems: &mut Vec<String>) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for place in ["root", "run"] {
        for prefix in ["", "volatile-"] {
            let path = sandbox.path(format!("{place}/overlay-{kind}/{prefix}{kind}.json"));
            let Ok(bytes) = fs::read(&path) else { continue };
            if bytes.is_empty() {
                continue;
            }
            match serde_json::from_slice::<Vec<Value>>(&bytes) {
                Ok(records) => {
                    for record in records {
                        all.insert(text(&record, "id").to_owned(), record);
                    }
                }
                Err(error) => problems.push(format!("{}: {error}", path.display())),
            }
        }
    }
    all
}

fn text<'a>(record: &'a Value, field: &str) -> &'a str {
    record[field].as_str().unwrap_or_default()
}

fn ids_in(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| is_id(name)).collect()
}

/// Everything in the sandbox's store that contradicts something else in it. Empty is good. Only meaningful while no
/// command runs.
pub fn problems(sandbox: &Sandbox) -> Vec<String> {
    let mut found = Vec::new();
    let root = sandbox.graph_root();
    let layers = records(sandbox, "layers", &mut found);
    let images = records(sandbox, "images", &mut found);
    let containers = records(sandbox, "containers", &mut found);

    let overlay = root.join("overlay");
    let directories = ids_in(&overlay);
    for orphan in directories.iter().filter(|id| !layers.contains_key(*id)) {
        found.push(format!("layer directory without a record: overlay/{orphan}"));
    }
    let mut used = BTreeSet::new();
    for (id, layer) in &layers {
        let parent = text(layer, "parent");
        if !parent.is_empty() && !layers.contains_key(parent) {
            found.push(format!("layer {id} has a parent that does not exist: {parent}"));
        }
        if layer["flags"]["incomplete"] == true {
            found.push(format!("layer {id} is incomplete"));
        }
        if !text(layer, "diff-digest").is_empty()
            && !root.join(format!("overlay-layers/{id}.tar-split.gz")).exists()
        {
            found.push(format!("layer {id} has no tar-split file"));
        }
        let directory = overlay.join(id);
        if !directories.contains(id) {
            if overlay.exists() {
                found.push(format!("layer {id} has no directory"));
            }
            continue;
        }
        match fs::read_to_string(directory.join("link")) {
            Ok(link) if overlay.join("l").join(&link).exists() => drop(used.insert(link)),
            Ok(link) => found.push(format!("layer {id}: its link l/{link} does not lead to it")),
            Err(error) => found.push(format!("overlay/{id}/link: {error}")),
        }
        if !directory.join("diff").is_dir() {
            found.push(format!("layer {id} has no diff directory"));
        }
    }
    for entry in fs::read_dir(overlay.join("l")).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| !used.contains(name)) {
            found.push(format!("link without a layer: {}", entry.path().display()));
        }
    }
    for entry in fs::read_dir(root.join("overlay-layers")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(id) =
            name.strip_suffix(".tar-split.gz").filter(|id| is_id(id) && !layers.contains_key(*id))
        {
            found.push(format!("tar-split file without a layer: {id}"));
        }
    }
    for entry in fs::read_dir(overlay.join("staging")).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().ends_with(".lock") {
            found.push(format!("staging directory left: {}", entry.path().display()));
        }
    }
    for (kind, records) in [("images", &images), ("containers", &containers)] {
        for (id, record) in records {
            let layer = text(record, "layer");
            if !layer.is_empty() && !layers.contains_key(layer) {
                found.push(format!("{kind} record {id} has a layer that does not exist: {layer}"));
            }
            let image = text(record, "image");
            if !image.is_empty() && !images.contains_key(image) {
                found.push(format!("container {id} has an image that does not exist: {image}"));
            }
        }
        for orphan in
            ids_in(&root.join(format!("overlay-{kind}"))).iter().filter(|id| !records.contains_key(*id))
        {
            found.push(format!("directory without a record: overlay-{kind}/{orphan}"));
        }
    }
    // Layers of nobody: not an image's, not a container's, not below one of those.
    let mut needed = BTreeSet::new();
    for record in images.values().chain(containers.values()) {
        let mut next = text(record, "layer");
        while !next.is_empty() && needed.insert(next) {
            next = layers.get(next).map_or("", |layer| text(layer, "parent"));
        }
        for mapped in record["mapped-layers"].as_array().into_iter().flatten() {
            needed.insert(mapped.as_str().unwrap_or_default());
        }
    }
    for id in layers.keys().filter(|id| !needed.contains(id.as_str())) {
        found.push(format!("layer of no image and no container: {id}"));
    }
    found
}
