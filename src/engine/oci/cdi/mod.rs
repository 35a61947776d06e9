//! The Container Device Interface: files by which vendors say what a container needs for a device of theirs (CDI
//! specification 0.3 to 1.0, `SPEC.md`). Pure: [`crate::engine::container`] reads the files and looks at the nodes.

mod apply;
mod resolve;

pub(super) use apply::{environment, hooks, intel_rdt, mounts};
pub use resolve::{SpecFile, resolve};

use crate::engine::{Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where the files are unless containers.conf or `--cdi-spec-dir` says otherwise. What a later directory says of a device
/// holds.
pub const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// A file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    cdi_version: String,
    kind: String,
    #[serde(default, rename = "annotations")]
    _annotations: BTreeMap<String, String>,
    devices: Vec<Device>,
    #[serde(default)]
    container_edits: Edits,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Device {
    name: String,
    #[serde(default, rename = "annotations")]
    _annotations: BTreeMap<String, String>,
    #[serde(default)]
    container_edits: Edits,
}

/// What is added to a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Edits {
    /// `NAME=VALUE`.
    pub env: Vec<String>,
    /// Devices.
    pub device_nodes: Vec<DeviceNode>,
    /// Network interfaces that are moved into the container (CDI 1.1).
    net_devices: Vec<serde_json::Value>,
    /// Host paths.
    pub mounts: Vec<CdiMount>,
    /// Programs of the host that are run at points of the container's life.
    pub hooks: Vec<CdiHook>,
    /// Resource Director Technology.
    pub intel_rdt: Option<CdiRdt>,
    /// Supplementary groups of the container's process.
    #[serde(rename = "additionalGids", alias = "additionalGIDs")]
    pub additional_gids: Vec<u32>,
}

/// A device node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceNode {
    /// Path inside.
    pub path: String,
    /// Path on the host; `None`: the same.
    pub host_path: Option<String>,
    /// `b`, `c`, `u` or `p`; `None`: as on the host.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Major number; `None`: as on the host.
    pub major: Option<u32>,
    /// Minor number; `None`: as on the host.
    pub minor: Option<u32>,
    /// Permission bits; `None`: 0666.
    pub file_mode: Option<u32>,
    /// A subset of `rwm`; `None`: all.
    pub permissions: Option<String>,
    /// Owner; `None`: the container's user.
    pub uid: Option<u32>,
    /// Group; `None`: the container user's.
    pub gid: Option<u32>,
}

/// A mount, in the words of the OCI runtime specification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct CdiMount {
    /// What is mounted.
    pub host_path: String,
    /// Where.
    pub container_path: String,
    /// Options, with `bind` or `rbind` among them if `kind` is none.
    pub options: Vec<String>,
    /// Kind of file system.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

/// A hook, in the words of the OCI runtime specification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct CdiHook {
    /// When: `createContainer` …
    pub hook_name: String,
    /// The program.
    pub path: PathBuf,
    /// Its arguments, its name among them.
    pub args: Vec<String>,
    /// Its environment.
    pub env: Vec<String>,
    /// Seconds it may take.
    pub timeout: Option<i64>,
}

/// Resource Director Technology, in the words of the OCI runtime specification.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CdiRdt {
    /// Class of service.
    #[serde(rename = "closID")]
    pub class: Option<String>,
    #[serde(rename = "l3CacheSchema")]
    l3_cache_schema: Option<String>,
    #[serde(rename = "memBwSchema")]
    memory_bandwidth_schema: Option<String>,
    schemata: Option<Vec<String>>,
    #[serde(rename = "enableCMT")]
    cache_monitoring: Option<bool>,
    #[serde(rename = "enableMBM")]
    bandwidth_monitoring: Option<bool>,
    #[serde(rename = "enableMonitoring")]
    monitoring: Option<bool>,
}

/// Whether `name` is a device's: `vendor.com/class=name`.
pub fn is_qualified(name: &str) -> bool {
    let Some((kind, device)) = name.split_once('=') else { return false };
    is_kind(kind) && is_device(device)
}

fn is_kind(kind: &str) -> bool {
    let part = |text: &str, marks: &str| {
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && ends(text.chars().last())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
    };
    kind.split_once('/').is_some_and(|(vendor, class)| part(vendor, "_-.") && part(class, "_-"))
}

fn is_device(name: &str) -> bool {
    let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    end(name.chars().next())
        && end(name.chars().last())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:".contains(c))
}

impl Document {
    /// JSON, or YAML.
    fn parse(text: &str) -> Result<Self> {
        let document: Self = serde_saphyr::from_str(text)
            .map_err(|e| Error::invalid("not a CDI specification").with_source(e))?;
        document.check()?;
        Ok(document)
    }

    fn check(&self) -> Result<()> {
        let major = self.cdi_version.trim_start_matches('v').split('.').next().and_then(|n| n.parse().ok());
        if major.is_none_or(|major: u32| major > 1) {
            return Err(Error::unsupported(format!("cdiVersion {:?}", self.cdi_version)));
        }
        if !is_kind(&self.kind) {
            return Err(Error::invalid(format!("invalid kind {:?}", self.kind)));
        }
        self.container_edits.check()?;
        for (number, device) in self.devices.iter().enumerate() {
            if !is_device(&device.name) || self.devices[..number].iter().any(|d| d.name == device.name) {
                return Err(Error::invalid(format!("invalid or repeated device name {:?}", device.name)));
            }
            device.container_edits.check()?;
        }
        Ok(())
    }
}

impl Edits {
    fn check(&self) -> Result<()> {
        let bad = |what: &str, value: &str| Err(Error::invalid(format!("invalid {what} {value:?}")));
        if let Some(entry) = self.env.iter().find(|entry| entry.find('=').is_none_or(|at| at == 0)) {
            return bad("env", entry);
        }
        for node in &self.device_nodes {
            let kind = node.kind.as_deref().unwrap_or_default();
            let permissions = node.permissions.as_deref().unwrap_or_default();
            if !node.path.starts_with('/') {
                return bad("deviceNode", &node.path);
            }
            if !matches!(kind, "" | "b" | "c" | "u" | "p") {
                return bad("type of a deviceNode", kind);
            }
            if !permissions.bytes().all(|b| b"rwm".contains(&b)) {
                return bad("permissions of a deviceNode", permissions);
            }
        }
        if let Some(mount) =
            self.mounts.iter().find(|m| m.host_path.is_empty() || !m.container_path.starts_with('/'))
        {
            return bad("mount", &mount.container_path);
        }
        for hook in &self.hooks {
            if !apply::HOOKS.contains(&hook.hook_name.as_str()) {
                return bad("hookName", &hook.hook_name);
            }
            if !hook.path.is_absolute() {
                return bad("path of a hook", &hook.path.to_string_lossy());
            }
        }
        Ok(())
    }

    fn extend(&mut self, other: &Self) {
        self.env.extend_from_slice(&other.env);
        self.device_nodes.extend_from_slice(&other.device_nodes);
        self.net_devices.extend_from_slice(&other.net_devices);
        self.mounts.extend_from_slice(&other.mounts);
        self.hooks.extend_from_slice(&other.hooks);
        self.additional_gids.extend_from_slice(&other.additional_gids);
        if other.intel_rdt.is_some() {
            self.intel_rdt.clone_from(&other.intel_rdt);
        }
    }
}

#[cfg(test)]
mod tests;
