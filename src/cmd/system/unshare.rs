//! `coracle unshare`.

use crate::cmd::{Context, Exit};
use crate::engine::{Error, ErrorKind, Result};
use clap::Args;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Run a command in the rootless user namespace
#[derive(Args, Clone, Debug)]
pub struct UnshareArgs {
    /// Join the rootless network namespace, too (not supported yet)
    #[arg(long)]
    rootless_netns: bool,
    /// The command and its arguments; without one $SHELL is started
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Becomes the command.
pub fn run(cx: &Context, args: UnshareArgs) -> Result<Exit> {
    if args.rootless_netns {
        return Err(Error::unsupported("--rootless-netns: rootless bridge networks are not supported yet"));
    }
    let config = cx.config()?;
    if !config.rootless() {
        return Err(Error::invalid("please use unshare with rootless"));
    }
    let shell = || vec![config.env.var("SHELL").unwrap_or("/bin/sh").to_owned()];
    let argv = if args.command.is_empty() { shell() } else { args.command };
    let engine = cx.engine()?;
    // What podman and buildah look at to know that the namespace is there already.
    let error = Command::new(&argv[0])
        .args(&argv[1..])
        .env("_CONTAINERS_USERNS_CONFIGURED", "done")
        .env("_CONTAINERS_ROOTLESS_UID", engine.config.env.uid.to_string())
        .env("_CONTAINERS_ROOTLESS_GID", engine.config.env.gid.to_string())
        .env("CONTAINERS_GRAPHROOT", &engine.config.paths.graph_root)
        .env("CONTAINERS_RUNROOT", &engine.config.paths.run_root)
        .exec();
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::CommandNotFound,
        _ => ErrorKind::CommandNotExecutable,
    };
    Err(Error::os(format!("execute {}", argv[0]), error).with_kind(kind))
}
