//! `--mount`.

use super::super::values::boolean;
use super::tmpfs::tmpfs_option;
use super::volume::{Seen, apply_option, finish};
use super::{host_path, target};
use crate::engine::config::Environment;
use crate::engine::oci::complete::clean;
use crate::engine::spec::{MountKind, MountSpec, Propagation, SelinuxRelabel, csv};
use crate::engine::volume::check_name;
use crate::engine::{Error, Result};

/// `--mount`: comma-separated fields with the keys of docker and podman.
///
/// # Errors
/// A field is unknown, lacks its value, or does not go with the type.
pub fn mount(text: &str, env: &Environment) -> Result<MountSpec> {
    let bad = |why: String| {
        Error::invalid(format!("invalid --mount {text:?}: {why}"))
            .with_hint("type=bind,src=/on/host,dst=/in/container[,ro][,…]")
    };
    let fields = csv("--mount", text)?;
    let kind_word = fields.iter().rev().find_map(|f| f.strip_prefix("type=")).unwrap_or("volume");
    let kind = match kind_word.to_ascii_lowercase().as_str() {
        "bind" => MountKind::Bind,
        "volume" => MountKind::Volume,
        "tmpfs" => MountKind::Tmpfs,
        "ramfs" => MountKind::Ramfs,
        "devpts" => MountKind::Devpts,
        "image" => MountKind::Image,
        "glob" => MountKind::Glob,
        "artifact" => MountKind::Artifact,
        "npipe" | "cluster" => {
            return Err(Error::unsupported(format!(
                "--mount type={kind_word} does not exist on this kind of host"
            )));
        }
        _ => return Err(bad(format!("unknown type {kind_word:?}"))),
    };
    // An image is mounted read-only unless rw is asked for (podman-run(1)).
    let mut mount = MountSpec { kind, read_only: kind == MountKind::Image, ..MountSpec::default() };
    let mut seen = Seen::default();
    for field in fields.iter().filter(|f| !f.is_empty()) {
        field_of(&mut mount, field, env, &mut seen).map_err(bad)?;
    }
    if matches!(kind, MountKind::Image | MountKind::Glob | MountKind::Artifact) && mount.source.is_empty() {
        return Err(bad("the source is missing (src=…)".to_owned()));
    }
    // Without a target files that match a pattern are at their own places.
    if kind != MountKind::Glob || !mount.target.is_empty() {
        if mount.target.is_empty() {
            return Err(bad("the target is missing (dst=…)".to_owned()));
        }
        mount.target = target("--mount", &mount.target)?;
    }
    match kind {
        MountKind::Bind if mount.source.is_empty() => mount.source.clone_from(&mount.target),
        MountKind::Volume if !mount.source.is_empty() => check_name(&mount.source)?,
        _ => {}
    }
    finish(&mount).map_err(bad)?;
    Ok(mount)
}

fn field_of(mount: &mut MountSpec, field: &str, env: &Environment, seen: &mut Seen) -> Result<(), String> {
    let (name, value) = match field.split_once('=') {
        Some((name, value)) => (name.to_ascii_lowercase(), Some(value)),
        None => (field.to_ascii_lowercase(), None),
    };
    let only = |kinds: &[MountKind]| match kinds.contains(&mount.kind) {
        true => Ok(()),
        false => Err(format!("{name:?} does not go with this type")),
    };
    let switch = || match value {
        None => Ok(true),
        Some(text) => boolean(text).map_err(|why| format!("{name}: {why}")),
    };
    let some = || value.filter(|v| !v.is_empty()).ok_or_else(|| format!("{name:?} needs a value"));
    let (bind, tmpfs, volume) =
        (&[MountKind::Bind, MountKind::Glob][..], &[MountKind::Tmpfs][..], &[MountKind::Volume][..]);
    let (image, artifact) = (&[MountKind::Image][..], &[MountKind::Artifact][..]);
    match name.as_str() {
        "type" => {}
        "src" | "source" => {
            only(&[bind, volume, image, artifact].concat())?;
            seen.once("src and source")?;
            let text = some()?;
            mount.source = if bind.contains(&mount.kind) { host_path(text, env) } else { text.to_owned() };
        }
        "dst" | "dest" | "destination" | "target" => {
            seen.once("dst, dest, destination and target")?;
            some()?.clone_into(&mut mount.target);
        }
        "ro" | "readonly" => {
            seen.once("ro, readonly and rw")?;
            mount.read_only = switch()?;
        }
        "rw" | "readwrite" => {
            seen.once("ro, readonly and rw")?;
            mount.read_only = !switch()?;
        }
        "u" | "chown" => mount.bind.chown = switch()?,
        "relabel" => {
            seen.once("z and Z")?;
            mount.bind.relabel = Some(match some()? {
                "private" => SelinuxRelabel::Private,
                "shared" => SelinuxRelabel::Shared,
                _ => return Err("relabel is private or shared".to_owned()),
            });
        }
        "bind-propagation" => {
            only(bind)?;
            let mode = Propagation::parse(&some()?.to_ascii_lowercase()).ok_or("unknown propagation")?;
            mount.bind.propagation = Some(mode);
        }
        "bind-nonrecursive" => {
            only(bind)?;
            mount.bind.non_recursive = switch()?;
        }
        "bind-recursive" => {
            only(bind)?;
            match some()? {
                "enabled" | "writable" => {}
                "disabled" => mount.bind.non_recursive = true,
                "readonly" => mount.options.push("rro".to_owned()),
                _ => return Err("bind-recursive is enabled, disabled, writable or readonly".to_owned()),
            }
        }
        "bind-create-src" => {
            only(bind)?;
            mount.bind.create_source = switch()?;
        }
        "tmpfs-size" | "size" => {
            only(&[MountKind::Tmpfs, MountKind::Ramfs])?;
            tmpfs_option(mount, &format!("size={}", some()?))?;
        }
        "tmpfs-mode" => {
            only(tmpfs)?;
            tmpfs_option(mount, &format!("mode={}", some()?))?;
        }
        "tmpcopyup" | "notmpcopyup" | "noswap" => {
            only(tmpfs)?;
            mount.options.push(name);
        }
        "volume-nocopy" => {
            only(volume)?;
            if switch()? {
                mount.options.push("nocopy".to_owned());
            }
        }
        "volume-driver" => {
            only(volume)?;
            some()?.clone_into(&mut mount.volume.driver);
        }
        "volume-label" | "volume-opt" => {
            only(volume)?;
            let (key, value) = some()?.split_once('=').unwrap_or((some()?, ""));
            let map = if name == "volume-opt" { &mut mount.volume.options } else { &mut mount.volume.labels };
            map.insert(key.to_owned(), value.to_owned());
        }
        "volume-subpath" | "image-subpath" | "subpath" => {
            only(match name.as_str() {
                "volume-subpath" => volume,
                "image-subpath" => image,
                _ => &[MountKind::Volume, MountKind::Image],
            })?;
            let path = clean(&format!("/{}", some()?));
            let slot = match mount.kind {
                MountKind::Image => &mut mount.image.subpath,
                _ => &mut mount.volume.subpath,
            };
            path.trim_start_matches('/').clone_into(slot);
        }
        "digest" | "title" | "name" => {
            only(artifact)?;
            let text = some()?;
            let slot = match name.as_str() {
                "digest" => &mut mount.artifact.digest,
                "title" => &mut mount.artifact.title,
                _ if text.contains('/') => return Err("name is a file's name".to_owned()),
                _ => &mut mount.artifact.name,
            };
            text.clone_into(slot);
        }
        "nocreate" => {
            only(volume)?;
            mount.volume.no_create = switch()?;
        }
        "uid" | "gid" | "mode" | "ptmxmode" | "max" => {
            only(&[MountKind::Devpts])?;
            mount.options.push(format!("{name}={}", some()?));
        }
        _ => return apply_option(mount, field, seen),
    }
    Ok(())
}
