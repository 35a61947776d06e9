//! `signedIdentity`: which names a signature may have been made for (containers-policy.json(5), containers/image's
//! `policy_reference_match.go`). Pure.

use crate::engine::registry::Reference;
use crate::engine::registry::reference::domain_is_valid;
use crate::engine::trust::strict::Object;
use crate::engine::{Error, Result};

/// How the name in a signature has to match the image's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Identity {
    /// The image's name; by digest, its repository.
    #[default]
    MatchRepoDigestOrExact,
    /// The image's name.
    MatchExact,
    /// The image's repository.
    MatchRepository,
    /// This name.
    ExactReference(Reference),
    /// This repository.
    ExactRepository(Reference),
    /// The image's name with another beginning.
    Remap {
        /// What the image's name has to begin with; another name is taken as it is.
        prefix: String,
        /// What stands there in signatures.
        signed_prefix: String,
    },
}

impl Identity {
    pub(super) fn parse(text: &str, what: &str) -> Result<Self> {
        let mut object = Object::parse(text, what)?;
        let kind: String = object.required("type")?;
        let identity = match kind.as_str() {
            "matchRepoDigestOrExact" => Self::MatchRepoDigestOrExact,
            "matchExact" => Self::MatchExact,
            "matchRepository" => Self::MatchRepository,
            "exactReference" => {
                let reference = reference(&mut object, "dockerReference")?;
                if name_only(&reference) {
                    let name = object.name("dockerReference");
                    return Err(Error::invalid(format!(
                        "{name}: {reference} has neither a tag nor a digest"
                    )));
                }
                Self::ExactReference(reference)
            }
            "exactRepository" => Self::ExactRepository(reference(&mut object, "dockerRepository")?),
            "remapIdentity" => Self::Remap {
                prefix: prefix(&mut object, "prefix")?,
                signed_prefix: prefix(&mut object, "signedPrefix")?,
            },
            kind => {
                return Err(Error::invalid(format!("{what}: unknown policy reference match type {kind:?}")));
            }
        };
        object.end()?;
        Ok(identity)
    }

    /// Whether a signature made for `signed` is one for `image` (`None`: the image has no name).
    pub fn matches(&self, image: Option<&Reference>, signed: &str) -> bool {
        let Ok(signed) = Reference::parse(signed) else { return false };
        match (self, image) {
            (Self::ExactReference(wanted), _) => !name_only(&signed) && signed == *wanted,
            (Self::ExactRepository(wanted), _) => signed.name() == wanted.name(),
            (_, None) => false,
            (Self::MatchExact, Some(image)) => !name_only(image) && !name_only(&signed) && signed == *image,
            (Self::MatchRepository, Some(image)) => signed.name() == image.name(),
            (Self::MatchRepoDigestOrExact, Some(image)) => repo_digest_or_exact(image, &signed),
            (Self::Remap { prefix, signed_prefix }, Some(image)) => remapped(image, prefix, signed_prefix)
                .is_some_and(|image| repo_digest_or_exact(&image, &signed)),
        }
    }
}

fn name_only(reference: &Reference) -> bool {
    reference.tag().is_none() && reference.digest().is_none()
}

/// That the digest is the manifest's is checked with the signature.
fn repo_digest_or_exact(image: &Reference, signed: &Reference) -> bool {
    if name_only(signed) {
        return false;
    }
    match (image.tag(), image.digest()) {
        (Some(_), _) => signed == image,
        (None, Some(_)) => signed.name() == image.name(),
        (None, None) => false,
    }
}

/// `None`: the name that comes out is none.
fn remapped(image: &Reference, prefix: &str, signed_prefix: &str) -> Option<Reference> {
    let name = image.name();
    match name.strip_prefix(prefix) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => {
            let text = image.to_string();
            let renamed = format!("{signed_prefix}{}", &text[prefix.len()..]);
            Reference::parse(&renamed).ok().filter(|parsed| parsed.to_string() == renamed)
        }
        _ => Some(image.clone()),
    }
}

fn reference(object: &mut Object<'_>, key: &str) -> Result<Reference> {
    let text: String = object.required(key)?;
    Reference::parse(&text).map_err(|e| Error::invalid(format!("{}: {e}", object.name(key))))
}

fn prefix(object: &mut Object<'_>, key: &str) -> Result<String> {
    let text: String = object.required(key)?;
    let full = |name: &Reference| name_only(name) && name.to_string() == text;
    match domain_is_valid(&text) || Reference::parse(&text).is_ok_and(|name| full(&name)) {
        true => Ok(text),
        false => Err(Error::invalid(format!("{}: prefix {text:?} is not valid", object.name(key)))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn identity(text: &str) -> Identity {
        Identity::parse(text, "id").unwrap()
    }

    #[test]
    fn names_match_as_the_rule_says() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let by_digest = format!("h.io/x@{digest}");
        let default = r#"{"type":"matchRepoDigestOrExact"}"#;
        let exact = r#"{"type":"matchExact"}"#;
        let repository = r#"{"type":"matchRepository"}"#;
        let one = r#"{"type":"exactReference","dockerReference":"h.io/y:1"}"#;
        let all = r#"{"type":"exactRepository","dockerRepository":"h.io/y"}"#;
        let remap = r#"{"type":"remapIdentity","prefix":"mirror.io/v","signedPrefix":"h.io"}"#;
        for (rule, image, signed, want) in [
            (default, "h.io/x:1", "h.io/x:1", true),
            (default, "h.io/x:1", "h.io/x:2", false),
            (default, "h.io/x:1", "h.io/x", false),
            (default, &by_digest, "h.io/x:2", true),
            (default, &by_digest, "h.io/z:2", false),
            (default, "busybox:1", "docker.io/library/busybox:1", true),
            (exact, "h.io/x:1", "h.io/x:1", true),
            (exact, &by_digest, "h.io/x:1", false),
            (exact, &by_digest, &by_digest, true),
            (repository, "h.io/x:1", "h.io/x:9", true),
            (repository, "h.io/x:1", "h.io/x/y:1", false),
            (one, "h.io/x:1", "h.io/y:1", true),
            (one, "h.io/x:1", "h.io/y:2", false),
            (all, "h.io/x:1", "h.io/y:2", true),
            (all, "h.io/x:1", "h.io/x:1", false),
            (remap, "mirror.io/v/x:1", "h.io/x:1", true),
            (remap, "mirror.io/v/x:1", "mirror.io/v/x:1", false),
            (remap, "mirror.io/vv/x:1", "mirror.io/vv/x:1", true),
            (default, "h.io/x:1", "not a name", false),
        ] {
            let image = Reference::parse(image).unwrap();
            assert_eq!(identity(rule).matches(Some(&image), signed), want, "{rule} {image} {signed}");
        }
        assert!(!identity(default).matches(None, "h.io/x:1"));
        assert!(identity(one).matches(None, "h.io/y:1"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, want) in [
            (r#"{"type":"x"}"#, "id: unknown policy reference match type \"x\""),
            (r#"{"type":"matchExact","y":1}"#, "id: unknown key \"y\""),
            (r#"{"type":"exactReference"}"#, "the key \"dockerReference\" is missing"),
            (r#"{"type":"exactReference","dockerReference":"h.io/y"}"#, "neither a tag nor a digest"),
            (
                r#"{"type":"exactRepository","dockerRepository":"UP"}"#,
                "id.dockerRepository: invalid reference",
            ),
            (r#"{"type":"remapIdentity","prefix":"x y","signedPrefix":"h"}"#, "prefix \"x y\" is not valid"),
        ] {
            let e = Identity::parse(text, "id").unwrap_err().to_string();
            assert!(e.contains(want), "{text}: {e}");
        }
    }
}
