//! Which local image a name means.
//!
//! The order is podman's (`libimage`: `LookupImage`): a full ID or digest; the short name's alias, `localhost/`, the
//! search registries, `docker.io`; an ID prefix; and at last any image whose repository ends in the name. A tag beside a
//! digest does not count. Reads the store without locks.

use crate::engine::config::registries::Registries;
use crate::engine::registry::reference::{DEFAULT_TAG, is_identifier};
use crate::engine::registry::{PlatformRequest, Reference, ShortName};
use crate::engine::store::ImageRecord;
use crate::engine::{Digest, Engine, Error, ErrorKind, Result};

/// A local image, and the name it was found by: `None` when by ID.
#[derive(Clone, Debug)]
pub struct Found {
    /// The image.
    pub image: ImageRecord,
    /// The full name that matched.
    pub name: Option<Reference>,
}

/// Finds the image `name` means.
///
/// `NotFound` ("No such image: …") if there is none; `Invalid` if `name` is no reference; `Conflict` if an ID prefix is
/// ambiguous.
pub fn find(engine: &Engine, name: &str) -> Result<Found> {
    let images = engine.store.images()?;
    find_in(&images, name, || Registries::load(&engine.config.env))
}

/// [`find`] that also wants the image to be for a platform; one for another is skipped, as if it were not there.
pub fn find_for(engine: &Engine, name: &str, platform: &PlatformRequest) -> Result<Found> {
    let found = find(engine, name)?;
    if !platform.is_custom() || found.name.is_none() {
        return Ok(found);
    }
    if super::index::is_index(&found.image) {
        let image = super::index::instance(engine, &found.image, platform)?;
        return Ok(Found { image, ..found });
    }
    let config = super::config_of(engine, &found.image)?;
    if platform.accepts(&config.platform()) { Ok(found) } else { Err(no_such_image(name)) }
}

/// What docker and podman say, in words that scripts look for.
pub fn no_such_image(name: &str) -> Error {
    Error::not_found(format!("No such image: {name}"))
}

/// [`find`] among `images`; registries.conf is read only if the name is short and not a known ID.
pub fn find_in(
    images: &[ImageRecord],
    name: &str,
    registries: impl FnOnce() -> Result<Registries>,
) -> Result<Found> {
    let missing = || no_such_image(name);
    let by_id = |image: &ImageRecord| Found { image: image.clone(), name: None };
    if let Some(hex) = name.strip_prefix("sha256:") {
        return by_hex(images, hex)?.map(by_id).ok_or_else(missing);
    }
    if is_identifier(name) {
        return images.iter().find(|i| i.id == name).map(by_id).ok_or_else(missing);
    }
    let parsed = ShortName::parse(name);
    let candidates = match &parsed {
        // An ID prefix such as 4e5021d is a short name as well; names come first, as in podman.
        Ok(Some(short)) => candidates(short, &registries()?)?,
        Ok(None) => vec![Reference::parse(name)?.digest_over_tag().or_latest()],
        Err(_) => Vec::new(),
    };
    for candidate in candidates {
        if let Some(image) = named(images, &candidate) {
            return Ok(Found { image: image.clone(), name: Some(candidate) });
        }
    }
    if is_hex_prefix(name)
        && let Some(image) = by_prefix(images, name)?
    {
        return Ok(by_id(image));
    }
    match parsed? {
        Some(short) => fuzzy(images, &short).ok_or_else(missing),
        None => Err(missing()),
    }
}

/// The full names a short one may stand for locally.
fn candidates(short: &ShortName, registries: &Registries) -> Result<Vec<Reference>> {
    let mut names = Vec::new();
    if let Some((alias, _)) = registries.alias(&short.name) {
        names.push(short.within(alias)?);
    }
    names.push(short.within(&format!("localhost/{}", short.name))?);
    for registry in registries.search() {
        names.push(short.within(&format!("{registry}/{}", short.name))?);
    }
    names.push(short.within(&short.name)?);
    Ok(names.into_iter().map(|n| n.digest_over_tag().or_latest()).collect())
}

/// The image with this name. One named by digest may have been pulled by tag: then the repository and one of its
/// digests must match.
fn named<'a>(images: &'a [ImageRecord], name: &Reference) -> Option<&'a ImageRecord> {
    let text = name.to_string();
    if let Some(image) = images.iter().find(|i| i.names.contains(&text)) {
        return Some(image);
    }
    let digest = name.digest()?;
    let repository = name.name();
    let in_repository = |full: &String| Reference::parse(full).is_ok_and(|r| r.name() == repository);
    images.iter().find(|i| {
        i.digests().contains(digest)
            && (i.names.iter().any(in_repository) || i.names_history.iter().any(in_repository))
    })
}

/// Any image whose repository is the name, or ends in `/name`, with the same tag or digest.
fn fuzzy(images: &[ImageRecord], short: &ShortName) -> Option<Found> {
    let suffix = format!("/{}", short.name);
    let tag = short.tag.as_deref().unwrap_or(DEFAULT_TAG);
    for image in images {
        for full in &image.names {
            let Ok(reference) = Reference::parse(full) else { continue };
            if !reference.name().ends_with(&suffix) {
                continue;
            }
            let matches = match &short.digest {
                Some(digest) => image.digests().contains(digest),
                None => reference.tag() == Some(tag),
            };
            if matches {
                let name = match &short.digest {
                    Some(digest) => reference.with_digest(digest.clone()),
                    None => reference,
                };
                return Some(Found { image: image.clone(), name: Some(name) });
            }
        }
    }
    None
}

/// By `sha256:HEX`: an image's full ID, or a digest of it.
fn by_hex<'a>(images: &'a [ImageRecord], hex: &str) -> Result<Option<&'a ImageRecord>> {
    if !is_identifier(hex) {
        if is_hex_prefix(hex) {
            return by_prefix(images, hex);
        }
        return Err(Error::invalid(format!("sha256:{hex}: invalid format: no 64-byte hexadecimal value")));
    }
    if let Some(image) = images.iter().find(|i| i.id == hex) {
        return Ok(Some(image));
    }
    let digest = Digest::parse(&format!("sha256:{hex}"))?;
    Ok(images.iter().find(|i| i.digests().contains(&digest)))
}

fn by_prefix<'a>(images: &'a [ImageRecord], prefix: &str) -> Result<Option<&'a ImageRecord>> {
    let mut matching = images.iter().filter(|i| i.id.starts_with(prefix));
    let first = matching.next();
    match (first, matching.next()) {
        (Some(a), Some(b)) if a.id != b.id => Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "image ID prefix {prefix} is ambiguous: it matches {} and {}",
                super::short_id(&a.id),
                super::short_id(&b.id)
            ),
        )),
        (first, _) => Ok(first),
    }
}

fn is_hex_prefix(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn image(id: char, names: &[&str]) -> ImageRecord {
        ImageRecord {
            id: id.to_string().repeat(64),
            names: names.iter().map(|n| (*n).to_owned()).collect(),
            digest: Some(Digest::parse(&format!("sha256:{}", id.to_string().repeat(64))).unwrap()),
            ..ImageRecord::default()
        }
    }

    fn first(found: Result<Found>) -> char {
        found.map_or_else(
            |e| if e.kind() == ErrorKind::NotFound { '-' } else { '!' },
            |f| f.image.id.chars().next().unwrap(),
        )
    }

    #[test]
    fn names_are_found_in_podmans_order() {
        let mut beef = image('b', &["docker.io/library/busybox:latest"]);
        beef.id = format!("beef{}", "0".repeat(60));
        let images = [
            image('a', &["localhost/app:latest", "docker.io/library/x:1"]),
            beef,
            image('c', &["quay.io/lab/tool:v2"]),
            image('d', &["docker.io/library/app:latest"]),
            image('e', &[]),
        ];
        let digest = format!("sha256:{}", "c".repeat(64));
        for (name, want) in [
            ("busybox", 'b'),
            ("busybox:latest", 'b'),
            ("docker.io/busybox", 'b'),
            ("docker://busybox", 'b'),
            ("busybox:2", '-'),
            ("app", 'a'),
            ("docker.io/app", 'd'),
            ("x:1", 'a'),
            ("x", '-'),
            ("beef", 'b'),
            ("sha256:beef", 'b'),
            (&"e".repeat(64), 'e'),
            (&"f".repeat(64), '-'),
            ("tool:v2", 'c'),
            ("lab/tool:v2", 'c'),
            ("ab/tool:v2", '-'),
            (&digest, 'c'),
            (&format!("quay.io/lab/tool@{digest}"), 'c'),
            (&format!("quay.io/lab/tool:old@{digest}"), 'c'),
            (&format!("quay.io/lab/other@{digest}"), '-'),
            (&format!("tool@{digest}"), 'c'),
            ("Busybox", '!'),
            ("", '!'),
        ] {
            assert_eq!(first(find_in(&images, name, || Ok(Registries::default()))), want, "{name}");
        }
    }

    #[test]
    fn an_ambiguous_prefix_is_a_conflict() {
        let mut other = image('a', &[]);
        other.id = format!("aa{}", "0".repeat(62));
        let e = find_in(&[image('a', &[]), other], "aa", || Ok(Registries::default())).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Conflict);
    }
}
