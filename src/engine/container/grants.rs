//! What a container has that its spec does not spell out, because it depends on the host: for `inspect`.

use super::facts::host_facts;
use crate::engine::conmon::RunDir;
use crate::engine::oci;
use crate::engine::spec::{CgroupManager, NamespaceMode};
use crate::engine::state::Record;
use crate::engine::{Engine, Result};
use std::path::Path;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Capabilities of the bounding set, sorted.
    pub bounding: Vec<String>,
    /// Those its first process has, sorted.
    pub effective: Vec<String>,
    /// Paths hidden from it.
    pub masked_paths: Vec<String>,
    /// Paths it cannot write to.
    pub readonly_paths: Vec<String>,
    /// Its cgroup namespace, never [`NamespaceMode::Default`].
    pub cgroup: NamespaceMode,
    /// Who makes its cgroup: `systemd`, `cgroupfs` or `disabled`.
    pub cgroup_manager: &'static str,
}

/// What `record`'s container has, by the `config.json` of its last start while that is there, else by what a start
/// would write into it now.
///
/// # Errors
/// Its record cannot be read; its capabilities contradict each other.
pub fn grants(engine: &Engine, record: &Record) -> Result<Grants> {
    let spec = record.spec()?;
    let host = host_facts(engine, spec);
    let manager = match host.cgroup_manager {
        CgroupManager::Systemd => "systemd",
        CgroupManager::Cgroupfs => "cgroupfs",
        CgroupManager::Disabled => "disabled",
    };
    let cgroup = oci::cgroup_namespace(spec, &host);
    let written = read(&RunDir::new(engine.state.run_dir(&record.id)).config());
    let (capabilities, masked_paths, readonly_paths) = match written {
        Some(written) => {
            (written.process.capabilities, written.linux.masked_paths, written.linux.readonly_paths)
        }
        None => {
            let bounding = oci::caps::bounding(spec, host.bounding)?;
            let effective = if is_root(&spec.process.user) { bounding } else { 0 };
            let capabilities =
                Capabilities { bounding: oci::caps::names(bounding), effective: oci::caps::names(effective) };
            let (masked, readonly) = oci::masked_paths(spec, &host);
            (capabilities, masked, readonly)
        }
    };
    let Capabilities { mut bounding, mut effective } = capabilities;
    bounding.sort();
    effective.sort();
    Ok(Grants { bounding, effective, masked_paths, readonly_paths, cgroup, cgroup_manager: manager })
}

/// As far as it can be told without the container's /etc/passwd.
fn is_root(user: &str) -> bool {
    matches!(user.split(':').next().unwrap_or_default(), "" | "0" | "root")
}

/// The parts of `config.json` that are wanted here.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Written {
    process: Process,
    linux: Linux,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Process {
    capabilities: Capabilities,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Capabilities {
    bounding: Vec<String>,
    effective: Vec<String>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Linux {
    masked_paths: Vec<String>,
    readonly_paths: Vec<String>,
}

fn read(config: &Path) -> Option<Written> {
    serde_json::from_slice(&std::fs::read(config).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::is_root;

    #[test]
    fn users_that_are_root_by_their_looks() {
        for (user, root) in [("", true), ("0:5", true), ("root:wheel", true), ("1000", false), ("lab", false)]
        {
            assert_eq!(is_root(user), root, "{user}");
        }
    }
}
