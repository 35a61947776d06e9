//! Public keys of sigstore signatures. Pure.

use aws_lc_rs::signature as algorithms;
use aws_lc_rs::signature::{UnparsedPublicKey, VerificationAlgorithm};
use x509_cert::der::{Decode, Encode};
use x509_cert::spki::{ObjectIdentifier, SubjectPublicKeyInfoOwned};

use crate::engine::trust::pem;
use crate::engine::{Error, Result};

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// Which kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    P256,
    P384,
    P521,
    Rsa,
    Ed25519,
}

/// A public key: ECDSA, RSA or Ed25519; signatures are over SHA-256, as cosign's all are.
#[derive(Clone, Debug)]
pub struct PublicKey {
    algorithm: Algorithm,
    key: Vec<u8>,
    /// The whole structure.
    der: Vec<u8>,
}

impl PublicKey {
    /// Reads a PEM file with one key.
    ///
    /// `Invalid` if it is none, or of a kind that is not known.
    pub fn from_pem(text: &[u8]) -> Result<Self> {
        let first = pem::blocks(text)?.into_iter().next();
        let block = first.ok_or_else(|| Error::invalid("the public key is not in PEM format"))?;
        match block.label.as_str() {
            "PUBLIC KEY" => Self::from_der(&block.bytes),
            label => Err(Error::invalid(format!("{label:?} in PEM is no public key"))),
        }
    }

    /// Reads a `SubjectPublicKeyInfo` (RFC 5280).
    pub fn from_der(der: &[u8]) -> Result<Self> {
        let bad = |e: &dyn std::fmt::Display| Error::invalid(format!("invalid public key: {e}"));
        let info = SubjectPublicKeyInfoOwned::from_der(der).map_err(|e| bad(&e))?;
        Self::from_info(&info)
    }

    pub(super) fn from_info(info: &SubjectPublicKeyInfoOwned) -> Result<Self> {
        let bad = |e: &dyn std::fmt::Display| Error::invalid(format!("invalid public key: {e}"));
        let curve =
            || info.algorithm.parameters.as_ref().and_then(|p| p.decode_as::<ObjectIdentifier>().ok());
        let algorithm = match (info.algorithm.oid, curve()) {
            (EC, Some(P256)) => Algorithm::P256,
            (EC, Some(P384)) => Algorithm::P384,
            (EC, Some(P521)) => Algorithm::P521,
            (RSA, _) => Algorithm::Rsa,
            (ED25519, _) => Algorithm::Ed25519,
            (other, _) => {
                return Err(Error::unsupported(format!("public keys of the kind {other} are not known")));
            }
        };
        let key = info.subject_public_key.as_bytes();
        let key = key.ok_or_else(|| bad(&"it has unused bits"))?.to_vec();
        Ok(Self { algorithm, key, der: info.to_der().map_err(|e| bad(&e))? })
    }

    /// The `SubjectPublicKeyInfo`.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether it is for ECDSA.
    pub fn is_ecdsa(&self) -> bool {
        matches!(self.algorithm, Algorithm::P256 | Algorithm::P384 | Algorithm::P521)
    }

    /// Whether the owner of the key has signed the message.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match self.algorithm {
            Algorithm::P256 => &algorithms::ECDSA_P256_SHA256_ASN1,
            Algorithm::P384 => &algorithms::ECDSA_P384_SHA256_ASN1,
            Algorithm::P521 => &algorithms::ECDSA_P521_SHA256_ASN1,
            Algorithm::Rsa => &algorithms::RSA_PKCS1_2048_8192_SHA256,
            Algorithm::Ed25519 => &algorithms::ED25519,
        };
        UnparsedPublicKey::new(algorithm, &self.key).verify(message, signature).is_ok()
    }
}
