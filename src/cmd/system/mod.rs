//! Commands about the engine itself.

pub mod completion;
pub mod info;
pub mod inspect;
pub mod unshare;
pub mod version;

use super::{Context, Exit};
use crate::engine::Result;
use clap::Subcommand;

/// Commands of `coracle system`.
#[derive(Debug, Subcommand)]
pub enum SystemCommand {}

impl SystemCommand {
    /// Runs it.
    pub fn run(self, _: &Context) -> Result<Exit> {
        match self {}
    }
}
