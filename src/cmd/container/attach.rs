//! `coracle attach`.

use super::streams::{Ended, Plan, detach_keys, exit, leave_by};
use crate::cmd::{Context, Exit, flags};
use crate::engine::container::attach::{End, attach, tell_attached};
use crate::engine::{Error, Result};
use clap::Args;

/// Attach to a running container
///
/// Connects standard input, output and error to a running container's. Output from before is not repeated: see the logs
/// command. The exit code is the container's.
#[derive(Debug, Args)]
#[group(skip)]
pub struct AttachArgs {
    #[command(flatten)]
    joined: flags::attach::TerminalArgs,
    /// The container that was created last
    #[arg(long, short)]
    latest: bool,
    /// Do not attach standard input
    #[arg(long)]
    no_stdin: bool,
    /// Name or ID
    #[arg(required_unless_present = "latest", conflicts_with = "latest")]
    container: Option<String>,
}

/// Attaches, and waits for the container or the detach keys.
pub fn run(cx: &Context, args: AttachArgs) -> Result<Exit> {
    let engine = cx.engine()?;
    let id = one(cx, args.container.as_deref())?;
    let record = engine.state.load(&id)?;
    let spec = record.spec()?;
    let keys = detach_keys(cx, args.joined.detach_keys.as_deref(), &spec.detach_keys)?;
    let plan = Plan {
        stdin: !args.no_stdin && spec.process.open_stdin,
        signals: args.joined.sig_proxy.unwrap_or(true),
        redraw: true,
        ..Plan::new(&keys)?
    };
    let mut attached = attach(engine, &id)?;
    let end = End::of(engine, &record)?;
    match plan.run(&mut attached)? {
        Ended::Detached => {
            tell_attached(engine, &id, "detach");
            cx.note("read escape sequence");
            Ok(Exit::OK)
        }
        Ended::Signal(signal) => Ok(leave_by(signal)),
        Ended::Closed => Ok(exit(end.wait()?)),
    }
}

/// The full ID of `name`, or of the newest container if there is no name (`--latest`).
pub fn one(cx: &Context, name: Option<&str>) -> Result<String> {
    let state = &cx.engine()?.state;
    match name {
        Some(name) => state.resolve(name),
        None => {
            let newest = state.list()?.pop();
            newest.map(|record| record.id).ok_or_else(|| Error::not_found("no container exists yet"))
        }
    }
}
