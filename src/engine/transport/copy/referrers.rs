//! What is about a document goes along: bills of materials, attestations, signatures that name it as their `subject`.

use super::{Copying, MAX_NESTING};
use crate::engine::registry::{Document, referrers};
use crate::engine::transport::{CopyOptions, LayerForm, Signing};
use crate::engine::{Context, Digest, Result};

/// Kinds of artifacts that are signatures: Notation's, and both of cosign's.
const SIGNATURES: [&str; 3] = [
    "application/vnd.cncf.notary.signature",
    "application/vnd.dev.cosign.artifact.sig",
    "application/vnd.dev.sigstore.bundle",
];

impl Copying<'_> {
    /// Copies what the source has about the document that had the digest `before`, unchanged, and what is about that in
    /// turn. Nothing is about a document that was changed.
    pub(super) fn referrers(&self, before: &Digest, now: &Digest, depth: u32) -> Result<()> {
        if !self.options.referrers || !self.target.keeps_referrers() || depth > MAX_NESTING {
            return Ok(());
        }
        let found = self.source.referrers(before)?;
        if before != now && !found.is_empty() {
            tracing::warn!(
                "{} artifacts are about {before} and are not copied: at {} the image is {now}",
                found.len(),
                self.target.describe()
            );
            return Ok(());
        }
        let mut options = CopyOptions {
            layers: Some(LayerForm::AsIs),
            format: None,
            variants: Vec::new(),
            rules: None,
            signing: Signing { remove: true, ..Signing::default() },
            ..self.options.clone()
        };
        // An index and its instances are not looked through again.
        options.referrers = false;
        for descriptor in found {
            let what = || format!("{}, which is about {before}", descriptor.digest);
            let document = self.source.child(&descriptor).with_context(what)?;
            if referrers::subject(&document)?.as_ref() != Some(before) {
                tracing::debug!("{} is not about {before}, whatever the source says", descriptor.digest);
                continue;
            }
            let kind = referrers::artifact_type(&document)?.unwrap_or_default();
            if self.options.signing.remove && SIGNATURES.iter().any(|known| kind.starts_with(known)) {
                continue;
            }
            let part = Copying { options: &options, fixed: true, ..*self };
            let written = match document {
                Document::Manifest(manifest) => {
                    Document::Manifest(part.manifest(manifest).with_context(what)?)
                }
                Document::Index(index) => Document::Index(part.index(index, depth + 1).with_context(what)?),
            };
            self.target.put_document(&written, true).with_context(what)?;
            self.referrers(&descriptor.digest, written.digest(), depth + 1)?;
        }
        Ok(())
    }
}
