//! Rekor's signed entry timestamps: that a signature is in the log, and since when (containers/image's
//! `signature/internal/rekor_set.go`). Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::PublicKey;
use super::pem;
use crate::engine::trust::strict::{Object, value};
use crate::engine::{Digest, Error, Result};

/// What is signed of an entry.
#[derive(Debug)]
struct Entry {
    body: String,
    integrated_time: i64,
    log_index: i64,
    log_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    kind: String,
    api_version: String,
    #[serde(borrow)]
    spec: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    data: Data,
    signature: Signature,
}

#[derive(Deserialize)]
struct Data {
    hash: Hash,
}

#[derive(Deserialize)]
struct Hash {
    algorithm: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Signature {
    content: String,
    public_key: Content,
}

#[derive(Deserialize)]
struct Content {
    content: String,
}

/// Checks that the log with one of `keys` has an entry for this signature of the payload by `signer` (the DER of a public
/// key or certificate), and returns when it was made, in seconds since 1970.
pub(super) fn verify(
    keys: &[PublicKey],
    timestamp: &str,
    signer: &[u8],
    signature: &[u8],
    payload: &[u8],
) -> Result<u64> {
    let what = "entry of Rekor";
    let bad = |why: &str| Error::invalid(format!("{what}: {why}"));
    let mut object = Object::parse(timestamp, what)?;
    let proof: String = object.required("SignedEntryTimestamp")?;
    let proof = STANDARD.decode(proof).map_err(|_| bad("its timestamp is not base64"))?;
    let entry = Entry::read(object.object("Payload")?)?;
    object.end()?;
    let signed = entry.canonical();
    if !keys.iter().any(|key| key.verifies(signed.as_bytes(), &proof)) {
        return Err(bad("cryptographic signature verification of its timestamp failed"));
    }
    let body = STANDARD.decode(&entry.body).map_err(|_| bad("its body is not base64"))?;
    let body = String::from_utf8(body).map_err(|_| bad("its body is no text"))?;
    let body: Body<'_> = value(&body, what)?;
    if body.kind != "hashedrekord" || body.api_version != "0.0.1" {
        let why = format!("unsupported kind {:?}, version {:?}", body.kind, body.api_version);
        return Err(bad(&why));
    }
    let spec: Spec = value(body.spec.get(), what)?;
    let logged =
        STANDARD.decode(&spec.signature.public_key.content).map_err(|_| bad("its key is not base64"))?;
    if pem::only(&logged)?.bytes != signer {
        return Err(bad("its public key does not match"));
    }
    if STANDARD.decode(&spec.signature.content).map_err(|_| bad("its signature is not base64"))? != signature
    {
        return Err(bad("its signature does not match"));
    }
    if spec.data.hash.algorithm != "sha256" {
        return Err(bad("its payload has another hash than sha256"));
    }
    if spec.data.hash.value != Digest::sha256(payload).hex() {
        return Err(bad("its payload does not match"));
    }
    u64::try_from(entry.integrated_time).map_err(|_| bad("it was made before 1970"))
}

impl Entry {
    fn read(mut object: Object<'_>) -> Result<Self> {
        let entry = Self {
            body: object.required("body")?,
            integrated_time: object.required("integratedTime")?,
            log_index: object.required("logIndex")?,
            log_id: object.required("logID")?,
        };
        // Beyond it JavaScript's numbers, which the canonical form is written with, are no integers.
        if [entry.integrated_time, entry.log_index].iter().any(|n| n.unsigned_abs() > 1 << 53) {
            return Err(Error::invalid("entry of Rekor: a number is too large"));
        }
        object.end()?;
        Ok(entry)
    }

    /// JSON in the one form that is signed (RFC 8785): keys sorted, no white space.
    fn canonical(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        format!(
            "{{\"body\":{},\"integratedTime\":{},\"logID\":{},\"logIndex\":{}}}",
            quoted(&self.body),
            self.integrated_time,
            quoted(&self.log_id),
            self.log_index
        )
    }
}
