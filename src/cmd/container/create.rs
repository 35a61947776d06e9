//! `coracle create`.

use super::making::{make, spec};
use crate::cmd::flags::CreateFlags;
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use clap::Args;

/// Create a container without starting it
///
/// Prints its ID. Everything from the first word that is no flag is the image and the command.
#[derive(Args, Debug)]
#[command(disable_help_flag = true)]
pub struct CreateArgs {
    #[command(flatten)]
    flags: CreateFlags,
    /// Print help
    #[arg(long, action = clap::ArgAction::HelpLong)]
    help: Option<bool>,
    /// Image, then the command and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "IMAGE [COMMAND [ARG…]]")]
    argv: Vec<String>,
}

/// Creates it.
pub fn run(cx: &Context, args: CreateArgs) -> Result<Exit> {
    let spec = spec(cx, &args.flags, None, &args.argv)?;
    let id = make(cx, &args.flags, spec, false)?;
    cx.println(id)?;
    Ok(Exit::OK)
}
