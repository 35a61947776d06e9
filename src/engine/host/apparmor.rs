//! AppArmor (apparmor(7)): whether this kernel confines by it, and our own default profile.
//!
//! The profile is loaded by the first container that needs it after a boot, with apparmor_parser(8); it lives in the
//! kernel only, no file of the host's policy is touched. Its name holds our version, so a new one brings its own.

use super::process;
use crate::engine::spec::{AppArmor, DEFAULT_APPARMOR_PROFILE};
use crate::engine::{Context, Error, ErrorKind, Result};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names and modes of the loaded profiles, a line each; readable by root.
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";

/// The same as directories, `NAME.NUMBER`; readable by everybody.
const DIRECTORIES: &str = "/sys/kernel/security/apparmor/policy/profiles";

const TEXT: &str = include_str!("apparmor.profile");

/// What this host offers a container of root, or of an ordinary user (`rootless`).
///
/// As for docker and podman there is no default without apparmor_parser, and none for an ordinary user, who cannot load
/// it. Nor is there one where the kernel's list cannot be seen: in a container, say, whose host has AppArmor.
pub fn facts(rootless: bool) -> AppArmor {
    if !fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|t| t.starts_with(b"Y")) {
        return AppArmor::Off;
    }
    let can_load = || parser(&[]).is_some() && fs::File::open(LOADED).is_ok();
    if !rootless && can_load() { AppArmor::Default } else { AppArmor::Explicit }
}

/// Makes sure that the kernel has `profile`: loads it if it is our default one.
///
/// # Errors
/// There is no such profile, or ours cannot be loaded. Where the profiles cannot be listed the runtime will tell.
pub fn provide(profile: &str, path: &[PathBuf]) -> Result<()> {
    let loaded = match (fs::read_to_string(LOADED), fs::read_dir(DIRECTORIES)) {
        (Ok(list), _) => is_loaded(&list, profile),
        (_, Ok(mut entries)) => {
            profile == "unconfined"
                || entries
                    .any(|e| e.is_ok_and(|e| is_directory_of(&e.file_name().to_string_lossy(), profile)))
        }
        _ => true,
    };
    if loaded {
        return Ok(());
    }
    if profile != DEFAULT_APPARMOR_PROFILE {
        return Err(Error::invalid(format!("the AppArmor profile {profile:?} is not loaded"))
            .with_hint("load it with apparmor_parser(8); `aa-status` lists those that are"));
    }
    load(path)
        .with_context(|| format!("load the AppArmor profile {profile}"))
        .map_err(|e| e.with_hint("--security-opt apparmor=unconfined does without it"))
}

fn parser(path: &[PathBuf]) -> Option<PathBuf> {
    process::find_program("apparmor_parser", path)
}

/// Lines such as `docker-default (enforce)`. `unconfined` is no profile and always there.
fn is_loaded(list: &str, profile: &str) -> bool {
    profile == "unconfined"
        || list.lines().filter_map(|line| line.rsplit_once(" (")).any(|(name, _)| name == profile)
}

/// The kernel's `mangle_name`: a path's slashes are dots, but for the first.
fn is_directory_of(directory: &str, profile: &str) -> bool {
    let name = directory.rsplit_once('.').map_or("", |(name, _)| name);
    name == profile.strip_prefix('/').unwrap_or(profile).replace('/', ".")
}

/// Two that do this at a time replace the profile by itself.
fn load(path: &[PathBuf]) -> Result<()> {
    let program = parser(path)
        .ok_or_else(|| Error::new(ErrorKind::MissingProgram, "apparmor_parser is not installed"))?;
    let failed = |e| Error::io("run", &program, e);
    let mut command = Command::new(&program);
    command.env_clear().args(["--replace", "--skip-cache"]).current_dir(Path::new("/"));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let text = TEXT.replace("@NAME@", DEFAULT_APPARMOR_PROFILE);
    // A parser that ends early says why on stderr.
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason given").trim();
        return Err(Error::new(ErrorKind::Unsupported, format!("apparmor_parser failed: {said}")));
    }
    written.transpose().map(drop).map_err(failed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_profiles() {
        let list = "docker-default (enforce)\n/usr/bin/a (b) (complain)\n";
        for (profile, want) in [
            ("docker-default", true),
            ("/usr/bin/a (b)", true),
            ("unconfined", true),
            ("docker", false),
            ("docker-default (enforce)", false),
        ] {
            assert_eq!(is_loaded(list, profile), want, "{profile}");
        }
    }

    #[test]
    fn the_directories_of_profiles() {
        for (directory, profile, want) in [
            ("docker-default.12", "docker-default", true),
            ("usr.bin.man.3", "/usr/bin/man", true),
            ("docker-default.12", "docker", false),
            ("docker-default.12", "docker-default.12", false),
        ] {
            assert_eq!(is_directory_of(directory, profile), want, "{directory}");
        }
    }

    #[test]
    fn the_parser_understands_the_profile() {
        // Only parses; scripts/test-vm tests what it does.
        let Some(parser) = parser(&[]) else { return };
        let text = TEXT.replace("@NAME@", DEFAULT_APPARMOR_PROFILE);
        assert!(!text.contains('@'));
        let mut command = Command::new(parser);
        let mut child =
            command.args(["--skip-kernel-load", "--skip-cache"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }
}
