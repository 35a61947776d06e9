//! `coracle network update`.

use crate::cmd::{Context, Exit};
use crate::engine::network::Networks;
use crate::engine::{Error, Result};
use clap::Args;
use std::net::IpAddr;

/// Change the name servers of a network
///
/// They are asked for names that the network's own name server does not know, at once.
#[derive(Args, Clone, Debug)]
pub struct UpdateArgs {
    /// Name server to add (may be repeated)
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    dns_add: Vec<IpAddr>,
    /// Name server to drop (may be repeated)
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    dns_drop: Vec<IpAddr>,
    /// Name or ID
    #[arg(value_name = "NETWORK")]
    network: String,
}

/// Changes it and prints its name.
pub fn run(cx: &Context, args: UpdateArgs) -> Result<Exit> {
    if args.dns_add.is_empty() && args.dns_drop.is_empty() {
        return Err(Error::invalid("nothing to change").with_hint("--dns-add ADDRESS or --dns-drop ADDRESS"));
    }
    let engine = cx.engine()?;
    let changed = Networks::open(&engine.config).update_dns(&args.network, &args.dns_add, &args.dns_drop)?;
    cx.println(changed.name)?;
    Ok(Exit::OK)
}
