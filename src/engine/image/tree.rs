//! Who is whose parent among local images.
//!
//! As podman has it (`libimage/layer_tree.go`): a child's top layer is its parent's, or lies right above it, and its
//! history is the parent's with one step more. An untagged image with children is intermediate; one without is dangling.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use serde::Deserialize;

use super::mounted::Mounters;
use super::{ImageConfig, config_of};
use crate::engine::store::{ImageRecord, LayerRecord};
use crate::engine::{Digest, Engine, Result};

/// The local images with their layers at one moment. Configurations are read when they are needed.
pub struct Tree<'a> {
    engine: &'a Engine,
    images: Vec<ImageRecord>,
    /// Layer ID -> parent layer ID.
    parents: HashMap<String, Option<String>>,
    configs: RefCell<HashMap<String, Option<Rc<ImageConfig>>>>,
}

impl<'a> Tree<'a> {
    /// Reads images and layers.
    pub fn load(engine: &'a Engine) -> Result<Self> {
        Ok(Self::new(engine, engine.store.images()?, &engine.store.layers()?))
    }

    /// From what was read already.
    pub fn new(engine: &'a Engine, images: Vec<ImageRecord>, layers: &[LayerRecord]) -> Self {
        let parents = layers.iter().map(|l| (l.id.clone(), l.parent.clone())).collect();
        Self { engine, images, parents, configs: RefCell::default() }
    }

    /// All images.
    pub fn images(&self) -> &[ImageRecord] {
        &self.images
    }

    /// The configuration, `None` if it cannot be read: a broken image must not break the others' listing.
    pub fn config(&self, image: &ImageRecord) -> Option<Rc<ImageConfig>> {
        if let Some(known) = self.configs.borrow().get(&image.id) {
            return known.clone();
        }
        let read = config_of(self.engine, image).ok().map(Rc::new);
        self.configs.borrow_mut().insert(image.id.clone(), read.clone());
        read
    }

    /// The images built on this one.
    pub fn children(&self, parent: &ImageRecord) -> Vec<&ImageRecord> {
        self.images.iter().filter(|child| self.is_child(child, parent)).collect()
    }

    /// IDs of this image and of all that were built on it, and on those.
    pub fn with_descendants(&self, image: &ImageRecord) -> HashSet<String> {
        let mut found = HashSet::from([image.id.clone()]);
        let mut open = vec![image];
        while let Some(parent) = open.pop() {
            open.extend(self.children(parent).into_iter().filter(|child| found.insert(child.id.clone())));
        }
        found
    }

    /// Whether any image is built on this one.
    pub fn has_children(&self, parent: &ImageRecord) -> bool {
        self.images.iter().any(|child| self.is_child(child, parent))
    }

    /// The image this one was built on, if it is here.
    pub fn parent(&self, child: &ImageRecord) -> Option<&ImageRecord> {
        self.images.iter().find(|parent| self.is_child(child, parent))
    }

    fn is_child(&self, child: &ImageRecord, parent: &ImageRecord) -> bool {
        if child.id == parent.id {
            return false;
        }
        let below = child.top_layer.as_ref().and_then(|top| self.parents.get(top).cloned().flatten());
        if child.top_layer != parent.top_layer && (parent.top_layer.is_none() || below != parent.top_layer) {
            return false;
        }
        let (Some(child), Some(parent)) = (self.config(child), self.config(parent)) else { return false };
        child.history.len() == parent.history.len() + 1
            && !parent.history.is_empty()
            && child.history[..parent.history.len()] == parent.history[..]
    }

    /// Untagged, no image built on it, and no local index that lists it.
    pub fn is_dangling(&self, image: &ImageRecord) -> bool {
        image.names.is_empty() && !self.in_an_index(image) && !self.has_children(image)
    }

    /// Untagged, with images built on it.
    pub fn is_intermediate(&self, image: &ImageRecord) -> bool {
        image.names.is_empty() && self.has_children(image)
    }

    /// Whether a manifest list of this store lists it.
    fn in_an_index(&self, image: &ImageRecord) -> bool {
        #[derive(Deserialize)]
        struct List {
            #[serde(default)]
            manifests: Vec<Instance>,
        }
        #[derive(Deserialize)]
        struct Instance {
            digest: Digest,
        }
        let Some(digest) = &image.digest else { return false };
        // Only an image without layers can be a list.
        self.images.iter().filter(|i| i.top_layer.is_none()).any(|list| {
            let raw = super::raw_manifest(self.engine, list);
            let parsed = raw.ok().and_then(|raw| serde_json::from_slice::<List>(&raw).ok());
            parsed.is_some_and(|l| l.manifests.iter().any(|m| m.digest == *digest))
        })
    }

    /// IDs of the images that containers use or mount, with their containers' IDs.
    pub fn users(&self) -> Result<HashMap<String, Vec<String>>> {
        let mut users: HashMap<String, Vec<String>> = HashMap::new();
        for container in self.engine.store.containers()? {
            users.entry(container.image).or_default().push(container.id);
        }
        for (image, mounters) in Mounters::new(self.engine).all()? {
            let users = users.entry(image).or_default();
            for mounter in mounters.into_iter().filter(|m| !users.contains(&m.id)).collect::<Vec<_>>() {
                users.push(mounter.id);
            }
        }
        Ok(users)
    }

    /// IDs of the images that containers use.
    pub fn in_use(&self) -> Result<HashSet<String>> {
        Ok(self.users()?.into_keys().collect())
    }
}
