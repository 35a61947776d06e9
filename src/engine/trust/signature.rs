//! A signature as it is kept: in a lookaside, in a `dir:` directory, with an image of the store (containers/image's
//! `internal/signature`). Pure.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::engine::{Error, Result};

/// Largest signature read (as containers/image has it).
pub const MAX_SIGNATURE: usize = 4 << 20;
/// Most signatures of one manifest in a lookaside (as containers/image has it).
pub const MAX_SIGNATURES: usize = 128;
/// Media type of a sigstore signature's claim.
pub const SIGSTORE_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// A signature that nobody has verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// An OpenPGP message.
    Gpg(Vec<u8>),
    /// A sigstore signature, or something else that is attached in its way.
    Sigstore(Sigstore),
}

/// A layer of cosign's attachment image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sigstore {
    /// Media type of the payload; [`SIGSTORE_TYPE`] for signatures.
    pub media_type: String,
    /// What is signed.
    pub payload: Vec<u8>,
    /// The signature and what goes with it.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Json {
    #[serde(rename = "mimeType", default)]
    media_type: String,
    #[serde(default)]
    payload: String,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl Signature {
    /// The bytes that are kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Gpg(message) => message.clone(),
            Self::Sigstore(signature) => {
                let json = Json {
                    media_type: signature.media_type.clone(),
                    payload: STANDARD.encode(&signature.payload),
                    annotations: Some(signature.annotations.clone()),
                };
                let mut bytes = b"\0sigstore-json\n".to_vec();
                // Strings and a map of strings are always JSON.
                bytes.extend(serde_json::to_vec(&json).unwrap_or_default());
                bytes
            }
        }
    }

    /// Reads what was kept.
    ///
    /// `Corrupt` if it is neither an OpenPGP message nor a sigstore signature.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let bad = |why: String| Error::corrupt(format!("no signature: {why}"));
        match bytes {
            [] => Err(bad("it is empty".to_owned())),
            // OpenPGP packets, old and new form: compressed data, one-pass signature, signature (RFC 4880, 4.2 and 4.3).
            [0xA0..=0xA3 | 0xC8 | 0x90..=0x92 | 0x3D | 0xC4 | 0x88..=0x8B | 0xC2, ..] => {
                Ok(Self::Gpg(bytes.to_vec()))
            }
            [0, rest @ ..] => {
                let end = rest.iter().position(|b| *b == b'\n');
                let end = end.ok_or_else(|| bad("its first line has no end".to_owned()))?;
                let (format, rest) = (&rest[..end], &rest[end + 1..]);
                match format {
                    b"simple-signing" => Ok(Self::Gpg(rest.to_vec())),
                    b"sigstore-json" => Self::from_json(rest),
                    _ => {
                        let format = String::from_utf8_lossy(&format[..format.len().min(40)]).into_owned();
                        Err(bad(format!("unrecognized signature format {format:?}")))
                    }
                }
            }
            [first, ..] => {
                Err(bad(format!("unrecognized signature format, starting with binary {first:#x}")))
            }
        }
    }

    fn from_json(text: &[u8]) -> Result<Self> {
        let bad = |why: &dyn std::fmt::Display| Error::corrupt(format!("no sigstore signature: {why}"));
        let json: Json = serde_json::from_slice(text).map_err(|e| bad(&e))?;
        let payload = STANDARD.decode(&json.payload).map_err(|e| bad(&e))?;
        let annotations = json.annotations.unwrap_or_default();
        Ok(Self::Sigstore(Sigstore { media_type: json.media_type, payload, annotations }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_again() {
        let annotations = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let sigstore = Sigstore { media_type: SIGSTORE_TYPE.into(), payload: b"{}".into(), annotations };
        for signature in [Signature::Gpg(vec![0x90, 1, 2]), Signature::Sigstore(sigstore)] {
            assert_eq!(Signature::from_bytes(&signature.to_bytes()).unwrap(), signature);
        }
        let foreign = b"\0sigstore-json\n{\"mimeType\":\"m\",\"payload\":\"e30=\",\"annotations\":null}";
        let Signature::Sigstore(read) = Signature::from_bytes(foreign).unwrap() else { panic!() };
        assert_eq!((read.media_type.as_str(), read.payload.as_slice()), ("m", &b"{}"[..]));
        assert_eq!(Signature::from_bytes(b"\0simple-signing\nx").unwrap(), Signature::Gpg(b"x".into()));
    }

    #[test]
    fn what_is_no_signature_is_refused() {
        for (bytes, want) in [
            (&b""[..], "it is empty"),
            (b"<html>", "starting with binary 0x3c"),
            (b"\0no end", "has no end"),
            (b"\0other\n", "unrecognized signature format \"other\""),
            (b"\0sigstore-json\n[", "no sigstore signature"),
            (b"\0sigstore-json\n{\"payload\":\"?\"}", "no sigstore signature"),
        ] {
            let e = Signature::from_bytes(bytes).unwrap_err().to_string();
            assert!(e.contains(want), "{e}");
        }
    }
}
