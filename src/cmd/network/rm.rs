//! `coracle network rm`.

use crate::cmd::{Context, Exit};
use crate::engine::container::members;
use crate::engine::container::network::disconnect;
use crate::engine::network::Networks;
use crate::engine::{Engine, Error, ErrorKind, Result};
use clap::Args;

/// Remove networks
///
/// A network with containers on it is removed only with --force, which disconnects them; they go on running.
#[derive(Args, Clone, Debug)]
pub struct RmArgs {
    /// Disconnect containers that are on it; a missing network is no error
    #[arg(long, short = 'f')]
    force: bool,
    /// Accepted and ignored: no container is stopped
    #[arg(long, short = 't', visible_alias = "timeout", value_name = "SECONDS", allow_hyphen_values = true)]
    time: Option<i64>,
    /// Names or IDs
    #[arg(value_name = "NETWORK", required = true)]
    networks: Vec<String>,
}

/// Removes one after the other, and prints what it removed.
pub fn run(cx: &Context, args: RmArgs) -> Result<Exit> {
    if args.time.is_some() && !args.force {
        return Err(Error::invalid("--force option must be specified to use the --time option"));
    }
    let engine = cx.engine()?;
    let mut exit = Exit::OK;
    for name in &args.networks {
        match remove(engine, name, args.force) {
            Ok(()) => cx.println(name)?,
            Err(e) if e.kind() == ErrorKind::NotFound && args.force => {}
            Err(e) => {
                cx.report(&e);
                exit = Exit::FAILED;
            }
        }
    }
    Ok(exit)
}

fn remove(engine: &Engine, name: &str, force: bool) -> Result<()> {
    let networks = Networks::open(&engine.config);
    let network = networks.resolve(name)?;
    let mut on = members(engine)?.remove(&network.name).unwrap_or_default();
    if force && !networks.means_default(&network.name) {
        for member in std::mem::take(&mut on) {
            match disconnect(engine, &member.id, &network.name, true) {
                // Meanwhile the container was removed.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                done => done?,
            }
        }
    }
    let names: Vec<String> = on.into_iter().map(|member| member.name).collect();
    networks.remove(&network, &names)
}
