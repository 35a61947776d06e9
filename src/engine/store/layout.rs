//! Where everything lies (upstream's `store.load`, `getLayerStoreLocked`, `newContainerStore`).

use super::{Location, StoreOptions};
use crate::engine::{Error, Result};
use std::path::{Path, PathBuf};

/// The two kinds of store we work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Driver {
    /// Directories stacked by the kernel's overlay or by fuse-overlayfs.
    Overlay,
    /// Full copies.
    Vfs,
}

impl Driver {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Vfs => "vfs",
        }
    }

    pub(super) fn parse(name: &str) -> Result<Self> {
        match name {
            "overlay" | "overlay2" => Ok(Self::Overlay),
            "vfs" => Ok(Self::Vfs),
            other => Err(Error::unsupported(format!("storage driver {other:?} is not supported"))
                .with_hint("use overlay or vfs")),
        }
    }
}

/// Paths of one opened store.
#[derive(Debug)]
pub(super) struct Layout {
    /// `<graphroot>/overlay`: the layers' directories.
    pub(super) home: PathBuf,
    /// The same for images, elsewhere only with a separate image store.
    pub(super) image_home: PathBuf,
    /// `<runroot>/overlay`: what was found out about the driver, mounts of read-only layers.
    pub(super) run_home: PathBuf,
    /// `<graphroot>/overlay-layers`.
    pub(super) layers: PathBuf,
    /// The same for images, with a separate image store.
    pub(super) image_layers: Option<PathBuf>,
    /// `<graphroot>/overlay-images`.
    pub(super) images: PathBuf,
    /// `<graphroot>/overlay-containers`.
    pub(super) containers: PathBuf,
    /// `<runroot>/overlay-containers`.
    pub(super) run_containers: PathBuf,
    /// `<runroot>/overlay-layers`: the mount counts.
    pub(super) run_layers: PathBuf,
    /// `<runroot>/overlay-locks`: locks of blobs.
    pub(super) locks: PathBuf,
    /// `<graphroot>/storage.lock`.
    pub(super) graph_lock: PathBuf,
    /// `<graphroot>/userns.lock`.
    pub(super) userns_lock: PathBuf,
    /// `<graphroot>/coracle/staging`: layers being unpacked.
    pub(super) staging: PathBuf,
    /// `<graphroot>/coracle/pending`: what is being made or dropped.
    pub(super) pending: PathBuf,
    transient: bool,
}

impl Layout {
    pub(super) fn new(options: &StoreOptions, driver: Driver) -> Self {
        let (graph, run) = (&options.graph_root, &options.run_root);
        let image_root = options.image_store.as_ref().unwrap_or(graph);
        let sub = |root: &Path, what: &str| root.join(format!("{}-{what}", driver.name()));
        Self {
            home: graph.join(driver.name()),
            image_home: image_root.join(driver.name()),
            run_home: run.join(driver.name()),
            layers: sub(graph, "layers"),
            image_layers: options.image_store.as_ref().map(|root| sub(root, "layers")),
            images: sub(image_root, "images"),
            containers: sub(graph, "containers"),
            run_containers: sub(run, "containers"),
            run_layers: sub(run, "layers"),
            locks: sub(run, "locks"),
            graph_lock: graph.join("storage.lock"),
            userns_lock: graph.join("userns.lock"),
            staging: graph.join("coracle/staging"),
            pending: graph.join("coracle/pending"),
            transient: options.transient,
        }
    }

    /// The lock files of the layer store, in the order to take them.
    pub(super) fn layer_locks(&self) -> Vec<PathBuf> {
        let mut locks = vec![self.layers.join("layers.lock")];
        locks.extend(self.image_layers.iter().map(|d| d.join("layers.lock")));
        locks
    }

    /// The file that holds layers of this kind.
    pub(super) fn layers_json(&self, location: Location) -> PathBuf {
        match location {
            Location::Volatile => {
                let directory = if self.transient { &self.run_layers } else { &self.layers };
                directory.join("volatile-layers.json")
            }
            Location::ImageStore => self.image_layers.as_ref().unwrap_or(&self.layers).join("layers.json"),
            Location::Stable | Location::ReadOnly => self.layers.join("layers.json"),
        }
    }

    /// Where image layers are recorded.
    pub(super) fn image_location(&self) -> Location {
        if self.image_layers.is_some() { Location::ImageStore } else { Location::Stable }
    }

    /// Every kind of layer this store writes.
    pub(super) fn layer_locations(&self) -> &'static [Location] {
        match self.image_layers {
            Some(_) => &[Location::Stable, Location::ImageStore, Location::Volatile],
            None => &[Location::Stable, Location::Volatile],
        }
    }

    pub(super) fn images_lock(&self) -> PathBuf {
        self.images.join("images.lock")
    }

    pub(super) fn images_json(&self) -> PathBuf {
        self.images.join("images.json")
    }

    pub(super) fn containers_lock(&self) -> PathBuf {
        let directory = if self.transient { &self.run_containers } else { &self.containers };
        directory.join("containers.lock")
    }

    pub(super) fn containers_json(&self, location: Location) -> PathBuf {
        match location {
            Location::Volatile if self.transient => self.run_containers.join("volatile-containers.json"),
            Location::Volatile => self.containers.join("volatile-containers.json"),
            _ => self.containers.join("containers.json"),
        }
    }

    pub(super) fn mounts_lock(&self) -> PathBuf {
        self.run_layers.join("mountpoints.lock")
    }

    pub(super) fn mounts_json(&self) -> PathBuf {
        self.run_layers.join("mountpoints.json")
    }

    /// A layer's tar-split file.
    pub(super) fn tar_split(&self, id: &str) -> PathBuf {
        self.layers.join(format!("{id}.tar-split.gz"))
    }
}

/// A big data item's file name: itself if it is plain, else `=` and its base64 (upstream's `makeBigDataBaseName`).
pub(super) fn big_data_name(key: &str) -> String {
    use base64::Engine as _;
    if key.bytes().all(|b| matches!(b, b'.' | b'0'..=b'9' | b'a'..=b'z')) {
        return key.to_owned();
    }
    format!("={}", base64::engine::general_purpose::STANDARD.encode(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn big_data_names_are_encoded_as_upstream_does() {
        assert_eq!(big_data_name("manifest"), "manifest");
        assert_eq!(big_data_name("sha256:ab"), "=c2hhMjU2OmFi");
        assert_eq!(big_data_name("manifest-sha256:0"), "=bWFuaWZlc3Qtc2hhMjU2OjA=");
    }

    #[test]
    fn transient_stores_keep_containers_in_the_run_root() {
        let options = StoreOptions {
            graph_root: "/g".into(),
            run_root: "/r".into(),
            transient: true,
            ..StoreOptions::default()
        };
        let layout = Layout::new(&options, Driver::Overlay);
        assert_eq!(layout.containers_lock(), Path::new("/r/overlay-containers/containers.lock"));
        assert_eq!(
            layout.layers_json(Location::Volatile),
            Path::new("/r/overlay-layers/volatile-layers.json")
        );
        assert_eq!(layout.layers_json(Location::Stable), Path::new("/g/overlay-layers/layers.json"));
        assert_eq!(layout.layer_locks(), [Path::new("/g/overlay-layers/layers.lock")]);
    }
}
