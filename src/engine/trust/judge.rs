//! Whether an image's signatures fulfil its rules (containers/image's `policy_eval*.go`).

use super::claim::{Claim, Kind};
use super::policy::{Identity, Requirement, Rules, SignedBy, SigstoreSigned};
use super::signature::{SIGSTORE_TYPE, Signature};
use super::sigstore;
use crate::engine::registry::Reference;
use crate::engine::{Error, ErrorKind, Result};

/// A manifest with what it is called and how it is signed.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// The image's full name as it was asked for; `None`: it has none.
    pub name: Option<&'a Reference>,
    /// The manifest as it came.
    pub manifest: &'a [u8],
    /// Its signatures.
    pub signatures: &'a [Signature],
}

impl Rules {
    /// Decides about a manifest.
    ///
    /// `Denied`, with the reasons, if a rule is not fulfilled; other kinds if keys cannot be read.
    pub fn judge(&self, evidence: Evidence<'_>) -> Result<()> {
        self.decide()?;
        for requirement in &self.requirements {
            let verdict = match requirement {
                Requirement::SignedBy(rule) => self.signed_by(rule, evidence),
                Requirement::SigstoreSigned(rule) => sigstore_signed(rule, evidence),
                Requirement::Accept | Requirement::Reject | Requirement::SignedBaseLayer => Ok(()),
            };
            verdict.map_err(|e| match e.kind() {
                ErrorKind::Denied => self.denied(e.to_string()),
                _ => e.wrap("verify the image's signatures"),
            })?;
        }
        Ok(())
    }

    fn signed_by(&self, rule: &SignedBy, evidence: Evidence<'_>) -> Result<()> {
        if rule.key_type != "GPGKeys" {
            let why = format!("unimplemented \"keyType\" value {:?}", rule.key_type);
            return Err(Error::new(ErrorKind::Denied, why));
        }
        let messages = evidence.signatures.iter().filter_map(|signature| match signature {
            Signature::Gpg(message) => Some(message),
            Signature::Sigstore(_) => None,
        });
        let messages: Vec<_> = messages.collect();
        if messages.is_empty() {
            return Err(none_at_all());
        }
        let keys = rule.keys.iter().map(|key| key.read()).collect::<Result<Vec<_>>>()?;
        let ring = self.gpg.ring(&keys)?;
        any(messages.into_iter().map(|message| {
            let claim = Claim::parse(&ring.verify(message)?, Kind::Gpg)?;
            agrees(&claim, &rule.identity, evidence)
        }))
    }
}

fn sigstore_signed(rule: &SigstoreSigned, evidence: Evidence<'_>) -> Result<()> {
    let attached = evidence.signatures.iter().filter_map(|signature| match signature {
        Signature::Sigstore(signature) => Some(signature),
        Signature::Gpg(_) => None,
    });
    let (signatures, others): (Vec<_>, Vec<_>) = attached.partition(|s| s.media_type == SIGSTORE_TYPE);
    if signatures.is_empty() {
        let gpg = evidence.signatures.len() - others.len();
        return Err(match (gpg, others.len()) {
            (0, 0) => none_at_all(),
            (gpg, others) => Error::new(
                ErrorKind::Denied,
                format!(
                    "a signature was required, but no signature exists ({gpg} non-sigstore signatures, {others} sigstore non-signature attachments)"
                ),
            ),
        });
    }
    let trust = sigstore::Trust::read(rule)?;
    any(signatures.into_iter().map(|signature| {
        trust.verify(signature)?;
        agrees(&Claim::parse(&signature.payload, Kind::Sigstore)?, &rule.identity, evidence)
    }))
}

fn none_at_all() -> Error {
    Error::new(ErrorKind::Denied, "a signature was required, but no signature exists")
}

/// One is enough. There is at least one.
fn any(verdicts: impl Iterator<Item = Result<()>>) -> Result<()> {
    let mut reasons = Vec::new();
    for verdict in verdicts {
        match verdict {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == ErrorKind::Denied => reasons.push(e.to_string()),
            Err(e) => return Err(e),
        }
    }
    Err(Error::new(
        ErrorKind::Denied,
        match &reasons[..] {
            [one] => one.clone(),
            several => {
                format!("none of the signatures were accepted, reasons: {}", several.join("; "))
            }
        },
    ))
}

/// Whether a claim that was verified is about this image.
fn agrees(claim: &Claim, identity: &Identity, evidence: Evidence<'_>) -> Result<()> {
    if !claim.digest.matches(evidence.manifest) {
        let why = format!("signature for digest {} does not match", claim.digest);
        return Err(Error::new(ErrorKind::Denied, why));
    }
    if !identity.matches(evidence.name, &claim.name) {
        let why = format!("signature for identity {:?} is not accepted", claim.name);
        return Err(Error::new(ErrorKind::Denied, why));
    }
    Ok(())
}
