//! Mounts: `-v`, `--mount`, `--tmpfs`, and what concerns the root filesystem.

use super::Inputs;
use super::values::{boolean, csv, size};
use crate::engine::config::Environment;
use crate::engine::oci::complete::clean;
use crate::engine::spec::{
    BindOptions, ContainerSpec, ImageVolumes, MountKind, MountSpec, Propagation, SelinuxRelabel,
};
use crate::engine::{Error, ErrorKind, Result};
use clap::Args;

/// Files the container sees.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Mounts")]
pub struct MountArgs {
    /// Bind a host directory or a volume: ro, z, Z, U, O, exec, idmap, rshared … are options (may be repeated)
    #[arg(short, long, value_name = "[SOURCE:]TARGET[:OPTIONS]")]
    pub volume: Vec<String>,
    /// Mount, as type=bind|tmpfs|volume|image|devpts,src=…,dst=…,OPTIONS (may be repeated)
    #[arg(long, value_name = "FIELDS")]
    pub mount: Vec<String>,
    /// Mount memory (may be repeated)
    #[arg(long, value_name = "TARGET[:OPTIONS]")]
    pub tmpfs: Vec<String>,
    /// Take the mounts of another container (may be repeated)
    #[arg(long, value_name = "NAME[:OPTIONS]")]
    pub volumes_from: Vec<String>,
    /// Driver of volumes that are made
    #[arg(long, value_name = "DRIVER")]
    pub volume_driver: Option<String>,
    /// What becomes of the image's volumes: anonymous, tmpfs or ignore
    #[arg(long, value_name = "MODE", value_parser = ["anonymous", "bind", "tmpfs", "ignore"])]
    pub image_volume: Option<String>,
    /// Mount the root filesystem read-only
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    pub read_only: Option<bool>,
    /// With --read-only: tmpfs on /run, /tmp, /var/tmp [default: true]
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    pub read_only_tmpfs: Option<bool>,
    /// Size of /dev/shm
    #[arg(long, value_name = "SIZE")]
    pub shm_size: Option<String>,
    /// Size of the tmpfs systemd needs (with --systemd)
    #[arg(long, value_name = "SIZE")]
    pub shm_size_systemd: Option<String>,
    /// Give the container a secret (may be repeated)
    #[arg(long, value_name = "NAME[,OPTIONS]")]
    pub secret: Vec<String>,
    /// The image argument is a directory to use as root filesystem
    #[arg(long)]
    pub rootfs: bool,
    /// Option of the container's layer, such as size=10G (may be repeated)
    #[arg(long, value_name = "OPTION")]
    pub storage_opt: Vec<String>,
}

impl MountArgs {
    pub(super) fn apply(&self, spec: &mut ContainerSpec, inputs: &Inputs<'_>) -> Result<()> {
        for text in &self.mount {
            add(&mut spec.mounts, mount(text, inputs.env)?)?;
        }
        for text in &self.volume {
            add(&mut spec.mounts, volume(text, inputs.env)?)?;
        }
        for text in &self.tmpfs {
            add(&mut spec.mounts, tmpfs(text)?)?;
        }
        // As podman has it: `-v` takes the place of the configured volumes, `--mount` joins the configured mounts.
        if self.volume.is_empty() {
            configured(spec, "volumes", &inputs.conf.volumes.values, |text| volume(text, inputs.env))?;
        }
        configured(spec, "mounts", &inputs.conf.mounts.values, |text| mount(text, inputs.env))?;
        spec.image_volumes = match self.image_volume.as_deref() {
            Some("tmpfs") => ImageVolumes::Tmpfs,
            Some("ignore") => ImageVolumes::Ignore,
            _ => ImageVolumes::Anonymous,
        };
        spec.read_only = self.read_only.or(inputs.conf.read_only).unwrap_or(false);
        spec.read_only_tmpfs = self.read_only_tmpfs != Some(false);
        if let Some(text) = &self.shm_size {
            spec.shm_size = Some(size("--shm-size", text)?);
        }
        if !self.volumes_from.is_empty() {
            return Err(super::later("--volumes-from", "volumes"));
        }
        if self.volume_driver.as_deref().is_some_and(|d| !matches!(d, "" | "local")) {
            return Err(super::later("--volume-driver", "volume drivers"));
        }
        if !self.secret.is_empty() {
            return Err(super::later("--secret", "secrets"));
        }
        if !self.storage_opt.is_empty() {
            return Err(super::later("--storage-opt of a container", "quotas"));
        }
        if self.shm_size_systemd.is_some() {
            return Err(super::later("--shm-size-systemd", "sizes of systemd's tmpfs"));
        }
        Ok(())
    }
}

/// Adds what containers.conf says under `key`, where the command line mounts nothing else.
fn configured(
    spec: &mut ContainerSpec,
    key: &str,
    entries: &[String],
    parse: impl Fn(&str) -> Result<MountSpec>,
) -> Result<()> {
    for text in entries {
        match parse(text) {
            Ok(mount) if spec.mounts.iter().any(|m| m.target == mount.target) => {}
            Ok(mount) => spec.mounts.push(mount),
            Err(e) if e.kind() == ErrorKind::Unsupported => {
                tracing::warn!("containers.conf: {key}: {text:?} is left out: {e}");
            }
            Err(e) => return Err(Error::invalid(format!("containers.conf: {key}")).with_source(e)),
        }
    }
    Ok(())
}

/// A target is mounted once; the very same request twice is one.
fn add(list: &mut Vec<MountSpec>, mount: MountSpec) -> Result<()> {
    match list.iter().find(|m| m.target == mount.target) {
        None => list.push(mount),
        Some(same) if *same == mount => {}
        Some(_) => {
            return Err(Error::invalid(format!(
                "{} is mounted twice: duplicate mount destination",
                mount.target
            )));
        }
    }
    Ok(())
}

fn target(flag: &str, text: &str) -> Result<String> {
    if !text.starts_with('/') || text.contains('\0') {
        return Err(Error::invalid(format!("invalid {flag}: the target {text:?} is not an absolute path")));
    }
    let path = clean(text);
    if path == "/" {
        return Err(Error::invalid(format!("invalid {flag}: the target cannot be the root directory")));
    }
    Ok(path)
}

/// A host path, relative to the caller's directory when it starts with a dot.
fn host_path(text: &str, env: &Environment) -> String {
    if text.starts_with('/') {
        return text.to_owned();
    }
    clean(&env.cwd.join(text).to_string_lossy())
}

/// Docker's and podman's rule for volume names.
fn is_volume_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// `-v`.
///
/// # Errors
/// It has not the form `[SOURCE:]TARGET[:OPTIONS]`, or an option is unknown. Volumes by name are a later matter.
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
        Some(name) if is_volume_name(name) => {
            return Err(super::later(&format!("--volume {text}"), "volumes by name")
                .with_hint("bind a directory instead: ./DIR:/TARGET"));
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
struct Seen(Vec<&'static str>);

impl Seen {
    fn once(&mut self, group: &'static str) -> Result<(), String> {
        if self.0.contains(&group) {
            return Err(format!("only one of {group} can be given"));
        }
        self.0.push(group);
        Ok(())
    }
}

/// One option word of `-v`, shared with `--mount`.
fn apply_option(mount: &mut MountSpec, option: &str, seen: &mut Seen) -> Result<(), String> {
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

fn word(mount: &mut MountSpec, seen: &mut Seen, group: &'static str, name: &str) -> Result<(), String> {
    seen.once(group)?;
    mount.options.push(name.to_owned());
    Ok(())
}

/// What only the whole of a mount shows.
fn finish(mount: &MountSpec) -> Result<(), String> {
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

/// `--tmpfs TARGET[:OPTIONS]`.
///
/// # Errors
/// A relative target or an unknown option.
pub fn tmpfs(text: &str) -> Result<MountSpec> {
    let (inside, options) = text.split_once(':').unwrap_or((text, ""));
    let mut mount =
        MountSpec { kind: MountKind::Tmpfs, target: target("--tmpfs", inside)?, ..MountSpec::default() };
    for option in options.split(',').filter(|o| !o.is_empty()) {
        tmpfs_option(&mut mount, option)
            .map_err(|why| Error::invalid(format!("invalid --tmpfs {text:?}: {why}")))?;
    }
    Ok(mount)
}

fn tmpfs_option(mount: &mut MountSpec, option: &str) -> Result<(), String> {
    const WORDS: [&str; 18] = [
        "exec",
        "noexec",
        "suid",
        "nosuid",
        "dev",
        "nodev",
        "async",
        "sync",
        "dirsync",
        "atime",
        "noatime",
        "diratime",
        "nodiratime",
        "relatime",
        "strictatime",
        "tmpcopyup",
        "notmpcopyup",
        "noswap",
    ];
    let (name, value) = option.split_once('=').unwrap_or((option, ""));
    match name {
        "ro" | "rw" if value.is_empty() => mount.read_only = name == "ro",
        "U" if value.is_empty() => mount.bind.chown = true,
        "size" => {
            // The kernel takes k, m, g and % only.
            let bytes = match value.strip_suffix('%') {
                Some(percent) if percent.parse::<u8>().is_ok() => value.to_owned(),
                _ => size("size", value).map_err(|_| format!("invalid size {value:?}"))?.to_string(),
            };
            mount.options.push(format!("size={bytes}"));
        }
        "mode" if u32::from_str_radix(value, 8).is_ok_and(|m| m <= 0o7777) => {
            mount.options.push(option.to_owned())
        }
        "uid" | "gid" if value.parse::<u32>().is_ok() => mount.options.push(option.to_owned()),
        "nr_inodes" | "nr_blocks" | "mpol" | "huge" if !value.is_empty() => {
            mount.options.push(option.to_owned())
        }
        name if WORDS.contains(&name) && value.is_empty() => mount.options.push(name.to_owned()),
        name => match Propagation::parse(name).filter(|_| value.is_empty()) {
            Some(mode) => mount.bind.propagation = Some(mode),
            None => return Err(format!("unknown or invalid option {option:?}")),
        },
    }
    Ok(())
}

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
        "image" => return Err(super::later("--mount type=image", "mounts of images")),
        "glob" => return Err(super::later("--mount type=glob", "mounts by pattern")),
        "artifact" => return Err(super::later("--mount type=artifact", "artifacts")),
        "npipe" | "cluster" => {
            return Err(Error::unsupported(format!(
                "--mount type={kind_word} does not exist on this kind of host"
            )));
        }
        _ => return Err(bad(format!("unknown type {kind_word:?}"))),
    };
    let mut mount = MountSpec { kind, ..MountSpec::default() };
    let mut seen = Seen::default();
    for field in fields.iter().filter(|f| !f.is_empty()) {
        field_of(&mut mount, field, env, &mut seen).map_err(bad)?;
    }
    if mount.target.is_empty() {
        return Err(bad("the target is missing (dst=…)".to_owned()));
    }
    mount.target = target("--mount", &mount.target)?;
    match kind {
        MountKind::Bind if mount.source.is_empty() => mount.source.clone_from(&mount.target),
        MountKind::Volume if !mount.source.is_empty() => {
            return Err(super::later(&format!("--mount {text}"), "volumes by name")
                .with_hint("use type=bind with a directory"));
        }
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
    let (bind, tmpfs, volume) = (&[MountKind::Bind][..], &[MountKind::Tmpfs][..], &[MountKind::Volume][..]);
    match name.as_str() {
        "type" => {}
        "src" | "source" => {
            only(&[MountKind::Bind, MountKind::Volume])?;
            seen.once("src and source")?;
            let text = some()?;
            mount.source = if mount.kind == MountKind::Bind { host_path(text, env) } else { text.to_owned() };
        }
        "dst" | "dest" | "destination" | "target" => {
            seen.once("dst, dest, destination and target")?;
            some()?.clone_into(&mut mount.target);
        }
        "ro" | "readonly" => {
            seen.once("ro, readonly and rw")?;
            mount.read_only = switch()?;
        }
        "rw" => {
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
        "volume-label" | "volume-driver" | "volume-opt" | "volume-subpath" | "subpath" | "nocreate" => {
            only(volume)?;
            return Err(format!("{name} needs volumes by name, which are not supported yet"));
        }
        "image-subpath" => return Err("image-subpath goes with type=image".to_owned()),
        "uid" | "gid" | "mode" | "ptmxmode" | "max" => {
            only(&[MountKind::Devpts])?;
            mount.options.push(format!("{name}={}", some()?));
        }
        _ => return apply_option(mount, field, seen),
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::super::tests::environment;
    use super::*;

    fn v(text: &str) -> MountSpec {
        volume(text, &environment()).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn volumes() {
        let got = v("/a:/b:ro,z,rshared,noexec,U");
        assert_eq!((got.source.as_str(), got.target.as_str(), got.read_only), ("/a", "/b", true));
        assert_eq!(got.options, ["noexec"]);
        assert!(got.bind.chown && got.bind.create_source);
        assert_eq!(got.bind.relabel, Some(SelinuxRelabel::Shared));
        assert_eq!(got.bind.propagation, Some(Propagation::RShared));
        assert_eq!(v("./src:/b").source, "/srv/here/src");
        assert_eq!(v("../x:/b/../c/").source, "/srv/x");
        assert_eq!(v("../x:/b/../c/").target, "/c");
        assert_eq!((v("/data").kind, v("/data:nocopy").kind), (MountKind::Volume, MountKind::Volume));
        assert!(v("/a:/b:O,upperdir=/u,workdir=/w").bind.overlay);
        assert_eq!(v("/a:/b:idmap=uids=0-1-2").bind.idmap.as_deref(), Some("uids=0-1-2"));
        assert!(v("/a:/b:bind").bind.non_recursive);
        for bad in [
            "",
            ":",
            "/a:",
            ":/b",
            "relative",
            "/a:relative",
            "/a:/b:bogus",
            "/a:/b:ro,rw",
            "/a:/b:z,Z",
            "/a:/b:c:d",
            "/a:/",
            "/a:/b:O,ro",
            "/a:/b:upperdir=/u",
            "a/b:/c",
            "/a:/b:shared,private",
        ] {
            assert!(volume(bad, &environment()).is_err(), "{bad}");
        }
        assert_eq!(volume("name:/x", &environment()).unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn mounts_with_the_keys_of_both_peers() {
        let m = |text: &str| mount(text, &environment()).unwrap_or_else(|e| panic!("{text}: {e}"));
        let got = m(
            "type=bind,source=/a,target=/b,readonly,bind-propagation=rslave,relabel=shared,bind-create-src",
        );
        assert_eq!((got.source.as_str(), got.target.as_str(), got.read_only), ("/a", "/b", true));
        assert!(got.bind.create_source);
        assert_eq!(got.bind.propagation, Some(Propagation::RSlave));
        assert!(!m("type=bind,src=/a,dst=/b").bind.create_source);
        assert!(!m("type=bind,src=/a,dst=/b,ro=false").read_only);
        assert!(m("type=bind,src=/a,dst=/b,rw=false").read_only);
        assert_eq!(m("type=bind,dst=/b").source, "/b");
        assert_eq!(m("type=bind,src=.,dst=/b").source, "/srv/here");
        assert_eq!(
            m("type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=1777").options,
            ["size=1048576", "mode=1777"]
        );
        assert_eq!(m("dst=/anonymous").kind, MountKind::Volume);
        assert_eq!(m("type=devpts,dst=/p,mode=0620").options, ["mode=0620"]);
        assert_eq!(m(r#"type=bind,"src=/a,b",dst=/c"#).source, "/a,b");
        assert!(m("type=bind,src=/a,dst=/b,bind-recursive=disabled").bind.non_recursive);
        for bad in [
            "",
            "type=bind",
            "type=bogus,dst=/x",
            "type=bind,src=,dst=/x",
            "type=bind,src=/a,dst=x",
            "type=bind,src=/a,dst=/b,src=/c",
            "type=tmpfs,src=/a,dst=/x",
            "type=tmpfs,dst=/x,tmpfs-size=x",
            "type=bind,src=/a,dst=/b,tmpfs-size=1",
            "type=bind,src=/a,dst=/b,ro=maybe",
            "type=bind,src=/a,dst=/b,what=ever",
            "type=bind,src=/a,dst=/b,ro,rw",
        ] {
            assert!(mount(bad, &environment()).is_err(), "{bad}");
        }
        for later in ["src=name,dst=/x", "type=image,src=i,dst=/x", "type=glob,src=/a*,dst=/x"] {
            assert_eq!(mount(later, &environment()).unwrap_err().kind(), ErrorKind::Unsupported, "{later}");
        }
    }

    #[test]
    fn tmpfs_options_are_checked() {
        let got = tmpfs("/t:ro,size=64k,mode=1777,noexec,uid=5").unwrap();
        assert_eq!(got.options, ["size=65536", "mode=1777", "noexec", "uid=5"]);
        assert!(got.read_only);
        assert_eq!(tmpfs("/t:size=50%").unwrap().options, ["size=50%"]);
        for bad in ["t", "/t:bogus", "/t:size=x", "/t:mode=9", "/t:uid=root", "/"] {
            assert!(tmpfs(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_target_is_mounted_once() {
        let mut list = Vec::new();
        add(&mut list, v("/a:/b")).unwrap();
        add(&mut list, v("/a:/b")).unwrap();
        assert_eq!(list.len(), 1);
        assert!(add(&mut list, v("/c:/b")).is_err());
    }
}
