//! The rules of policy.json as a table (podman's `pkg/trust`).

use super::gpg::Gpg;
use super::policy::{Policy, Requirement};
use super::registries_d::RegistriesD;
use crate::engine::Result;
use crate::engine::config::Environment;

/// A requirement of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The transport, `repository` for registries; `all` for the default.
    pub transport: String,
    /// The scope.
    pub name: String,
    /// The scope; `default` for the default.
    pub repository: String,
    /// `accept`, `reject`, `signed` or `sigstoreSigned`.
    pub kind: &'static str,
    /// Whose GPG keys, or `N/A`.
    pub keys: String,
    /// Where signatures are read from.
    pub store: String,
}

/// All requirements, the default's first.
pub fn rows(env: &Environment, policy: &Policy, places: &RegistriesD) -> Result<Vec<Row>> {
    let gpg = Gpg::new(env);
    let mut found = Vec::new();
    let mut add = |transport: &str, name: &str, repository: &str, scope: &str, list: &[Requirement]| {
        for requirement in list {
            found.push(Row {
                transport: transport.to_owned(),
                name: name.to_owned(),
                repository: repository.to_owned(),
                kind: kind(requirement),
                keys: keys(&gpg, requirement)?,
                store: places.shown(scope).unwrap_or_default(),
            });
        }
        Ok::<(), crate::engine::Error>(())
    };
    add("all", "* (default)", "default", "", &policy.default)?;
    for (transport, scopes) in &policy.transports {
        let transport = if transport == "docker" { "repository" } else { transport };
        for (scope, requirements) in scopes {
            add(transport, scope, scope, scope, requirements)?;
        }
    }
    Ok(found)
}

fn kind(requirement: &Requirement) -> &'static str {
    match requirement {
        Requirement::Accept => "accept",
        Requirement::Reject => "reject",
        Requirement::SignedBy(_) => "signed",
        Requirement::SigstoreSigned(_) => "sigstoreSigned",
        Requirement::SignedBaseLayer => "signedBaseLayer",
    }
}

/// A file that cannot be read has no owner: the rest of the table is not to fail for it.
fn keys(gpg: &Gpg, requirement: &Requirement) -> Result<String> {
    let rule = match requirement {
        Requirement::SignedBy(rule) => rule,
        Requirement::SigstoreSigned(_) => return Ok("N/A".to_owned()),
        _ => return Ok(String::new()),
    };
    let mut owners = Vec::new();
    for key in &rule.keys {
        match key.read() {
            Ok(ring) => owners.extend(gpg.owners(&ring)?),
            Err(e) => tracing::warn!("{e}"),
        }
    }
    Ok(owners.join(", "))
}
