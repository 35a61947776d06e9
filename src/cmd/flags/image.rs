//! Where the image comes from: pull policy, platform, registry access. Shared by run, create and pull.

use super::values::boolean;
use crate::engine::config::auth::Credentials;
use crate::engine::image::request::{RegistryAccess, retry_delay};
use crate::engine::registry::PlatformRequest;
use crate::engine::transport::Location;
use crate::engine::{Error, Result};
use clap::Args;
use std::path::PathBuf;

/// Access to registries.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Image")]
pub struct RegistryArgs {
    /// File with credentials
    #[arg(long, value_name = "FILE")]
    pub authfile: Option<PathBuf>,
    /// Verify the registry's certificate [default: as registries.conf says, else true]
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    pub tls_verify: Option<bool>,
    /// Attempts after a failed one
    #[arg(long, value_name = "NUMBER")]
    pub retry: Option<u32>,
    /// Time before the next attempt
    #[arg(long, value_name = "DURATION")]
    pub retry_delay: Option<String>,
    /// Accepted and ignored: signatures are policy.json's affair
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    pub disable_content_trust: Option<bool>,
}

impl RegistryArgs {
    /// How registries are reached.
    ///
    /// # Errors
    /// A delay that is no duration.
    pub fn access(&self) -> Result<RegistryAccess> {
        Ok(RegistryAccess {
            authfile: self.authfile.clone(),
            tls_verify: self.tls_verify,
            retry: self.retry,
            retry_delay: self
                .retry_delay
                .as_deref()
                .map(|text| retry_delay("--retry-delay", text))
                .transpose()?,
            ..RegistryAccess::default()
        })
    }
}

/// Access to registries of commands about nothing else.
#[derive(Args, Clone, Debug, Default)]
pub struct AccessArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub registry: RegistryArgs,
    /// Directory with certificates (*.crt, *.cert, *.key) for the registry
    #[arg(long, value_name = "DIR")]
    pub cert_dir: Option<PathBuf>,
    /// Credentials for the registry
    #[arg(long, value_name = "USER[:PASSWORD]")]
    pub creds: Option<String>,
}

impl AccessArgs {
    /// How registries are reached.
    ///
    /// # Errors
    /// A delay that is no duration; credentials without a user.
    pub fn access(&self) -> Result<RegistryAccess> {
        Ok(RegistryAccess {
            cert_dir: self.cert_dir.clone(),
            credentials: self.creds.as_deref().map(Credentials::parse).transpose()?,
            ..self.registry.access()?
        })
    }
}

/// A place or a name as a command that mostly gets names reads it: `oci:1.0` is a name with a tag, unless there is a
/// directory of that name.
pub fn place(text: &str) -> Result<Location> {
    let name = Location::parse_name(text)?;
    if name.is_name()
        && let Ok(Location::Oci(path, _) | Location::Directory(path)) = &Location::parse(text)
        && path.is_dir()
    {
        return Location::parse(text);
    }
    Ok(name)
}

/// Keys for encrypted images, which are refused.
#[derive(Args, Clone, Debug, Default)]
pub struct DecryptionArgs {
    /// Key for an encrypted image (may be repeated; refused: encryption is not offered)
    #[arg(long, value_name = "KEY")]
    pub decryption_key: Vec<String>,
}

impl DecryptionArgs {
    /// # Errors
    /// `Unsupported` if there is a key.
    pub fn check(&self) -> Result<()> {
        if self.decryption_key.is_empty() {
            return Ok(());
        }
        Err(Error::unsupported("--decryption-key: encrypted images are not supported"))
    }
}

/// Which platform of a multi-platform image.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Image")]
pub struct PlatformArgs {
    /// Platform of the image, as linux/arm64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]", conflicts_with_all = ["arch", "os", "variant"])]
    pub platform: Option<String>,
    /// Architecture of the image
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<String>,
    /// Operating system of the image
    #[arg(long, value_name = "OS")]
    pub os: Option<String>,
    /// Variant of the architecture
    #[arg(long, value_name = "VARIANT")]
    pub variant: Option<String>,
}

impl PlatformArgs {
    /// What was asked for; `default` (docker's `DOCKER_DEFAULT_PLATFORM`) counts if nothing was.
    ///
    /// # Errors
    /// Not of the form `OS[/ARCH[/VARIANT]]`.
    pub fn request(&self, default: Option<&str>) -> Result<PlatformRequest> {
        let given = PlatformRequest {
            os: self.os.clone().filter(|s| !s.is_empty()),
            architecture: self.arch.clone().filter(|s| !s.is_empty()),
            variant: self.variant.clone().filter(|s| !s.is_empty()),
        };
        match (self.platform.as_deref().filter(|p| !p.is_empty()), given.is_custom(), default) {
            (Some(platform), _, _) => PlatformRequest::parse(platform),
            (None, false, Some(default)) => PlatformRequest::parse(default),
            _ => Ok(given),
        }
    }
}

/// The image of a new container.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Image")]
pub struct ImageArgs {
    /// When to pull: missing, always, newer or never
    #[arg(long, value_name = "POLICY", value_parser = ["always", "missing", "never", "newer", "ifmissing", "ifnewer"])]
    pub pull: Option<String>,
    /// Do not show the progress of a pull
    #[arg(short, long)]
    pub quiet: bool,
    #[command(flatten)]
    pub platform: PlatformArgs,
    #[command(flatten)]
    pub registry: RegistryArgs,
    #[command(flatten)]
    pub decryption: DecryptionArgs,
}

impl ImageArgs {
    /// `missing`, `always`, `newer` or `never`.
    pub fn policy(&self) -> &str {
        match self.pull.as_deref() {
            None | Some("ifmissing") => "missing",
            Some("ifnewer") => "newer",
            Some(policy) => policy,
        }
    }
}
