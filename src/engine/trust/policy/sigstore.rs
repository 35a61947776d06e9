//! `sigstoreSigned` of policy.json. Pure.

use super::Identity;
use super::requirement::{Bytes, file, identity, inline, sources};
use crate::engine::trust::strict::Object;
use crate::engine::{Error, Result};

/// A sigstore signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigstoreSigned {
    /// Whose.
    pub by: SigstoreBy,
    /// Keys of the Rekor log that it has to be in; none: it need not be in one.
    pub rekor: Vec<Bytes>,
    /// For which name it has to be.
    pub identity: Identity,
}

/// Who has to have made a sigstore signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SigstoreBy {
    /// Whoever has one of these keys.
    Keys(Vec<Bytes>),
    /// Whoever Fulcio gave a certificate for this account.
    Fulcio {
        /// Fulcio's own certificates.
        authorities: Bytes,
        /// Who vouched for the account.
        issuer: String,
        /// The account.
        email: String,
    },
    /// Whoever has a certificate of such an authority.
    Pki {
        /// The authorities' certificates.
        roots: Bytes,
        /// Certificates between them and the signers'.
        intermediates: Option<Bytes>,
        /// The address that has to be in the certificate.
        email: Option<String>,
        /// The host name that has to be in the certificate.
        hostname: Option<String>,
    },
}

pub(super) fn sigstore_signed(object: &mut Object<'_>, what: &str) -> Result<SigstoreSigned> {
    let identity = identity(object)?;
    let keys = sources(object, ["keyPath", "keyPaths", "keyData", "keyDatas"])?;
    let rekor = sources(
        object,
        ["rekorPublicKeyPath", "rekorPublicKeyPaths", "rekorPublicKeyData", "rekorPublicKeyDatas"],
    )?;
    let mut candidates: Vec<SigstoreBy> = keys.into_iter().map(SigstoreBy::Keys).collect();
    let name = object.name("fulcio");
    if let Some(text) = object.raw("fulcio") {
        candidates.push(fulcio(text, &name)?);
    }
    let name = object.name("pki");
    if let Some(text) = object.raw("pki") {
        candidates.push(pki(text, &name)?);
    }
    let [by] = <[SigstoreBy; 1]>::try_from(candidates).map_err(|_| {
        let rule = "exactly one of keyPath, keyPaths, keyData, keyDatas, fulcio, and pki must be specified";
        Error::invalid(format!("{what}: {rule}"))
    })?;
    let wrong = match (&by, rekor.len()) {
        (_, 2..) => {
            "at most one of rekorPublicKeyPath, rekorPublicKeyPaths, rekorPublicKeyData and rekorPublicKeyDatas can be specified"
        }
        (SigstoreBy::Fulcio { .. }, 0) => {
            "a rekorPublicKeyPath, rekorPublicKeyPaths, rekorPublicKeyData or rekorPublicKeyDatas must be specified if fulcio is used"
        }
        (SigstoreBy::Pki { .. }, 1) => "the keys of Rekor are not supported for pki",
        _ => "",
    };
    if !wrong.is_empty() {
        return Err(Error::invalid(format!("{what}: {wrong}")));
    }
    Ok(SigstoreSigned { by, rekor: rekor.into_iter().flatten().collect(), identity })
}

fn fulcio(text: &str, what: &str) -> Result<SigstoreBy> {
    let mut object = Object::parse(text, what)?;
    let authorities = one_of(&mut object, what, "caPath", "caData")?;
    let authorities = authorities
        .ok_or_else(|| Error::invalid(format!("{what}: one of caPath and caData must be specified")))?;
    let issuer = filled(&mut object, "oidcIssuer")?;
    let email = filled(&mut object, "subjectEmail")?;
    object.end()?;
    let missing = |key: &str| Error::invalid(format!("{what}: {key} not specified"));
    Ok(SigstoreBy::Fulcio {
        authorities,
        issuer: issuer.ok_or_else(|| missing("oidcIssuer"))?,
        email: email.ok_or_else(|| missing("subjectEmail"))?,
    })
}

fn pki(text: &str, what: &str) -> Result<SigstoreBy> {
    let mut object = Object::parse(text, what)?;
    let roots = one_of(&mut object, what, "caRootsPath", "caRootsData")?.ok_or_else(|| {
        Error::invalid(format!("{what}: one of caRootsPath and caRootsData must be specified"))
    })?;
    let intermediates = one_of(&mut object, what, "caIntermediatesPath", "caIntermediatesData")?;
    let email = filled(&mut object, "subjectEmail")?;
    let hostname = filled(&mut object, "subjectHostname")?;
    object.end()?;
    if email.is_none() && hostname.is_none() {
        return Err(Error::invalid(format!(
            "{what}: at least one of subjectEmail and subjectHostname must be specified"
        )));
    }
    Ok(SigstoreBy::Pki { roots, intermediates, email, hostname })
}

fn one_of(object: &mut Object<'_>, what: &str, path: &str, data: &str) -> Result<Option<Bytes>> {
    match (file(object, path)?, inline(object, data)?) {
        (Some(_), Some(_)) => {
            Err(Error::invalid(format!("{what}: {path} and {data} cannot be used simultaneously")))
        }
        (one, other) => Ok(one.or(other)),
    }
}

fn filled(object: &mut Object<'_>, key: &str) -> Result<Option<String>> {
    Ok(object.optional::<String>(key)?.filter(|text| !text.is_empty()))
}
