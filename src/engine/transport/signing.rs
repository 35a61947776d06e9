//! What becomes of signatures when an image is copied.

use std::sync::Arc;

use super::Target;
use crate::engine::registry::{Document, Reference};
use crate::engine::trust::{Signature, Signer};
use crate::engine::{Context, Error, Result};

/// Which signatures the copy has.
#[derive(Clone, Debug, Default)]
pub struct Signing {
    /// Without those that the image has.
    pub remove: bool,
    /// With those of these.
    pub signers: Vec<Arc<Signer>>,
    /// The name that they sign; `None`: the one that the copy has.
    pub identity: Option<Reference>,
}

impl Signing {
    /// Whether what is to be signed can be, before anything is copied.
    pub fn check(&self, target: &dyn Target) -> Result<()> {
        if self.signers.is_empty() {
            return Ok(());
        }
        if let Some(why) = target.refuses_signatures() {
            return Err(Error::unsupported(format!(
                "signatures cannot be written to {}: {why}",
                target.describe()
            )));
        }
        let sigstore = |signer: &Arc<Signer>| matches!(**signer, Signer::Sigstore(_));
        let some = self.signers.iter().any(sigstore);
        target.check_signatures(!self.signers.iter().all(sigstore), some)?;
        self.name(target).map(drop)
    }

    fn name<'a>(&'a self, target: &'a dyn Target) -> Result<&'a Reference> {
        let missing = || {
            let target = target.describe();
            Error::invalid(format!("cannot determine canonical Docker reference for destination {target}"))
                .with_hint("say with --sign-identity for which name the signature is to be")
        };
        self.identity.as_ref().or_else(|| target.repository()).ok_or_else(missing)
    }

    /// The new signatures of a document that was written.
    pub fn sign(&self, document: &Document, target: &dyn Target) -> Result<Vec<Signature>> {
        if self.signers.is_empty() {
            return Ok(Vec::new());
        }
        self.sign_as(document, self.name(target)?)
    }

    /// The new signatures of a document by the name it has.
    pub fn sign_as(&self, document: &Document, name: &Reference) -> Result<Vec<Signature>> {
        let name = self.identity.as_ref().unwrap_or(name);
        let now = jiff::Timestamp::now().as_second();
        let sign =
            |signer: &Arc<Signer>| signer.sign(document.digest(), name, now).context("creating signature");
        self.signers.iter().map(sign).collect()
    }
}
