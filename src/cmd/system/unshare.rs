//! `coracle unshare`.

use crate::cmd::context::namespace_variables;
use crate::cmd::{Context, Exit};
use crate::engine::{Error, ErrorKind, Result};
use clap::Args;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Run a command in the rootless user namespace
#[derive(Args, Clone, Debug)]
pub struct UnshareArgs {
    /// Join the rootless network namespace, too (refused, with the way to do it)
    #[arg(long)]
    rootless_netns: bool,
    /// The command and its arguments; without one $SHELL is started
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Becomes the command.
pub fn run(cx: &Context, args: UnshareArgs) -> Result<Exit> {
    let config = cx.config()?;
    if args.rootless_netns {
        let namespace = config.paths.run_state.join("network/rootless");
        return Err(Error::unsupported("--rootless-netns is not supported").with_hint(format!(
            "while a container is on a bridge: unshare nsenter --net={}",
            namespace.display()
        )));
    }
    if !config.rootless() {
        return Err(Error::invalid("please use unshare with rootless"));
    }
    let shell = || vec![config.env.var("SHELL").unwrap_or("/bin/sh").to_owned()];
    let argv = if args.command.is_empty() { shell() } else { args.command };
    let engine = cx.engine()?;
    let error = Command::new(&argv[0])
        .args(&argv[1..])
        .envs(namespace_variables(engine))
        .env("CONTAINERS_GRAPHROOT", &engine.config.paths.graph_root)
        .env("CONTAINERS_RUNROOT", &engine.config.paths.run_root)
        .exec();
    let kind = match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::CommandNotFound,
        _ => ErrorKind::CommandNotExecutable,
    };
    Err(Error::os(format!("execute {}", argv[0]), error).with_kind(kind))
}
