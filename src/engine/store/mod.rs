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

pub use record::{ContainerRecord, ImageRecord, LayerCompression, LayerRecord, Location};

use crate::engine::spec::IdMappings;
use crate::engine::{Digest, Error, Result};
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

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

/// An opened store. Cheap to open: nothing is read before it is asked for.
#[derive(Debug)]
pub struct Store {
    options: StoreOptions,
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

/// A private directory in which a layer is unpacked. Dropping it removes it; after a crash the next command does.
#[derive(Debug)]
pub struct StagedLayer {
    directory: File,
    path: PathBuf,
}

impl StagedLayer {
    /// The directory that becomes the layer's `diff`.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Where the gzip-compressed tar-split goes.
    pub fn tar_split_path(&self) -> PathBuf {
        self.path.join("tar-split.gz")
    }
}

/// Held while a blob is fetched, so that another process waits and then finds it done.
#[derive(Debug)]
pub struct BlobLocks {}

fn pending<T>() -> Result<T> {
    Err(Error::unsupported("the store is not built yet"))
}

#[allow(unused_variables, clippy::unused_self, clippy::needless_pass_by_value)]
impl Store {
    /// Opens the store. Creates nothing; reads at most a directory to learn the driver.
    pub fn open(options: StoreOptions) -> Result<Self> {
        Ok(Self { options })
    }

    /// `overlay` or `vfs`.
    pub fn driver_name(&self) -> &str {
        self.options.driver.as_deref().unwrap_or("overlay")
    }

    /// Every image, those of additional stores included.
    pub fn images(&self) -> Result<Vec<ImageRecord>> {
        pending()
    }

    /// The image with this full ID. [`crate::engine::ErrorKind::NotFound`] if there is none.
    pub fn image(&self, id: &str) -> Result<ImageRecord> {
        pending()
    }

    /// The image by full name, ID, unambiguous ID prefix or digest; no short-name resolution.
    pub fn lookup_image(&self, name: &str) -> Result<ImageRecord> {
        pending()
    }

    /// A big data item of an image.
    pub fn image_big_data(&self, id: &str, key: &str) -> Result<Vec<u8>> {
        pending()
    }

    /// Commits a whole pull: one syncfs, then the layers in order (parents first), then the image. A layer that exists
    /// meanwhile is kept and the staged one dropped; an image that exists gets the names.
    pub fn commit_image(&self, layers: Vec<(StagedLayer, NewLayer)>, image: NewImage) -> Result<ImageRecord> {
        pending()
    }

    /// Records an image whose layers are committed. An existing image of that ID gets the names and new big data.
    pub fn create_image(&self, image: NewImage) -> Result<ImageRecord> {
        pending()
    }

    /// Makes `names` the image's only names.
    pub fn set_image_names(&self, id: &str, names: &[String]) -> Result<()> {
        pending()
    }

    /// Adds names, taking them away from images that had them.
    pub fn add_image_names(&self, id: &str, names: &[String]) -> Result<()> {
        pending()
    }

    /// Removes names.
    pub fn remove_image_names(&self, id: &str, names: &[String]) -> Result<()> {
        pending()
    }

    /// Deletes an image and the layers only it used; returns the IDs of those.
    /// [`crate::engine::ErrorKind::InUse`] if a container uses it.
    pub fn delete_image(&self, id: &str) -> Result<Vec<String>> {
        pending()
    }

    /// Every layer, those of additional stores included, without incomplete ones.
    pub fn layers(&self) -> Result<Vec<LayerRecord>> {
        pending()
    }

    /// The layer with this full ID.
    pub fn layer(&self, id: &str) -> Result<LayerRecord> {
        pending()
    }

    /// Layers with this DiffID.
    pub fn layers_by_diff_id(&self, digest: &Digest) -> Result<Vec<LayerRecord>> {
        pending()
    }

    /// A fresh private directory for a layer.
    pub fn stage_layer(&self) -> Result<StagedLayer> {
        pending()
    }

    /// Commits one layer: syncfs, rename into place, record. An existing layer of that ID is kept and returned.
    pub fn commit_layer(&self, staged: StagedLayer, layer: NewLayer) -> Result<LayerRecord> {
        pending()
    }

    /// Locks blobs, in an order that cannot deadlock with another caller: take all that one pull needs at once.
    /// Look again whether the layers exist afterwards.
    pub fn lock_blobs(&self, digests: &[Digest]) -> Result<BlobLocks> {
        pending()
    }

    /// Writes everything of the store's file system to disk (syncfs(2)).
    pub fn sync_image(&self) -> Result<()> {
        pending()
    }

    /// Every container.
    pub fn containers(&self) -> Result<Vec<ContainerRecord>> {
        pending()
    }

    /// The container with this full ID.
    pub fn container(&self, id: &str) -> Result<ContainerRecord> {
        pending()
    }

    /// Records a container and makes its read-write layer.
    pub fn create_container(&self, container: NewContainer) -> Result<ContainerRecord> {
        pending()
    }

    /// Deletes a container with its layer (unmounted by force) and directories. No error if it is gone already.
    pub fn delete_container(&self, id: &str) -> Result<()> {
        pending()
    }

    /// Mounts a container's or a layer's file system and counts the mount. Returns where.
    pub fn mount(&self, id: &str, options: &MountOptions) -> Result<PathBuf> {
        pending()
    }

    /// Undoes one [`Store::mount`], or all with `force`; unmounts at the last. `true`: still mounted.
    pub fn unmount(&self, id: &str, force: bool) -> Result<bool> {
        pending()
    }

    /// `<graphroot>/overlay-containers/<id>/userdata`, created if missing.
    pub fn container_dir(&self, id: &str) -> Result<PathBuf> {
        pending()
    }

    /// `<runroot>/overlay-containers/<id>/userdata`, created if missing.
    pub fn container_run_dir(&self, id: &str) -> Result<PathBuf> {
        pending()
    }

    /// Writes the layer's tar stream, byte for byte what was applied.
    pub fn layer_diff_tar(&self, id: &str, out: &mut dyn Write) -> Result<()> {
        pending()
    }

    /// Bytes in a layer's own files.
    pub fn layer_size(&self, id: &str) -> Result<u64> {
        pending()
    }

    /// Bytes of an image: all its layers and big data.
    pub fn image_size(&self, id: &str) -> Result<u64> {
        pending()
    }

    /// Bytes a container wrote.
    pub fn container_rw_size(&self, id: &str) -> Result<u64> {
        pending()
    }

    /// `<graphroot>`.
    pub fn graph_root(&self) -> &Path {
        &self.options.graph_root
    }

    /// `<runroot>`.
    pub fn run_root(&self) -> &Path {
        &self.options.run_root
    }
}
