//! The containers/storage format: images, layers, containers, shared live with podman, buildah and skopeo.
//!
//! A [`Store`] is two directories. Below the graph root, for the driver `overlay`: `overlay/<layer>/{diff,link,lower,
//! work,merged}` and `overlay/l/`, `overlay-layers/`, `overlay-images/`, `overlay-containers/` with their JSON files,
//! big data and lock files; below the run root `overlay-layers/mountpoints.json`, `overlay-containers/<id>/userdata`
//! and driver findings. Every name, byte and lock is containers/storage's: podman and we work on it at the same time.
//!
//! Reading takes no lock: the JSON files are replaced by rename, so a reader sees one whole state, and `ps` never
//! waits for somebody's pull. Writing takes upstream's locks in upstream's order: `storage.lock` (mounts only),
//! `layers.lock`, `images.lock`, `containers.lock`, `mountpoints.lock`. Nothing read is kept beyond its lock.
//!
//! Used by `image`, `container`, and by nobody else.

pub mod diff;
pub mod record;

mod backend;
mod changes;
pub mod check;
mod containers;
mod content;
mod file;
mod images;
mod layers;
mod layout;
mod mapping;
mod mounting;
mod mounts;
mod options;
mod overlay;
mod pending;
mod signatures;
mod stack;
mod staging;
mod table;
mod vfs;
mod view;

pub use changes::LeaveOut;
pub use content::LayerPaths;
pub use record::{ContainerRecord, ImageRecord, LayerCompression, LayerRecord, Location};
pub use signatures::SignatureSizes;
pub use staging::{StagedLayer, Trash};
pub use table::Table;
pub use view::View;

use crate::engine::host::lock::FileLock;
use crate::engine::host::quota::Limits;
use crate::engine::host::random;
use crate::engine::spec::IdMappings;
use crate::engine::{Digest, Error, Result};
use backend::Backend;
use jiff::Timestamp;
use layout::{Driver, Layout};
use options::DriverOptions;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What a store is opened with; `config::StorageConf` has all of it.
#[derive(Clone, Debug, Default)]
pub struct StoreOptions {
    /// Graph root, absolute.
    pub graph_root: PathBuf,
    /// Run root, absolute, on a file system that a reboot empties.
    pub run_root: PathBuf,
    /// `overlay` or `vfs`; `None`: what the store was made with, else the first that works.
    pub driver: Option<String>,
    /// `overlay.mountopt=nodev` and the like.
    pub driver_opts: Vec<String>,
    /// Read-only additional image stores.
    pub image_stores: Vec<PathBuf>,
    /// Where images go if not below the graph root.
    pub image_store: Option<PathBuf>,
    /// Containers live in the run root only.
    pub transient: bool,
    /// We are root in a user namespace only.
    pub rootless: bool,
}

/// The big data item of a layer that is its table of contents, as JSON (containers/storage `pkg/chunked`: `bigDataKey`).
pub const LAYER_TOC: &str = "zstd-chunked-manifest";

/// An opened store. Cheap to open: nothing is read before it is asked for.
#[derive(Debug)]
pub struct Store {
    options: StoreOptions,
    driver: Driver,
    driver_options: DriverOptions,
    layout: Layout,
    backend: OnceLock<Backend>,
}

/// A big data item of an image or a container.
#[derive(Clone, Debug, Default)]
pub struct BigData {
    /// Its name; for an image `manifest`, `manifest-sha256:…`, `sha256:…` (configuration), `signatures`.
    pub key: String,
    /// Its content.
    pub data: Vec<u8>,
    /// Its digest; `None`: the SHA-256 of the content.
    pub digest: Option<Digest>,
}

/// An image to record.
#[derive(Clone, Debug, Default)]
pub struct NewImage {
    /// 64 hex digits.
    pub id: String,
    /// Full references; taken away from images that had them.
    pub names: Vec<String>,
    /// The topmost layer.
    pub top_layer: Option<String>,
    /// Digest of its manifest.
    pub digest: Option<Digest>,
    /// When it was built; `None`: now.
    pub created: Option<Timestamp>,
    /// The owner's own text.
    pub metadata: String,
    /// Manifests, configuration, signatures.
    pub big_data: Vec<BigData>,
    /// Arbitrary flags.
    pub flags: Map<String, Value>,
}

/// A layer to record for a [`StagedLayer`].
#[derive(Clone, Debug, Default)]
pub struct NewLayer {
    /// 64 hex digits: containers/image's chain ID, or a random one.
    pub id: String,
    /// The layer below.
    pub parent: Option<String>,
    /// Digest of the blob as it came.
    pub compressed_digest: Option<Digest>,
    /// Size of that blob in bytes.
    pub compressed_size: u64,
    /// Digest of the uncompressed stream.
    pub diff_digest: Option<Digest>,
    /// Size of the uncompressed stream in bytes.
    pub diff_size: u64,
    /// How the blob was compressed.
    pub compression: LayerCompression,
    /// User IDs that own files in it.
    pub uids: Vec<u32>,
    /// Group IDs that own files in it.
    pub gids: Vec<u32>,
    /// Its table of contents is staged with it.
    pub toc: bool,
    /// Arbitrary flags.
    pub flags: Map<String, Value>,
}

/// A container to record, with its read-write layer to make.
#[derive(Clone, Debug, Default)]
pub struct NewContainer {
    /// 64 hex digits.
    pub id: String,
    /// Unique names.
    pub names: Vec<String>,
    /// The image's ID; `None`: an empty root.
    pub image: Option<String>,
    /// The owner's own text; podman's is `{"image-name":…,"image-id":…,"name":…,"created-at":…}`.
    pub metadata: String,
    /// A `--rm` container: recorded without fsync and mounted with overlay's `volatile`.
    pub volatile: bool,
    /// Its user namespace's maps, if it has one of its own.
    pub id_maps: IdMappings,
    /// SELinux label of the mount.
    pub mount_label: String,
    /// SELinux label of its processes.
    pub process_label: String,
    /// Its own mount options, which replace the configured ones.
    pub mount_options: Vec<String>,
    /// Arbitrary flags.
    pub flags: Map<String, Value>,
    /// How much may be written into its layer; none: as configured.
    pub limits: Limits,
}

/// How to mount a layer.
#[derive(Clone, Debug, Default)]
pub struct MountOptions {
    /// Without an upper directory.
    pub read_only: bool,
    /// Overlay's `volatile`: no syncing. Containers recorded as volatile have it anyway.
    pub volatile: bool,
    /// SELinux label; `None`: the one recorded.
    pub label: Option<String>,
    /// Options instead of the configured ones.
    pub options: Vec<String>,
    /// Shift the owners of files by these maps; `None`: the container's.
    pub id_maps: Option<IdMappings>,
}

impl NewLayer {
    /// A layer as [`diff::apply`] has unpacked it.
    pub fn from_applied(id: impl Into<String>, parent: Option<String>, applied: &diff::Applied) -> Self {
        Self {
            id: id.into(),
            parent,
            compressed_digest: Some(applied.blob_digest.clone()),
            compressed_size: applied.blob_size,
            diff_digest: Some(applied.diff_id.clone()),
            diff_size: applied.diff_size,
            compression: applied.compression.into(),
            uids: applied.uids.clone(),
            gids: applied.gids.clone(),
            toc: false,
            flags: Map::new(),
        }
    }
}

/// Held while blobs are fetched, so that another process waits and then finds them done.
#[derive(Debug)]
pub struct BlobLocks {
    _locks: Vec<FileLock>,
}

impl Store {
    /// Opens the store. Reads nothing but, when no driver is named, which one the store was made with; a fresh store
    /// then gets overlay if it works here, else vfs.
    pub fn open(options: StoreOptions) -> Result<Self> {
        if !options.graph_root.is_absolute() || !options.run_root.is_absolute() {
            return Err(Error::invalid("the graph root and the run root must be absolute paths"));
        }
        match options.driver.as_deref().filter(|d| !d.is_empty()) {
            Some(name) => {
                let driver = Driver::parse(name)?;
                Self::with_driver(options, driver)
            }
            None => Self::with_any_driver(options),
        }
    }

    fn with_driver(options: StoreOptions, driver: Driver) -> Result<Self> {
        let driver_options = DriverOptions::parse(driver.name(), &options.driver_opts)?;
        let layout = Layout::new(&options, driver);
        Ok(Self { options, driver, driver_options, layout, backend: OnceLock::new() })
    }

    fn with_any_driver(options: StoreOptions) -> Result<Self> {
        for driver in [Driver::Overlay, Driver::Vfs] {
            let layers = options.graph_root.join(format!("{}-layers", driver.name()));
            if layers.exists() {
                return Self::with_driver(options, driver);
            }
        }
        let overlay = Self::with_driver(options.clone(), Driver::Overlay)?;
        match overlay.backend() {
            Ok(_) => Ok(overlay),
            Err(e) => {
                tracing::debug!("{e}; using vfs");
                Self::with_driver(options, Driver::Vfs)
            }
        }
    }

    /// `overlay` or `vfs`.
    pub fn driver_name(&self) -> &'static str {
        self.driver.name()
    }

    /// Whether the kernel itself stacks the layers, not a mount program or copies.
    pub fn native_overlay(&self) -> Result<bool> {
        Ok(self.driver == Driver::Overlay && *self.backend()? == Backend::Native)
    }

    /// `<graphroot>`.
    pub fn graph_root(&self) -> &Path {
        &self.options.graph_root
    }

    /// `<runroot>`.
    pub fn run_root(&self) -> &Path {
        &self.options.run_root
    }

    /// Locks blobs, sorted so that two callers cannot wait for each other: take all that one pull needs at once, and
    /// look again whether the layers exist afterwards.
    pub fn lock_blobs(&self, digests: &[Digest]) -> Result<BlobLocks> {
        let mut sorted: Vec<&Digest> = digests.iter().collect();
        sorted.sort();
        sorted.dedup();
        let lock = |digest: &&Digest| FileLock::exclusive(&self.layout.locks.join(digest.as_str()));
        Ok(BlobLocks { _locks: sorted.iter().map(lock).collect::<Result<_>>()? })
    }

    /// Writes everything of the store's file system to disk (syncfs(2)).
    pub fn sync_image(&self) -> Result<()> {
        let home = &self.layout.image_home;
        let path = if home.exists() { home } else { &self.options.graph_root };
        let directory = std::fs::File::open(path).map_err(|e| Error::io("open", path, e))?;
        rustix::fs::syncfs(&directory).map_err(|e| Error::io("syncfs", path, e))
    }

    /// Whether another tool's lock order matters here: held while automatic user namespaces are chosen.
    pub fn lock_user_namespaces(&self) -> Result<FileLock> {
        FileLock::exclusive(&self.layout.userns_lock)
    }

    /// Read-only stores: those of storage.conf and those of the driver's own option.
    fn additional_stores(&self) -> impl Iterator<Item = &PathBuf> {
        self.options.image_stores.iter().chain(&self.driver_options.image_stores)
    }

    fn additional_homes(&self) -> impl Iterator<Item = PathBuf> {
        self.additional_stores().map(|store| store.join(self.driver.name()))
    }

    /// `<store>/overlay-WHAT` for each read-only store.
    fn additional(&self, what: &str) -> Vec<PathBuf> {
        self.additional_stores().map(|store| store.join(format!("{}-{what}", self.driver.name()))).collect()
    }

    /// A layer's directory below a driver's home directory.
    fn home_of(&self, home: &Path, id: &str) -> PathBuf {
        match self.driver {
            Driver::Overlay => home.join(id),
            Driver::Vfs => home.join("dir").join(id),
        }
    }
}

/// A name for something temporary.
fn random_name() -> Result<String> {
    Ok(hex::encode(random::bytes::<8>()?))
}

/// 26 characters for `l/` (upstream's `generateID`: base 32).
fn random_link() -> Result<String> {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bytes = random::bytes::<26>()?;
    Ok(bytes.iter().map(|b| char::from(LETTERS[usize::from(b & 31)])).collect())
}
