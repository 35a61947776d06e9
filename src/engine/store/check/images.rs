//! Images: their big data, layers and names.

use super::tables::Table;
use super::{Look, Outcome, Subject};
use crate::engine::store::file::set_field;
use crate::engine::store::layout::big_data_name;
use crate::engine::store::record::is_manifest;
use crate::engine::store::{ImageRecord, file};
use crate::engine::{Digest, Error, Result};
use serde::Deserialize;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// As much of a configuration as says which layers an image has.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    rootfs: RootFs,
    created: Option<jiff::Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

/// What an image's directory says of it.
pub(super) struct OnDisk {
    /// Items by key.
    pub(super) items: HashMap<String, Vec<u8>>,
    pub(super) config: Option<String>,
    pub(super) diff_ids: Vec<Digest>,
    pub(super) created: Option<jiff::Timestamp>,
}

impl OnDisk {
    /// Reads an image's directory; `None`: there is no manifest in it, or one without its configuration.
    pub(super) fn read(directory: &Path) -> Option<Self> {
        let mut items = HashMap::new();
        for entry in fs::read_dir(directory).ok()?.flatten() {
            let key = key_of(entry.file_name().to_str()?)?;
            items.insert(key, fs::read(entry.path()).ok()?);
        }
        let manifest: serde_json::Value = serde_json::from_slice(items.get("manifest")?).ok()?;
        let key = manifest["config"]["digest"].as_str();
        let config = match key {
            Some(key) => {
                let bytes = items.get(key)?;
                Digest::parse(key).ok().filter(|digest| digest.matches(bytes))?;
                serde_json::from_slice::<Config>(bytes).ok()?
            }
            // A list of manifests has none.
            None => Config::default(),
        };
        let (diff_ids, created) = (config.rootfs.diff_ids, config.created);
        Some(Self { config: key.map(str::to_owned), items, diff_ids, created })
    }
}

/// The key that a big data item's file name stands for.
fn key_of(name: &str) -> Option<String> {
    use base64::Engine as _;
    match name.strip_prefix('=') {
        None => Some(name.to_owned()),
        Some(text) => String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text).ok()?).ok(),
    }
}

impl<'s> Look<'s, '_> {
    pub(super) fn images(&mut self) -> Result<()> {
        for image in &self.tables.images {
            let directory = self.store.layout.images.join(&image.id);
            let disk = OnDisk::read(&directory);
            for key in &image.big_data_names {
                self.item(image, &directory, key)?;
            }
            if image.top_layer.is_some() {
                self.top(image, disk.as_ref());
            }
        }
        self.image_names();
        Ok(())
    }

    /// One big data item: there, of the recorded digest, of the recorded size.
    fn item(&mut self, image: &ImageRecord, directory: &Path, key: &str) -> Result<()> {
        let path = directory.join(big_data_name(key));
        let digest = image.big_data_digests.entries().get(key).and_then(|d| Digest::parse(d).ok());
        let size = image.big_data_sizes.entries().get(key).copied();
        let subject = || Subject::Image(image.id.clone());
        let problem = match fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => format!("has lost its {key}"),
            Err(e) => return Err(Error::io("read", &path, e)),
            Ok(bytes) if digest.as_ref().is_some_and(|digest| !digest.matches(&bytes)) => {
                format!("has a damaged {key}")
            }
            Ok(bytes) => {
                let found = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
                if size == Some(found) {
                    return Ok(());
                }
                let text = format!("has a {key} of {found} bytes and records {}", size.unwrap_or(-1));
                if digest.is_none() {
                    let gone = self.image_with_containers(&image.id);
                    self.hopeless(subject(), text, gone);
                    return Ok(());
                }
                let (id, key, mut sizes) = (image.id.clone(), key.to_owned(), image.big_data_sizes.clone());
                sizes.insert(&key, found);
                let mend = move |bench: &super::Bench<'_>| {
                    bench.update(Table::Images, &id, |map| set_field(map, "big-data-sizes", &sizes))
                };
                self.found(subject(), text, Box::new(mend));
                return Ok(());
            }
        };
        // The manifest is kept under two names.
        let twin = image.big_data_names.iter().find_map(|other| {
            let bytes = fs::read(directory.join(big_data_name(other))).ok()?;
            let same = is_manifest(key) && is_manifest(other) && other != key;
            (same && digest.as_ref()?.matches(&bytes)).then_some(bytes)
        });
        if let Some(bytes) = twin {
            let mend = move |_: &super::Bench<'_>| {
                file::make_dirs(path.parent().unwrap_or(Path::new("/")), 0o700)?;
                file::write(&path, &bytes, crate::engine::host::atomic::Durability::Synced)
            };
            self.found(subject(), problem, Box::new(mend));
            return Ok(());
        }
        let gone = self.image_with_containers(&image.id);
        self.hopeless(subject(), problem, gone);
        Ok(())
    }

    fn image_with_containers(&self, image: &str) -> Outcome {
        let on = self.tables.containers.iter().filter(|c| c.image == image);
        Outcome::Lossy { images: vec![image.to_owned()], containers: on.map(|c| c.id.clone()).collect() }
    }

    /// The top layer: there, and with the layers below it those that the configuration names.
    fn top(&mut self, image: &ImageRecord, disk: Option<&OnDisk>) {
        let Some(top) = image.top_layer.as_deref() else { return };
        let chain = self.tables.chain(top);
        let complete = chain.last().is_some_and(|bottom| bottom.parent.is_none());
        let here = !chain.is_empty() && chain[0].id == top;
        // What lacks its parents was said of the layer.
        if here && !complete {
            return;
        }
        let promised = disk.filter(|disk| disk.config.is_some()).map(|disk| &disk.diff_ids[..]);
        let text = match (here, promised) {
            (true, None) => return,
            (true, Some(diff_ids)) if self.is_chain(top, diff_ids) => return,
            (true, Some(_)) => format!("names layer {top}, which is another image's"),
            (false, _) => format!("has lost its layer {top}"),
        };
        let right = promised.and_then(|diff_ids| self.top_of(diff_ids));
        if let Some(right) = right {
            let id = image.id.clone();
            let mend = move |bench: &super::Bench<'_>| {
                bench.update(Table::Images, &id, |map| set_field(map, "layer", &right))
            };
            return self.found(Subject::Image(image.id.clone()), text, Box::new(mend));
        }
        // A digest that was recorded wrongly is found as such when the layer's files were read.
        if here && self.any_other_digest(top) {
            return;
        }
        let gone = self.image_with_containers(&image.id);
        self.hopeless(Subject::Image(image.id.clone()), text, gone);
    }

    fn any_other_digest(&self, top: &str) -> bool {
        let chain = self.tables.chain(top);
        chain.iter().any(|l| matches!(self.verdicts.get(&l.id), Some(super::Verdict::Other(..))))
    }

    /// Whether a layer and those below it have these digests; one without is no contradiction.
    fn is_chain(&self, top: &str, diff_ids: &[Digest]) -> bool {
        let chain = self.tables.chain(top);
        chain.len() == diff_ids.len()
            && chain
                .iter()
                .rev()
                .zip(diff_ids)
                .all(|(layer, digest)| layer.diff_digest.as_ref().is_none_or(|recorded| recorded == digest))
    }

    /// The layer with which the chain of these digests ends.
    pub(super) fn top_of(&self, diff_ids: &[Digest]) -> Option<String> {
        let last = diff_ids.last()?;
        let with = |layer: &&super::LayerRecord| layer.diff_digest.as_ref() == Some(last);
        let mut candidates = self.tables.layers.iter().chain(&self.tables.read_only).filter(with);
        candidates.find(|layer| self.is_chain(&layer.id, diff_ids)).map(|layer| layer.id.clone())
    }

    /// The digest that an image's configuration promises for a layer.
    pub(super) fn promised(&self, layer: &super::LayerRecord) -> Option<Digest> {
        for image in &self.tables.images {
            let Some(top) = image.top_layer.as_deref() else { continue };
            let chain = self.tables.chain(top);
            let Some(from_top) = chain.iter().position(|l| l.id == layer.id) else { continue };
            let disk = OnDisk::read(&self.store.layout.images.join(&image.id));
            if let Some(disk) = disk.filter(|disk| disk.diff_ids.len() == chain.len()) {
                return disk.diff_ids.into_iter().rev().nth(from_top);
            }
        }
        None
    }

    /// A name of two images is that of the later one, as upstream has it.
    fn image_names(&mut self) {
        let mut seen: HashMap<&str, &str> = HashMap::new();
        for image in self.tables.images.iter().rev() {
            let double = image.names.iter().find(|name| seen.contains_key(name.as_str())).cloned();
            if let Some(double) = double {
                let kept: Vec<String> =
                    image.names.iter().filter(|n| !seen.contains_key(n.as_str())).cloned().collect();
                let id = image.id.clone();
                let mend = move |bench: &super::Bench<'_>| {
                    bench.update(Table::Images, &id, |map| set_field(map, "names", &kept))
                };
                let text =
                    format!("has the name {double}, which image {} has, too", short(seen[double.as_str()]));
                self.found(Subject::Image(image.id.clone()), text, Box::new(mend));
            }
            for name in &image.names {
                seen.entry(name).or_insert(&image.id);
            }
        }
    }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// A record made again from what is on disk.
pub(super) fn record_of(id: &str, disk: &OnDisk, top_layer: Option<String>) -> ImageRecord {
    let mut image = ImageRecord {
        id: id.to_owned(),
        digest: disk.items.get("manifest").map(|bytes| Digest::sha256(bytes)),
        top_layer,
        created: disk.created.unwrap_or_else(jiff::Timestamp::now),
        ..ImageRecord::default()
    };
    let mut keys: Vec<&String> = disk.items.keys().collect();
    keys.sort();
    for key in keys {
        let bytes = &disk.items[key];
        image.big_data_names.push(key.clone());
        image.big_data_sizes.insert(key, i64::try_from(bytes.len()).unwrap_or(i64::MAX));
        image.big_data_digests.insert(key, Digest::sha256(bytes).to_string());
    }
    image
}
