//! The flags before the command: where the store is, which programs are used, how much is logged.

use super::later::is_named;
use crate::engine::config::Overrides;
use crate::engine::{Error, Result};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command};
use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;

/// Flags that docker and podman have before the command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Cgroup manager: cgroupfs or systemd
    #[arg(long, value_name = "MANAGER", value_parser = ["cgroupfs", "systemd", "disabled"], overrides_with = "cgroup_manager")]
    pub cgroup_manager: Option<String>,
    /// Podman's database; there is none (accepted and ignored)
    #[arg(long, value_name = "BACKEND", value_parser = ["sqlite", "boltdb"], overrides_with = "db_backend", hide = true)]
    pub db_backend: Option<String>,
    /// Directory with docker's client configuration (config.json)
    #[arg(long, value_name = "DIR", overrides_with = "config")]
    pub config: Option<PathBuf>,
    /// Path of the conmon program
    #[arg(long, value_name = "PATH", overrides_with = "conmon")]
    pub conmon: Option<PathBuf>,
    /// Name of a remote engine; only "default", the local one, exists
    #[arg(
        short = 'c',
        long = "context",
        visible_alias = "connection",
        value_name = "NAME",
        overrides_with = "context"
    )]
    pub context: Option<String>,
    /// Log debug messages (--log-level debug)
    #[arg(short = 'D', long, overrides_with = "debug")]
    pub debug: bool,
    /// Where events are kept: file, journald or none
    #[arg(long, value_name = "BACKEND", value_parser = ["file", "journald", "none"], overrides_with = "events_backend")]
    pub events_backend: Option<String>,
    /// Directory with OCI hook definitions (may be repeated)
    #[arg(long, value_name = "DIR")]
    pub hooks_dir: Vec<PathBuf>,
    /// Address of a daemon; there is none, so only local sockets are accepted and ignored
    #[arg(short = 'H', long = "host", visible_alias = "url", value_name = "URL")]
    pub host: Vec<String>,
    /// SSH key for a remote engine (refused: Coracle works on this host)
    #[arg(long, value_name = "PATH")]
    pub identity: Option<PathBuf>,
    /// Directory for images, apart from the containers'
    #[arg(long, value_name = "DIR", overrides_with = "imagestore")]
    pub imagestore: Option<PathBuf>,
    /// Least severe messages shown: trace, debug, info, warn, error, fatal or panic
    #[arg(short = 'l', long, value_name = "LEVEL", value_parser = ["trace", "debug", "info", "warn", "warning", "error", "fatal", "panic"], ignore_case = true, overrides_with = "log_level")]
    pub log_level: Option<String>,
    /// Load a containers.conf module (may be repeated)
    #[arg(long, value_name = "FILE")]
    pub module: Vec<String>,
    /// Path of slirp4netns
    #[arg(long, value_name = "PATH", overrides_with = "network_cmd_path")]
    pub network_cmd_path: Option<PathBuf>,
    /// Directory with network definitions
    #[arg(long, value_name = "DIR", overrides_with = "network_config_dir")]
    pub network_config_dir: Option<PathBuf>,
    /// Send standard output to nowhere
    #[arg(long, overrides_with = "noout", hide = true)]
    pub noout: bool,
    /// Send standard output to a file
    #[arg(long, value_name = "FILE", overrides_with = "out")]
    pub out: Option<PathBuf>,
    /// How images are pulled, as storage.conf's pull_options say it: enable_partial_images=true, use_hard_links=true,
    /// convert_images=true (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    pub pull_option: Vec<String>,
    /// Work on a remote engine (refused: Coracle works on this host)
    #[arg(short = 'r', long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, hide_possible_values = true, action = ArgAction::Set, overrides_with = "remote")]
    pub remote: bool,
    /// Directory of the store: images, layers, containers
    #[arg(long, value_name = "DIR", overrides_with = "root")]
    pub root: Option<PathBuf>,
    /// Directory of the store's volatile files
    #[arg(long, value_name = "DIR", overrides_with = "runroot")]
    pub runroot: Option<PathBuf>,
    /// OCI runtime: crun, runc, youki, runsc, or a path
    #[arg(long, value_name = "RUNTIME", overrides_with = "runtime")]
    pub runtime: Option<String>,
    /// Flag for the OCI runtime, without its dashes (may be repeated)
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub runtime_flag: Vec<String>,
    /// SSH client for a remote engine (refused: Coracle works on this host)
    #[arg(long, value_name = "MODE")]
    pub ssh: Option<String>,
    /// Storage driver: overlay or vfs
    #[arg(long, value_name = "DRIVER", overrides_with = "storage_driver")]
    pub storage_driver: Option<String>,
    /// Option for the storage driver (may be repeated)
    #[arg(long, value_name = "OPTION")]
    pub storage_opt: Vec<String>,
    /// Let conmon log to syslog, too
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, hide_possible_values = true, action = ArgAction::Set, overrides_with = "syslog")]
    pub syslog: bool,
    /// Use TLS to the daemon (there is none; accepted and ignored)
    #[arg(long, overrides_with = "tls")]
    pub tls: bool,
    /// CA certificates for the daemon (accepted and ignored)
    #[arg(long, value_name = "FILE")]
    pub tlscacert: Option<PathBuf>,
    /// Client certificate for the daemon (accepted and ignored)
    #[arg(long, value_name = "FILE")]
    pub tlscert: Option<PathBuf>,
    /// Client key for the daemon (accepted and ignored)
    #[arg(long, value_name = "FILE")]
    pub tlskey: Option<PathBuf>,
    /// Verify the daemon's certificate (accepted and ignored)
    #[arg(long, overrides_with = "tlsverify")]
    pub tlsverify: bool,
    /// Directory of Coracle's volatile files
    #[arg(long, value_name = "DIR", overrides_with = "tmpdir")]
    pub tmpdir: Option<PathBuf>,
    /// Forget containers at reboot
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, hide_possible_values = true, action = ArgAction::Set, overrides_with = "transient_store")]
    pub transient_store: bool,
    /// Directory of named volumes
    #[arg(long, value_name = "DIR", overrides_with = "volumepath")]
    pub volumepath: Option<PathBuf>,
}

/// Podman's flags before the command that it takes behind the command's name as well (cmd/podman/root.go:
/// `PersistentFlags`), but for --runtime and --storage-opt, which run has of its own.
const ANYWHERE: &[&str] = &[
    "cgroup_manager",
    "conmon",
    "db_backend",
    "events_backend",
    "hooks_dir",
    "imagestore",
    "log_level",
    "module",
    "network_cmd_path",
    "network_config_dir",
    "noout",
    "out",
    "pull_option",
    "root",
    "runroot",
    "runtime_flag",
    "storage_driver",
    "syslog",
    "tmpdir",
    "transient_store",
    "volumepath",
];

/// `command`, whose flags podman takes anywhere are taken by those subcommands, too, that `words` name. (Not as clap's global
/// arguments, which it copies to every subcommand there is: that takes longer than all the rest of a start.)
pub fn anywhere(command: Command, words: &[OsString]) -> Command {
    let flags: Vec<Arg> = command
        .get_arguments()
        .filter(|arg| ANYWHERE.contains(&arg.get_id().as_str()))
        .map(|arg| arg.clone().short(None).hide(true))
        .collect();
    command.mut_subcommands(|sub| if is_named(&sub, words) { with(sub, &flags, words) } else { sub })
}

fn with(command: Command, flags: &[Arg], words: &[OsString]) -> Command {
    command
        .args(flags)
        .mut_subcommands(|sub| if is_named(&sub, words) { with(sub, flags, words) } else { sub })
}

/// Those flags that stood behind the command, as they are written before it.
pub fn behind(matches: &ArgMatches) -> Vec<OsString> {
    let mut found = Vec::new();
    let mut level = matches.subcommand();
    while let Some((_, inner)) = level {
        for id in ANYWHERE {
            // Commands beside the one that is meant have none of them.
            if inner.try_contains_id(id).is_ok() && inner.value_source(id) == Some(ValueSource::CommandLine) {
                for value in inner.get_raw(id).into_iter().flatten() {
                    let mut word = OsString::from(format!("--{}=", id.replace('_', "-")));
                    word.push(value);
                    found.push(word);
                }
            }
        }
        level = inner.subcommand();
    }
    found
}

impl Globals {
    /// Does what --out and --noout say, for all that is printed from here on.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn redirect(&self) -> Result<()> {
        let null = PathBuf::from("/dev/null");
        let Some(path) = self.out.as_ref().or(self.noout.then_some(&null)) else { return Ok(()) };
        let file = File::create(path).map_err(|e| Error::io("create", path, e))?;
        rustix::stdio::dup2_stdout(&file).map_err(|e| Error::io("write standard output to", path, e))
    }

    /// Refuses what only a client of a remote engine could do.
    ///
    /// Fails with [`crate::engine::ErrorKind::Unsupported`] if a flag names something that is not on this host.
    pub fn check_local(&self) -> Result<()> {
        let remote = |what: String| {
            Err(Error::unsupported(format!("{what}: Coracle has no daemon and works on this host only"))
                .with_hint("run coracle on that host, for instance through ssh"))
        };
        if let Some(host) = self.host.iter().find(|host| !is_local(host)) {
            return remote(format!("--host {host}"));
        }
        if let Some(context) = self.context.as_deref().filter(|c| !matches!(*c, "" | "default")) {
            return remote(format!("--context {context}"));
        }
        if self.remote {
            return remote("--remote".to_owned());
        }
        if self.identity.is_some() {
            return remote("--identity".to_owned());
        }
        match self.ssh {
            Some(_) => remote("--ssh".to_owned()),
            None => Ok(()),
        }
    }

    /// The log level asked for, in conmon's and our words; `None`: warnings and errors.
    pub fn level(&self) -> Option<&str> {
        if self.debug { Some("debug") } else { self.log_level.as_deref() }
    }

    /// What the engine's configuration is overridden with.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            root: self.root.clone(),
            run_root: self.runroot.clone(),
            image_store: self.imagestore.clone(),
            storage_driver: self.storage_driver.clone(),
            storage_options: self.storage_opt.clone(),
            pull_options: self.pull_option.clone(),
            transient_store: self.transient_store,
            runtime: self.runtime.clone(),
            runtime_flags: self.runtime_flag.clone(),
            conmon: self.conmon.clone(),
            cgroup_manager: self.cgroup_manager.clone(),
            events_backend: self.events_backend.clone(),
            network_config_dir: self.network_config_dir.clone(),
            volume_path: self.volumepath.clone(),
            hooks_dir: self.hooks_dir.clone(),
            tmp_dir: self.tmpdir.clone(),
            docker_config: self.config.clone(),
            modules: self.module.clone(),
            log_level: self.level().map(str::to_owned),
        }
    }
}

/// Whether a daemon address means this host: a Unix socket, or nothing.
fn is_local(host: &str) -> bool {
    host.is_empty() || host.starts_with("unix://") || host.starts_with("fd://") || host.starts_with('/')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_accepted_and_remote_ones_refused_with_a_word() {
        let globals = |host: &str, context: Option<&str>| Globals {
            host: vec![host.to_owned()],
            context: context.map(str::to_owned),
            ..Globals::default()
        };
        assert!(globals("unix:///var/run/docker.sock", Some("default")).check_local().is_ok());
        let e = globals("tcp://ci:2375", None).check_local().unwrap_err();
        assert!(e.to_string().contains("--host tcp://ci:2375: Coracle has no daemon"), "{e}");
        assert!(globals("", Some("prod")).check_local().is_err());
    }
}
