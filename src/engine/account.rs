//! Accounts at registries: which one a login is for, whether the registry takes it, where it is kept.
//!
//! Nothing is stored that the registry has not accepted. Where a token service gives an identity token for name and
//! password, that is kept in the password's place, as docker does.

use crate::engine::config::Environment;
use crate::engine::config::auth::{Credentials, Keychain, Login, Place};
use crate::engine::config::registries::Registries;
use crate::engine::registry::reference::{DEFAULT_DOMAIN, is_identifier};
use crate::engine::registry::{Client, ClientOptions, Reference};
use crate::engine::{Context, Error, ErrorKind, Result};
use std::path::Path;

/// The logins of this caller.
#[derive(Debug)]
pub struct Accounts<'a> {
    env: &'a Environment,
    registries: Registries,
    keychain: Keychain,
}

impl<'a> Accounts<'a> {
    /// Those in `place`.
    pub fn open(env: &'a Environment, place: &Place) -> Result<Self> {
        let registries = Registries::load(env)?;
        let keychain = Keychain::at(env, place, registries.credential_helpers());
        Ok(Self { env, registries, keychain })
    }

    /// What a login is kept under: a registry, or a path below one. The first search registry if none is given. A URL
    /// stands for its host.
    ///
    /// `Invalid` if it is no such name.
    pub fn key(&self, given: Option<&str>) -> Result<String> {
        let Some(given) = given.filter(|g| !g.is_empty()) else {
            return Ok(self.registries.search().swap_remove(0));
        };
        let url = given.strip_prefix("https://").or_else(|| given.strip_prefix("http://"));
        let key = match url {
            Some(url) => url.split('/').next().unwrap_or_default(),
            None => given.trim_end_matches('/'),
        };
        let (registry, path) = key.split_once('/').unwrap_or((key, ""));
        let known = match registry {
            "index.docker.io" | "registry-1.docker.io" => DEFAULT_DOMAIN,
            registry => registry,
        };
        let allowed =
            |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
        if registry.is_empty() || !registry.bytes().all(allowed) {
            return Err(
                Error::invalid(format!("{given:?} is no registry")).with_hint("as in quay.io or HOST:PORT")
            );
        }
        if path.is_empty() || url.is_some() || path == "v1" || path == "v2" {
            return Ok(known.to_owned());
        }
        // Only its form counts: a path below a registry is no repository yet, and may look like an image's ID.
        let last = path.rsplit('/').next().unwrap_or_default();
        if !is_identifier(last) {
            let name = Reference::parse(&format!("{registry}/{path}"))?;
            if name.tag().is_some() || name.digest().is_some() {
                return Err(Error::invalid(format!(
                    "{given:?} has a tag or digest: a login is for a registry or for repositories below it"
                )));
            }
        }
        Ok(format!("{known}/{path}"))
    }

    /// The login there is.
    pub fn current(&self, key: &str) -> Result<Option<Login>> {
        self.keychain.login(key).context("read credentials")
    }

    /// Asks the registry whether it takes the credentials. What comes back is what is to be kept: they, or an identity
    /// token.
    ///
    /// `Unauthorized` if it refuses them.
    pub fn check(&self, key: &str, credentials: &Credentials, access: &ClientOptions) -> Result<Credentials> {
        let registry = key.split('/').next().unwrap_or_default();
        let client = Client::new(self.env, self.registries.clone(), access.clone());
        match client.log_in(registry, credentials) {
            Ok(None) => Ok(credentials.clone()),
            Ok(Some(token)) => Ok(Credentials::IdentityToken(token)),
            // The hint for pulls, to log in first, does not help here.
            Err(e) if e.kind() == ErrorKind::Unauthorized => Err(Error::new(
                ErrorKind::Unauthorized,
                format!("logging into {key:?}: invalid username/password"),
            )
            .with_source(e.to_string())),
            Err(e) => Err(e.wrap(format!("authenticating creds for {key:?}"))),
        }
    }

    /// Keeps a login that was accepted; tells where.
    pub fn keep(&self, key: &str, login: &Login) -> Result<String> {
        self.keychain.store(key, login).with_context(|| format!("store the credentials for {key}"))
    }

    /// Forgets the login of a registry. `false`: there is none, anywhere.
    ///
    /// `NotFound` if there is one that others of the caller's programs keep: the registry would still know them.
    pub fn log_out(&self, key: &str) -> Result<bool> {
        if self.keychain.remove(key).with_context(|| format!("logging out of {key:?}"))? {
            return Ok(true);
        }
        match self.keychain.elsewhere(key).map(Path::display) {
            Some(path) => Err(Error::not_found(format!("not logged into {key}")).with_hint(format!(
                "there are credentials in {path}: remove them with --authfile, or with --compat-auth-file if it is docker's"
            ))),
            None => Ok(false),
        }
    }

    /// Forgets all of them.
    pub fn log_out_everywhere(&self) -> Result<()> {
        self.keychain.remove_all().context("logging out of all registries")
    }
}
