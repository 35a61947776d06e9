//! `coracle unshare`.

use crate::cmd::context::namespace_variables;
use crate::cmd::{Context, Exit};
use crate::engine::network::rootless::Shared;
use crate::engine::{Error, ErrorKind, Result};
use clap::Args;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;

/// Run a command in the rootless user namespace
#[derive(Args, Clone, Debug)]
pub struct UnshareArgs {
    /// In the network namespace of the user's bridges, too: it is there while a container is on one
    #[arg(long)]
    rootless_netns: bool,
    /// The command and its arguments; without one $SHELL is started
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Becomes the command.
pub fn run(cx: &Context, args: UnshareArgs) -> Result<Exit> {
    let config = cx.config()?;
    if !config.rootless() {
        return Err(Error::invalid("please use unshare with rootless"));
    }
    let shell = || vec![config.env.var("SHELL").unwrap_or("/bin/sh").to_owned()];
    let argv = if args.command.is_empty() { shell() } else { args.command };
    let engine = cx.engine()?;
    let mut command = Command::new(&argv[0]);
    command
        .args(&argv[1..])
        .envs(namespace_variables(engine))
        .env("CONTAINERS_GRAPHROOT", &engine.config.paths.graph_root)
        .env("CONTAINERS_RUNROOT", &engine.config.paths.run_root);
    let failed = |error: std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::CommandNotFound,
            _ => ErrorKind::CommandNotExecutable,
        };
        Error::os(format!("execute {}", argv[0]), error).with_kind(kind)
    };
    if !args.rootless_netns {
        return Err(failed(command.exec()));
    }
    let shared = Shared::existing(&engine.config.paths.run_state.join("netns")).ok_or_else(|| {
        Error::not_found("there is no rootless network namespace")
            .with_hint("it is there while a container is on a bridge: coracle run -d --network NAME …")
    })?;
    let status = shared.run(|| command.status().map_err(failed))?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(125);
    Ok(Exit(u8::try_from(code).unwrap_or(125)))
}
