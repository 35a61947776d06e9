//! Registry credentials: auth.json (containers-auth.json(5)), docker's config.json and credential helpers.
//!
//! Nothing is written here. A helper is run with a clean environment and gets the registry's name on its standard
//! input; secrets never appear in arguments, logs or error texts.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use serde::Deserialize;

use super::Environment;
use crate::engine::host::process::find_program;
use crate::engine::{Error, ErrorKind, Result};

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

/// Where credentials come from, in the order they are asked.
#[derive(Clone, Debug, Default)]
pub struct Keychain {
    files: Vec<AuthPath>,
    helpers: Vec<String>,
    program_path: Vec<PathBuf>,
    environment: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
struct AuthPath {
    path: PathBuf,
    /// A file the caller named: it must exist.
    required: bool,
    /// `~/.dockercfg`: the map of registries without the `auths` around it.
    legacy: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct File {
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

const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

impl Keychain {
    /// The places this caller's credentials are in. `authfile` (`--authfile`) or `REGISTRY_AUTH_FILE` replaces them all;
    /// else the order is podman's: runtime directory, `~/.config`, docker's configuration, `~/.dockercfg`.
    /// `helpers` are registries.conf's `credential-helpers`.
    pub fn new(env: &Environment, authfile: Option<&Path>, helpers: Vec<String>) -> Self {
        let file = |path: PathBuf| AuthPath { path, required: false, legacy: false };
        let named =
            authfile.map(|p| env.cwd.join(p)).or(env.var("REGISTRY_AUTH_FILE").map(|p| env.cwd.join(p)));
        let files = match named {
            Some(path) => vec![AuthPath { path, required: true, legacy: false }],
            None => {
                let runtime = match env.var("XDG_RUNTIME_DIR") {
                    Some(dir) => PathBuf::from(dir).join("containers/auth.json"),
                    None => PathBuf::from(format!("/run/containers/{}/auth.json", env.uid)),
                };
                let docker = match env.var("DOCKER_CONFIG") {
                    Some(dir) => PathBuf::from(dir),
                    None => env.home.join(".docker"),
                };
                vec![
                    file(runtime),
                    file(env.config_home().join("containers/auth.json")),
                    file(docker.join("config.json")),
                    AuthPath { path: env.home.join(".dockercfg"), required: false, legacy: true },
                ]
            }
        };
        // What helpers need to find their own configuration and the user's session; nothing else of the caller's.
        let keep = |name: &&str| env.var(name).map(|value| ((*name).to_owned(), value.to_owned()));
        let environment = [
            "HOME",
            "PATH",
            "USER",
            "XDG_RUNTIME_DIR",
            "DBUS_SESSION_BUS_ADDRESS",
            "DISPLAY",
            "GNUPGHOME",
            "PASSWORD_STORE_DIR",
            "GPG_TTY",
            "AWS_PROFILE",
            "AWS_REGION",
            "CLOUDSDK_CONFIG",
            "WAYLAND_DISPLAY",
        ]
        .iter()
        .filter_map(keep)
        .collect();
        Self { files, helpers, program_path: env.path(), environment }
    }

    /// The credentials for `repository` (`registry/path`), `None` if there are none. The closest key wins:
    /// `quay.io/a/b`, `quay.io/a`, `quay.io`.
    pub fn get(&self, repository: &str) -> Result<Option<Credentials>> {
        let registry = repository.split('/').next().unwrap_or_default();
        let default = ["containers-auth.json".to_owned()];
        let helpers = if self.helpers.is_empty() { &default[..] } else { &self.helpers };
        for helper in helpers {
            let found = match helper.as_str() {
                "containers-auth.json" => self.ask_files(repository, registry)?,
                helper => self.ask_helper(helper, registry)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn ask_files(&self, repository: &str, registry: &str) -> Result<Option<Credentials>> {
        for path in &self.files {
            let Some(file) = path.read()? else { continue };
            let found = self.find(&file, path, repository, registry)?;
            if found.is_some() {
                tracing::debug!("credentials for {repository} come from {}", path.path.display());
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn find(
        &self,
        file: &File,
        path: &AuthPath,
        repository: &str,
        registry: &str,
    ) -> Result<Option<Credentials>> {
        if let Some(helper) = file.cred_helpers.get(registry) {
            return self.ask_helper(helper, registry);
        }
        let mut key = if path.legacy { registry } else { repository };
        loop {
            if let Some(found) =
                file.auths.get(key).map(|e| decode(e, key, &path.path)).transpose()?.flatten()
            {
                return Ok(Some(found));
            }
            let Some((parent, _)) = key.rsplit_once('/') else { break };
            key = parent;
        }
        // Keys written as URLs, and Docker Hub's own.
        for (key, entry) in &file.auths {
            if normalized(key) == normalized(registry)
                && let Some(found) = decode(entry, key, &path.path)?
            {
                return Ok(Some(found));
            }
        }
        if file.creds_store.is_empty() {
            return Ok(None);
        }
        let server = if registry == "docker.io" { DOCKER_HUB_KEY } else { registry };
        self.ask_helper(&file.creds_store, server)
    }

    /// Runs `docker-credential-NAME get` (docker-credential-helpers protocol).
    fn ask_helper(&self, name: &str, server: &str) -> Result<Option<Credentials>> {
        if name.contains('/') {
            return Err(Error::invalid(format!("invalid credential helper {name:?}")));
        }
        let program = format!("docker-credential-{name}");
        let Some(path) = find_program(&program, &self.program_path) else {
            return Err(Error::new(
                ErrorKind::MissingProgram,
                format!("credential helper {program} is not installed"),
            ));
        };
        let mut child = Command::new(&path)
            .arg("get")
            .env_clear()
            .envs(self.environment.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| Error::io("run", &path, e))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that exits without reading has said what it wants by its exit code.
            let _ = writeln!(stdin, "{server}");
        }
        let output = child.wait_with_output().map_err(|e| Error::io("wait for", &path, e))?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let text = text.trim();
            if text.contains("credentials not found in native keychain") {
                return Ok(None);
            }
            return Err(Error::new(
                ErrorKind::Unauthorized,
                format!("{program} failed for {server}: {text}"),
            ));
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            username: String,
            secret: String,
        }
        // The parser's message could quote the secret.
        let answer: Answer = serde_json::from_str(&text).map_err(|_| {
            Error::new(ErrorKind::Unauthorized, format!("{program} did not answer with JSON"))
        })?;
        Ok(Some(match answer.username.as_str() {
            "<token>" => Credentials::IdentityToken(answer.secret),
            _ => Credentials::Basic { user: answer.username, password: answer.secret },
        }))
    }
}

impl AuthPath {
    fn read(&self) -> Result<Option<File>> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !self.required => return Ok(None),
            // A directory of another user is not ours to judge (sudo with the caller's HOME).
            Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied && !self.required => return Ok(None),
            Err(e) => return Err(Error::io("read credentials", &self.path, e)),
        };
        let parsed = match self.legacy {
            true => serde_json::from_str(&text).map(|auths| File { auths, ..File::default() }),
            false => serde_json::from_str(&text),
        };
        // Only the line: the parser's message could quote a secret.
        let syntax = |e: serde_json::Error| {
            Error::invalid(format!("{}, line {}: not a credentials file", self.path.display(), e.line()))
        };
        parsed.map(Some).map_err(syntax)
    }
}

fn decode(entry: &Entry, key: &str, path: &Path) -> Result<Option<Credentials>> {
    if !entry.identity_token.is_empty() {
        return Ok(Some(Credentials::IdentityToken(entry.identity_token.clone())));
    }
    if entry.auth.is_empty() {
        let given = !entry.username.is_empty();
        return Ok(given
            .then(|| Credentials::Basic { user: entry.username.clone(), password: entry.password.clone() }));
    }
    let bad = || {
        Error::invalid(format!("{}: the \"auth\" of {key} is not base64 of user:password", path.display()))
    };
    let raw = base64::engine::general_purpose::STANDARD.decode(&entry.auth).map_err(|_| bad())?;
    let text = String::from_utf8(raw).map_err(|_| bad())?;
    let (user, password) = text.split_once(':').ok_or_else(bad)?;
    let password = password.trim_matches('\0');
    Ok(Some(Credentials::Basic { user: user.to_owned(), password: password.to_owned() }))
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
        keychain.program_path = vec![dir.path().to_owned()];
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
