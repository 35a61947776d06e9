//! The files: auth.json, docker's config.json, `~/.dockercfg`.
//!
//! One is changed under a lock of its directory and replaced by a rename; what else stands in it stays, whoever put it
//! there.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Credentials, DOCKER_HUB_KEY, Login};
use crate::engine::host::atomic::{self, Durability};
use crate::engine::host::lock::DirLock;
use crate::engine::{Error, Result};
use crate::failpoint;

/// A file that may hold credentials.
#[derive(Clone, Debug)]
pub(super) struct AuthPath {
    pub(super) path: PathBuf,
    /// A file the caller named: it must exist.
    pub(super) required: bool,
    /// `~/.dockercfg`: the map of registries without the `auths` around it.
    pub(super) legacy: bool,
    /// Docker's own, in which Docker Hub has another name.
    pub(super) docker: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct File {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    #[serde(rename = "identitytoken")]
    identity_token: String,
    username: String,
    password: String,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entry(…)")
    }
}

impl File {
    /// The helper that has the registry's credentials, and the registry's name there.
    pub(super) fn helper(&self, registry: &str) -> Option<(&str, String)> {
        if let Some(helper) = self.cred_helpers.get(registry) {
            return Some((helper, registry.to_owned()));
        }
        let server = if registry == "docker.io" { DOCKER_HUB_KEY } else { registry };
        self.store().map(|store| (store, server.to_owned()))
    }

    /// Whether nothing in the file itself counts for the registry.
    pub(super) fn is_only_helper(&self, registry: &str) -> bool {
        self.cred_helpers.contains_key(registry)
    }

    /// Registries with a helper of their own.
    pub(super) fn helpers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.cred_helpers.iter().map(|(registry, helper)| (registry.as_str(), helper.as_str()))
    }

    /// The helper for all other registries.
    pub(super) fn store(&self) -> Option<&str> {
        (!self.creds_store.is_empty()).then_some(self.creds_store.as_str())
    }

    /// The login in the file itself.
    pub(super) fn find(&self, path: &AuthPath, repository: &str, registry: &str) -> Result<Option<Login>> {
        let mut key = if path.legacy { registry } else { repository };
        loop {
            let entry = self.auths.get(key).map(|e| decode(e, key, &path.path)).transpose()?;
            if let Some(found) = entry.flatten() {
                return Ok(Some(found));
            }
            let Some((parent, _)) = key.rsplit_once('/') else { break };
            key = parent;
        }
        // Keys written as URLs, and Docker Hub's own.
        for (key, entry) in &self.auths {
            if is_registry(key)
                && normalized(key) == normalized(registry)
                && let Some(found) = decode(entry, key, &path.path)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

impl AuthPath {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, required: false, legacy: false, docker: false }
    }

    /// `None`: there is no such file.
    pub(super) fn read(&self) -> Result<Option<File>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !self.required => return Ok(None),
            // A directory of another user is not ours to judge (sudo with the caller's HOME).
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied && !self.required => return Ok(None),
            Err(e) => return Err(Error::io("read credentials", &self.path, e)),
        };
        if text.trim().is_empty() && !self.required {
            return Ok(None);
        }
        let parsed = match self.legacy {
            true => serde_json::from_str(&text).map(|auths| File { auths, ..File::default() }),
            false => serde_json::from_str(&text),
        };
        parsed.map(Some).map_err(|e| self.syntax(&e))
    }

    /// Only the line: the parser's message could quote a secret.
    fn syntax(&self, e: &serde_json::Error) -> Error {
        Error::invalid(format!("{}, line {}: not a credentials file", self.path.display(), e.line()))
    }

    /// Writes a login; `None`: a sign that a helper has it.
    pub(super) fn put(&self, key: &str, login: Option<&Login>) -> Result<()> {
        let (auth, token) = match login.map(|l| (&l.user, &l.credentials)) {
            None => (None, None),
            Some((_, Credentials::Basic { user, password })) => (Some(format!("{user}:{password}")), None),
            Some((user, Credentials::IdentityToken(token))) => (Some(format!("{user}:")), Some(token)),
        };
        self.edit(|auths| {
            auths.retain(|other, _| !self.same(other, key));
            let mut entry = json!({});
            if let Some(auth) = auth {
                entry["auth"] = STANDARD.encode(auth).into();
            }
            if let Some(token) = token {
                entry["identitytoken"] = token.as_str().into();
            }
            auths.insert(self.key(key), entry);
            true
        })
        .map(drop)
    }

    /// Removes a login. `false`: there was none.
    pub(super) fn remove(&self, key: &str) -> Result<bool> {
        self.edit(|auths| {
            let before = auths.len();
            auths.retain(|other, _| !self.same(other, key));
            auths.len() < before
        })
    }

    /// Removes all logins.
    pub(super) fn clear(&self) -> Result<()> {
        self.edit(|auths| !std::mem::take(auths).is_empty()).map(drop)
    }

    fn key(&self, key: &str) -> String {
        if self.docker && key == "docker.io" { DOCKER_HUB_KEY.to_owned() } else { key.to_owned() }
    }

    fn same(&self, written: &str, key: &str) -> bool {
        written == key || (is_registry(written) && is_registry(key) && normalized(written) == normalized(key))
    }

    /// Changes the map of logins, and writes the file if `change` says so.
    fn edit(&self, change: impl FnOnce(&mut Map<String, Value>) -> bool) -> Result<bool> {
        // A link's target is what is replaced, as it would be if it were written to.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let directory = path.parent().unwrap_or(Path::new("/"));
        let mut private = fs::DirBuilder::new();
        private
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|e| Error::io("mkdir", directory, e))?;
        let _lock = DirLock::exclusive(directory)?;
        let text = match fs::read_to_string(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            read => read.map_err(|e| Error::io("read credentials", &path, e))?,
        };
        let mut whole: Map<String, Value> = match text.trim() {
            "" => Map::new(),
            text => serde_json::from_str(text).map_err(|e| self.syntax(&e))?,
        };
        let auths = match self.legacy {
            true => Some(&mut whole),
            false => whole.entry("auths").or_insert_with(|| json!({})).as_object_mut(),
        };
        let Some(auths) = auths else {
            return Err(Error::invalid(format!("{}: \"auths\" is no map", path.display())));
        };
        if !change(auths) {
            return Ok(false);
        }
        forget_unfinished(&path);
        failpoint!("login.before-writing");
        atomic::write(&path, &tabbed(&whole)?, 0o600, Durability::Synced)?;
        failpoint!("login.written");
        Ok(true)
    }
}

/// Removes what an interrupted write left beside the file: it may hold secrets that are no longer wanted.
fn forget_unfinished(path: &Path) {
    let prefix = format!(".tmp-{}-", path.file_name().unwrap_or_default().to_string_lossy());
    let entries = path.parent().and_then(|directory| fs::read_dir(directory).ok());
    for entry in entries.into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Indented by tabs, as docker and podman write it.
fn tabbed(whole: &Map<String, Value>) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    whole.serialize(&mut serializer).map_err(|_| Error::invalid("credentials that are no text"))?;
    text.push(b'\n');
    Ok(text)
}

fn decode(entry: &Entry, key: &str, path: &Path) -> Result<Option<Login>> {
    let basic = |user: &str, password: &str| Login {
        user: user.to_owned(),
        credentials: Credentials::Basic { user: user.to_owned(), password: password.to_owned() },
    };
    let bad = || {
        Error::invalid(format!("{}: the \"auth\" of {key} is not base64 of user:password", path.display()))
    };
    let pair = match entry.auth.as_str() {
        "" => None,
        auth => {
            let raw = STANDARD.decode(auth).map_err(|_| bad())?;
            Some(String::from_utf8(raw).map_err(|_| bad())?)
        }
    };
    let pair = pair.as_deref().map(|text| text.split_once(':').ok_or_else(bad)).transpose()?;
    if !entry.identity_token.is_empty() {
        let user = pair.map_or(entry.username.as_str(), |(user, _)| user).to_owned();
        let credentials = Credentials::IdentityToken(entry.identity_token.clone());
        return Ok(Some(Login { user, credentials }));
    }
    Ok(match pair {
        Some((user, password)) => Some(basic(user, password.trim_matches('\0'))),
        None if entry.username.is_empty() => None,
        None => Some(basic(&entry.username, &entry.password)),
    })
}

/// Whether a key is for a registry as a whole: its host, or a URL of it, as old programs wrote them.
fn is_registry(key: &str) -> bool {
    key.contains("://") || !key.contains('/')
}

/// The host of a key that may be a URL; Docker Hub's names are one.
fn normalized(key: &str) -> &str {
    let host = key.trim_start_matches("https://").trim_start_matches("http://");
    let host = host.split('/').next().unwrap_or_default();
    match host {
        "registry-1.docker.io" | "docker.io" => "index.docker.io",
        host => host,
    }
}
