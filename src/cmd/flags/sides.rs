//! Both sides of a copy, as skopeo's `--src-…` and `--dest-…`. Shared by copy and sync.

use clap::Args;
use std::path::PathBuf;

use super::values::boolean;
use crate::engine::config::auth::Credentials;
use crate::engine::image::request::{RegistryAccess, retry_delay};
use crate::engine::transport::LayerForm;
use crate::engine::transport::compress::{Algorithm, Method};
use crate::engine::{Error, Result};

/// Access to two registries, and the layers' form at the second.
#[derive(Args, Clone, Debug, Default)]
pub struct SidesArgs {
    /// File with credentials, for both sides
    #[arg(long, value_name = "FILE", help_heading = "Registries")]
    pub authfile: Option<PathBuf>,
    /// File with credentials for the source
    #[arg(long, value_name = "FILE", help_heading = "Registries")]
    pub src_authfile: Option<PathBuf>,
    /// File with credentials for the destination
    #[arg(long, value_name = "FILE", help_heading = "Registries")]
    pub dest_authfile: Option<PathBuf>,
    /// Credentials for the source
    #[arg(long, value_name = "USER[:PASSWORD]", help_heading = "Registries")]
    pub src_creds: Option<String>,
    /// Credentials for the destination
    #[arg(long, value_name = "USER[:PASSWORD]", help_heading = "Registries")]
    pub dest_creds: Option<String>,
    /// Directory with certificates for the source
    #[arg(long, value_name = "DIR", help_heading = "Registries")]
    pub src_cert_dir: Option<PathBuf>,
    /// Directory with certificates for the destination
    #[arg(long, value_name = "DIR", help_heading = "Registries")]
    pub dest_cert_dir: Option<PathBuf>,
    /// Verify the source's certificate
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean, help_heading = "Registries")]
    pub src_tls_verify: Option<bool>,
    /// Verify the destination's certificate
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean, help_heading = "Registries")]
    pub dest_tls_verify: Option<bool>,
    /// Do not use credentials for the source
    #[arg(long, conflicts_with = "src_creds", help_heading = "Registries")]
    pub src_no_creds: bool,
    /// Do not use credentials for the destination
    #[arg(long, conflicts_with = "dest_creds", help_heading = "Registries")]
    pub dest_no_creds: bool,
    /// Attempts after a failed one
    #[arg(long, visible_alias = "retry-times", value_name = "NUMBER", help_heading = "Registries")]
    pub retry: Option<u32>,
    /// Time before the next attempt
    #[arg(long, value_name = "DURATION", help_heading = "Registries")]
    pub retry_delay: Option<String>,
    /// Compress layers in a dir: directory
    #[arg(long, conflicts_with = "dest_decompress", help_heading = "Layers")]
    pub dest_compress: bool,
    /// Do not compress layers
    #[arg(long, help_heading = "Layers")]
    pub dest_decompress: bool,
    /// Compress layers: gzip, zstd or zstd:chunked
    #[arg(long, value_name = "FORMAT", help_heading = "Layers")]
    pub dest_compress_format: Option<String>,
    /// How hard to compress
    #[arg(long, value_name = "LEVEL", allow_negative_numbers = true, help_heading = "Layers")]
    pub dest_compress_level: Option<i32>,
    /// Compress again what is compressed in another way; implied by --dest-compress-format
    #[arg(long, help_heading = "Layers")]
    pub dest_force_compress_format: bool,
    /// Accepted: OCI layouts take uncompressed layers as they are with --dest-decompress
    #[arg(long, hide = true)]
    pub dest_oci_accept_uncompressed_layers: bool,
    /// Copy what is about the image, too, as bills of materials and signatures that name it as their subject, between
    /// registries and OCI layouts
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    pub referrers: bool,
    /// Layers copied at a time
    #[arg(long, value_name = "NUMBER", help_heading = "Layers")]
    pub image_parallel_copies: Option<usize>,
}

impl SidesArgs {
    /// How the source's registry is reached.
    pub fn source(&self) -> Result<RegistryAccess> {
        self.access(
            &self.src_authfile,
            &self.src_creds,
            &self.src_cert_dir,
            self.src_tls_verify,
            self.src_no_creds,
        )
    }

    /// How the destination's registry is reached.
    pub fn destination(&self) -> Result<RegistryAccess> {
        self.access(
            &self.dest_authfile,
            &self.dest_creds,
            &self.dest_cert_dir,
            self.dest_tls_verify,
            self.dest_no_creds,
        )
    }

    fn access(
        &self,
        authfile: &Option<PathBuf>,
        credentials: &Option<String>,
        cert_dir: &Option<PathBuf>,
        tls_verify: Option<bool>,
        anonymous: bool,
    ) -> Result<RegistryAccess> {
        let authfile = authfile.clone().or_else(|| self.authfile.clone());
        Ok(RegistryAccess {
            // A file that has none for anybody.
            authfile: if anonymous { Some("/dev/null".into()) } else { authfile },
            credentials: credentials.as_deref().map(Credentials::parse).transpose()?,
            cert_dir: cert_dir.clone(),
            tls_verify,
            retry: self.retry,
            retry_delay: self.retry_delay.as_deref().map(|t| retry_delay("--retry-delay", t)).transpose()?,
        })
    }

    /// The layers' form; `None`: the destination's own. `directory`: it is a `dir:`.
    ///
    /// # Errors
    /// An unknown algorithm, a level it does not have, `--dest-compress` where it means nothing.
    pub fn layers(&self, directory: bool) -> Result<Option<LayerForm>> {
        if self.dest_compress && !directory {
            return Err(Error::invalid("--dest-compress is for dir: destinations")
                .with_hint("use --dest-compress-format to choose how layers are compressed elsewhere"));
        }
        if self.dest_decompress {
            return Ok(Some(LayerForm::Plain));
        }
        if self.dest_compress_format.is_none() && self.dest_compress_level.is_none() && !self.dest_compress {
            return Ok(None);
        }
        let algorithm = Algorithm::parse(self.dest_compress_format.as_deref().unwrap_or("gzip"))?;
        if let Some(level) = self.dest_compress_level {
            algorithm.check_level(level)?;
        }
        Ok(Some(LayerForm::Compressed(Method { algorithm, level: self.dest_compress_level })))
    }

    /// Whether layers in another compression are compressed anew.
    pub fn force(&self) -> bool {
        self.dest_force_compress_format || self.dest_compress_format.is_some()
    }
}
