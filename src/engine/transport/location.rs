//! Names with a transport, as podman and skopeo write them (containers-transports(5)). Pure.
//!
//! A plain word is the name of an image. `oci:PATH[:REF|:@INDEX]` and the archives take what comes after the last colon
//! of the path for the image inside, so a path with a colon cannot be named without one more.

use std::fmt;
use std::path::PathBuf;

use crate::engine::registry::Reference;
use crate::engine::{Digest, Error, Result};

/// Where an image is, or is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A name without a transport: here, or at a registry, as the command has it.
    Name(String),
    /// `docker://NAME`.
    Registry(String),
    /// `containers-storage:NAME`, a name or an ID of this store.
    Storage(String),
    /// `oci:PATH[:REF]`, an image layout in a directory.
    Oci(PathBuf, Chosen),
    /// `oci-archive:PATH[:REF]`, an image layout in a tar.
    OciArchive(PathBuf, Chosen),
    /// `docker-archive:PATH[:NAME]`.
    DockerArchive(PathBuf, Chosen),
    /// `dir:PATH`, one image in a directory.
    Directory(PathBuf),
    /// `docker-daemon:NAME`, an image of a Docker daemon: a name or an ID.
    Daemon(String),
}

/// Which image of several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Chosen {
    /// The only one.
    #[default]
    Only,
    /// By its name there.
    Name(String),
    /// By its place, from 0.
    Index(usize),
}

/// Transports that others have.
const FOREIGN: [&str; 6] = ["sif", "ostree", "atomic", "tarball", "docker-storage", "http"];

impl Location {
    /// Parses `text`.
    ///
    /// # Errors
    /// A transport that is not known or not offered; what follows it is malformed.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some(name) = text.strip_prefix("docker://") {
            Reference::parse(name)?;
            return Ok(Self::Registry(name.to_owned()));
        }
        let Some((transport, rest)) = text.split_once(':') else { return Ok(Self::Name(text.to_owned())) };
        let wanting = |what: &str| {
            Err(Error::invalid(format!("invalid image {text:?}: {transport}: is followed by {what}")))
        };
        match transport {
            "containers-storage" => match storage_name(rest) {
                "" => wanting("the name or ID of an image"),
                name => Ok(Self::Storage(name.to_owned())),
            },
            "docker-daemon" if rest.is_empty() => wanting("the name or ID of an image"),
            "docker-daemon" => Ok(Self::Daemon(rest.to_owned())),
            "oci" | "oci-archive" | "docker-archive" => {
                let (path, chosen) = path_and_image(transport, rest)?;
                if path.as_os_str().is_empty() {
                    return wanting("a path");
                }
                Ok(match transport {
                    "oci" => Self::Oci(path, chosen),
                    "oci-archive" => Self::OciArchive(path, chosen),
                    _ => Self::DockerArchive(path, chosen),
                })
            }
            "dir" if rest.is_empty() => wanting("a path"),
            "dir" => Ok(Self::Directory(rest.into())),
            "docker" => Err(Error::invalid(format!("invalid image {text:?}"))
                .with_hint(format!("write docker://{rest}, or {rest} alone"))),
            _ if FOREIGN.contains(&transport) || rest.starts_with("//") => {
                Err(Error::unsupported(format!("the transport {transport}: is not supported")).with_hint(
                    "use docker://, containers-storage:, oci:, oci-archive:, docker-archive:, dir: or docker-daemon:",
                ))
            }
            _ => Ok(Self::Name(text.to_owned())),
        }
    }

    /// [`Location::parse`] where an image's name is what is usually given: `oci:1.0` and `dir:latest` are names with a tag
    /// there, as docker reads them.
    pub fn parse_name(text: &str) -> Result<Self> {
        if let Some(("oci" | "dir", rest)) = text.split_once(':')
            && crate::engine::registry::reference::tag_is_valid(rest)
        {
            return Ok(Self::Name(text.to_owned()));
        }
        Self::parse(text)
    }

    /// Whether it is a plain name.
    pub fn is_name(&self) -> bool {
        matches!(self, Self::Name(_))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Registry(name) => write!(f, "docker://{name}"),
            Self::Storage(name) => write!(f, "containers-storage:{name}"),
            Self::Oci(path, chosen) => write!(f, "oci:{}{chosen}", path.display()),
            Self::OciArchive(path, chosen) => write!(f, "oci-archive:{}{chosen}", path.display()),
            Self::DockerArchive(path, chosen) => write!(f, "docker-archive:{}{chosen}", path.display()),
            Self::Directory(path) => write!(f, "dir:{}", path.display()),
            Self::Daemon(name) => write!(f, "docker-daemon:{name}"),
        }
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Only => Ok(()),
            Self::Name(name) => write!(f, ":{name}"),
            Self::Index(index) => write!(f, ":@{index}"),
        }
    }
}

/// Without `[driver@root+run]` in front, which says which store: the one at hand is meant.
fn storage_name(text: &str) -> &str {
    let text = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((_, name)) => name,
        None => text,
    };
    text.strip_prefix('@').unwrap_or(text)
}

fn path_and_image(transport: &str, text: &str) -> Result<(PathBuf, Chosen)> {
    // `oci:PATH@3` is the newer libraries' word for the fourth image.
    if let Some((path, index)) = text.rsplit_once('@')
        && let Ok(index) = index.parse()
    {
        return Ok((path.trim_end_matches(':').into(), Chosen::Index(index)));
    }
    // The first colon after which there is an image: names have colons themselves, paths hardly ever.
    let Some((path, image)) = text.split_once(':') else { return Ok((text.into(), Chosen::Only)) };
    if image.is_empty() {
        return Ok((path.into(), Chosen::Only));
    }
    if let Some(index) = image.strip_prefix('@') {
        let index = index.parse().map_err(|_| Error::invalid(format!("invalid image index @{index}")))?;
        return Ok((path.into(), Chosen::Index(index)));
    }
    if transport == "docker-archive" {
        let name = Reference::parse(image)?;
        if name.digest().is_some() {
            return Err(Error::invalid(format!(
                "invalid image {image:?}: docker-archive: knows names by their tags, not by digests"
            )));
        }
    }
    Ok((path.into(), Chosen::Name(image.to_owned())))
}

/// Whether a word is an image's ID or digest rather than a name.
pub fn is_id(text: &str) -> bool {
    Digest::parse(text).is_ok() || crate::engine::registry::reference::is_identifier(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn transports_are_podmans_and_skopeos() {
        let only = Chosen::Only;
        let named = |name: &str| Chosen::Name(name.into());
        for (text, want) in [
            ("busybox", Location::Name("busybox".into())),
            ("h:5000/x:1", Location::Name("h:5000/x:1".into())),
            ("docker://h:5000/x", Location::Registry("h:5000/x".into())),
            ("containers-storage:x:1", Location::Storage("x:1".into())),
            ("containers-storage:[overlay@/a+/b]x", Location::Storage("x".into())),
            ("containers-storage:[/a]@abcdef", Location::Storage("abcdef".into())),
            ("oci:/a/b", Location::Oci("/a/b".into(), only.clone())),
            ("oci:/a/b:v1", Location::Oci("/a/b".into(), named("v1"))),
            ("oci:a:q.io/x:v1", Location::Oci("a".into(), named("q.io/x:v1"))),
            ("oci:a:@2", Location::Oci("a".into(), Chosen::Index(2))),
            ("oci:a@2", Location::Oci("a".into(), Chosen::Index(2))),
            ("oci-archive:a.tar", Location::OciArchive("a.tar".into(), only.clone())),
            ("docker-archive:a.tar:x:1", Location::DockerArchive("a.tar".into(), named("x:1"))),
            ("docker-archive:a.tar:@0", Location::DockerArchive("a.tar".into(), Chosen::Index(0))),
            ("dir:./x", Location::Directory("./x".into())),
            ("docker-daemon:x:latest", Location::Daemon("x:latest".into())),
        ] {
            assert_eq!(Location::parse(text).unwrap(), want, "{text}");
        }
        for (text, want) in [
            ("sif:/x", "the transport sif: is not supported"),
            ("ftp://x/y", "the transport ftp: is not supported"),
            ("docker:x", "invalid image"),
            ("dir:", "is followed by a path"),
            ("oci::x", "is followed by a path"),
            ("containers-storage:[a]", "name or ID"),
            ("docker-daemon:", "name or ID"),
            ("docker-archive:x:@y", "invalid image index"),
            ("docker://X", "lowercase"),
        ] {
            let e = Location::parse(text).unwrap_err().to_string();
            assert!(e.contains(want), "{text}: {e}");
        }
    }

    #[test]
    fn names_with_a_tag_stay_names_where_names_are_usual() {
        for text in ["oci:latest", "dir:1.0", "busybox"] {
            assert!(Location::parse_name(text).unwrap().is_name(), "{text}");
        }
        assert!(!Location::parse_name("oci:./latest").unwrap().is_name());
        assert!(!Location::parse_name("docker-archive:x").unwrap().is_name());
    }

    #[test]
    fn a_location_is_written_as_it_was_read() {
        for text in ["oci:/a:v1", "docker-archive:/a:@3", "dir:/x", "docker://x", "docker-daemon:x:1"] {
            assert_eq!(Location::parse(text).unwrap().to_string(), text);
        }
    }
}
