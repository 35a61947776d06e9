//! `coracle logout`.

use super::login::PlaceArgs;
use crate::cmd::{Context, Exit};
use crate::engine::account::Accounts;
use crate::engine::{Error, Result};
use clap::Args;

/// Log out of a registry
#[derive(Args, Clone, Debug, Default)]
pub struct LogoutArgs {
    /// Log out of every registry
    #[arg(short, long)]
    pub all: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub place: PlaceArgs,
    /// Registry, or repositories below one [default: the first search registry]
    #[arg(value_name = "REGISTRY")]
    pub registry: Option<String>,
}

/// Runs `coracle logout`.
pub fn run(cx: &Context, args: LogoutArgs) -> Result<Exit> {
    if args.all && args.registry.is_some() {
        return Err(Error::invalid("--all takes no arguments"));
    }
    let config = cx.config()?;
    let accounts = Accounts::open(&config.env, &args.place.place())?;
    if args.all {
        accounts.log_out_everywhere()?;
        cx.println("Removed login credentials for all registries")?;
        return Ok(Exit::OK);
    }
    let key = accounts.key(args.registry.as_deref())?;
    match accounts.log_out(&key)? {
        true => cx.println(format!("Removed login credentials for {key}"))?,
        // As with docker, the end of a script that never logged in is no failure.
        false => cx.println(format!("Not logged in to {key}"))?,
    }
    Ok(Exit::OK)
}
