//! What a signature says: this manifest, by this name (containers-signature(5), cosign's signature specification). Pure.

use serde_json::json;

use super::strict::{Object, value};
use crate::engine::{Digest, Error, ErrorKind, Result};

/// Which kind of signature the claim is signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// GPG, "simple signing".
    Gpg,
    /// sigstore.
    Sigstore,
}

/// A claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Digest of the manifest.
    pub digest: Digest,
    /// Its full name.
    pub name: String,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Gpg => "atomic container signature",
            Self::Sigstore => "cosign container image signature",
        }
    }
}

impl Claim {
    /// Reads a claim of which the signature has been verified.
    ///
    /// `Denied` if there is anything about it that is not as it should be.
    pub fn parse(bytes: &[u8], kind: Kind) -> Result<Self> {
        let text = std::str::from_utf8(bytes);
        let text = text.map_err(|e| Error::new(ErrorKind::Denied, format!("the signature's claim: {e}")))?;
        read(text, kind).map_err(|e| e.with_kind(ErrorKind::Denied))
    }

    /// The text to sign. `seconds` since 1970 is when.
    pub fn to_bytes(&self, kind: Kind, seconds: i64) -> Vec<u8> {
        let creator = concat!("coracle ", env!("CARGO_PKG_VERSION"));
        let claim = json!({
            "critical": {
                "identity": {"docker-reference": self.name},
                "image": {"docker-manifest-digest": self.digest.as_str()},
                "type": kind.name(),
            },
            "optional": {"creator": creator, "timestamp": seconds},
        });
        claim.to_string().into_bytes()
    }
}

fn read(text: &str, kind: Kind) -> Result<Claim> {
    let mut object = Object::parse(text, "signature")?;
    let mut critical = object.object("critical")?;
    let name = object.name("optional");
    let missing = || Error::invalid("signature: the key \"optional\" is missing");
    let optional = object.raw("optional").ok_or_else(missing)?;
    object.end()?;
    // cosign writes null if there is nothing optional.
    if !(optional == "null" && kind == Kind::Sigstore) {
        let mut optional = Object::parse(optional, name)?;
        optional.optional::<String>("creator")?;
        let name = optional.name("timestamp");
        if let Some(timestamp) = optional.raw("timestamp") {
            let number: f64 = value(timestamp, &name)?;
            if number.fract() != 0.0 || number.abs() > 9e15 {
                return Err(Error::invalid(format!("{name} is not an integer")));
            }
        }
    }
    let found: String = critical.required("type")?;
    if found != kind.name() {
        return Err(Error::invalid(format!("unrecognized signature type {found:?}")));
    }
    let mut image = critical.object("image")?;
    let digest: String = image.required("docker-manifest-digest")?;
    let digest = Digest::parse(&digest)?;
    image.end()?;
    let mut identity = critical.object("identity")?;
    let name = identity.required("docker-reference")?;
    identity.end()?;
    critical.end()?;
    Ok(Claim { digest, name })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_read_as_it_is_written_and_nothing_else_is() {
        let claim = Claim { digest: Digest::sha256(b"x"), name: "h.io/x:1".into() };
        for kind in [Kind::Gpg, Kind::Sigstore] {
            let text = String::from_utf8(claim.to_bytes(kind, 7)).unwrap();
            assert_eq!(Claim::parse(text.as_bytes(), kind).unwrap(), claim);
            let other = if kind == Kind::Gpg { Kind::Sigstore } else { Kind::Gpg };
            for (bad, want) in [
                (text.replace("critical", "uncritical"), "the key \"critical\" is missing"),
                (text.replacen('{', "{\"more\":1,", 1), "unknown key \"more\""),
                (text.replace("\"image\"", "\"extra\":1,\"image\""), "unknown key \"extra\""),
                (text.replace("sha256:", "../sha256:"), "invalid digest"),
                (text.replace("\"timestamp\":7", "\"timestamp\":7.5"), "is not an integer"),
                (text.replace("\"optional\"", "\"critical\""), "duplicate key"),
                (format!("{text}{text}"), "trailing characters"),
            ] {
                let e = Claim::parse(bad.as_bytes(), kind).unwrap_err();
                assert!(e.to_string().contains(want) && e.kind() == ErrorKind::Denied, "{bad}: {e}");
            }
            assert!(Claim::parse(text.as_bytes(), other).unwrap_err().to_string().contains("type"));
            let cosign = text.split(",\"optional\"").next().unwrap().to_owned() + ",\"optional\":null}";
            assert_eq!(Claim::parse(cosign.as_bytes(), kind).is_ok(), kind == Kind::Sigstore);
        }
    }
}
