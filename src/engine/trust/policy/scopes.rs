//! Scopes: what policy.json calls an image, from the image itself to all of its kind (containers/image's
//! `PolicyConfigurationIdentity` and `PolicyConfigurationNamespaces` of each transport). Pure.

use std::path::{Component, Path};

use crate::engine::Digest;
use crate::engine::registry::Reference;

/// An image as a policy knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scopes {
    pub(super) transport: &'static str,
    /// The image, for messages.
    pub(super) name: String,
    /// The closest first; all images of the transport are not among them.
    pub(super) scopes: Vec<String>,
}

impl Scopes {
    /// An image of a registry, by its full name.
    pub fn docker(name: &Reference) -> Self {
        Self { transport: "docker", name: name.to_string(), scopes: of_name(name) }
    }

    /// An image of a Docker daemon; `None`: by its ID.
    pub fn daemon(name: Option<&Reference>) -> Self {
        let text = name.map(ToString::to_string).unwrap_or_default();
        let scopes = name.map(of_name).unwrap_or_default();
        Self { transport: "docker-daemon", name: format!("docker-daemon:{text}"), scopes }
    }

    /// An image in a file or a directory at this path, without symbolic links.
    pub fn path(transport: &'static str, path: &Path) -> Self {
        let above = path.ancestors().filter_map(Path::to_str).filter(|scope| scope.len() > 1);
        let scopes = match transport {
            "docker-archive" => Vec::new(),
            _ => above.map(str::to_owned).collect(),
        };
        Self { transport, name: format!("{transport}:{}", path.display()), scopes }
    }

    /// An image of a store.
    pub fn storage(driver: &str, graph_root: &Path, name: Option<&Reference>, id: &str) -> Self {
        let store = format!("[{driver}@{}]", graph_root.display());
        let mut scopes = Vec::new();
        if let Some(name) = name {
            scopes.push(format!("{store}{name}@{id}"));
            scopes.push(format!("{store}{name}"));
            let repository = name.name();
            scopes.extend(parents(&repository).map(|at| format!("{store}{at}")));
        } else {
            scopes.push(format!("{store}@{id}"));
        }
        let plain = format!("[{}]", graph_root.display());
        let name = name.map_or_else(|| id.to_owned(), ToString::to_string);
        scopes.extend([store, plain]);
        Self { transport: "containers-storage", name: format!("containers-storage:{name}"), scopes }
    }
}

impl Scopes {
    /// From the image to all of its kind.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.scopes.iter().map(String::as_str)
    }
}

fn parents(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |at| at.rsplit_once('/').map(|(parent, _)| parent))
}

/// The name itself, its repository, each parent, the host, then `*.` wildcards of the host's parents.
pub fn of_name(name: &Reference) -> Vec<String> {
    let repository = name.name();
    let mut scopes = vec![name.to_string()];
    scopes.extend(parents(&repository).map(str::to_owned));
    let host = name.domain().split(':').next().unwrap_or_default();
    let wildcards = std::iter::successors(host.split_once('.'), |(_, rest)| rest.split_once('.'));
    scopes.extend(wildcards.map(|(_, parent)| format!("*.{parent}")));
    scopes
}

/// Why a scope can be none of this transport. Transports that are not known here may have any.
pub(super) fn check(transport: &str, scope: &str) -> Result<(), String> {
    match transport {
        "dir" | "oci" | "oci-archive" | "sif" => path_scope(scope),
        "docker-archive" | "tarball" => {
            Err(format!("{transport}: does not support any scopes except the default \"\" one"))
        }
        "docker-daemon" if Digest::parse(scope).is_ok() => {
            Err("an image's digest is no scope of docker-daemon:".to_owned())
        }
        "atomic" if !atomic(scope) => Err("it is not of the form HOST/NAMESPACE/STREAM:TAG".to_owned()),
        "containers-storage" => {
            let store = scope.strip_prefix('[').and_then(|rest| rest.split_once(']'));
            let root = store.map(|(store, _)| store.split_once('@').map_or(store, |(_, root)| root));
            match root.is_some_and(|root| root.starts_with('/')) {
                true => Ok(()),
                false => Err("it does not begin with [DRIVER@/GRAPHROOT] or [/GRAPHROOT]".to_owned()),
            }
        }
        _ => Ok(()),
    }
}

fn path_scope(scope: &str) -> Result<(), String> {
    if !scope.starts_with('/') {
        return Err("must be an absolute path".to_owned());
    }
    if scope == "/" {
        return Err("use the generic default scope \"\"".to_owned());
    }
    let clean: String = Path::new(scope)
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => name.to_str().map(|name| format!("/{name}")),
            _ => None,
        })
        .collect();
    if clean != scope || scope.split('/').any(|part| part == "..") {
        return Err("uses non-canonical path format".to_owned());
    }
    Ok(())
}

/// `HOST[/NAMESPACE[/STREAM[:TAG]]]`.
fn atomic(scope: &str) -> bool {
    let mut parts = scope.splitn(3, '/').skip(1);
    let namespace = parts.next().unwrap_or_default();
    let stream = parts.next().unwrap_or_default();
    !namespace.contains(':') && !stream.contains('/') && stream.matches(':').count() < 2
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn scopes_go_from_the_image_to_the_domain() {
        let of = |text: &str| Scopes::docker(&Reference::parse(text).unwrap()).scopes;
        assert_eq!(
            of("a.b.c:5000/ns/x:1"),
            ["a.b.c:5000/ns/x:1", "a.b.c:5000/ns/x", "a.b.c:5000/ns", "a.b.c:5000", "*.b.c", "*.c"]
        );
        let digest = format!("localhost/x@sha256:{}", "0".repeat(64));
        assert_eq!(of(&digest), [&digest, "localhost/x", "localhost"]);
        assert_eq!(Scopes::path("dir", Path::new("/a/b")).scopes, ["/a/b", "/a"]);
        assert!(Scopes::path("docker-archive", Path::new("/a/b")).scopes.is_empty());
        assert!(Scopes::daemon(None).scopes.is_empty());
        let name = Reference::parse("q.io/x:1").unwrap();
        assert_eq!(
            Scopes::storage("overlay", Path::new("/r"), Some(&name), "ab").scopes,
            [
                "[overlay@/r]q.io/x:1@ab",
                "[overlay@/r]q.io/x:1",
                "[overlay@/r]q.io/x",
                "[overlay@/r]q.io",
                "[overlay@/r]",
                "[/r]"
            ]
        );
    }

    #[test]
    fn scopes_are_of_their_transport() {
        for (transport, scope, ok) in [
            ("docker", "anything:5000/at all", true),
            ("dir", "/a/b", true),
            ("dir", "a", false),
            ("oci", "/", false),
            ("oci", "/a/../b", false),
            ("oci-archive", "/a//b", false),
            ("dir", "/a/", false),
            ("docker-archive", "/a", false),
            ("docker-daemon", "q.io/x", true),
            ("atomic", "h:5/ns/stream:tag", true),
            ("atomic", "h/ns/a/b", false),
            ("atomic", "h/ns/a:b:c", false),
            ("containers-storage", "[overlay@/r]q.io", true),
            ("containers-storage", "[/r]", true),
            ("containers-storage", "[r]", false),
            ("containers-storage", "q.io", false),
            ("whatever", "x", true),
        ] {
            assert_eq!(check(transport, scope).is_ok(), ok, "{transport} {scope}");
        }
        let digest = format!("sha256:{}", "0".repeat(64));
        assert!(check("docker-daemon", &digest).is_err());
    }
}
