//! The container's first process: arguments, environment, identity, working directory.

use super::{Resolved, apparmor, built, caps, cdi, rlimits};
use crate::engine::spec::{ContainerSpec, HostFacts, User};
use crate::engine::{Error, Result};
use oci_spec::runtime::{Process, ProcessBuilder, UserBuilder};
use std::path::PathBuf;

/// Where the init program is bound inside the container (podman's place, which scripts look for).
pub(super) const INIT_PATH: &str = "/run/podman-init";

pub(super) fn process(spec: &ContainerSpec, host: &HostFacts, resolved: &Resolved) -> Result<Process> {
    let mut process = ProcessBuilder::default()
        .terminal(spec.process.terminal)
        .user(user(spec, resolved)?)
        .args(args(spec)?)
        .env(env(spec, resolved))
        .cwd(cwd(&spec.process.workdir)?)
        .capabilities(caps::process(spec, &resolved.user, host.bounding)?)
        .rlimits(rlimits::effective(&spec.default_rlimits, &spec.rlimits, &host.limits)?)
        .no_new_privileges(spec.security.no_new_privileges)
        .build()
        .map_err(built)?;
    process.set_apparmor_profile(apparmor::profile(spec, host)?.map(str::to_owned));
    process.set_oom_score_adj(spec.resources.oom_score_adj);
    Ok(process)
}

fn user(spec: &ContainerSpec, resolved: &Resolved) -> Result<oci_spec::runtime::User> {
    let user = &resolved.user;
    let mut gids = additional_gids(user);
    for gid in &resolved.cdi.additional_gids {
        if *gid != 0 && !gids.contains(gid) {
            gids.push(*gid);
        }
    }
    if let Some(maps) = &resolved.id_maps {
        // setgroups(2) refuses IDs the namespace does not map.
        gids.retain(|gid| maps.maps_gid(*gid));
    }
    let mut builder = UserBuilder::default().uid(user.uid).gid(user.gid).umask(umask(&spec.process.umask)?);
    if !gids.is_empty() && !resolved.keep_groups {
        builder = builder.additional_gids(gids);
    }
    builder.build().map_err(built)
}

/// The supplementary groups to set. The primary group is among them for everybody but plain root, or a file that
/// denies that group something would be open to its members.
fn additional_gids(user: &User) -> Vec<u32> {
    let mut gids = user.additional_gids.clone();
    if (user.uid != 0 || user.gid != 0) && !gids.contains(&user.gid) {
        gids.insert(0, user.gid);
    }
    gids
}

fn umask(text: &str) -> Result<u32> {
    if text.is_empty() {
        return Ok(0o022);
    }
    let digits = text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    u32::from_str_radix(text, 8).ok().filter(|m| digits && *m <= 0o777).ok_or_else(|| {
        Error::invalid(format!("invalid umask {text:?}")).with_hint("an octal number such as 0022")
    })
}

/// What runs: entrypoint, then command, behind the init program when there is one.
fn args(spec: &ContainerSpec) -> Result<Vec<String>> {
    let mut args: Vec<String> = Vec::new();
    if spec.init {
        args.extend([INIT_PATH.to_owned(), "--".to_owned()]);
    }
    let before = args.len();
    args.extend(spec.process.entrypoint.iter().flatten().cloned());
    args.extend(spec.process.command.iter().cloned());
    if args.len() == before {
        return Err(Error::invalid(
            "no command specified: the image has neither Entrypoint nor Cmd, and none was given",
        )
        .with_hint("put the command after the image"));
    }
    Ok(args)
}

/// The completed environment with what depends on this start. What the user or the image set stays.
fn env(spec: &ContainerSpec, resolved: &Resolved) -> Vec<String> {
    let mut env = spec.process.env.clone();
    let unset = |name: &str| spec.process.unset_env_all || spec.process.unset_env.iter().any(|n| n == name);
    let has = |env: &[String], name: &str| env.iter().any(|e| e.split('=').next() == Some(name));
    let mut add = |name: &str, value: &str| {
        if !unset(name) && !has(&env, name) {
            env.push(format!("{name}={value}"));
        }
    };
    if spec.process.terminal {
        add("TERM", "xterm");
    }
    // What programs test for to learn that they are in a container of this family.
    add("container", "podman");
    let home = match resolved.user.home.as_str() {
        "" if resolved.user.uid == 0 => "/root",
        "" => "/",
        home => home,
    };
    add("HOME", home);
    if !resolved.hostname.is_empty() {
        add("HOSTNAME", &resolved.hostname);
    }
    env.extend(resolved.env.iter().cloned());
    cdi::environment(&resolved.cdi, &mut env);
    env
}

/// Absolute, and not a descriptor that some process left open (a working directory below /proc/self/fd would be
/// outside the root).
fn cwd(text: &str) -> Result<PathBuf> {
    if text.is_empty() {
        return Ok(PathBuf::from("/"));
    }
    let words: Vec<&str> = text.split('/').filter(|w| !w.is_empty() && *w != ".").collect();
    if !text.starts_with('/') || text.contains('\0') {
        return Err(Error::invalid(format!("the working directory {text:?} is not an absolute path")));
    }
    let magic = |w: &&str| matches!(*w, "fd" | "cwd" | "root" | "exe" | "map_files");
    if words.first() == Some(&"proc") && words.iter().any(magic) {
        return Err(Error::invalid(format!(
            "the working directory {text:?} leads out of the container's root filesystem"
        )));
    }
    Ok(PathBuf::from(text))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_working_directory_stays_inside() {
        for bad in
            ["relative", "/proc/self/fd/8", "/proc/./self//fd/8/../..", "/proc/1/root/etc", "/proc/self/cwd"]
        {
            assert!(cwd(bad).is_err(), "{bad}");
        }
        for good in ["", "/", "/work dir", "/proc", "/process/fd", "/a/../b"] {
            assert!(cwd(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn umask_is_octal() {
        assert_eq!(umask("").unwrap(), 0o022);
        assert_eq!(umask("0077").unwrap(), 0o077);
        for bad in ["8", "1000", "-1", "0o22", "x"] {
            assert!(umask(bad).is_err(), "{bad}");
        }
    }
}
