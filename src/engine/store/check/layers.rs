//! Layers: their directories, parents, files and sizes.

use super::contents::Verdict;
use super::tables::Table;
use super::{Look, Mend, Outcome, Subject};
use crate::engine::Result;
use crate::engine::store::LayerRecord;
use crate::engine::store::file::set_field;
use crate::engine::store::layers::check_id;
use jiff::Timestamp;
use std::collections::HashSet;

impl<'s> Look<'s, '_> {
    pub(super) fn layers(&mut self) -> Result<()> {
        let used = self.used_layers();
        for layer in &self.tables.layers {
            let subject = || Subject::Layer(layer.id.clone());
            if layer.incomplete() {
                let id = layer.id.clone();
                self.found(
                    subject(),
                    "is incomplete: whoever made or deleted it died",
                    Box::new(move |bench| bench.drop_layer(&id)),
                );
                continue;
            }
            if check_id(&layer.id).is_err() {
                // Another program's own way of naming: nothing is known of its files.
                continue;
            }
            if let Some(parent) = layer.parent.as_deref()
                && self.tables.layer(parent).is_none()
            {
                self.lose_layer(layer, format!("stands on layer {parent}, which is missing"));
                continue;
            }
            if !used.contains(layer.id.as_str()) && self.is_old(layer) {
                let id = layer.id.clone();
                let top = !self.tables.layers.iter().any(|l| l.parent.as_deref() == Some(&id));
                let text = "is used by no image and no container";
                // Those above go first, and are found first by the next round.
                let drop: Mend<'s> = Box::new(move |bench| if top { bench.drop_layer(&id) } else { Ok(()) });
                self.found(subject(), text, drop);
                continue;
            }
            self.files(layer);
        }
        self.links()
    }

    /// Layers that images and containers have, with all below them.
    fn used_layers(&self) -> HashSet<String> {
        let tops = self.tables.images.iter().flat_map(|i| i.top_layer.iter().chain(&i.mapped_layers));
        let tops = tops.chain(self.tables.containers.iter().map(|c| &c.layer));
        tops.flat_map(|top| self.tables.chain(top)).map(|layer| layer.id.clone()).collect()
    }

    fn is_old(&self, layer: &LayerRecord) -> bool {
        let age = Timestamp::now().duration_since(layer.created);
        layer.created == Timestamp::UNIX_EPOCH
            || age.as_secs() > i64::try_from(self.options.max_age.as_secs()).unwrap_or(i64::MAX)
            || self.options.max_age.is_zero()
    }

    fn files(&mut self, layer: &LayerRecord) {
        let directory = self.store.layer_dir(&layer.id);
        if directory.as_ref().is_some_and(|d| d.read_only) {
            return;
        }
        let files = directory.map(|d| self.store.files_of(&d.path));
        let subject = Subject::Layer(layer.id.clone());
        let problem = match files {
            None => Some("has no directory".to_owned()),
            Some(files) if !files.is_dir() => Some("has no files: its diff directory is missing".to_owned()),
            Some(_) => match self.verdicts.get(&layer.id) {
                None | Some(Verdict::Whole(_)) => None,
                Some(Verdict::Split(why, _)) => Some(format!("cannot be made into its archive again: {why}")),
                Some(Verdict::Changed(why)) => Some(format!("has changed since it was made: {why}")),
                Some(Verdict::Touched(what, _)) => Some(format!("is not as it was made: {what}")),
                Some(Verdict::Other(digest, _)) => {
                    return self.other_digest(layer, digest);
                }
            },
        };
        match problem {
            Some(problem) => match self.source_for(layer) {
                Some(from) => {
                    let mend = self.rebuilding(layer, from);
                    self.found(subject, problem, mend);
                }
                None => self.lose_layer(layer, problem),
            },
            None => self.size(layer),
        }
    }

    /// The tar is whole, but not the one that is recorded. An image's configuration knows which it should be.
    fn other_digest(&mut self, layer: &LayerRecord, digest: &crate::engine::Digest) {
        let text = format!("has the digest {digest}, not the one that is recorded");
        if self.promised(layer).as_ref() == Some(digest) {
            let (id, table, digest) = (layer.id.clone(), Table::Layers(layer.location), digest.clone());
            return self.found(
                Subject::Layer(layer.id.clone()),
                text,
                Box::new(move |bench| bench.update(table, &id, |map| set_field(map, "diff-digest", &digest))),
            );
        }
        match self.source_for(layer) {
            Some(from) => {
                let mend = self.rebuilding(layer, from);
                self.found(Subject::Layer(layer.id.clone()), text, mend);
            }
            None => self.lose_layer(layer, text),
        }
    }

    fn size(&mut self, layer: &LayerRecord) {
        let Some(Verdict::Whole(size)) = self.verdicts.get(&layer.id) else { return };
        let Ok(size) = i64::try_from(*size) else { return };
        if layer.diff_size == size || layer.diff_size == -1 {
            return;
        }
        let (id, table) = (layer.id.clone(), Table::Layers(layer.location));
        self.found(
            Subject::Layer(layer.id.clone()),
            format!("is recorded with {} bytes and has {size}", layer.diff_size),
            Box::new(move |bench| bench.update(table, &id, |map| set_field(map, "diff-size", &size))),
        );
    }

    /// Containers: what they stand on.
    pub(super) fn containers(&mut self) -> Result<()> {
        let mut names: HashSet<&str> = HashSet::new();
        for container in self.tables.containers.iter().rev() {
            let subject = || Subject::Container(container.id.clone());
            let gone = || Outcome::Lossy { images: Vec::new(), containers: vec![container.id.clone()] };
            let here = self.tables.layer(&container.layer).is_some_and(|l| !l.incomplete());
            if !here {
                self.hopeless(subject(), format!("has lost its layer {}", container.layer), gone());
            } else if !container.image.is_empty()
                && !self.tables.images.iter().any(|i| i.id == container.image)
                && !self.in_read_only_store(&container.image)
            {
                self.hopeless(
                    subject(),
                    format!("is of image {}, which is missing", container.image),
                    gone(),
                );
            }
            let doubles: Vec<&String> =
                container.names.iter().filter(|name| !names.insert(name.as_str())).collect();
            if !doubles.is_empty() {
                let kept: Vec<String> =
                    container.names.iter().filter(|n| !doubles.contains(n)).cloned().collect();
                let (id, table) = (container.id.clone(), Table::Containers(container.location));
                self.found(
                    subject(),
                    format!("has a name that a later container has, too: {}", doubles[0]),
                    Box::new(move |bench| bench.update(table, &id, |map| set_field(map, "names", &kept))),
                );
            }
        }
        Ok(())
    }

    fn in_read_only_store(&self, image: &str) -> bool {
        self.store.image(image).is_ok_and(|image| image.read_only)
    }
}
