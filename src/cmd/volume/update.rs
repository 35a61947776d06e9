//! `coracle volume update`.

use crate::cmd::{Context, Exit};
use crate::engine::{Error, Result};
use clap::Args;

/// Update a cluster volume (refused: there is no swarm)
#[derive(Args, Clone, Debug)]
pub struct UpdateArgs {
    /// active, pause or drain
    #[arg(long, value_name = "AVAILABILITY")]
    availability: Option<String>,
    /// Name
    #[arg(value_name = "VOLUME")]
    volume: Option<String>,
}

/// Refuses.
pub fn run(_: &Context, _: UpdateArgs) -> Result<Exit> {
    Err(Error::unsupported("only volumes of a swarm's cluster can be updated, and there is no swarm"))
}
