//! Credential helpers: programs called `docker-credential-NAME` (docker-credential-helpers' protocol).

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Serialize;

use super::{Credentials, Login};
use crate::engine::config::Environment;
use crate::engine::host::process::find_program;
use crate::engine::{Error, ErrorKind, Result};

/// What a helper needs to find its own configuration and the user's session; nothing else of the caller's is passed on.
const PASSED_ON: [&str; 13] = [
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
];
/// The user name that says that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// How helpers are run.
#[derive(Clone, Debug, Default)]
pub(super) struct Helpers {
    pub(super) program_path: Vec<PathBuf>,
    environment: Vec<(String, String)>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Stored<'a> {
    #[serde(rename = "ServerURL")]
    server_url: &'a str,
    username: String,
    secret: String,
}

impl Helpers {
    pub(super) fn new(env: &Environment) -> Self {
        let keep = |name: &&str| env.var(name).map(|value| ((*name).to_owned(), value.to_owned()));
        Self { program_path: env.path(), environment: PASSED_ON.iter().filter_map(keep).collect() }
    }

    /// `get`.
    pub(super) fn get(&self, name: &str, server: &str) -> Result<Option<Login>> {
        let Some(text) = self.run(name, "get", server.as_bytes(), server)? else { return Ok(None) };
        // The parser's message could quote the secret.
        let unreadable = |_| {
            let what = format!("docker-credential-{name} did not answer with JSON");
            Error::new(ErrorKind::Unauthorized, what)
        };
        let answer: BTreeMap<String, String> = serde_json::from_str(&text).map_err(unreadable)?;
        let part = |key: &str| answer.get(key).cloned().unwrap_or_default();
        let (user, secret) = (part("Username"), part("Secret"));
        Ok(Some(match user.as_str() {
            TOKEN_USER => Login { user: String::new(), credentials: Credentials::IdentityToken(secret) },
            _ => Login { user: user.clone(), credentials: Credentials::Basic { user, password: secret } },
        }))
    }

    /// `store`.
    pub(super) fn store(&self, name: &str, server: &str, login: &Login) -> Result<()> {
        let (username, secret) = match &login.credentials {
            Credentials::Basic { user, password } => (user.clone(), password.clone()),
            Credentials::IdentityToken(token) => (TOKEN_USER.to_owned(), token.clone()),
        };
        let stored = Stored { server_url: server, username, secret };
        let text = serde_json::to_vec(&stored).map_err(|_| Error::invalid("credentials that are no text"))?;
        self.run(name, "store", &text, server).map(drop)
    }

    /// `erase`.
    pub(super) fn erase(&self, name: &str, server: &str) -> Result<()> {
        self.run(name, "erase", server.as_bytes(), server).map(drop)
    }

    /// `list`: the servers it has something for.
    pub(super) fn list(&self, name: &str) -> Result<Vec<String>> {
        let text = self.run(name, "list", b"", "all registries")?.unwrap_or_default();
        let servers: BTreeMap<String, String> = serde_json::from_str(&text).unwrap_or_default();
        Ok(servers.into_keys().collect())
    }

    /// Runs one verb. `None`: the helper knows nothing of the server.
    fn run(&self, name: &str, verb: &str, input: &[u8], server: &str) -> Result<Option<String>> {
        if name.contains('/') {
            return Err(Error::invalid(format!("invalid credential helper {name:?}")));
        }
        let program = format!("docker-credential-{name}");
        let Some(path) = find_program(&program, &self.program_path) else {
            let what = format!("credential helper {program} is not installed");
            return Err(Error::new(ErrorKind::MissingProgram, what));
        };
        let mut child = Command::new(&path)
            .arg(verb)
            .env_clear()
            .envs(self.environment.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| Error::io("run", &path, e))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that exits without reading has said what it wants by its exit code.
            let _ = stdin.write_all(input).and_then(|()| stdin.write_all(b"\n"));
        }
        let output = child.wait_with_output().map_err(|e| Error::io("wait for", &path, e))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(Some(text));
        }
        let text = text.trim();
        if text.contains("credentials not found in native keychain") {
            return Ok(None);
        }
        Err(Error::new(ErrorKind::Unauthorized, format!("{program} failed to {verb} {server}: {text}")))
    }
}
