//! The configuration document of an image. Pure.
//!
//! Docker's (image specification 1.2, `moby/docker-image-spec`) and OCI's (image-spec `config.md`) are one format; ours
//! are own structs because Healthcheck, Shell and OnBuild, which OCI's crate drops, are wanted. Go writes `null` for
//! what is empty, so everything may be null.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::engine::{Digest, Error, Result};

/// The whole document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// When it was built, RFC 3339.
    #[serde(deserialize_with = "nullable")]
    pub created: String,
    /// Who built it.
    #[serde(deserialize_with = "nullable")]
    pub author: String,
    /// A commit message (Docker).
    #[serde(deserialize_with = "nullable")]
    pub comment: String,
    /// Version of the Docker that built it.
    #[serde(deserialize_with = "nullable")]
    pub docker_version: String,
    /// GOARCH.
    #[serde(deserialize_with = "nullable")]
    pub architecture: String,
    /// CPU variant.
    #[serde(deserialize_with = "nullable")]
    pub variant: String,
    /// GOOS.
    #[serde(deserialize_with = "nullable")]
    pub os: String,
    /// Windows' version.
    #[serde(rename = "os.version", deserialize_with = "nullable")]
    pub os_version: String,
    /// What containers get.
    #[serde(deserialize_with = "nullable")]
    pub config: RunConfig,
    /// The layers.
    #[serde(deserialize_with = "nullable")]
    pub rootfs: RootFs,
    /// How it was built, the oldest step first.
    #[serde(deserialize_with = "nullable")]
    pub history: Vec<History>,
}

/// What containers of an image get unless told otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct RunConfig {
    /// `user[:group]`, names or numbers.
    #[serde(deserialize_with = "nullable")]
    pub user: String,
    /// `80/tcp` and the like.
    #[serde(deserialize_with = "set")]
    pub exposed_ports: Vec<String>,
    /// `NAME=VALUE`.
    #[serde(deserialize_with = "nullable")]
    pub env: Vec<String>,
    /// Entry point; `None`: not set.
    #[serde(deserialize_with = "words")]
    pub entrypoint: Option<Vec<String>>,
    /// Arguments or command; `None`: not set.
    #[serde(deserialize_with = "words")]
    pub cmd: Option<Vec<String>>,
    /// Paths that become anonymous volumes.
    #[serde(deserialize_with = "set")]
    pub volumes: Vec<String>,
    /// Working directory.
    #[serde(deserialize_with = "nullable")]
    pub working_dir: String,
    /// Labels.
    #[serde(deserialize_with = "nullable")]
    pub labels: BTreeMap<String, String>,
    /// Name or number of the signal that stops it.
    #[serde(deserialize_with = "nullable")]
    pub stop_signal: String,
    /// Seconds until it is killed.
    pub stop_timeout: Option<i64>,
    /// Health check (Docker).
    pub healthcheck: Option<Healthcheck>,
    /// Shell of RUN, CMD and ENTRYPOINT in their shell form (Docker).
    #[serde(deserialize_with = "words")]
    pub shell: Option<Vec<String>>,
    /// Instructions for images built from it (Docker).
    #[serde(deserialize_with = "nullable")]
    pub on_build: Vec<String>,
}

/// How to tell whether a container is healthy. Times are in nanoseconds, 0: the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", command]`; empty: inherited.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Between two checks.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Longest duration of a check.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// After the start, in which failures do not count.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Between two checks in the start period.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures until unhealthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}

/// The layers of an image by the digests of their uncompressed archives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", deserialize_with = "nullable")]
    pub kind: String,
    /// DiffIDs, the lowest layer first.
    #[serde(deserialize_with = "nullable")]
    pub diff_ids: Vec<Digest>,
}

/// One step of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// When, RFC 3339.
    #[serde(deserialize_with = "nullable")]
    pub created: String,
    /// The instruction.
    #[serde(deserialize_with = "nullable")]
    pub created_by: String,
    /// Who.
    #[serde(deserialize_with = "nullable")]
    pub author: String,
    /// A comment.
    #[serde(deserialize_with = "nullable")]
    pub comment: String,
    /// Whether the step made no layer.
    pub empty_layer: bool,
}

impl ImageConfig {
    /// Parses a configuration document.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|e| Error::corrupt(format!("image configuration: {e}")))
    }

    /// When it was built, if it says so in RFC 3339.
    pub fn created(&self) -> Option<jiff::Timestamp> {
        self.created.parse().ok()
    }

    /// The platform it says it is for.
    pub fn platform(&self) -> crate::engine::registry::Platform {
        crate::engine::registry::Platform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            variant: self.variant.clone(),
        }
    }
}

fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A Go `map[string]struct{}`: its keys.
fn set<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let map = Option::<BTreeMap<String, serde::de::IgnoredAny>>::deserialize(deserializer)?;
    Ok(map.unwrap_or_default().into_keys().collect())
}

/// A list of words, or (Docker's `strslice`) a single string.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        One(String),
        Many(Vec<String>),
    }
    Ok(Option::<Words>::deserialize(deserializer)?.map(|w| match w {
        Words::One(word) => vec![word],
        Words::Many(words) => words,
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_docker_extensions_are_read() {
        let text = r#"{"created":"2026-01-02T03:04:05.123456789Z","architecture":"amd64","os":"linux",
          "config":{"User":"","ExposedPorts":{"80/tcp":{}},"Env":null,"Entrypoint":"/bin/x","Cmd":["a"],"Volumes":null,
          "Labels":{"a":"b"},"Healthcheck":{"Test":["CMD","x"],"Interval":30000000000},"OnBuild":["RUN y"],
          "Shell":["/bin/bash","-c"],"ArgsEscaped":true},"history":null,"rootfs":{"type":"layers","diff_ids":null}}"#;
        let config = ImageConfig::parse(text.as_bytes()).unwrap();
        assert_eq!(config.config.exposed_ports, ["80/tcp"]);
        assert_eq!(config.config.entrypoint.unwrap(), ["/bin/x"]);
        assert_eq!(config.config.cmd.unwrap(), ["a"]);
        assert_eq!(config.config.healthcheck.unwrap().interval, 30_000_000_000);
        assert_eq!(config.config.on_build, ["RUN y"]);
        assert!(config.rootfs.diff_ids.is_empty());
        assert_eq!(ImageConfig::parse(b"{\"config\":null}").unwrap(), ImageConfig::default());
    }

    #[test]
    fn a_bad_diff_id_is_refused() {
        let e = ImageConfig::parse(br#"{"rootfs":{"diff_ids":["sha256:../x"]}}"#).unwrap_err();
        assert!(e.to_string().contains("invalid digest"), "{e}");
    }
}
