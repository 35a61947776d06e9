//! policy.json (containers-policy.json(5)): which images may be used.
//!
//! `insecureAcceptAnything` and `reject` are decided here. A rule that needs a signature (`signedBy`,
//! `sigstoreSigned`, `signedBaseLayer`) refuses the image: accepting it unverified would betray whoever wrote the rule.
//! Scopes are matched as containers/image's `docker/policyconfiguration` matches them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Environment;
use crate::engine::{Error, ErrorKind, Result};

/// The parsed file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    default: Vec<Requirement>,
    #[serde(default)]
    transports: BTreeMap<String, BTreeMap<String, Vec<Requirement>>>,
    #[serde(skip)]
    path: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
struct Requirement {
    #[serde(rename = "type")]
    kind: String,
}

impl Policy {
    /// Reads the policy: `override_path` (`--signature-policy`), else the user's, else the system's. Without any file
    /// everything is accepted, as docker does.
    pub fn load(env: &Environment, override_path: Option<&Path>) -> Result<Self> {
        let user = env.home.join(".config/containers/policy.json");
        let paths = match override_path {
            Some(path) => vec![env.cwd.join(path)],
            None => vec![user, "/etc/containers/policy.json".into()],
        };
        for path in &paths {
            match std::fs::read_to_string(path) {
                Ok(text) => return Self::parse(&text, path),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && override_path.is_none() => {}
                Err(e) => return Err(Error::io("read", path, e)),
            }
        }
        let accept = Requirement { kind: "insecureAcceptAnything".into() };
        Ok(Self { default: vec![accept], transports: BTreeMap::new(), path: PathBuf::new() })
    }

    fn parse(text: &str, path: &Path) -> Result<Self> {
        let mut policy: Self = serde_json::from_str(text)
            .map_err(|e| Error::invalid(format!("{}, line {}: {e}", path.display(), e.line())))?;
        path.clone_into(&mut policy.path);
        Ok(policy)
    }

    /// Whether the image `name[:tag|@digest]` (a full docker-style name) may be pulled and run.
    ///
    /// `Denied` if not, with the rule and the file.
    pub fn check(&self, name: &str) -> Result<()> {
        let (scope, requirements) = self.requirements(name);
        let place = if scope.is_empty() { "default".to_owned() } else { format!("docker scope {scope:?}") };
        self.decide(name, &place, requirements)
    }

    /// Whether an image may come by another transport, from `path` if it has one. Scopes are the path and the directories
    /// above it (containers-policy.json(5), "dir:").
    ///
    /// `Denied` if not.
    pub fn check_at(&self, transport: &str, path: &Path) -> Result<()> {
        let name = match path.as_os_str().is_empty() {
            true => format!("{transport}:"),
            false => format!("{transport}:{}", path.display()),
        };
        let scopes = self.transports.get(transport);
        let scope = |scope: &str| scopes.and_then(|scopes| scopes.get_key_value(scope));
        let found = path.ancestors().filter_map(Path::to_str).find_map(scope).or_else(|| scope(""));
        match found {
            Some((scope, requirements)) if !scope.is_empty() => {
                self.decide(&name, &format!("{transport} scope {scope:?}"), requirements)
            }
            Some((_, requirements)) => self.decide(&name, transport, requirements),
            None => self.decide(&name, "default", &self.default),
        }
    }

    fn decide(&self, name: &str, place: &str, requirements: &[Requirement]) -> Result<()> {
        let denied = |why: String| Err(Error::new(ErrorKind::Denied, why));
        if requirements.is_empty() {
            return denied(format!(
                "{}: the {place} policy has no rule, so nothing is allowed",
                self.path.display()
            ));
        }
        for requirement in requirements {
            match requirement.kind.as_str() {
                "insecureAcceptAnything" => {}
                "reject" => {
                    return denied(format!(
                        "running image {name} is rejected by policy ({place} in {})",
                        self.path.display()
                    ));
                }
                kind @ ("signedBy" | "sigstoreSigned" | "signedBaseLayer") => {
                    return denied(format!(
                        "the policy for {name} ({place} in {}) requires {kind}, and signatures are not verified yet",
                        self.path.display()
                    ));
                }
                kind => {
                    return denied(format!(
                        "{}: unknown policy requirement {kind:?} ({place})",
                        self.path.display()
                    ));
                }
            }
        }
        Ok(())
    }

    fn requirements(&self, name: &str) -> (String, &[Requirement]) {
        if let Some(scopes) = self.transports.get("docker") {
            for scope in scopes_of(name) {
                if let Some(requirements) = scopes.get(&scope) {
                    return (scope, requirements);
                }
            }
            if let Some(requirements) = scopes.get("") {
                return ("".into(), requirements);
            }
        }
        (String::new(), &self.default)
    }
}

/// The name itself, its repository, each parent, the host, then `*.` wildcards of the host's parents.
fn scopes_of(name: &str) -> Vec<String> {
    let mut scopes = vec![name.to_owned()];
    let slash = name.rfind('/').unwrap_or(0);
    let end = name[slash..].find([':', '@']).map_or(name.len(), |i| slash + i);
    let mut at = &name[..end];
    loop {
        scopes.push(at.to_owned());
        let Some((parent, _)) = at.rsplit_once('/') else { break };
        at = parent;
    }
    let mut host = at.split(':').next().unwrap_or_default();
    while let Some((_, parent)) = host.split_once('.') {
        scopes.push(format!("*.{parent}"));
        host = parent;
    }
    scopes
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn scopes_go_from_the_image_to_the_domain() {
        assert_eq!(
            scopes_of("a.b.c:5000/ns/x:1"),
            ["a.b.c:5000/ns/x:1", "a.b.c:5000/ns/x", "a.b.c:5000/ns", "a.b.c:5000", "*.b.c", "*.c"]
        );
        assert_eq!(scopes_of("h/x@sha256:0")[1], "h/x");
    }

    #[test]
    fn rules_are_decided_by_the_closest_scope() {
        let text = r#"{"default":[{"type":"reject"}],"transports":{"docker":{
            "good.io":[{"type":"insecureAcceptAnything"}], "good.io/bad":[{"type":"reject"}],
            "good.io/signed":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k"}]},
            "docker-daemon":{"":[{"type":"insecureAcceptAnything"}]}}}"#;
        let policy = Policy::parse(text, Path::new("/p.json")).unwrap();
        policy.check("good.io/x:1").unwrap();
        for (name, want) in [
            ("good.io/bad:1", "is rejected by policy (docker scope \"good.io/bad\" in /p.json)"),
            ("good.io/signed:1", "requires signedBy, and signatures are not verified yet"),
            ("other.io/x:1", "rejected by policy (default in /p.json)"),
        ] {
            let e = policy.check(name).unwrap_err();
            assert_eq!(e.kind(), ErrorKind::Denied);
            assert!(e.to_string().contains(want), "{e}");
        }
    }

    #[test]
    fn a_syntax_error_names_file_and_line() {
        let e = Policy::parse("{\n\"default\": 1}", Path::new("/p.json")).unwrap_err().to_string();
        assert!(e.contains("/p.json, line 2"), "{e}");
        assert!(Policy::parse("{\"default\":[],\"nope\":1}", Path::new("/p.json")).is_err());
    }
}
