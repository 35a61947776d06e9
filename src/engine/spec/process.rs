//! Who runs what, with which environment.

use serde::{Deserialize, Serialize};

/// The container's first process, or an exec session's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessSpec {
    /// `--entrypoint`; `None`: the image's. `Some(vec![])` clears the image's entrypoint and its Cmd.
    pub entrypoint: Option<Vec<String>>,
    /// The words after the image; empty: the image's Cmd (unless `entrypoint` is given).
    pub command: Vec<String>,
    /// `--env`, `--env-file`, `--env-host` as `NAME=VALUE`, later wins; merged over the image's at creation.
    pub env: Vec<String>,
    /// `--env-merge`: `NAME=VALUE` whose `${…}` are the values of the image's and the default environment.
    pub env_merge: Vec<String>,
    /// `--unsetenv`: names taken out of the image's and the default environment; `env` may set them again.
    pub unset_env: Vec<String>,
    /// `--unsetenv-all`: the image's and the default environment are dropped.
    pub unset_env_all: bool,
    /// `--http-proxy=false`: the caller's proxy variables are not passed on.
    pub no_proxy_env: bool,
    /// `--workdir`; empty: the image's, else `/`.
    pub workdir: String,
    /// `--user`, unresolved (`name`, `uid`, `user:group`); empty: the image's. Resolved against the container's
    /// own /etc/passwd at each start.
    pub user: String,
    /// `--group-add`, unresolved; `keep-groups` keeps the caller's.
    pub groups: Vec<String>,
    /// `--umask`, octal; empty: 0022.
    pub umask: String,
    /// `-t`.
    pub terminal: bool,
    /// `-i`: stdin stays open without a reader.
    pub open_stdin: bool,
    /// `--preserve-fds`: that many descriptors from 3 on are passed.
    pub preserve_fds: u32,
}

/// A resolved identity inside the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct User {
    /// User ID inside the container.
    pub uid: u32,
    /// Primary group ID inside the container.
    pub gid: u32,
    /// Supplementary group IDs inside the container.
    pub additional_gids: Vec<u32>,
    /// Home directory from /etc/passwd; empty: unknown.
    pub home: String,
    /// Name from /etc/passwd; empty: unknown.
    pub name: String,
}
