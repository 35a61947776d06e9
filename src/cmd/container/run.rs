//! `coracle run`.

use super::making::{make, spec};
use super::started::{Attach, start_attached};
use crate::cmd::flags::attach::streams;
use crate::cmd::flags::{CreateFlags, RunFlags};
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::conmon::Preserved;
use crate::engine::container::{RemoveOptions, StartOptions, remove, start};
use clap::Args;
use rustix::stdio::{stderr, stdin, stdout};

/// Create a container and run a command in it
///
/// Pulls the image if it is not here. Everything from the first word that is no flag is the image and the command. The exit
/// code is the command's; 125 when the container could not be made, 126 and 127 when its command could not be run.
#[derive(Args, Debug)]
#[command(disable_help_flag = true)]
pub struct RunArgs {
    #[command(flatten)]
    flags: CreateFlags,
    #[command(flatten)]
    run: RunFlags,
    /// Print help
    #[arg(long, action = clap::ArgAction::HelpLong)]
    help: Option<bool>,
    /// Image, then the command and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "IMAGE [COMMAND [ARG…]]")]
    argv: Vec<String>,
}

/// Creates, starts, follows.
pub fn run(cx: &Context, args: RunArgs) -> Result<Exit> {
    let spec = spec(cx, &args.flags, Some(&args.run), &args.argv)?;
    // Before anything of ours is opened under their numbers.
    let preserved = Preserved::take(spec.process.preserve_fds, &args.run.descriptors.preserve_fd)?;
    let passthrough = spec.log.driver.starts_with("passthrough");
    let (remove_failed, terminal) = (spec.remove, spec.process.terminal);
    if terminal && args.flags.process.interactive && !args.run.detach && !cx.stdin_is_terminal() {
        tracing::warn!("the input device is not a TTY: --tty and --interactive may not work as expected");
    }
    let id = make(cx, &args.flags, spec, true)?;
    let options = StartOptions { preserved, ..StartOptions::default() };
    let result = if args.run.detach {
        let stdio = passthrough.then(|| [stdin(), stdout(), stderr()]);
        let options = StartOptions { detached: true, stdio, ..options };
        start(cx.engine()?, &id, options, &mut |_| Ok(())).and_then(|_| cx.println(&id)).map(|()| Exit::OK)
    } else {
        let streams = streams(&args.flags.attach, args.flags.process.interactive)?;
        let attach = Attach {
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr,
            signals: args.run.attach.sig_proxy.unwrap_or(true),
            detach_keys: args.run.attach.detach_keys.clone(),
        };
        // docker-run(1), "Attach to STDIN/STDOUT/STDERR": who sees no output is told which container it is.
        if !attach.stdout && !attach.stderr {
            cx.println(&id)?;
        }
        start_attached(cx, &id, &attach, options)
    };
    if result.is_err() && remove_failed {
        let options = RemoveOptions { force: true, ..RemoveOptions::default() };
        if let Err(e) = remove(cx.engine()?, &id, &options) {
            tracing::debug!("remove {id}: {e}");
        }
    }
    result
}
