//! conmon's command line.
//!
//! Source: conmon(8) and `src/cli.c` of conmon 2.1.6 (Debian 12) and 2.1.12 (Debian 13); every option used here is known to both.

use super::launch::{Launch, LogTarget};
use super::runtime::{Runtime, RuntimeKind};
use crate::engine::spec::CgroupManager;
use std::ffi::OsString;

/// Arguments that a container and an exec session share.
pub(super) fn common(id: &str, unique: &str, runtime: &Runtime, log_level: &str) -> Vec<OsString> {
    let mut args: Vec<OsString> = Vec::with_capacity(48);
    // One fork less, and conmon's PID is the child's: nobody has to write and read a file to learn it.
    args.extend(
        ["--api-version", "--sync", "--full-attach", "--no-sync-log", "-c", id, "-u", unique].map(Into::into),
    );
    args.extend(["--log-level".into(), conmon_level(log_level).into()]);
    args.extend(["-r".into(), runtime.path.clone().into_os_string()]);
    for arg in runtime.global_arguments() {
        args.extend(["--runtime-arg".into(), arg]);
    }
    args
}

/// `--log-level` as conmon spells it: it knows no `panic` and `fatal`, and exits on words it does not know.
fn conmon_level(level: &str) -> &str {
    match level {
        "trace" | "debug" | "info" | "error" => level,
        "warn" | "warning" => "warning",
        _ => "error",
    }
}

/// The command line of `launch`, without the program.
pub(super) fn create(launch: &Launch<'_>) -> Vec<OsString> {
    let mut args = common(launch.id, launch.id, launch.runtime, launch.log_level);
    let bundle = launch.run_dir.path().as_os_str();
    args.extend(["-b".into(), bundle.into(), "--persist-dir".into(), bundle.into()]);
    args.extend(["-p".into(), launch.run_dir.pidfile().into_os_string(), "-n".into(), launch.name.into()]);
    args.extend(["--exit-dir".into(), launch.exit_dir.into()]);
    log(launch, &mut args);
    match (launch.cgroup_manager, launch.runtime.kind) {
        (CgroupManager::Systemd, _) => args.push("-s".into()),
        (CgroupManager::Disabled, RuntimeKind::Crun) => {
            args.extend(["--runtime-arg".into(), "--cgroup-manager=disabled".into()]);
        }
        (CgroupManager::Cgroupfs | CgroupManager::Disabled, _) => {}
    }
    if launch.terminal {
        args.push("-t".into());
    } else if launch.stdin {
        args.push("-i".into());
    }
    if launch.leave_stdin_open {
        args.push("--leave-stdin-open".into());
    }
    if launch.timeout > 0 {
        args.extend(["--timeout".into(), launch.timeout.to_string().into()]);
    }
    if launch.no_pivot {
        args.push("--no-pivot".into());
    }
    if launch.no_new_keyring {
        args.push("--no-new-keyring".into());
    }
    if let Some(socket) = launch.sdnotify_socket {
        args.extend(["--sdnotify-socket".into(), socket.into()]);
    }
    if launch.preserved.count() > 0 {
        let option = format!("--preserve-fds={}", launch.preserved.count());
        args.extend(["--runtime-opt".into(), option.into()]);
    }
    if let Some((images, options)) = launch.restore {
        args.extend(["--restore".into(), images.into()]);
        for option in options {
            args.extend(["--runtime-opt".into(), option.into()]);
        }
    }
    if let Some((program, arguments)) = launch.exit_command.split_first() {
        args.extend(["--exit-command".into(), program.clone()]);
        for argument in arguments {
            args.extend(["--exit-command-arg".into(), argument.clone()]);
        }
    }
    args
}

fn log(launch: &Launch<'_>, args: &mut Vec<OsString>) {
    args.push("-l".into());
    match &launch.log {
        LogTarget::File { path, max_size } => {
            let mut value = OsString::from("k8s-file:");
            value.push(path);
            args.push(value);
            if let Some(size) = max_size {
                args.extend(["--log-size-max".into(), size.to_string().into()]);
            }
        }
        LogTarget::Journald { tag } => {
            args.push("journald".into());
            if !tag.is_empty() {
                args.extend(["--log-tag".into(), tag.into()]);
            }
        }
        LogTarget::None => args.push("none".into()),
        LogTarget::Passthrough => args.push("passthrough".into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Preserved, RunDir};
    use super::*;
    use std::path::Path;

    fn line(args: &[OsString]) -> String {
        args.iter().map(|a| a.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_container_with_everything() {
        let runtime = Runtime {
            name: "crun".into(),
            path: "/usr/bin/crun".into(),
            kind: RuntimeKind::Crun,
            root: "/run/x".into(),
            args: vec!["--debug".into()],
            env: Vec::new(),
        };
        let run_dir = RunDir::new("/run/c");
        let launch = Launch {
            id: "abc",
            name: "web",
            terminal: true,
            log: LogTarget::File { path: Path::new("/var/log/c"), max_size: Some(10) },
            cgroup_manager: CgroupManager::Disabled,
            exit_command: vec!["/bin/us".into(), "container".into(), "cleanup".into(), "abc".into()],
            preserved: &Preserved::default(),
            timeout: 7,
            ..Launch::new(Path::new("/usr/bin/conmon"), &runtime, &run_dir, Path::new("/run/exits"))
        };
        assert_eq!(
            line(&create(&launch)),
            "--api-version --sync --full-attach --no-sync-log -c abc -u abc --log-level error -r /usr/bin/crun \
             --runtime-arg --root=/run/x --runtime-arg --debug -b /run/c --persist-dir /run/c -p /run/c/pidfile \
             -n web --exit-dir /run/exits -l k8s-file:/var/log/c --log-size-max 10 \
             --runtime-arg --cgroup-manager=disabled -t --timeout 7 --exit-command /bin/us \
             --exit-command-arg container --exit-command-arg cleanup --exit-command-arg abc"
        );
    }

    #[test]
    fn levels_conmon_does_not_know_become_error() {
        assert_eq!(conmon_level("fatal"), "error");
        assert_eq!(conmon_level("warn"), "warning");
        assert_eq!(conmon_level("debug"), "debug");
    }
}
