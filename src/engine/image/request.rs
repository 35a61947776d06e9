//! How registries are reached; what a pull is asked for, tells meanwhile, and gives.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::config::Config;
use crate::engine::config::auth::Credentials;
use crate::engine::config::registries::Registries;
use crate::engine::registry::host::Retry;
use crate::engine::registry::{Client, ClientOptions, PlatformRequest, Reference, Repository};
use crate::engine::store::ImageRecord;
use crate::engine::transport::registry::{RegistrySource, RegistryTarget};
use crate::engine::trust::RegistriesD;
use crate::engine::{Digest, Engine, Error, Result, moment};

/// When to ask a registry for an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PullPolicy {
    /// Every time.
    Always,
    /// If there is none here.
    #[default]
    Missing,
    /// If the registry has another one than is here; a registry that cannot be reached is no error then.
    Newer,
    /// Never.
    Never,
}

impl PullPolicy {
    /// Parses `always`, `missing` (`ifnotpresent`, `true`), `newer` (`ifnewer`) and `never` (`false`).
    pub fn parse(text: &str) -> Result<Self> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "always" => Self::Always,
            "missing" | "ifmissing" | "ifnotpresent" | "true" | "" => Self::Missing,
            "newer" | "ifnewer" => Self::Newer,
            "never" | "false" => Self::Never,
            _ => {
                return Err(Error::invalid(format!("unsupported pull policy {text:?}"))
                    .with_hint("use always, missing, newer or never"));
            }
        })
    }
}

/// How registries are reached, beyond the configuration files.
#[derive(Clone, Debug, Default)]
pub struct RegistryAccess {
    /// `--tls-verify`.
    pub tls_verify: Option<bool>,
    /// `--cert-dir`.
    pub cert_dir: Option<PathBuf>,
    /// `--authfile`.
    pub authfile: Option<PathBuf>,
    /// `--creds`.
    pub credentials: Option<Credentials>,
    /// `--retry`; `None`: as configured.
    pub retry: Option<u32>,
    /// `--retry-delay`; `None`: as configured.
    pub retry_delay: Option<Duration>,
}

/// What to pull, and how.
#[derive(Clone, Debug, Default)]
pub struct PullRequest {
    /// The name as typed.
    pub name: String,
    /// When to ask the registry.
    pub policy: PullPolicy,
    /// Which instance of a multi-platform image.
    pub platform: PlatformRequest,
    /// How the registry is reached.
    pub access: RegistryAccess,
    /// `--signature-policy`.
    pub signature_policy: Option<PathBuf>,
}

/// An image that is here now.
#[derive(Clone, Debug)]
pub struct PulledImage {
    /// The record.
    pub image: ImageRecord,
    /// The full name it was pulled or found by; `None` if by ID.
    pub name: Option<Reference>,
    /// Digest of what the name means at the registry (an index, if it is one); `None` if no registry was asked.
    pub digest: Option<Digest>,
    /// Whether the name means another image now than before.
    pub changed: bool,
}

/// A layer of an image that is being pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerInfo {
    /// Digest of its blob.
    pub digest: Digest,
    /// Bytes of its blob.
    pub size: u64,
    /// Whether it is here already.
    pub present: bool,
}

/// What a front end may show meanwhile. Called from several threads.
pub trait Progress: Send + Sync {
    /// A name is about to be asked for at its registry. `note` tells how a short name was resolved.
    fn started(&self, reference: &Reference, note: Option<&str>) {
        let _ = (reference, note);
    }
    /// The layers are known; they are named by their index from now on.
    fn layers(&self, layers: &[LayerInfo]) {
        let _ = layers;
    }
    /// So many bytes of a layer have come in all.
    fn received(&self, index: usize, bytes: u64) {
        let _ = (index, bytes);
    }
    /// A layer is complete, verified and unpacked.
    fn unpacked(&self, index: usize) {
        let _ = index;
    }
    /// The image is recorded, or was here already.
    fn finished(&self, pulled: &PulledImage) {
        let _ = pulled;
    }
}

/// Shows nothing.
#[derive(Debug)]
pub struct Silent;

impl Progress for Silent {}

/// The client for such an access, with the configuration's retries unless it has its own.
pub fn client(engine: &Engine, access: &RegistryAccess) -> Result<Client> {
    client_of(&engine.config, access)
}

/// [`client`], where no engine is needed.
pub fn client_of(config: &Config, access: &RegistryAccess) -> Result<Client> {
    let env = &config.env;
    let conf = &config.containers.engine;
    let default = Retry::default();
    let delay = match (access.retry_delay, &conf.retry_delay) {
        (Some(delay), _) => delay,
        (None, Some(text)) => retry_delay("retry_delay in containers.conf", text)?,
        (None, None) => default.delay,
    };
    let options = ClientOptions {
        tls_verify: access.tls_verify,
        cert_dir: access.cert_dir.clone(),
        authfile: access.authfile.clone(),
        credentials: access.credentials.clone(),
        retry: Retry {
            attempts: access.retry.or(conf.retry).unwrap_or(default.attempts),
            delay,
            unreachable: access.retry.or(conf.retry).is_some(),
            ..default
        },
    };
    Ok(Client::new(env, Registries::load(env)?, options))
}

/// Blobs that may be sent at a time: as many as were asked for, else what containers.conf says; 0: neither.
pub(super) fn parallel(engine: &Engine, asked: usize) -> usize {
    let configured = engine.config.containers.engine.image_parallel_copies;
    if asked == 0 { configured.map_or(0, |number| number.clamp(1, 32) as usize) } else { asked }
}

/// A repository to read an image from, with what registries.d says about its signatures.
pub fn registry_source(config: &Config, repository: Repository) -> Result<RegistrySource> {
    let signatures = RegistriesD::load(&config.env, None)?.of(repository.reference())?;
    Ok(RegistrySource { repository, signatures })
}

/// A name to write an image to, with what registries.d says about its signatures.
pub fn registry_target(engine: &Engine, client: &Client, name: &Reference) -> Result<RegistryTarget> {
    let signatures = RegistriesD::load(&engine.config.env, None)?.of(name)?;
    Ok(RegistryTarget { repository: client.target(name)?, signatures })
}

/// The pause before a further attempt, as `--retry-delay` and containers.conf give it: a duration, or seconds. `what` is
/// which of them, for the error.
pub fn retry_delay(what: &str, text: &str) -> Result<Duration> {
    let seconds = || text.parse::<u32>().ok().map(|seconds| Duration::from_secs(seconds.into()));
    moment::duration(text).or_else(seconds).ok_or_else(|| {
        Error::invalid(format!("invalid {what} {text:?}")).with_hint("a duration such as 500ms or 2s")
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_a_duration_or_seconds() {
        for (text, want) in [("1s", 1000), ("1.5s", 1500), ("1m30s", 90_000), ("250ms", 250), ("2", 2000)] {
            assert_eq!(retry_delay("--retry-delay", text).unwrap(), Duration::from_millis(want), "{text}");
        }
        for bad in ["", "s", "1x", "-1s", "1s2"] {
            assert!(retry_delay("--retry-delay", bad).is_err(), "{bad}");
        }
    }
}
