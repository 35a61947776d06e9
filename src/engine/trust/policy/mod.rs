//! policy.json (containers-policy.json(5)): which images may be used.
//!
//! Read as strictly as containers/image reads it: whatever is not known is an error, as accepting less than was meant
//! would betray whoever wrote the rule.

mod change;
mod identity;
mod requirement;
mod scopes;
mod sigstore;

pub use change::{Entry, change};
pub use identity::Identity;
pub use requirement::{Bytes, Requirement, SignedBy};
pub use scopes::Scopes;
pub use sigstore::{SigstoreBy, SigstoreSigned};

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::gpg::Gpg;
use super::strict::{Object, value};
use crate::engine::config::Environment;
use crate::engine::{Error, ErrorKind, Result};
use serde_json::value::RawValue;

/// The parsed file.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What holds where nothing else does.
    pub default: Vec<Requirement>,
    /// By transport and scope.
    pub transports: BTreeMap<String, BTreeMap<String, Vec<Requirement>>>,
    path: PathBuf,
    gpg: Gpg,
}

/// What one image has to fulfil: all of it.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The image, for messages.
    name: String,
    /// Where the rules stand, for messages.
    place: String,
    pub(super) requirements: Vec<Requirement>,
    pub(super) gpg: Gpg,
}

impl Policy {
    /// Reads the policy: `override_path` (`--signature-policy`), else the user's, else the system's. Without any file
    /// everything is accepted, as docker does.
    pub fn load(env: &Environment, override_path: Option<&Path>) -> Result<Self> {
        let gpg = Gpg::new(env);
        match Self::file(env, override_path)? {
            Some((path, text)) => Self::parse(&text, &path, gpg),
            None => Ok(Self {
                default: vec![Requirement::Accept],
                transports: BTreeMap::new(),
                path: PathBuf::new(),
                gpg,
            }),
        }
    }

    /// The file that [`Policy::load`] reads, and its text. `None`: there is none.
    pub fn file(env: &Environment, override_path: Option<&Path>) -> Result<Option<(PathBuf, String)>> {
        let paths = match override_path {
            Some(path) => vec![env.cwd.join(path)],
            None => vec![Self::users_path(env), Self::SYSTEM_PATH.into()],
        };
        for path in paths {
            match std::fs::read_to_string(&path) {
                Ok(text) => return Ok(Some((path, text))),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && override_path.is_none() => {}
                Err(e) => return Err(Error::io("read", &path, e)),
            }
        }
        Ok(None)
    }

    /// The system's policy.
    pub const SYSTEM_PATH: &str = "/etc/containers/policy.json";

    /// The user's policy.
    pub fn users_path(env: &Environment) -> PathBuf {
        env.home.join(".config/containers/policy.json")
    }

    /// Parses the text of the file at `path`.
    ///
    /// `Invalid`, with file and key, if there is anything in it that is not understood.
    pub fn parse(text: &str, path: &Path, gpg: Gpg) -> Result<Self> {
        let what = path.display().to_string();
        serde_json::from_str::<serde::de::IgnoredAny>(text)
            .map_err(|e| Error::invalid(format!("{what}, line {}: {e}", e.line())))?;
        let mut object = Object::parse(text, what.clone())?;
        let name = object.name("default");
        let default = object.raw("default");
        let default = default.ok_or_else(|| Error::invalid(format!("{what}: default policy is missing")))?;
        let default = requirements(default, &name)?;
        let mut transports = BTreeMap::new();
        let name = object.name("transports");
        if let Some(text) = object.raw("transports") {
            let object = Object::parse(text, name.clone())?;
            let names: Vec<_> = object.rest().collect();
            for (transport, text) in names {
                let scopes = scopes(&transport, text, &format!("{name}.{transport}"))?;
                transports.insert(transport, scopes);
            }
        }
        object.end()?;
        Ok(Self { default, transports, path: path.to_owned(), gpg })
    }

    /// The rules for an image: those of its closest scope, else its transport's, else the default ones.
    pub fn rules(&self, image: &Scopes) -> Rules {
        let scopes = self.transports.get(image.transport);
        let find = |scope: &str| scopes.and_then(|scopes| scopes.get_key_value(scope));
        let found = image.scopes.iter().find_map(|scope| find(scope)).or_else(|| find(""));
        let (place, requirements) = match found {
            Some((scope, requirements)) if !scope.is_empty() => {
                (format!("{} scope {scope:?}", image.transport), requirements)
            }
            Some((_, requirements)) => (image.transport.to_owned(), requirements),
            None => ("default".to_owned(), &self.default),
        };
        Rules {
            name: image.name.clone(),
            place: format!("{place} in {}", self.path.display()),
            requirements: requirements.clone(),
            gpg: self.gpg.clone(),
        }
    }

    /// Whether it has rules of its own for images of this transport.
    pub fn mentions(&self, transport: &str) -> bool {
        self.transports.contains_key(transport)
    }
}

impl Rules {
    /// Decides what can be decided before anything of the image is known.
    ///
    /// `Denied` if it is refused.
    pub fn decide(&self) -> Result<()> {
        for requirement in &self.requirements {
            match requirement {
                Requirement::Accept | Requirement::SignedBy(_) | Requirement::SigstoreSigned(_) => {}
                Requirement::Reject => {
                    return Err(self.denied(format!("running image {} is rejected by policy", self.name)));
                }
                Requirement::SignedBaseLayer => {
                    return Err(self.denied("signedBaseLayer is not implemented".to_owned()));
                }
            }
        }
        Ok(())
    }

    /// Whether the image's signatures have to be known.
    pub fn need_signatures(&self) -> bool {
        !self.requirements.iter().all(Requirement::is_decided)
    }

    /// A refusal that says where the rule stands.
    pub(super) fn denied(&self, why: String) -> Error {
        Error::new(ErrorKind::Denied, format!("source image rejected: {why} ({})", self.place))
    }
}

fn requirements(text: &str, what: &str) -> Result<Vec<Requirement>> {
    let list: Vec<&RawValue> = value(text, what)?;
    if list.is_empty() {
        return Err(Error::invalid(format!(
            "{what}: list of verification policy requirements must not be empty"
        )));
    }
    let one =
        |(index, text): (usize, &&RawValue)| Requirement::parse(text.get(), &format!("{what}[{index}]"));
    list.iter().enumerate().map(one).collect()
}

fn scopes(transport: &str, text: &str, what: &str) -> Result<BTreeMap<String, Vec<Requirement>>> {
    let object = Object::parse(text, what)?;
    let mut found = BTreeMap::new();
    for (scope, text) in object.rest() {
        if !scope.is_empty()
            && let Err(why) = scopes::check(transport, &scope)
        {
            return Err(Error::invalid(format!("{what}: invalid scope {scope:?}: {why}")));
        }
        let requirements = requirements(text, &format!("{what}[{scope:?}]"))?;
        found.insert(scope, requirements);
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
