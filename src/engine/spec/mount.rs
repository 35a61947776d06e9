//! Mounts asked for by `-v`, `--mount` and `--tmpfs`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountSpec {
    /// What is mounted.
    pub kind: MountKind,
    /// Host path (bind), volume or image name; empty for tmpfs, and for a volume that is to be named.
    pub source: String,
    /// Absolute path inside the container.
    pub target: String,
    /// `ro`.
    pub read_only: bool,
    /// Further mount flags as words: `noexec`, `exec`, `dev`, `nodev`, `suid`, `nosuid`, `noatime`, `size=…`, `mode=…` …
    pub options: Vec<String>,
    /// What only bind mounts have.
    pub bind: BindOptions,
    /// What only volumes have.
    #[serde(skip_serializing_if = "VolumeOptions::is_default")]
    pub volume: VolumeOptions,
    /// What only images have.
    #[serde(skip_serializing_if = "ImageOptions::is_default")]
    pub image: ImageOptions,
    /// What only artifacts have.
    #[serde(skip_serializing_if = "ArtifactOptions::is_default")]
    pub artifact: ArtifactOptions,
}

/// What is mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A host path.
    #[default]
    Bind,
    /// A named or anonymous volume.
    Volume,
    /// Memory.
    Tmpfs,
    /// Memory, unbounded.
    Ramfs,
    /// Pseudo terminals.
    Devpts,
    /// An image's root, or a part of it.
    Image,
    /// Host paths by a shell pattern: becomes a [`Self::Bind`] each when the container is created.
    Glob,
    /// Files of an artifact.
    Artifact,
}

impl MountKind {
    /// It begins empty and ends with the container: nobody else has what is put there.
    pub fn is_of_its_own(self) -> bool {
        matches!(self, Self::Tmpfs | Self::Ramfs | Self::Devpts)
    }
}

/// What only volumes have: how a missing one is made, and which part of it is mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeOptions {
    /// Driver; empty: the default.
    pub driver: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
    /// A directory in the volume that is mounted instead of all of it; empty: all.
    pub subpath: String,
    /// A missing volume is an error.
    pub no_create: bool,
}

impl VolumeOptions {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What only mounts of images have. They are read-only unless `rw` is asked for; what is written is gone with the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageOptions {
    /// The image's ID, 64 hex digits; filled in when the container is created.
    pub id: String,
    /// A file or directory of the image that is mounted instead of its root; empty: the root.
    pub subpath: String,
}

impl ImageOptions {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What only mounts of artifacts have (podman-run(1), "type=artifact").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ArtifactOptions {
    /// Only the file with this digest; empty: all.
    pub digest: String,
    /// Only the file with this title; empty: all.
    pub title: String,
    /// The files' name inside; empty: their titles.
    pub name: String,
}

impl ArtifactOptions {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What only bind mounts have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BindOptions {
    /// Not recursive (`bind-nonrecursive`, `bind`); by default binds are recursive.
    pub non_recursive: bool,
    /// `shared`, `rslave` …; `None`: `rprivate`.
    pub propagation: Option<Propagation>,
    /// `z` or `Z`.
    pub relabel: Option<SelinuxRelabel>,
    /// `U`: the source is given to the container's user.
    pub chown: bool,
    /// `O`: an overlay over the source, thrown away with the container; with upperdir/workdir in `options` it stays.
    pub overlay: bool,
    /// `idmap[=…]`: an ID-mapped mount; the value is the mapping's text, empty for the container's own.
    pub idmap: Option<String>,
    /// Missing sources are made (docker's `-v`); `--mount` refuses instead.
    pub create_source: bool,
}

/// Mount propagation (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Propagation {
    Private,
    RPrivate,
    Shared,
    RShared,
    Slave,
    RSlave,
    Unbindable,
    RUnbindable,
}

impl Propagation {
    const ALL: [Self; 8] = [
        Self::Private,
        Self::RPrivate,
        Self::Shared,
        Self::RShared,
        Self::Slave,
        Self::RSlave,
        Self::Unbindable,
        Self::RUnbindable,
    ];

    /// The word, as mount options have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::RPrivate => "rprivate",
            Self::Shared => "shared",
            Self::RShared => "rshared",
            Self::Slave => "slave",
            Self::RSlave => "rslave",
            Self::Unbindable => "unbindable",
            Self::RUnbindable => "runbindable",
        }
    }

    /// The mode of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == word)
    }
}

/// SELinux relabelling of a bind source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SelinuxRelabel {
    /// `z`: shared between containers.
    Shared,
    /// `Z`: this container's alone.
    Private,
}
