//! OCI hooks of the host: files that say which programs a runtime runs at which points of which containers' lives
//! (oci-hooks(5), version 1.0.0). Pure: [`crate::engine::container`] reads the files.

use super::Resolved;
use super::cdi;
use crate::engine::spec::{ContainerSpec, MountKind};
use crate::engine::{Error, Result};
use oci_spec::runtime::{Hook, Hooks, Spec};
use regex::Regex;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Where they are for root unless containers.conf or `--hooks-dir` says otherwise; ordinary users have none then.
pub const DIRECTORIES: [&str; 2] = ["/usr/share/containers/oci/hooks.d", "/etc/containers/oci/hooks.d"];

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HookFile {
    version: String,
    hook: Hook,
    #[serde(default)]
    when: When,
    stages: Vec<Stage>,
}

/// Which containers it is for. At least one condition is to be given, and all that are have to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct When {
    always: Option<bool>,
    /// One of the container's annotations has to match each pair of patterns.
    annotations: BTreeMap<String, String>,
    /// Patterns of which the first word of the command has to match one.
    commands: Vec<String>,
    has_bind_mounts: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Stage {
    Precreate,
    Prestart,
    CreateRuntime,
    CreateContainer,
    StartContainer,
    Poststart,
    Poststop,
}

impl HookFile {
    /// # Errors
    /// It is not what oci-hooks(5) says, or of another version.
    pub fn parse(text: &str) -> Result<Self> {
        let file: Self =
            serde_json::from_str(text).map_err(|e| Error::invalid("not an OCI hook").with_source(e))?;
        if file.version != "1.0.0" {
            return Err(Error::unsupported(format!("OCI hooks of version {:?}", file.version)));
        }
        if !file.hook.path().is_absolute() {
            return Err(Error::invalid(format!(
                "the hook {} has no absolute path",
                file.hook.path().display()
            )));
        }
        if file.stages.contains(&Stage::Precreate) {
            return Err(Error::unsupported("OCI hooks that change config.json (stage precreate)"));
        }
        let patterns = file.when.annotations.iter().flat_map(|(key, value)| [key, value]);
        patterns.chain(&file.when.commands).try_for_each(|text| pattern(text).map(drop))?;
        Ok(file)
    }
}

fn pattern(text: &str) -> Result<Regex> {
    Regex::new(text).map_err(|e| Error::invalid(format!("pattern {text:?}")).with_source(e))
}

impl When {
    fn holds(&self, spec: &ContainerSpec, command: &str) -> Result<bool> {
        let mut conditions = Vec::new();
        conditions.extend(self.always);
        if let Some(wanted) = self.has_bind_mounts {
            let bound = |kind| matches!(kind, MountKind::Bind | MountKind::Volume);
            conditions.push(wanted && spec.mounts.iter().any(|mount| bound(mount.kind)));
        }
        for (key, value) in &self.annotations {
            let (key, value) = (pattern(key)?, pattern(value)?);
            conditions.push(spec.annotations.iter().any(|(k, v)| key.is_match(k) && value.is_match(v)));
        }
        if !self.commands.is_empty() {
            let mut matches = false;
            for text in &self.commands {
                matches |= pattern(text)?.is_match(command);
            }
            conditions.push(matches);
        }
        Ok(!conditions.is_empty() && conditions.iter().all(|holds| *holds))
    }
}

/// The hooks of a container whose configuration is ready but for them: the devices', then the host's in the order of their
/// files. `None`: it has none.
pub(super) fn hooks(spec: &ContainerSpec, out: &Spec, resolved: &Resolved) -> Result<Option<Hooks>> {
    let process = out.process().as_ref();
    let args = process.and_then(|process| process.args().as_ref());
    let command = args.and_then(|args| args.first()).map_or("", String::as_str);
    let mut all = cdi::hooks(&resolved.cdi);
    for file in &resolved.hooks {
        if file.when.holds(spec, command)? {
            let hooks = all.get_or_insert_default();
            file.stages.iter().for_each(|stage| add(hooks, *stage, &file.hook));
        }
    }
    Ok(all)
}

#[allow(deprecated, reason = "hosts still use prestart")]
fn add(hooks: &mut Hooks, stage: Stage, hook: &Hook) {
    let list = match stage {
        Stage::Precreate => return,
        Stage::Prestart => hooks.prestart_mut(),
        Stage::CreateRuntime => hooks.create_runtime_mut(),
        Stage::CreateContainer => hooks.create_container_mut(),
        Stage::StartContainer => hooks.start_container_mut(),
        Stage::Poststart => hooks.poststart_mut(),
        Stage::Poststop => hooks.poststop_mut(),
    };
    list.get_or_insert_default().push(hook.clone());
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::spec::MountSpec;
    use serde_json::json;

    fn file(when: serde_json::Value, stages: &[&str]) -> Result<HookFile> {
        let text = json!({
            "version": "1.0.0", "hook": {"path": "/bin/h", "args": ["h", "x"]}, "when": when, "stages": stages,
        });
        HookFile::parse(&text.to_string())
    }

    #[test]
    fn conditions_all_hold() {
        let mut spec = ContainerSpec::default();
        spec.annotations.insert("gpu".to_owned(), "yes".to_owned());
        let holds = |spec: &ContainerSpec, when| {
            file(when, &["prestart"]).unwrap().when.holds(spec, "/bin/sh").unwrap()
        };
        for (when, wanted) in [
            (json!({}), false),
            (json!({"always": true}), true),
            (json!({"always": false}), false),
            (json!({"annotations": {"^g": "^y"}}), true),
            (json!({"annotations": {"^g": "^y", "x": ""}}), false),
            (json!({"commands": ["bash$", "sh$"]}), true),
            (json!({"commands": ["^sh$"]}), false),
            (json!({"always": true, "commands": ["^sh$"]}), false),
            (json!({"hasBindMounts": true}), false),
        ] {
            assert_eq!(holds(&spec, when.clone()), wanted, "{when}");
        }
        spec.mounts.push(MountSpec::default());
        assert!(holds(&spec, json!({"hasBindMounts": true})));
    }

    #[test]
    fn files_are_checked() {
        assert!(file(json!({"always": true}), &["poststop", "createRuntime"]).is_ok());
        assert!(file(json!({"always": true}), &["precreate"]).is_err());
        assert!(file(json!({"always": true}), &["sometime"]).is_err());
        assert!(file(json!({"commands": ["("]}), &["poststop"]).is_err());
        assert!(HookFile::parse(r#"{"version": "0.1.0", "hook": {"path": "/h"}, "stages": []}"#).is_err());
        assert!(HookFile::parse(r#"{"version": "1.0.0", "hook": {"path": "h"}, "stages": []}"#).is_err());
    }
}
