//! Commands on containers, one file each.

pub mod attach;
pub mod exec;
pub mod inspect;
pub mod logs;
pub mod ps;

use super::{Context, Exit};
use crate::engine::Result;
use clap::Subcommand;

/// Commands of `coracle container`.
#[derive(Debug, Subcommand)]
pub enum ContainerCommand {}

impl ContainerCommand {
    /// Runs it.
    pub fn run(self, _: &Context) -> Result<Exit> {
        match self {}
    }
}
