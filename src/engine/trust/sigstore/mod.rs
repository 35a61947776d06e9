//! sigstore signatures, verified with what is at hand: nobody is asked over the network.
//!
//! A key that policy.json names; or a certificate, of which the chain, the time and the owner are checked. That Rekor's
//! log has an entry for the signature is proved by the entry's signed timestamp, which comes with the signature.

mod certificate;
mod key;
mod private;
mod rekor;

pub use key::PublicKey;
pub use private::PrivateKey;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::pem;
use super::policy::{Bytes, SigstoreBy, SigstoreSigned};
use super::signature::Sigstore;
use crate::engine::{Context, Error, ErrorKind, Result};
use certificate::{Authorities, Leaf};

/// Annotation with the signature, in base64.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const TIMESTAMP: &str = "dev.sigstore.cosign/bundle";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const CHAIN: &str = "dev.sigstore.cosign/chain";

/// What signatures are verified with: a rule with its files read.
pub(super) struct Trust<'a> {
    by: By<'a>,
    rekor: Vec<PublicKey>,
}

enum By<'a> {
    Keys(Vec<PublicKey>),
    Fulcio { authorities: Authorities, issuer: &'a str, email: &'a str },
    Pki { authorities: Authorities, email: Option<&'a str>, hostname: Option<&'a str> },
}

impl<'a> Trust<'a> {
    /// Reads keys and certificates.
    pub(super) fn read(rule: &'a SigstoreSigned) -> Result<Self> {
        let rekor = keys(&rule.rekor).context("key of Rekor")?;
        if rekor.iter().any(|key| !key.is_ecdsa()) {
            return Err(Error::invalid("a key of Rekor is not for ECDSA"));
        }
        let by = match &rule.by {
            SigstoreBy::Keys(sources) => By::Keys(keys(sources)?),
            SigstoreBy::Fulcio { authorities, issuer, email } => By::Fulcio {
                authorities: Authorities::read(&authorities.read()?, None)
                    .context("certificates of Fulcio")?,
                issuer,
                email,
            },
            SigstoreBy::Pki { roots, intermediates, email, hostname } => {
                let intermediates = intermediates.as_ref().map(Bytes::read).transpose()?;
                By::Pki {
                    authorities: Authorities::read(&roots.read()?, intermediates.as_deref())
                        .context("certificates of the authorities")?,
                    email: email.as_deref(),
                    hostname: hostname.as_deref(),
                }
            }
        };
        Ok(Self { by, rekor })
    }

    /// Checks that the payload was signed by whom it had to be signed.
    ///
    /// `Denied` if not.
    pub(super) fn verify(&self, signature: &Sigstore) -> Result<()> {
        self.check(signature).map_err(|e| e.with_kind(ErrorKind::Denied))
    }

    fn check(&self, signature: &Sigstore) -> Result<()> {
        let annotation = |name: &str| {
            let missing = || Error::invalid(format!("missing {name} annotation"));
            signature.annotations.get(name).map(String::as_str).ok_or_else(missing)
        };
        let encoded = annotation(SIGNATURE)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| Error::invalid("the signature is not base64"))?;
        let chain = signature.annotations.get(CHAIN).map(String::as_bytes);
        let logged = |signer: &[u8]| {
            rekor::verify(&self.rekor, annotation(TIMESTAMP)?, signer, &bytes, &signature.payload)
        };
        let verified = match &self.by {
            By::Keys(keys) if self.rekor.is_empty() => {
                keys.iter().any(|k| k.verifies(&signature.payload, &bytes))
            }
            By::Keys(keys) => {
                // The log's entry is about one key.
                let mut last = None;
                let key = keys.iter().find(|key| match logged(key.der()) {
                    Ok(_) => true,
                    Err(e) => {
                        last = Some(e);
                        false
                    }
                });
                match (key, last) {
                    (Some(key), _) => key.verifies(&signature.payload, &bytes),
                    (None, Some(e)) => return Err(e),
                    (None, None) => false,
                }
            }
            By::Fulcio { authorities, issuer, email } => {
                let leaf = Leaf::read(annotation(CERTIFICATE)?.as_bytes())?;
                let when = logged(leaf.der())?;
                authorities.verify(&leaf, chain, when)?;
                leaf.check_issuer(issuer)?;
                leaf.check_email(email)?;
                leaf.key()?.verifies(&signature.payload, &bytes)
            }
            By::Pki { authorities, email, hostname } => {
                let leaf = Leaf::read(annotation(CERTIFICATE)?.as_bytes())?;
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                authorities.verify(&leaf, chain, now.map(|d| d.as_secs()).unwrap_or_default())?;
                email.map_or(Ok(()), |email| leaf.check_email(email))?;
                hostname.map_or(Ok(()), |hostname| leaf.check_hostname(hostname))?;
                leaf.key()?.verifies(&signature.payload, &bytes)
            }
        };
        match verified {
            true => Ok(()),
            false => Err(Error::invalid("cryptographic signature verification failed")),
        }
    }
}

fn keys(sources: &[Bytes]) -> Result<Vec<PublicKey>> {
    let read = |source: &Bytes| {
        PublicKey::from_pem(&source.read()?).with_context(|| match source {
            Bytes::File(path) => path.display().to_string(),
            Bytes::Inline(_) => "a key in the policy".to_owned(),
        })
    };
    sources.iter().map(read).collect()
}
