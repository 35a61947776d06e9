//! `coracle exec`.

use super::attach::one;
use super::streams::{Ended, Plan, detach_keys, exit, leave_by};
use crate::cmd::{Context, Exit};
use crate::engine::conmon::Preserved;
use crate::engine::container::exec::{ExecOptions, exec};
use crate::engine::host::term::window_size;
use crate::engine::{Error, Result};
use clap::Args;

/// Execute a command in a running container
///
/// The exit code is the command's; 126 if it cannot be executed, 127 if it is not there, 125 if the container or the runtime is
/// the trouble.
#[derive(Debug, Args)]
pub struct ExecArgs {
    /// Run in the background
    #[arg(long, short)]
    detach: bool,
    /// Keys that detach from the command, a comma-separated list; empty: none
    #[arg(long, value_name = "KEYS", allow_hyphen_values = true)]
    detach_keys: Option<String>,
    /// Set NAME=VALUE, or pass NAME on
    #[arg(long, short, value_name = "NAME[=VALUE]", allow_hyphen_values = true)]
    env: Vec<String>,
    /// Read environment variables from a file
    #[arg(long, value_name = "FILE")]
    env_file: Vec<std::path::PathBuf>,
    /// Connect standard input
    #[arg(long, short)]
    interactive: bool,
    /// In the container that was created last
    #[arg(long, short)]
    latest: bool,
    /// Pass these file descriptors
    #[arg(long, value_name = "FD", value_delimiter = ',')]
    preserve_fd: Vec<u32>,
    /// Pass N more file descriptors than 0, 1 and 2
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    /// Give the command all capabilities
    #[arg(long)]
    privileged: bool,
    /// Allocate a terminal
    #[arg(long, short)]
    tty: bool,
    /// Run as this user: name or UID, optionally with :GROUP
    #[arg(long, short, value_name = "USER[:GROUP]", default_value = "", hide_default_value = true)]
    user: String,
    /// Working directory inside the container
    #[arg(long, short, value_name = "DIR", default_value = "", hide_default_value = true)]
    workdir: String,
    /// Container, command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CONTAINER COMMAND [ARG]")]
    words: Vec<String>,
}

/// Executes, and waits for the command or the detach keys.
pub fn run(cx: &Context, args: ExecArgs) -> Result<Exit> {
    let preserved = Preserved::take(args.preserve_fds, &args.preserve_fd)?;
    let (name, command) = split(&args)?;
    let env = environment(&args)?;
    let engine = cx.engine()?;
    let id = one(cx, name)?;
    let interactive = args.interactive && !args.detach;
    if args.tty && interactive && !cx.stdin_is_terminal() {
        tracing::warn!(
            "the input device is not a TTY: --tty and --interactive together might not work properly"
        );
    }
    let options = ExecOptions {
        command,
        env,
        user: args.user,
        workdir: args.workdir,
        terminal: args.tty,
        size: window_size(rustix::stdio::stdin()).or_else(|| window_size(rustix::stdio::stdout())),
        stdin: interactive,
        privileged: args.privileged,
        detach: args.detach,
        preserved,
    };
    let keys = if options.terminal && !options.detach {
        let record = engine.state.load(&id)?;
        detach_keys(cx, args.detach_keys.as_deref(), &record.spec()?.detach_keys)?
    } else {
        args.detach_keys.unwrap_or_default()
    };
    let plan = Plan { stdin: interactive, signals: false, ..Plan::new(&keys)? };
    let mut session = exec(engine, &id, &options)?;
    let prepared = session.attached.as_ref().map(|attached| plan.prepare(attached)).transpose()?;
    session.start()?;
    let (Some(prepared), Some(attached)) = (prepared, &mut session.attached) else { return Ok(Exit::OK) };
    match prepared.run(attached)? {
        Ended::Detached => {
            cx.note("read escape sequence");
            Ok(Exit::OK)
        }
        Ended::Signal(signal) => Ok(leave_by(signal)),
        Ended::Closed => Ok(exit(session.wait()?)),
    }
}

/// The container, unless `--latest` stands for it, and the command.
fn split(args: &ExecArgs) -> Result<(Option<&str>, Vec<String>)> {
    let mut words = args.words.as_slice();
    let mut name = None;
    if !args.latest {
        let (first, rest) = words.split_first().ok_or_else(|| Error::invalid("exec needs a container"))?;
        if first.starts_with('-') && first.len() > 1 {
            return Err(Error::invalid(format!("unknown flag: {first}")).with_hint("see coracle exec --help"));
        }
        name = Some(first.as_str());
        words = rest;
    }
    if words.is_empty() {
        return Err(Error::invalid("exec needs a container and a command")
            .with_hint("coracle exec [OPTIONS] CONTAINER COMMAND [ARG...]"));
    }
    Ok((name, words.to_vec()))
}

/// `--env-file`, then `--env`; a name without a value is passed on if we have it.
fn environment(args: &ExecArgs) -> Result<Vec<String>> {
    let mut env = Vec::new();
    let add = |env: &mut Vec<String>, entry: &str| {
        if entry.contains('=') {
            env.push(entry.to_owned());
        } else if let Ok(value) = std::env::var(entry) {
            env.push(format!("{entry}={value}"));
        }
    };
    for file in &args.env_file {
        let text = std::fs::read_to_string(file).map_err(|e| Error::io("read", file, e))?;
        let lines =
            text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.for_each(|line| add(&mut env, line));
    }
    args.env.iter().for_each(|entry| add(&mut env, entry));
    Ok(env)
}
