//! What a container may do.

use serde::{Deserialize, Serialize};

/// Capabilities, seccomp, labels, masked paths.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecuritySpec {
    /// `--privileged`.
    pub privileged: bool,
    /// `--cap-add`, upper case with `CAP_`, or `ALL`.
    pub cap_add: Vec<String>,
    /// `--cap-drop`, likewise.
    pub cap_drop: Vec<String>,
    /// The set `cap_add` and `cap_drop` start from: containers.conf's at creation; `None`: the built-in one.
    pub base_capabilities: Option<Vec<String>>,
    /// `--security-opt no-new-privileges`.
    pub no_new_privileges: bool,
    /// `--security-opt seccomp=`: a profile's path or `unconfined`; empty: the default profile.
    pub seccomp: String,
    /// `--seccomp-policy image`: the profile is the image's, if it has one and `seccomp` is empty.
    pub seccomp_from_image: bool,
    /// The image's profile, taken at creation; empty: it has none, or it was not asked for.
    pub image_seccomp: String,
    /// `--security-opt apparmor=`.
    pub apparmor: String,
    /// `--security-opt label=`: `disable`, `type:…`, `level:…` … as given.
    pub label: Vec<String>,
    /// `--security-opt mask=`: further paths to mask.
    pub mask: Vec<String>,
    /// `--security-opt unmask=`: paths (globs, or `ALL`) not to mask; `systempaths=unconfined` is `ALL`.
    pub unmask: Vec<String>,
    /// `--security-opt proc-opts=`: options of the /proc mount.
    pub proc_opts: Vec<String>,
}
