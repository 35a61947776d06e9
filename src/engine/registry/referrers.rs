//! Manifests about manifests: signatures, bills of materials and the like say by `subject` what they are about (OCI
//! distribution specification 1.1, "Listing Referrers" and "Referrers Tag Schema").
//!
//! A registry that knows subjects lists them itself. Elsewhere, and in image layouts, an index under a tag made of the
//! subject's digest does, and whoever writes a referrer keeps it.

use reqwest::header::{CONTENT_TYPE, HeaderValue, LINK};
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Repository, next_page};
use super::host::Request;
use super::http::bounded_body;
use super::manifest::{MAX_MANIFEST, OCI_INDEX};
use super::{Descriptor, Document};
use crate::engine::{Context, Digest, Error, ErrorKind, Result};

/// Most pages read from a registry that always links to another.
const MAX_PAGES: usize = 100;

/// The tag of the index of what is about a manifest.
pub fn tag(subject: &Digest) -> String {
    // The specification cuts after 32 and 64 characters.
    let hex = subject.hex();
    format!("{}-{}", subject.algorithm().name(), &hex[..hex.len().min(64)])
}

/// Whether a name is such a tag.
pub fn is_tag(name: &str) -> bool {
    ["sha256-", "sha384-", "sha512-"].iter().any(|prefix| {
        let hex = name.strip_prefix(prefix).unwrap_or_default();
        hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct About {
    #[serde(default)]
    subject: Option<Descriptor>,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    annotations: Option<Value>,
}

fn about(document: &Document) -> Result<About> {
    let bad = |e: serde_json::Error| Error::corrupt(format!("manifest {}: {e}", document.digest()));
    serde_json::from_slice(document.raw()).map_err(bad)
}

/// What a manifest or index is about.
pub fn subject(document: &Document) -> Result<Option<Digest>> {
    Ok(about(document)?.subject.map(|subject| subject.digest))
}

/// What kind of artifact a manifest or index says it is: its own word, or that of its configuration.
pub fn artifact_type(document: &Document) -> Result<Option<String>> {
    let own = about(document)?.artifact_type.filter(|own| !own.is_empty());
    Ok(own.or_else(|| match document {
        Document::Manifest(manifest) => Some(manifest.config.media_type.clone()),
        Document::Index(_) => None,
    }))
}

/// The index that lists what is about a manifest, with one more in it. `None`: it is there already.
///
/// `Corrupt` if `before` is no index.
pub fn listed(before: Option<&[u8]>, document: &Document) -> Result<Option<Vec<u8>>> {
    let bad = |what: String| Error::corrupt(format!("the list of what is about a manifest: {what}"));
    let mut index: Value = match before {
        Some(raw) => serde_json::from_slice(raw).map_err(|e| bad(e.to_string()))?,
        None => json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}),
    };
    let entries = index["manifests"].as_array_mut().ok_or_else(|| bad("it is no index".to_owned()))?;
    if entries.iter().any(|entry| entry["digest"].as_str() == Some(document.digest().as_str())) {
        return Ok(None);
    }
    let mut entry = json!({
        "mediaType": document.media_type(),
        "digest": document.digest().as_str(),
        "size": document.raw().len(),
    });
    if let Some(kind) = artifact_type(document)? {
        entry["artifactType"] = kind.into();
    }
    if let Some(annotations @ Value::Object(_)) = about(document)?.annotations {
        entry["annotations"] = annotations;
    }
    entries.push(entry);
    serde_json::to_vec(&index).map(Some).map_err(|e| bad(e.to_string()))
}

impl Repository {
    /// What the repository has about a manifest.
    pub fn referrers(&self, manifest: &Digest) -> Result<Vec<Descriptor>> {
        let mut found = Vec::new();
        let mut next = Some(format!("{}/referrers/{manifest}", self.path));
        for _ in 0..MAX_PAGES {
            let Some(path) = next.take() else { break };
            let Some((page, link)) = self.runtime.block_on(self.page(&path))? else {
                return self.tagged(manifest);
            };
            found.extend(page);
            next = link;
        }
        Ok(found)
    }

    /// A page of the registry's own list. `None`: it keeps none.
    async fn page(&self, path: &str) -> Result<Option<(Vec<Descriptor>, Option<String>)>> {
        let request = Request { accept: Some(OCI_INDEX), ..Request::get(path, &self.scope) };
        let answer = match self.host.send(&request).await {
            Ok(answer) => answer,
            Err(e) if e.kind() == ErrorKind::Unauthorized => {
                tracing::debug!("{path}: {e}");
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        let text = |header: Option<&HeaderValue>| header.and_then(|h| h.to_str().ok()).map(str::to_owned);
        if answer.status().is_client_error() {
            return Ok(None);
        }
        if !answer.status().is_success() {
            return Err(self.host.failure(answer).await.wrap("list what is about the image"));
        }
        // What is no index comes from something that answers to every path.
        let kind = text(answer.headers().get(CONTENT_TYPE)).unwrap_or_default();
        if !kind.starts_with(OCI_INDEX) {
            return Ok(None);
        }
        let link = text(answer.headers().get(LINK)).as_deref().and_then(next_page);
        let raw = bounded_body(answer, MAX_MANIFEST).await?;
        let digest = Digest::sha256(&raw);
        match Document::parse_any(raw, digest, Some(OCI_INDEX)).context("list what is about the image")? {
            Document::Index(index) => Ok(Some((index.manifests, link))),
            Document::Manifest(_) => Ok(None),
        }
    }

    /// What the index under the tag lists.
    fn tagged(&self, manifest: &Digest) -> Result<Vec<Descriptor>> {
        match self.any_manifest(&tag(manifest)) {
            Ok(Document::Index(index)) => Ok(index.manifests),
            Ok(Document::Manifest(_)) => Ok(Vec::new()),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(e.wrap("list what is about the image")),
        }
    }

    /// Lists a document that was written under the tag of its subject, for a registry that does not do it itself.
    pub fn list_referrer(&self, document: &Document, subject: &Digest) -> Result<()> {
        let tag = tag(subject);
        let before = match self.any_manifest(&tag) {
            Ok(document) => Some(document),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(e),
        };
        let listed = listed(before.as_ref().map(Document::raw), document);
        if let Some(index) = listed.with_context(|| format!("{}:{tag}", self.reference.name()))? {
            self.put_manifest(&tag, OCI_INDEX, &index)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::registry::manifest::OCI_MANIFEST;

    fn bill(subject: &Digest) -> Document {
        let blob =
            json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": subject.as_str(), "size": 2});
        let raw = json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/x-bill",
            "config": blob.clone(),
            "layers": [blob.clone()],
            "subject": {"mediaType": OCI_MANIFEST, "digest": subject.as_str(), "size": 5},
            "annotations": {"a": "b"},
        });
        let raw = raw.to_string().into_bytes();
        let digest = Digest::sha256(&raw);
        Document::parse_any(raw, digest, None).unwrap()
    }

    #[test]
    fn a_list_has_each_referrer_once_with_what_is_said_of_it() {
        let digest = Digest::sha256(b"image");
        let document = bill(&digest);
        assert_eq!(subject(&document).unwrap(), Some(digest.clone()));
        let index = listed(None, &document).unwrap().unwrap();
        let value: Value = serde_json::from_slice(&index).unwrap();
        let entry = &value["manifests"][0];
        assert_eq!(entry["artifactType"], "application/x-bill");
        assert_eq!((&entry["annotations"]["a"], &entry["size"]), (&json!("b"), &json!(document.raw().len())));
        assert_eq!(listed(Some(&index), &document).unwrap(), None);
        let other = bill(&Digest::sha256(b"other"));
        let both: Value = serde_json::from_slice(&listed(Some(&index), &other).unwrap().unwrap()).unwrap();
        assert_eq!(both["manifests"].as_array().unwrap().len(), 2);
        assert!(listed(Some(b"{}"), &document).is_err());
    }

    #[test]
    fn tags_are_those_of_the_specification() {
        let digest = Digest::sha256(b"");
        assert_eq!(tag(&digest), "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let long = Digest::of(crate::engine::digest::Algorithm::Sha512, b"");
        assert_eq!(tag(&long).len(), 7 + 64);
        assert!(is_tag(&tag(&digest)) && is_tag(&tag(&long)));
        assert!(!is_tag("latest") && !is_tag(&format!("{}.sig", tag(&digest))));
    }
}
