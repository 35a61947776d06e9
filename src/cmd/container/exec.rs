//! `coracle exec`.

use super::attach::one;
use super::streams::{Ended, Plan, detach_keys, exit, leave_by};
use crate::cmd::flags::ExecFlags;
use crate::cmd::{Context, Exit, context, user_files};
use crate::engine::config::containers::Containers;
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
    #[command(flatten)]
    flags: ExecFlags,
    /// In the container that was created last
    #[arg(long, short)]
    latest: bool,
    /// Container, command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CONTAINER COMMAND [ARG…]"
    )]
    words: Vec<String>,
}

/// Executes, and waits for the command or the detach keys.
pub fn run(cx: &Context, args: ExecArgs) -> Result<Exit> {
    let flags = &args.flags;
    // Before anything of ours is opened under their numbers.
    let preserved = Preserved::take(flags.descriptors.count(), &flags.descriptors.preserve_fd)?;
    let (name, command) = split(&args)?;
    let process =
        flags.process(&command, &user_files::inputs(&context::environment()?, &Containers::default()))?;
    let engine = cx.engine()?;
    let id = one(cx, name)?;
    let interactive = flags.interactive && !flags.detach;
    if flags.tty && interactive && !cx.stdin_is_terminal() {
        tracing::warn!("the input device is not a TTY: --tty and --interactive may not work as expected");
    }
    let options = ExecOptions {
        process,
        size: window_size(rustix::stdio::stdin()).or_else(|| window_size(rustix::stdio::stdout())),
        stdin: interactive,
        privileged: flags.privileged,
        detach: flags.detach,
        preserved,
    };
    let keys = if flags.tty && !flags.detach {
        let record = engine.state.load(&id)?;
        detach_keys(cx, flags.detach_keys.as_deref(), &record.spec()?.detach_keys)?
    } else {
        String::new()
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
