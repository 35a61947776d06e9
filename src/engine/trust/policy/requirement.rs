//! A single requirement of policy.json. Pure: keys are read when a signature is to be verified.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Identity;
use super::sigstore::{SigstoreSigned, sigstore_signed};
use crate::engine::trust::strict::Object;
use crate::engine::{Error, Result};

/// What an image has to fulfil.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// `insecureAcceptAnything`: nothing.
    Accept,
    /// `reject`: what none fulfils.
    Reject,
    /// `signedBy`: a GPG signature.
    SignedBy(SignedBy),
    /// `signedBaseLayer`, which nobody has ever implemented: what none fulfils.
    SignedBaseLayer,
    /// `sigstoreSigned`: a sigstore signature.
    SigstoreSigned(Box<SigstoreSigned>),
}

/// A GPG signature by one of some keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBy {
    /// `GPGKeys`, or a type that is reserved and not implemented.
    pub key_type: String,
    /// Key rings; a key of any will do.
    pub keys: Vec<Bytes>,
    /// For which name it has to be.
    pub identity: Identity,
}

/// Bytes given in the policy, or by a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// In the file at this path.
    File(PathBuf),
    /// Base64 in the policy.
    Inline(Vec<u8>),
}

impl Bytes {
    /// Reads them.
    pub fn read(&self) -> Result<Vec<u8>> {
        match self {
            Self::Inline(bytes) => Ok(bytes.clone()),
            Self::File(path) => read(path),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::io("read", path, e))
}

impl Requirement {
    pub(super) fn parse(text: &str, what: &str) -> Result<Self> {
        let mut object = Object::parse(text, what)?;
        let kind: String = object.required("type")?;
        let requirement = match kind.as_str() {
            "insecureAcceptAnything" => Self::Accept,
            "reject" => Self::Reject,
            "signedBy" => Self::SignedBy(signed_by(&mut object, what)?),
            "signedBaseLayer" => {
                let name = object.name("baseLayerIdentity");
                let missing = || Error::invalid(format!("{what}: the key \"baseLayerIdentity\" is missing"));
                Identity::parse(object.raw("baseLayerIdentity").ok_or_else(missing)?, &name)?;
                Self::SignedBaseLayer
            }
            "sigstoreSigned" => Self::SigstoreSigned(Box::new(sigstore_signed(&mut object, what)?)),
            kind => return Err(Error::invalid(format!("{what}: unknown policy requirement type {kind:?}"))),
        };
        object.end()?;
        Ok(requirement)
    }

    /// Whether there is nothing to verify.
    pub fn is_decided(&self) -> bool {
        !matches!(self, Self::SignedBy(_) | Self::SigstoreSigned(_))
    }
}

fn signed_by(object: &mut Object<'_>, what: &str) -> Result<SignedBy> {
    let key_type: String = object.required("keyType")?;
    if !["GPGKeys", "signedByGPGKeys", "X509Certificates", "signedByX509CAs"].contains(&key_type.as_str()) {
        return Err(Error::invalid(format!(
            "{}: unrecognized keyType value {key_type:?}",
            object.name("keyType")
        )));
    }
    let identity = identity(object)?;
    let sources = sources(object, ["keyPath", "keyPaths", "keyData", ""])?;
    let [keys] = <[Vec<Bytes>; 1]>::try_from(sources).map_err(|sources| {
        let how_many = if sources.is_empty() { "none of them present" } else { "more than one present" };
        let rule = "exactly one of keyPath, keyPaths and keyData must be specified";
        Error::invalid(format!("{what}: {rule}, {how_many}"))
    })?;
    Ok(SignedBy { key_type, keys, identity })
}

pub(super) fn identity(object: &mut Object<'_>) -> Result<Identity> {
    let name = object.name("signedIdentity");
    let text = object.raw("signedIdentity");
    text.map_or_else(|| Ok(Identity::default()), |text| Identity::parse(text, &name))
}

/// What each key of `[path, paths, data, datas]` that is there says; a key without a name is not asked for.
pub(super) fn sources(
    object: &mut Object<'_>,
    [path, paths, data, datas]: [&str; 4],
) -> Result<Vec<Vec<Bytes>>> {
    let mut found = Vec::new();
    if let Some(one) = file(object, path)? {
        found.push(vec![one]);
    }
    if let Some(several) = object.optional::<Vec<PathBuf>>(paths)? {
        if several.is_empty() {
            return Err(Error::invalid(format!("{} contains no entries", object.name(paths))));
        }
        found.push(several.into_iter().map(Bytes::File).collect());
    }
    if let Some(one) = inline(object, data)? {
        found.push(vec![one]);
    }
    if !datas.is_empty()
        && let Some(several) = object.optional::<Vec<String>>(datas)?
    {
        if several.is_empty() {
            return Err(Error::invalid(format!("{} contains no entries", object.name(datas))));
        }
        let name = object.name(datas);
        found.push(several.iter().map(|text| decode(text, &name)).collect::<Result<_>>()?);
    }
    Ok(found)
}

pub(super) fn file(object: &mut Object<'_>, key: &str) -> Result<Option<Bytes>> {
    Ok(object.optional::<PathBuf>(key)?.map(Bytes::File))
}

pub(super) fn inline(object: &mut Object<'_>, key: &str) -> Result<Option<Bytes>> {
    let text: Option<String> = object.optional(key)?;
    text.map(|text| decode(&text, &object.name(key))).transpose()
}

fn decode(text: &str, what: &str) -> Result<Bytes> {
    let bytes = STANDARD.decode(text).map_err(|_| Error::invalid(format!("{what} is not base64")))?;
    Ok(Bytes::Inline(bytes))
}
