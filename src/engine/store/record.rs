//! The records of layers.json, images.json and containers.json, as their readers see them.
//!
//! Field names, order and what is left out when empty are containers/storage's (`layers.go`, `images.go`,
//! `containers.go`). Fields we do not know are skipped here and kept on disk: see [`super::file`].

use super::diff::Compression;
use super::table::Table;
use crate::engine::Digest;
use crate::engine::spec::{IdMapping, IdMappings};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// Flag of a layer that is being made or being deleted: whoever finds it under the write lock deletes the layer.
pub const INCOMPLETE_FLAG: &str = "incomplete";
/// Flag of a container whose layer is mounted with overlay's `volatile` option.
pub const VOLATILE_FLAG: &str = "Volatile";
/// Flag with a container's SELinux mount label.
pub const MOUNT_LABEL_FLAG: &str = "MountLabel";
/// Flag with a container's SELinux process label.
pub const PROCESS_LABEL_FLAG: &str = "ProcessLabel";
/// Flag with a container's own mount options.
pub const MOUNT_OPTS_FLAG: &str = "MountOpts";

/// How a layer's blob was compressed (`archive.Compression` of containers/storage, its number in layers.json).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LayerCompression {
    /// A plain tar stream.
    #[default]
    None,
    /// bzip2.
    Bzip2,
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// zstd.
    Zstd,
}

impl From<Compression> for LayerCompression {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::None,
            Compression::Bzip2 => Self::Bzip2,
            Compression::Gzip => Self::Gzip,
            Compression::Zstd => Self::Zstd,
            Compression::Xz => Self::Xz,
        }
    }
}

impl LayerCompression {
    fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Bzip2 => 1,
            Self::Gzip => 2,
            Self::Xz => 3,
            Self::Zstd => 4,
        }
    }

    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

impl Serialize for LayerCompression {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number())
    }
}

impl<'de> Deserialize<'de> for LayerCompression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match u8::deserialize(deserializer)? {
            1 => Self::Bzip2,
            2 => Self::Gzip,
            3 => Self::Xz,
            4 => Self::Zstd,
            _ => Self::None,
        })
    }
}

/// In which of upstream's files a record lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Location {
    /// `layers.json`, `containers.json`: written with fdatasync.
    #[default]
    Stable,
    /// `layers.json` of a separate image store (`imagestore` in storage.conf).
    ImageStore,
    /// `volatile-layers.json`, `volatile-containers.json`: never synced.
    Volatile,
    /// A read-only additional image store.
    ReadOnly,
}

/// A layer: a directory of files on top of its parent's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// 64 hex digits.
    pub id: String,
    /// Unique names; rarely used.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub names: Vec<String>,
    /// The layer below.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "non_empty")]
    pub parent: Option<String>,
    /// The owner's own text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub metadata: String,
    /// SELinux label to mount it with.
    #[serde(default, rename = "mountlabel", skip_serializing_if = "String::is_empty")]
    pub mount_label: String,
    /// When it was made.
    #[serde(default)]
    pub created: Timestamp,
    /// Digest of the blob it came from.
    #[serde(
        default,
        rename = "compressed-diff-digest",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient"
    )]
    pub compressed_digest: Option<Digest>,
    /// Size of that blob in bytes; meaningful with `compressed_digest`.
    #[serde(default, rename = "compressed-size", skip_serializing_if = "is_zero")]
    pub compressed_size: i64,
    /// Digest of the uncompressed tar stream, the "DiffID".
    #[serde(
        default,
        rename = "diff-digest",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient"
    )]
    pub diff_digest: Option<Digest>,
    /// Digest of a zstd:chunked table of contents, when that identifies the layer instead.
    #[serde(
        default,
        rename = "toc-digest",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient"
    )]
    pub toc_digest: Option<Digest>,
    /// Size of the uncompressed tar stream in bytes; -1 if unknown.
    #[serde(default, rename = "diff-size", skip_serializing_if = "is_zero")]
    pub diff_size: i64,
    /// How the blob was compressed.
    #[serde(default, skip_serializing_if = "LayerCompression::is_none")]
    pub compression: LayerCompression,
    /// User IDs that own files in it, ascending.
    #[serde(
        default,
        rename = "uidset",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    pub uids: Vec<u32>,
    /// Group IDs that own files in it, ascending.
    #[serde(
        default,
        rename = "gidset",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    pub gids: Vec<u32>,
    /// Arbitrary flags; see [`INCOMPLETE_FLAG`].
    #[serde(default, skip_serializing_if = "Map::is_empty", deserialize_with = "nullable")]
    pub flags: Map<String, Value>,
    /// The user map its files were chowned for.
    #[serde(
        default,
        rename = "uidmap",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    pub uid_map: Vec<IdMapping>,
    /// The group map its files were chowned for.
    #[serde(
        default,
        rename = "gidmap",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    pub gid_map: Vec<IdMapping>,
    /// Names of big data items kept beside it.
    #[serde(
        default,
        rename = "big-data-names",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    pub big_data_names: Vec<String>,
    /// Which file it was read from.
    #[serde(skip)]
    pub location: Location,
}

impl LayerRecord {
    /// Whether it is being made or deleted by somebody, or was when that somebody died.
    pub fn incomplete(&self) -> bool {
        self.flags.get(INCOMPLETE_FLAG) == Some(&Value::Bool(true))
    }

    /// The maps its files were chowned for.
    pub fn id_mappings(&self) -> IdMappings {
        IdMappings { uids: self.uid_map.clone(), gids: self.gid_map.clone() }
    }
}

/// An image: a top layer with big data (manifests, configuration) and names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// 64 hex digits: those of the configuration's digest.
    pub id: String,
    /// Digest of its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    pub digest: Option<Digest>,
    /// Full references, `docker.io/library/busybox:latest`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub names: Vec<String>,
    /// Every name it ever had, the newest first.
    #[serde(
        default,
        rename = "names-history",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    pub names_history: Vec<String>,
    /// The topmost layer; `None`: an image without content.
    #[serde(
        default,
        rename = "layer",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "non_empty"
    )]
    pub top_layer: Option<String>,
    /// Copies of the top layer with other ID mappings.
    #[serde(
        default,
        rename = "mapped-layers",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    pub mapped_layers: Vec<String>,
    /// The owner's own text; containers/image keeps signature sizes here.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub metadata: String,
    /// Names of its big data items.
    #[serde(
        default,
        rename = "big-data-names",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    pub big_data_names: Vec<String>,
    /// Their sizes in bytes.
    #[serde(default, rename = "big-data-sizes", skip_serializing_if = "Table::is_empty")]
    pub big_data_sizes: Table<i64>,
    /// Their digests.
    #[serde(default, rename = "big-data-digests", skip_serializing_if = "Table::is_empty")]
    pub big_data_digests: Table<String>,
    /// When the image was built, or this record made.
    #[serde(default)]
    pub created: Timestamp,
    /// Arbitrary flags.
    #[serde(default, skip_serializing_if = "Map::is_empty", deserialize_with = "nullable")]
    pub flags: Map<String, Value>,
    /// Whether it lies in an additional image store.
    #[serde(skip)]
    pub read_only: bool,
}

impl ImageRecord {
    /// Every digest it can be named by: its own and those of its manifests.
    pub fn digests(&self) -> Vec<Digest> {
        let mut digests: Vec<Digest> = self.digest.iter().cloned().collect();
        for (name, digest) in self.big_data_digests.entries() {
            if !is_manifest(&name) {
                continue;
            }
            if let Ok(digest) = Digest::parse(&digest)
                && !digests.contains(&digest)
            {
                digests.push(digest);
            }
        }
        digests
    }
}

/// Whether a big data item of this name is a manifest, whose digest then names the image.
pub fn is_manifest(big_data_name: &str) -> bool {
    big_data_name.starts_with("manifest")
}

/// A container: a read-write layer on top of an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// 64 hex digits.
    pub id: String,
    /// Unique names.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub names: Vec<String>,
    /// The image's ID; empty for a container without one.
    #[serde(default)]
    pub image: String,
    /// Its read-write layer's ID.
    #[serde(default)]
    pub layer: String,
    /// The owner's own text; podman writes JSON.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub metadata: String,
    /// Names of its big data items.
    #[serde(
        default,
        rename = "big-data-names",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    pub big_data_names: Vec<String>,
    /// Their sizes in bytes.
    #[serde(default, rename = "big-data-sizes", skip_serializing_if = "Table::is_empty")]
    pub big_data_sizes: Table<i64>,
    /// Their digests.
    #[serde(default, rename = "big-data-digests", skip_serializing_if = "Table::is_empty")]
    pub big_data_digests: Table<String>,
    /// When it was made.
    #[serde(default)]
    pub created: Timestamp,
    /// Its user namespace's user map.
    #[serde(
        default,
        rename = "uidmap",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    pub uid_map: Vec<IdMapping>,
    /// Its user namespace's group map.
    #[serde(
        default,
        rename = "gidmap",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "nullable"
    )]
    pub gid_map: Vec<IdMapping>,
    /// [`VOLATILE_FLAG`], [`MOUNT_LABEL_FLAG`], [`PROCESS_LABEL_FLAG`], [`MOUNT_OPTS_FLAG`] and others'.
    #[serde(default, skip_serializing_if = "Map::is_empty", deserialize_with = "nullable")]
    pub flags: Map<String, Value>,
    /// Which file it was read from.
    #[serde(skip)]
    pub location: Location,
}

impl ContainerRecord {
    /// Whether its layer is to be mounted with overlay's `volatile` option.
    pub fn volatile(&self) -> bool {
        self.flags.get(VOLATILE_FLAG) == Some(&Value::Bool(true))
    }

    /// SELinux label to mount its layer with; empty: none.
    pub fn mount_label(&self) -> &str {
        self.flags.get(MOUNT_LABEL_FLAG).and_then(Value::as_str).unwrap_or_default()
    }

    /// Its own mount options, which replace the configured ones.
    pub fn mount_options(&self) -> Vec<String> {
        let given = self.flags.get(MOUNT_OPTS_FLAG).and_then(Value::as_array);
        given.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// Its user namespace's maps.
    pub fn id_mappings(&self) -> IdMappings {
        IdMappings { uids: self.uid_map.clone(), gids: self.gid_map.clone() }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(n: &i64) -> bool {
    *n == 0
}

/// Go writes an empty list or map as `null` now and then.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

fn non_empty<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(d)?.filter(|s| !s.is_empty()))
}

/// One record with a strange digest must not make the whole store unreadable: it reads as none.
fn lenient<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Digest>, D::Error> {
    let text: Option<std::borrow::Cow<'de, str>> = Option::deserialize(d)?;
    Ok(text.and_then(|t| Digest::parse(&t).ok()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_reads_and_writes_as_go_does() {
        let id = "a".repeat(64);
        let digest = Digest::sha256(b"x");
        let text = format!(
            r#"{{"id":"{id}","parent":"p","created":"2026-11-23T01:02:03.000000004Z","compressed-diff-digest":"{digest}","compressed-size":7,"diff-digest":"{digest}","diff-size":9,"compression":2,"uidset":[0,5],"gidset":[0],"flags":{{"incomplete":true}}}}"#
        );
        let layer: LayerRecord = serde_json::from_str(&text).unwrap();
        assert!(layer.incomplete());
        assert_eq!(layer.compression, LayerCompression::Gzip);
        assert_eq!(serde_json::to_string(&layer).unwrap(), text);
    }

    #[test]
    fn odd_values_do_not_make_the_store_unreadable() {
        let text = r#"{"id":"x","names":null,"parent":"","diff-digest":"nonsense","new-field":{"a":[1]},
            "created":"0001-01-01T00:00:00Z","flags":null}"#;
        let layer: LayerRecord = serde_json::from_str(text).unwrap();
        assert_eq!((layer.parent, layer.diff_digest, layer.names.len()), (None, None, 0));
        let image: ImageRecord =
            serde_json::from_str(r#"{"id":"x","created":"2024-05-06T07:08:09.1+02:00"}"#).unwrap();
        assert_eq!(image.created.to_string(), "2024-05-06T05:08:09.1Z");
    }
}
