//! The sizes of an image's signatures in its record's metadata, as containers/image's storage transport writes them
//! (`storage/storage_image.go`): the signatures themselves are one big data item for each manifest, joined. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::engine::{Digest, Error, Result};

/// Sizes in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureSizes {
    #[serde(default, rename = "signature-sizes", skip_serializing_if = "Option::is_none")]
    main: Option<Vec<usize>>,
    #[serde(default, rename = "signatures-sizes", skip_serializing_if = "Option::is_none")]
    manifests: Option<BTreeMap<String, Vec<usize>>>,
}

impl SignatureSizes {
    /// Of the signatures of one manifest, the image's own.
    pub fn new(manifest: &Digest, sizes: Vec<usize>) -> Self {
        let manifests = BTreeMap::from([(manifest.to_string(), sizes.clone())]);
        Self { main: Some(sizes), manifests: Some(manifests) }
    }

    /// Reads a record's metadata; without any there are no signatures.
    pub fn parse(metadata: &str) -> Result<Self> {
        if metadata.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_str(metadata).map_err(|e| Error::corrupt(format!("metadata of an image: {e}")))
    }

    /// The metadata.
    pub fn text(&self) -> String {
        // Numbers and strings are always JSON.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Those of the manifest that the image is recorded with.
    pub fn main(&self) -> &[usize] {
        self.main.as_deref().unwrap_or_default()
    }

    /// Those of a manifest, if it is named.
    pub fn of(&self, manifest: &Digest) -> Option<&[usize]> {
        self.manifests.as_ref()?.get(manifest.as_str()).map(Vec::as_slice)
    }
}

/// The metadata of an image that comes once more with this manifest: what is new counts, other manifests keep what they
/// had.
pub(super) fn merged(old: &str, new: &str, manifest: &Digest) -> String {
    let parse = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default();
    let (mut merged, new) = (parse(old), parse(new));
    merged.remove("signature-sizes");
    if let Some(Value::Object(manifests)) = merged.get_mut("signatures-sizes") {
        manifests.remove(manifest.as_str());
        if manifests.is_empty() {
            merged.remove("signatures-sizes");
        }
    }
    for (key, value) in new {
        match (merged.get_mut(&key).and_then(Value::as_object_mut), value) {
            (Some(before), Value::Object(value)) => before.extend(value),
            (_, value) => _ = merged.insert(key, value),
        }
    }
    Value::Object(merged).to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_they_are_read_and_merged_by_manifest() {
        let (one, two) = (Digest::sha256(b"1"), Digest::sha256(b"2"));
        let sizes = SignatureSizes::new(&one, vec![3, 4]);
        assert_eq!(
            sizes.text(),
            format!(r#"{{"signature-sizes":[3,4],"signatures-sizes":{{"{one}":[3,4]}}}}"#)
        );
        assert_eq!(SignatureSizes::parse(&sizes.text()).unwrap(), sizes);
        assert!(SignatureSizes::parse("{}").unwrap().main().is_empty());
        assert!(SignatureSizes::parse("[").is_err());
        let both = merged(&sizes.text(), &SignatureSizes::new(&two, vec![5]).text(), &two);
        let both = SignatureSizes::parse(&both).unwrap();
        assert_eq!(
            (both.main(), both.of(&one), both.of(&two)),
            (&[5][..], Some(&[3, 4][..]), Some(&[5][..]))
        );
        assert_eq!(merged(&sizes.text(), "{}", &one), "{}");
        assert_eq!(merged("", "{}", &one), "{}");
        assert_eq!(merged(r#"{"other":1}"#, "{}", &one), r#"{"other":1}"#);
    }
}
