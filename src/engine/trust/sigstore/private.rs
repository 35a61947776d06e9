//! Private keys in cosign's form: PKCS #8, encrypted with a key that scrypt makes of the passphrase (go-securesystemslib's
//! `encrypted`). Pure.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::aead::{Aead, KeyInit};
use crypto_secretbox::{Key, Nonce, XSalsa20Poly1305};
use serde::Deserialize;

use super::pem;
use crate::engine::{Error, ErrorKind, Result};

/// A private key.
#[derive(Debug)]
pub enum PrivateKey {
    /// ECDSA over P-256, what cosign makes.
    Ecdsa(EcdsaKeyPair),
    /// RSA.
    Rsa(Box<RsaKeyPair>),
    /// Ed25519.
    Ed25519(Ed25519KeyPair),
}

#[derive(Deserialize)]
struct Sealed {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Kdf {
    name: String,
    params: Params,
    salt: String,
}

#[derive(Deserialize)]
struct Params {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// The most that scrypt is asked for: memory is 128·N·r bytes. cosign's own N is 2^16.
const MAX_N: u64 = 1 << 20;

impl PrivateKey {
    /// Reads a key in PEM, as `cosign generate-key-pair` and `skopeo generate-sigstore-key` write it.
    ///
    /// `Unauthorized` if the passphrase is wrong, `Invalid` if it is no such key.
    pub fn from_pem(text: &[u8], passphrase: &[u8]) -> Result<Self> {
        let first = pem::blocks(text)?.into_iter().next();
        let block = first.ok_or_else(|| Error::invalid("invalid pem block"))?;
        match block.label.as_str() {
            "ENCRYPTED COSIGN PRIVATE KEY" | "ENCRYPTED SIGSTORE PRIVATE KEY" => {
                Self::from_pkcs8(&unseal(&block.bytes, passphrase)?)
            }
            label => Err(Error::invalid(format!("unsupported pem type: {label}")).with_hint(
                "a sigstore key is made by cosign generate-key-pair or skopeo generate-sigstore-key",
            )),
        }
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self> {
        if let Ok(key) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der) {
            return Ok(Self::Ecdsa(key));
        }
        if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok(Self::Ed25519(key));
        }
        match RsaKeyPair::from_pkcs8(der) {
            Ok(key) => Ok(Self::Rsa(Box::new(key))),
            Err(_) => Err(Error::unsupported("the private key is of a kind that is not known")
                .with_hint("use a key for ECDSA with P-256, RSA or Ed25519")),
        }
    }

    /// Signs the SHA-256 of a message, or itself with Ed25519.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let failed = |_| Error::new(ErrorKind::Io, "the signature cannot be made");
        let random = SystemRandom::new();
        match self {
            Self::Ecdsa(key) => Ok(key.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            Self::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

fn unseal(text: &[u8], passphrase: &[u8]) -> Result<Vec<u8>> {
    let bad = |why: &dyn std::fmt::Display| Error::invalid(format!("invalid private key: {why}"));
    let sealed: Sealed = serde_json::from_slice(text).map_err(|e| bad(&e))?;
    if sealed.kdf.name != "scrypt" || sealed.cipher.name != "nacl/secretbox" {
        let why = format!("it is encrypted by {} and {}", sealed.kdf.name, sealed.cipher.name);
        return Err(bad(&why));
    }
    let decode = |text: &str| STANDARD.decode(text).map_err(|e| bad(&e));
    let Params { n, r, p } = sealed.kdf.params;
    if !n.is_power_of_two() || !(2..=MAX_N).contains(&n) || r > 32 || p > 16 {
        return Err(bad(&"its parameters for scrypt are out of bounds"));
    }
    let log_n = u8::try_from(n.trailing_zeros()).unwrap_or_default();
    let params = scrypt::Params::new(log_n, r, p).map_err(|e| bad(&e))?;
    let mut key = [0; 32];
    scrypt::scrypt(passphrase, &decode(&sealed.kdf.salt)?, &params, &mut key).map_err(|e| bad(&e))?;
    let nonce: [u8; 24] =
        decode(&sealed.cipher.nonce)?.try_into().map_err(|_| bad(&"its nonce has a wrong length"))?;
    let cipher = XSalsa20Poly1305::new(Key::from_slice(&key));
    let opened = cipher.decrypt(Nonce::from_slice(&nonce), decode(&sealed.ciphertext)?.as_slice());
    opened.map_err(|_| {
        Error::new(ErrorKind::Unauthorized, "the private key cannot be decrypted: the passphrase is wrong")
            .with_hint("give the passphrase with --sign-passphrase-file")
    })
}
