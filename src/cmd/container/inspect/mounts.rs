//! `Mounts`, and the same in the words of `HostConfig`.

use super::text;
use crate::engine::Engine;
use crate::engine::spec::{MountKind, MountSpec, Propagation, SelinuxRelabel};
use serde::Serialize;

#[derive(Debug, Serialize)]
#[serde(rename = "InspectMount", rename_all = "PascalCase")]
pub(super) struct Mount {
    #[serde(rename = "Type")]
    pub kind: String,
    pub name: String,
    pub source: String,
    pub destination: String,
    pub driver: String,
    pub mode: String,
    pub options: Vec<String>,
    #[serde(rename = "RW")]
    pub rw: bool,
    pub propagation: String,
}

/// As podman: what is only memory stands in HostConfig.Tmpfs.
pub(super) fn is_listed(mount: &MountSpec) -> bool {
    matches!(
        mount.kind,
        MountKind::Bind | MountKind::Volume | MountKind::Image | MountKind::Glob | MountKind::Artifact
    )
}

pub(super) fn mount(engine: &Engine, mount: &MountSpec) -> Mount {
    let volume = mount.kind == MountKind::Volume;
    let source = match volume {
        true => text(&engine.config.paths.volumes.join(&mount.source).join("_data")),
        false => mount.source.clone(),
    };
    let mut options = mount.options.clone();
    if mount.kind == MountKind::Bind {
        options.push(if mount.bind.non_recursive { "bind" } else { "rbind" }.to_owned());
    }
    Mount {
        kind: kind(mount.kind).to_owned(),
        name: if volume { mount.source.clone() } else { String::new() },
        source,
        destination: mount.target.clone(),
        driver: if volume { "local" } else { "" }.to_owned(),
        mode: mode(mount),
        options,
        rw: !mount.read_only,
        propagation: propagation(mount.bind.propagation).to_owned(),
    }
}

/// What docker's `-v` was given behind the second colon, as far as it is a matter of mode.
fn mode(mount: &MountSpec) -> String {
    let mut words = Vec::new();
    if mount.read_only {
        words.push("ro");
    }
    match mount.bind.relabel {
        Some(SelinuxRelabel::Shared) => words.push("z"),
        Some(SelinuxRelabel::Private) => words.push("Z"),
        None => {}
    }
    words.join(",")
}

fn kind(kind: MountKind) -> &'static str {
    match kind {
        MountKind::Bind => "bind",
        MountKind::Volume => "volume",
        MountKind::Tmpfs => "tmpfs",
        MountKind::Ramfs => "ramfs",
        MountKind::Devpts => "devpts",
        MountKind::Image => "image",
        MountKind::Glob => "glob",
        MountKind::Artifact => "artifact",
    }
}

fn propagation(propagation: Option<Propagation>) -> &'static str {
    propagation.unwrap_or(Propagation::RPrivate).as_str()
}

/// `source:target:options`.
pub(super) fn bind(mount: &MountSpec) -> Option<String> {
    if !matches!(mount.kind, MountKind::Bind | MountKind::Volume) {
        return None;
    }
    let mut options = vec![if mount.read_only { "ro" } else { "rw" }.to_owned()];
    options.push(propagation(mount.bind.propagation).to_owned());
    options.extend(mount.options.iter().cloned());
    if mount.kind == MountKind::Bind {
        options.push(if mount.bind.non_recursive { "bind" } else { "rbind" }.to_owned());
    }
    Some(format!("{}:{}:{}", mount.source, mount.target, options.join(",")))
}

pub(super) fn tmpfs(mount: &MountSpec) -> (String, String) {
    let mut options = vec![if mount.read_only { "ro" } else { "rw" }.to_owned()];
    options.extend(mount.options.iter().cloned());
    (mount.target.clone(), options.join(","))
}
