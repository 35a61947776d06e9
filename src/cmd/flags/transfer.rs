//! How an image is written somewhere else: compression, signatures, encryption. Shared by push, save, copy and the
//! manifest commands.

use clap::Args;
use std::path::PathBuf;
use std::sync::Arc;

use crate::engine::config::{Environment, containers};
use crate::engine::transport::compress::{Algorithm, Method};
use crate::engine::transport::{LayerForm, Signing};
use crate::engine::trust::SignRequest;
use crate::engine::{Error, Result};

/// Compression of layers.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Layers")]
pub struct CompressionArgs {
    /// Compress layers: gzip, zstd or zstd:chunked
    #[arg(long, value_name = "FORMAT")]
    pub compression_format: Option<String>,
    /// How hard to compress: 1 to 9 for gzip, 1 to 20 for zstd
    #[arg(long, value_name = "LEVEL", allow_negative_numbers = true)]
    pub compression_level: Option<i32>,
    /// Compress again what is compressed in another way; implied by --compression-format
    #[arg(long)]
    pub force_compression: bool,
    /// Compress layers in a dir: directory; a registry gets them compressed anyway
    #[arg(long)]
    pub compress: bool,
}

impl CompressionArgs {
    /// The form of layers, by these flags or by containers.conf; `None`: the target's own.
    ///
    /// # Errors
    /// An unknown algorithm, a level it does not have.
    pub fn form(&self, conf: &containers::Engine) -> Result<Option<LayerForm>> {
        let name = self.compression_format.as_deref().or(conf.compression_format.as_deref());
        let level = self.compression_level.or(conf.compression_level);
        if name.is_none() && level.is_none() {
            return Ok(None);
        }
        let algorithm = Algorithm::parse(name.unwrap_or("gzip"))?;
        if let Some(level) = level {
            algorithm.check_level(level)?;
        }
        Ok(Some(LayerForm::Compressed(Method { algorithm, level })))
    }

    /// Whether layers in another compression are compressed anew.
    pub fn force(&self) -> bool {
        self.force_compression || self.compression_format.is_some()
    }
}

/// Signatures of what is written.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Signatures")]
pub struct SigningArgs {
    /// Do not write signatures that the image has
    #[arg(long)]
    pub remove_signatures: bool,
    /// Sign with this GPG key of yours; the signature goes to the registry's lookaside (registries.d)
    #[arg(long, value_name = "FINGERPRINT")]
    pub sign_by: Option<String>,
    /// Sign as this sigstore parameter file says: with the private key it names
    #[arg(long, value_name = "FILE")]
    pub sign_by_sigstore: Option<PathBuf>,
    /// Sign with this sigstore private key; the signature is attached in the registry
    #[arg(long, value_name = "FILE")]
    pub sign_by_sigstore_private_key: Option<PathBuf>,
    /// File with the passphrase of the key
    #[arg(long, value_name = "FILE")]
    pub sign_passphrase_file: Option<PathBuf>,
}

impl SigningArgs {
    /// What becomes of signatures. Keys and passphrases are read.
    ///
    /// # Errors
    /// Those of reading them; `Unsupported` if somebody would have to be asked over the network.
    pub fn signing(&self, env: &Environment) -> Result<Signing> {
        let request = SignRequest {
            gpg_key: self.sign_by.clone(),
            sigstore_key: self.sign_by_sigstore_private_key.clone(),
            sigstore_parameters: self.sign_by_sigstore.clone(),
            passphrase_file: self.sign_passphrase_file.clone(),
        };
        let signers = request.signers(env)?.into_iter().map(Arc::new).collect();
        Ok(Signing { remove: self.remove_signatures, signers, identity: None })
    }
}

/// Encryption of layers, which is refused.
#[derive(Args, Clone, Debug, Default)]
pub struct EncryptionArgs {
    /// Layers to encrypt (refused: encryption is not offered)
    #[arg(long, value_name = "INDEX", allow_negative_numbers = true)]
    pub encrypt_layer: Vec<i32>,
    /// Key to encrypt with (refused: encryption is not offered)
    #[arg(long, value_name = "KEY")]
    pub encryption_key: Vec<String>,
}

impl EncryptionArgs {
    /// # Errors
    /// `Unsupported` if something is to be encrypted.
    pub fn check(&self) -> Result<()> {
        if self.encrypt_layer.is_empty() && self.encryption_key.is_empty() {
            return Ok(());
        }
        Err(Error::unsupported("--encrypt-layer, --encryption-key: encrypted images are not supported"))
    }
}
