//! `coracle volume reload`.

use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::volume::Volumes;
use clap::Args;

/// Read again which volumes there are
///
/// podman asks its volume plugins; here the directories are the truth, and what an interrupted command left in them is
/// swept away.
#[derive(Args, Clone, Debug)]
pub struct ReloadArgs {}

/// Sweeps.
pub fn run(cx: &Context, _: ReloadArgs) -> Result<Exit> {
    Volumes::open(&cx.engine()?.config).sweep();
    Ok(Exit::OK)
}
