//! Signing manifests.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::claim::{Claim, Kind};
use super::gpg::Gpg;
use super::signature::{SIGSTORE_TYPE, Signature, Sigstore};
use super::sigstore::{PrivateKey, SIGNATURE};
use crate::engine::config::Environment;
use crate::engine::registry::Reference;
use crate::engine::{Context, Digest, Error, Result};

/// Whoever signs.
pub enum Signer {
    /// A GPG key of the user's.
    Gpg {
        /// How gpg is run.
        gpg: Gpg,
        /// Fingerprint, ID or user ID.
        key: String,
        /// The passphrase; `None`: gpg asks for it.
        passphrase: Option<String>,
    },
    /// A sigstore key.
    Sigstore(PrivateKey),
}

/// Secrets are not printed.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gpg { key, .. } => write!(f, "Gpg({key})"),
            Self::Sigstore(_) => f.write_str("Sigstore"),
        }
    }
}

/// What is to be signed with.
#[derive(Clone, Debug, Default)]
pub struct SignRequest {
    /// A GPG key.
    pub gpg_key: Option<String>,
    /// File with a sigstore private key.
    pub sigstore_key: Option<PathBuf>,
    /// File with parameters (containers-sigstore-signing-params.yaml(5)).
    pub sigstore_parameters: Option<PathBuf>,
    /// File whose first line is the passphrase.
    pub passphrase_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Parameters {
    #[serde(default)]
    private_key_file: Option<PathBuf>,
    #[serde(default)]
    private_key_passphrase_file: Option<PathBuf>,
    #[serde(default)]
    fulcio: Option<serde::de::IgnoredAny>,
    #[serde(default, rename = "rekorURL")]
    rekor_url: Option<String>,
}

impl SignRequest {
    /// Reads keys and passphrases.
    ///
    /// `Unauthorized` if a passphrase is wrong, `Unsupported` if somebody would have to be asked over the network.
    pub fn signers(&self, env: &Environment) -> Result<Vec<Signer>> {
        let phrase =
            self.passphrase_file.as_deref().map(|path| passphrase(&env.cwd.join(path))).transpose()?;
        if phrase.is_some() && self.gpg_key.is_some() && self.sigstore_key.is_some() {
            return Err(Error::invalid(
                "only one of --sign-by and --sign-by-sigstore-private-key can be used with --sign-passphrase-file",
            ));
        }
        let mut signers = Vec::new();
        if let Some(key) = &self.gpg_key {
            let gpg = Gpg::new(env);
            gpg.check_secret_key(key)?;
            signers.push(Signer::Gpg { gpg, key: key.clone(), passphrase: phrase.clone() });
        }
        if let Some(path) = &self.sigstore_key {
            signers.push(private_key(&env.cwd.join(path), phrase.as_deref())?);
        }
        if let Some(path) = &self.sigstore_parameters {
            signers.push(by_parameters(&env.cwd.join(path), &env.cwd)?);
        }
        Ok(signers)
    }
}

/// Without the end of its line.
fn passphrase(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn private_key(path: &Path, passphrase: Option<&str>) -> Result<Signer> {
    let text = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
    let key = PrivateKey::from_pem(&text, passphrase.unwrap_or_default().as_bytes());
    Ok(Signer::Sigstore(key.with_context(|| format!("private key {}", path.display()))?))
}

fn by_parameters(path: &Path, cwd: &Path) -> Result<Signer> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io("read", path, e))?;
    let parameters: Parameters = serde_saphyr::from_str(&text).map_err(|e| {
        let first = e.to_string().lines().next().unwrap_or_default().to_owned();
        Error::invalid(format!("parsing {}: {first}", path.display()))
    })?;
    if parameters.fulcio.is_some() {
        return Err(Error::unsupported(format!(
            "{}: signing with a certificate of Fulcio is not supported",
            path.display()
        ))
        .with_hint("sign with a private key: privateKeyFile"));
    }
    if parameters.rekor_url.is_some() {
        return Err(Error::unsupported(format!(
            "{}: uploading signatures to Rekor is not supported",
            path.display()
        ))
        .with_hint("leave rekorURL out"));
    }
    let missing = || Error::invalid(format!("{}: privateKeyFile is missing", path.display()));
    let key = parameters.private_key_file.ok_or_else(missing)?;
    let phrase =
        parameters.private_key_passphrase_file.map(|file| passphrase(&cwd.join(file))).transpose()?;
    private_key(&cwd.join(key), phrase.as_deref())
}

impl Signer {
    /// Signs that `name` is the manifest with this digest. `seconds` since 1970 is when.
    pub fn sign(&self, manifest: &Digest, name: &Reference, seconds: i64) -> Result<Signature> {
        if name.tag().is_none() && name.digest().is_none() {
            return Err(Error::invalid(format!("sign identity must be a fully specified reference {name}")));
        }
        let claim = Claim { digest: manifest.clone(), name: name.to_string() };
        match self {
            Self::Gpg { gpg, key, passphrase } => {
                let message = gpg.sign(key, passphrase.as_deref(), &claim.to_bytes(Kind::Gpg, seconds))?;
                Ok(Signature::Gpg(message))
            }
            Self::Sigstore(key) => {
                let payload = claim.to_bytes(Kind::Sigstore, seconds);
                let signature = STANDARD.encode(key.sign(&payload)?);
                let annotations = BTreeMap::from([(SIGNATURE.to_owned(), signature)]);
                Ok(Signature::Sigstore(Sigstore {
                    media_type: SIGSTORE_TYPE.to_owned(),
                    payload,
                    annotations,
                }))
            }
        }
    }
}
