//! registries.d (containers-registries.d(5)): where the signatures of a registry's images are kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use reqwest::Url;
use serde::Deserialize;

use super::policy::Scopes;
use crate::engine::config::Environment;
use crate::engine::registry::Reference;
use crate::engine::{Digest, Error, Result};

/// All files of the directory, merged.
#[derive(Clone, Debug, Default)]
pub struct RegistriesD {
    default: Option<Namespace>,
    docker: BTreeMap<String, Namespace>,
    /// Where signatures are if no file says it.
    fallback: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    default_docker: Option<Namespace>,
    #[serde(default)]
    docker: Option<BTreeMap<String, Option<Namespace>>>,
}

/// What holds for a scope.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Namespace {
    #[serde(default)]
    lookaside: Option<String>,
    #[serde(default)]
    lookaside_staging: Option<String>,
    /// What `lookaside` was called before.
    #[serde(default)]
    sigstore: Option<String>,
    #[serde(default)]
    sigstore_staging: Option<String>,
    #[serde(default)]
    use_sigstore_attachments: Option<bool>,
}

/// Where signatures of one repository are.
#[derive(Clone, Debug)]
pub struct Whereabouts {
    /// Read from here.
    pub read: Lookaside,
    /// Written to here.
    pub write: Lookaside,
    /// Whether sigstore signatures are attached to images in the registry.
    pub attachments: bool,
}

/// A directory or a web server with the signatures of a repository.
#[derive(Clone, Debug)]
pub struct Lookaside {
    base: Url,
    repository: String,
}

impl RegistriesD {
    /// Reads the files of `directory` (`--registries.d`), else of the user's directory, else of the system's.
    ///
    /// `Invalid` if a file cannot be understood, or two say something about one scope.
    pub fn load(env: &Environment, directory: Option<&Path>) -> Result<Self> {
        let users = env.home.join(".config/containers/registries.d");
        let directory = match directory {
            Some(directory) => env.cwd.join(directory),
            None if users.exists() => users,
            None => "/etc/containers/registries.d".into(),
        };
        let fallback = match env.rootless() {
            true => env.home.join(".local/share/containers/sigstore"),
            false => "/var/lib/containers/sigstore".into(),
        };
        let mut merged = Self { fallback, ..Self::default() };
        let mut files = match fs::read_dir(&directory) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect::<Vec<_>>(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(merged),
            Err(e) => return Err(Error::io("read directory", &directory, e)),
        };
        files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
        files.sort();
        let mut origins = BTreeMap::new();
        for path in files {
            match fs::read_to_string(&path) {
                Ok(text) => merged.add(&text, &path, &mut origins)?,
                // It was removed since the directory was read.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::io("read", &path, e)),
            }
        }
        Ok(merged)
    }

    fn add(&mut self, text: &str, path: &Path, origins: &mut BTreeMap<String, PathBuf>) -> Result<()> {
        if text.trim().is_empty() {
            return Ok(());
        }
        let file: Option<File> = serde_saphyr::from_str(text).map_err(|e| {
            let first = e.to_string().lines().next().unwrap_or_default().to_owned();
            Error::invalid(format!("parsing {}: {first}", path.display()))
        })?;
        let Some(file) = file else { return Ok(()) };
        let mut once = |scope: &str| match origins.insert(scope.to_owned(), path.to_owned()) {
            None => Ok(()),
            Some(other) => Err(Error::invalid(format!(
                "{scope:?} is defined both in {} and {}",
                other.display(),
                path.display()
            ))),
        };
        if let Some(default) = file.default_docker {
            once("default-docker")?;
            self.default = Some(default);
        }
        for (scope, namespace) in file.docker.unwrap_or_default() {
            once(&format!("docker.{scope}"))?;
            self.docker.insert(scope, namespace.unwrap_or_default());
        }
        Ok(())
    }

    /// Where the signatures of an image are. `name` is the one it has at its endpoint.
    pub fn of(&self, name: &Reference) -> Result<Whereabouts> {
        let attachments = self.closest(name, |n| n.use_sigstore_attachments).unwrap_or_default();
        let lookaside = |written| self.lookaside(name, written);
        Ok(Whereabouts { read: lookaside(false)?, write: lookaside(true)?, attachments })
    }

    fn lookaside(&self, name: &Reference, written: bool) -> Result<Lookaside> {
        let base = match self.closest(name, |namespace| namespace.lookaside(written)) {
            Some(text) => Url::parse(&text)
                .map_err(|e| Error::invalid(format!("invalid signature storage URL {text}: {e}")))?,
            None => Url::from_file_path(&self.fallback)
                .map_err(|()| Error::invalid(format!("{} is no absolute path", self.fallback.display())))?,
        };
        Ok(Lookaside { base, repository: name.path().to_owned() })
    }

    /// What the closest scope that says anything about it says.
    fn closest<T>(&self, name: &Reference, ask: impl Fn(&Namespace) -> Option<T>) -> Option<T> {
        let scopes = Scopes::docker(name);
        let named = scopes.names().filter_map(|scope| self.docker.get(scope));
        named.chain(&self.default).find_map(ask)
    }

    /// The lookaside of a scope of policy.json, as `image trust show` shows it.
    pub fn shown(&self, scope: &str) -> Option<String> {
        let mut at = Some(scope).filter(|scope| !scope.is_empty());
        while let Some(scope) = at {
            if let Some(namespace) = self.docker.get(scope) {
                return namespace.lookaside(false);
            }
            at = scope.rsplit_once('/').map(|(parent, _)| parent);
        }
        self.default.as_ref().and_then(|namespace| namespace.lookaside(false))
    }
}

impl Namespace {
    fn lookaside(&self, written: bool) -> Option<String> {
        let staging = [&self.lookaside_staging, &self.sigstore_staging];
        let plain = [&self.lookaside, &self.sigstore];
        let staging = staging.into_iter().filter(|_| written);
        let set = staging.chain(plain).flatten();
        set.map(String::as_str).find(|text| !text.is_empty()).map(str::to_owned)
    }
}

impl Lookaside {
    /// A directory with signatures of all repositories (`image sign --directory`).
    pub fn in_directory(directory: &Path, name: &Reference) -> Result<Self> {
        let base = Url::from_file_path(directory)
            .map_err(|()| Error::invalid(format!("{} is no absolute path", directory.display())))?;
        Ok(Self { base, repository: name.path().to_owned() })
    }

    /// Where the signature with this number, from 1, of a manifest is (containers/image's `docs/signature-protocols.md`).
    pub(super) fn signature(&self, manifest: &Digest, number: usize) -> Url {
        let mut url = self.base.clone();
        let base = if url.path() == "/" { "" } else { url.path() };
        let (algorithm, hex) = (manifest.algorithm().name(), manifest.hex());
        url.set_path(&format!("{base}/{}@{algorithm}={hex}/signature-{number}", self.repository));
        url
    }

    /// The directory of a manifest's signatures, if they are in files.
    pub fn directory(&self, manifest: &Digest) -> Option<PathBuf> {
        let file = file_of(&self.signature(manifest, 1))?;
        file.parent().map(Path::to_owned)
    }

    /// The address, without what may be secret in it.
    pub(super) fn shown(&self) -> String {
        redacted(&self.base)
    }
}

pub(super) fn file_of(url: &Url) -> Option<PathBuf> {
    (url.scheme() == "file").then(|| url.to_file_path().ok()).flatten()
}

pub(super) fn redacted(url: &Url) -> String {
    let mut url = url.clone();
    if url.password().is_some() {
        let _ = url.set_password(Some("xxxxx"));
    }
    url.to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn merged(files: &[(&str, &str)]) -> Result<RegistriesD> {
        let tmp = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(tmp.path().join(name), text).unwrap();
        }
        let env = Environment { uid: 1000, home: "/home/u".into(), ..Environment::default() };
        RegistriesD::load(&env, Some(tmp.path()))
    }

    fn name(text: &str) -> Reference {
        Reference::parse(text).unwrap()
    }

    #[test]
    fn the_closest_scope_that_says_it_counts() {
        let files = merged(&[
            ("a.yaml", "default-docker:\n  lookaside: file:///var/all\n  use-sigstore-attachments: true\n"),
            (
                "b.yaml",
                "docker:\n  h.io:\n    sigstore: https://h.io/sig\n    sigstore-staging: file:///srv/out\n  \
                 h.io/x:\n    use-sigstore-attachments: false\n  '*.corp':\n    lookaside: http://c/\n  none:\n",
            ),
            ("c.yml", "not: [read"),
            ("empty.yaml", "# nothing\n"),
        ])
        .unwrap();
        let digest = Digest::sha256(b"x");
        let hex = digest.hex().to_owned();
        let at = |text: &str| {
            let found = files.of(&name(text)).unwrap();
            let (read, write) = (found.read.signature(&digest, 1), found.write.signature(&digest, 2));
            (read.to_string(), write.to_string(), found.attachments)
        };
        let (read, write, attachments) = at("h.io/x:1");
        assert_eq!(read, format!("https://h.io/sig/x@sha256={hex}/signature-1"));
        assert_eq!(write, format!("file:///srv/out/x@sha256={hex}/signature-2"));
        assert!(!attachments);
        assert!(at("h.io/y:1").2);
        assert_eq!(at("a.corp/n/y:1").0, format!("http://c/n/y@sha256={hex}/signature-1"));
        assert_eq!(at("q.io/n/y:1").1, format!("file:///var/all/n/y@sha256={hex}/signature-2"));
        assert_eq!(files.shown("h.io/x").as_deref(), None);
        assert_eq!(files.shown("h.io/z/w").as_deref(), Some("https://h.io/sig"));
        assert_eq!(files.shown("").as_deref(), Some("file:///var/all"));
        let none = merged(&[]).unwrap().of(&name("q.io/x:1")).unwrap();
        let directory = format!("/home/u/.local/share/containers/sigstore/x@sha256={hex}");
        assert_eq!(none.read.directory(&digest).unwrap(), PathBuf::from(directory));
        assert!(!none.attachments);
    }

    #[test]
    fn what_cannot_be_followed_is_named() {
        let two = merged(&[("a.yaml", "docker:\n  h: {}\n"), ("b.yaml", "docker:\n  h: {}\n")]);
        assert!(two.unwrap_err().to_string().contains("\"docker.h\" is defined both in"));
        let bad = merged(&[("a.yaml", "docker: [1")]).unwrap_err().to_string();
        assert!(bad.contains("a.yaml: "), "{bad}");
        let url = merged(&[("a.yaml", "default-docker:\n  lookaside: /srv\n")]).unwrap();
        assert!(
            url.of(&name("h.io/x")).unwrap_err().to_string().contains("invalid signature storage URL /srv")
        );
    }
}
