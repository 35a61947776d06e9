//! `-v`, and the option words that `--mount` has, too.

use super::{host_path, target};
use crate::engine::config::Environment;
use crate::engine::spec::{BindOptions, MountKind, MountSpec, Propagation, SelinuxRelabel};
use crate::engine::volume::check_name;
use crate::engine::{Error, Result};

/// `-v`.
///
/// # Errors
/// It has not the form `[SOURCE:]TARGET[:OPTIONS]`, or an option is unknown.
pub fn volume(text: &str, env: &Environment) -> Result<MountSpec> {
    let bad = |why: &str| {
        Error::invalid(format!("invalid --volume {text:?}: {why}"))
            .with_hint("[SOURCE:]TARGET[:OPTIONS] with absolute paths, for example ./src:/src:ro")
    };
    let parts: Vec<&str> = text.split(':').collect();
    let (source, inside, options) = match parts[..] {
        [inside] => (None, inside, ""),
        // A second part that is no path is the options of an anonymous volume.
        [inside, options] if inside.starts_with('/') && !options.is_empty() && !options.starts_with('/') => {
            (None, inside, options)
        }
        [source, inside] => (Some(source), inside, ""),
        [source, inside, options] => (Some(source), inside, options),
        _ => return Err(bad("too many colons")),
    };
    let mut mount = MountSpec { target: target("--volume", inside)?, ..MountSpec::default() };
    match source {
        None => mount.kind = MountKind::Volume,
        Some("") => return Err(bad("the source is empty")),
        Some(path) if path.starts_with('/') || path.starts_with('.') => {
            mount.source = host_path(path, env);
            mount.bind.create_source = true;
        }
        Some(name) if check_name(name).is_ok() => {
            mount.kind = MountKind::Volume;
            name.clone_into(&mut mount.source);
        }
        Some(_) => return Err(bad("the source is neither a path nor a volume's name")),
    }
    let mut seen = Seen::default();
    for option in options.split(',').filter(|o| !o.is_empty()) {
        apply_option(&mut mount, option, &mut seen).map_err(|why| bad(&why))?;
    }
    finish(&mount).map_err(|why| bad(&why))?;
    Ok(mount)
}

/// Groups of options of which one may be given.
#[derive(Default)]
pub(super) struct Seen(Vec<&'static str>);

impl Seen {
    pub(super) fn once(&mut self, group: &'static str) -> Result<(), String> {
        if self.0.contains(&group) {
            return Err(format!("only one of {group} can be given"));
        }
        self.0.push(group);
        Ok(())
    }
}

/// One option word of `-v`, shared with `--mount`.
pub(super) fn apply_option(mount: &mut MountSpec, option: &str, seen: &mut Seen) -> Result<(), String> {
    let (name, value) = match option.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (option, None),
    };
    match (name, value) {
        ("ro" | "rw", None) => {
            seen.once("ro and rw")?;
            mount.read_only = name == "ro";
        }
        ("rro", None) => {
            seen.once("ro and rw")?;
            mount.read_only = true;
            mount.options.push(name.to_owned());
        }
        ("z" | "Z", None) => {
            seen.once("z and Z")?;
            let kind = if name == "z" { SelinuxRelabel::Shared } else { SelinuxRelabel::Private };
            mount.bind.relabel = Some(kind);
        }
        ("U", None) => mount.bind.chown = true,
        ("O", None) => mount.bind.overlay = true,
        ("upperdir" | "workdir", Some(path)) if path.starts_with('/') => {
            mount.options.push(option.to_owned())
        }
        ("idmap", value) => {
            seen.once("idmap")?;
            mount.bind.idmap = Some(value.unwrap_or_default().to_owned());
        }
        ("bind" | "rbind", None) => {
            seen.once("bind and rbind")?;
            mount.bind.non_recursive = name == "bind";
        }
        ("exec" | "noexec", None) => word(mount, seen, "exec and noexec", name)?,
        ("suid" | "nosuid", None) => word(mount, seen, "suid and nosuid", name)?,
        ("dev" | "nodev", None) => word(mount, seen, "dev and nodev", name)?,
        ("copy" | "nocopy", None) => word(mount, seen, "copy and nocopy", name)?,
        ("noatime" | "nodiratime" | "relatime" | "norelatime" | "strictatime", None) => {
            mount.options.push(name.to_owned());
        }
        ("no-dereference", None) => mount.options.push("copy-symlink".to_owned()),
        // macOS settings that people have in their scripts.
        ("consistency", Some(_)) | ("cached" | "delegated" | "consistent" | "default", None) => {}
        (name, None) => match Propagation::parse(name) {
            Some(mode) => {
                seen.once("the propagation modes")?;
                mount.bind.propagation = Some(mode);
            }
            None => return Err(format!("unknown option {option:?}")),
        },
        _ => return Err(format!("unknown option {option:?}")),
    }
    Ok(())
}

pub(super) fn word(
    mount: &mut MountSpec,
    seen: &mut Seen,
    group: &'static str,
    name: &str,
) -> Result<(), String> {
    seen.once(group)?;
    mount.options.push(name.to_owned());
    Ok(())
}

/// What only the whole of a mount shows.
pub(super) fn finish(mount: &MountSpec) -> Result<(), String> {
    let dirs =
        mount.options.iter().filter(|o| o.starts_with("upperdir=") || o.starts_with("workdir=")).count();
    let BindOptions { overlay, propagation, idmap, .. } = &mount.bind;
    if dirs > 0 && (dirs != 2 || !overlay) {
        return Err("upperdir and workdir go together, and with O".to_owned());
    }
    if *overlay && (mount.read_only || propagation.is_some() || idmap.is_some()) {
        return Err("O cannot be combined with ro, idmap or a propagation mode".to_owned());
    }
    Ok(())
}
