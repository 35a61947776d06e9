//! Registry credentials: auth.json (containers-auth.json(5)), docker's config.json and credential helpers.
//!
//! Read for every pull and push; written by logging in and out only. A helper is run with a clean environment and gets
//! everything on its standard input; secrets never appear in arguments, logs or error texts.

mod file;
mod helper;

use std::fmt;
use std::path::{Path, PathBuf};

use super::Environment;
use crate::engine::{Error, ErrorKind, Result};
use file::AuthPath;
use helper::Helpers;

/// What a registry is shown. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user name and a password (or personal access token).
    Basic {
        /// User name.
        user: String,
        /// Password.
        password: String,
    },
    /// An OAuth2 refresh token ("identity token").
    IdentityToken(String),
}

impl Credentials {
    /// Parses `USER[:PASSWORD]` as `--creds` takes it.
    pub fn parse(text: &str) -> Result<Self> {
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        if user.is_empty() {
            return Err(Error::invalid("credentials must be given as USERNAME[:PASSWORD]"));
        }
        Ok(Self::Basic { user: user.to_owned(), password: password.to_owned() })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { user, .. } => write!(f, "Basic({user}, …)"),
            Self::IdentityToken(_) => f.write_str("IdentityToken(…)"),
        }
    }
}

/// Credentials with the name of who they belong to: an identity token does not tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// User name; empty if nobody wrote it down.
    pub user: String,
    /// What the registry is shown.
    pub credentials: Credentials,
}

/// The file that logging in writes.
#[derive(Clone, Debug, Default)]
pub enum Place {
    /// `$REGISTRY_AUTH_FILE`, docker's of `$DOCKER_CONFIG`, else the user's auth.json in the runtime directory.
    #[default]
    Usual,
    /// `--authfile`.
    File(PathBuf),
    /// `--compat-auth-file`: a file in docker's form.
    Docker(PathBuf),
}

/// Where credentials come from, in the order they are asked, and where they are put.
#[derive(Clone, Debug, Default)]
pub struct Keychain {
    files: Vec<AuthPath>,
    /// As registries.conf has them; [`FILES`] stands for the files.
    order: Vec<String>,
    helpers: Helpers,
}

const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
/// The name of the credential files among registries.conf's `credential-helpers`.
const FILES: &str = "containers-auth.json";

impl Keychain {
    /// The places this caller's credentials are in. `authfile` (`--authfile`) or `REGISTRY_AUTH_FILE` replaces them all;
    /// else the order is podman's: runtime directory, `~/.config`, docker's configuration, `~/.dockercfg`; the
    /// configuration that `DOCKER_CONFIG` names comes first. `helpers` are registries.conf's `credential-helpers`.
    pub fn new(env: &Environment, authfile: Option<&Path>, helpers: Vec<String>) -> Self {
        let named =
            authfile.map(|p| env.cwd.join(p)).or(env.var("REGISTRY_AUTH_FILE").map(|p| env.cwd.join(p)));
        let files = match named {
            Some(path) => vec![AuthPath { required: true, ..AuthPath::new(path) }],
            None => usual_files(env),
        };
        Self { files, order: helpers, helpers: Helpers::new(env) }
    }

    /// The same for logging in and out at `place`, whose file need not exist.
    pub fn at(env: &Environment, place: &Place, helpers: Vec<String>) -> Self {
        let named = match place {
            Place::Usual => env.var("REGISTRY_AUTH_FILE").map(PathBuf::from),
            Place::File(path) | Place::Docker(path) => Some(path.clone()),
        };
        let docker = matches!(place, Place::Docker(_));
        let files = match named {
            Some(path) => vec![AuthPath { docker, ..AuthPath::new(env.cwd.join(path)) }],
            None => usual_files(env),
        };
        // What is asked to go into docker's file does not go elsewhere.
        let order = if docker { Vec::new() } else { helpers };
        Self { files, order, helpers: Helpers::new(env) }
    }

    fn order(&self) -> Vec<&str> {
        if self.order.is_empty() { vec![FILES] } else { self.order.iter().map(String::as_str).collect() }
    }

    /// The credentials for `repository` (`registry/path`), `None` if there are none. The closest key wins:
    /// `quay.io/a/b`, `quay.io/a`, `quay.io`.
    pub fn get(&self, repository: &str) -> Result<Option<Credentials>> {
        Ok(self.login(repository)?.map(|login| login.credentials))
    }

    /// [`Keychain::get`] with the user's name.
    pub fn login(&self, repository: &str) -> Result<Option<Login>> {
        let registry = registry_of(repository);
        for helper in self.order() {
            let found = match helper {
                FILES => self.ask_files(repository, registry)?,
                helper => self.helpers.get(helper, registry)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn ask_files(&self, repository: &str, registry: &str) -> Result<Option<Login>> {
        for path in &self.files {
            let Some(file) = path.read()? else { continue };
            let found = match file.helper(registry) {
                Some((helper, server)) if file.is_only_helper(registry) => {
                    self.helpers.get(helper, &server)?
                }
                helper => match (file.find(path, repository, registry)?, helper) {
                    (None, Some((helper, server))) => self.helpers.get(helper, &server)?,
                    (found, _) => found,
                },
            };
            if found.is_some() {
                tracing::debug!("credentials for {repository} come from {}", path.path.display());
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Stores a login under `key` (`registry` or `registry/path`) and tells where: a file, or a helper's name.
    ///
    /// # Errors
    /// `Invalid` for a path below a registry where only a helper would take it; those of the file or helper.
    pub fn store(&self, key: &str, login: &Login) -> Result<String> {
        let mut failed = None;
        for helper in self.order() {
            let stored = match helper {
                FILES => self.store_in_file(key, login),
                helper => whole_registry(key, helper).and_then(|()| self.helpers.store(helper, key, login)),
            };
            match stored {
                Ok(()) if helper == FILES => return Ok(self.written().path.display().to_string()),
                Ok(()) => return Ok(format!("credential helper: {helper}")),
                Err(e) => failed = failed.or(Some(e)),
            }
        }
        Err(failed.unwrap_or_else(|| Error::invalid("there is no place for credentials")))
    }

    fn store_in_file(&self, key: &str, login: &Login) -> Result<()> {
        let path = self.written();
        let file = path.read()?.unwrap_or_default();
        match file.helper(registry_of(key)) {
            Some((helper, server)) => {
                whole_registry(key, helper)?;
                self.helpers.store(helper, &server, login)?;
                // docker's own sign that there is something in the helper.
                if path.docker { path.put(key, None) } else { Ok(()) }
            }
            None => path.put(key, Some(login)),
        }
    }

    /// Forgets the login of `key`. `false`: there was none.
    pub fn remove(&self, key: &str) -> Result<bool> {
        let mut any = false;
        for helper in self.order() {
            any |= match helper {
                FILES => self.remove_from_file(key)?,
                helper => self.erase(helper, key)?,
            };
        }
        Ok(any)
    }

    fn erase(&self, helper: &str, server: &str) -> Result<bool> {
        let any = self.helpers.get(helper, server)?.is_some();
        if any {
            self.helpers.erase(helper, server)?;
        }
        Ok(any)
    }

    fn remove_from_file(&self, key: &str) -> Result<bool> {
        let path = self.written();
        let Some(file) = path.read()? else { return Ok(false) };
        let erased = match file.helper(registry_of(key)) {
            Some((helper, server)) if registry_of(key) == key => self.erase(helper, &server)?,
            _ => false,
        };
        Ok(path.remove(key)? || erased)
    }

    /// Forgets every login: those of the file, and those of the helpers that are configured.
    pub fn remove_all(&self) -> Result<()> {
        for helper in self.order() {
            if helper != FILES {
                self.erase_all(helper)?;
                continue;
            }
            let path = self.written();
            let Some(file) = path.read()? else { continue };
            for (registry, helper) in file.helpers() {
                self.erase(helper, registry)?;
            }
            if let Some(store) = file.store() {
                self.erase_all(store)?;
            }
            path.clear()?;
        }
        Ok(())
    }

    fn erase_all(&self, helper: &str) -> Result<()> {
        self.helpers.list(helper)?.iter().try_for_each(|server| self.helpers.erase(helper, server))
    }

    /// The file that [`Keychain::store`] writes.
    fn written(&self) -> &AuthPath {
        &self.files[0]
    }

    /// A file besides the written one that has a login of `key`.
    pub fn elsewhere(&self, key: &str) -> Option<&Path> {
        let has = |path: &&AuthPath| {
            path.read()
                .ok()
                .flatten()
                .is_some_and(|f| f.find(path, key, registry_of(key)).is_ok_and(|l| l.is_some()))
        };
        self.files.iter().skip(1).find(has).map(|path| path.path.as_path())
    }
}

fn usual_files(env: &Environment) -> Vec<AuthPath> {
    let runtime = match env.var("XDG_RUNTIME_DIR") {
        Some(dir) => Some(PathBuf::from(dir)),
        None if env.rootless() => env.runtime_dir().ok(),
        None => None,
    };
    let runtime = runtime.unwrap_or_else(|| PathBuf::from(format!("/run/containers/{}", env.uid)));
    // Below a runtime directory the file is in a directory of its own; the system's is that directory.
    let auth = match runtime.starts_with("/run/containers") {
        true => runtime.join("auth.json"),
        false => runtime.join("containers/auth.json"),
    };
    let docker =
        |directory: PathBuf| AuthPath { docker: true, ..AuthPath::new(directory.join("config.json")) };
    let mut files = vec![AuthPath::new(auth), AuthPath::new(env.config_home().join("containers/auth.json"))];
    match env.var("DOCKER_CONFIG") {
        Some(directory) => files.insert(0, docker(env.cwd.join(directory))),
        None => files.push(docker(env.home.join(".docker"))),
    }
    files.push(AuthPath { legacy: true, ..AuthPath::new(env.home.join(".dockercfg")) });
    files
}

/// The registry of `registry/path`.
fn registry_of(key: &str) -> &str {
    key.split('/').next().unwrap_or_default()
}

/// Helpers know registries, not paths.
fn whole_registry(key: &str, helper: &str) -> Result<()> {
    if registry_of(key) == key {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        format!("the credential helper {helper} keeps credentials of whole registries, not of {key}"),
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn keychain(text: &str) -> (tempfile::TempDir, Keychain) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.json");
        std::fs::write(&path, text).unwrap();
        let env = Environment { cwd: "/".into(), ..Environment::default() };
        let mut keychain = Keychain::new(&env, Some(&path), Vec::new());
        keychain.helpers.program_path = vec![dir.path().to_owned()];
        (dir, keychain)
    }

    fn user(found: Option<Credentials>) -> String {
        match found {
            Some(Credentials::Basic { user, password }) => format!("{user}:{password}"),
            Some(Credentials::IdentityToken(token)) => format!("token {token}"),
            None => "none".into(),
        }
    }

    #[test]
    fn the_closest_key_wins() {
        // a:b, c:d, e:f:g
        let (_dir, keychain) = keychain(
            r#"{"auths":{"q.io":{"auth":"YTpi"},"q.io/ns/x":{"auth":"Yzpk"},"https://old.io/v1/":{"auth":"ZTpmOmc="},
                "https://index.docker.io/v1/":{"identitytoken":"tok"},"empty.io":{}}}"#,
        );
        for (name, want) in [
            ("q.io/ns/x", "c:d"),
            ("q.io/ns/y", "a:b"),
            ("q.io/z", "a:b"),
            ("old.io/z", "e:f:g"),
            ("docker.io/library/x", "token tok"),
            ("empty.io/x", "none"),
            ("q.io.evil/x", "none"),
        ] {
            assert_eq!(user(keychain.get(name).unwrap()), want, "{name}");
        }
    }

    #[test]
    fn helpers_get_a_clean_environment_and_the_server_on_stdin() {
        let (dir, keychain) = keychain(r#"{"credHelpers":{"h.io":"t"},"credsStore":"t"}"#);
        let helper = dir.path().join("docker-credential-t");
        std::fs::write(
            &helper,
            "#!/bin/sh\nread s\n[ $s = none.io ] && { echo credentials not found in native keychain; exit 1; }\n\
             echo '{\"ServerURL\":\"x\",\"Username\":\"u'\"$CARGO\"'\",\"Secret\":\"'$s'\"}'\n",
        )
        .unwrap();
        std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(user(keychain.get("h.io/x").unwrap()), "u:h.io");
        assert_eq!(user(keychain.get("docker.io/x").unwrap()), format!("u:{DOCKER_HUB_KEY}"));
        assert_eq!(user(keychain.get("none.io/x").unwrap()), "none");
    }

    #[test]
    fn errors_never_show_a_secret() {
        let (_dir, keychain) = keychain("{\"auths\":{\"a\":{\"auth\":\"!!secret!!\"}}}");
        let e = keychain.get("a/x").unwrap_err().to_string();
        assert!(!e.contains("secret"), "{e}");
        assert!(!format!("{:?}", Credentials::parse("u:secret").unwrap()).contains("secret"));
    }
}
