//! Commands on images, one file each.

pub mod exists;
pub mod images;
pub mod inspect;
pub mod prune;
pub mod pull;
pub mod rmi;
pub mod tag;
pub mod untag;

use super::{Context, Exit};
use crate::engine::Result;
use clap::Subcommand;

/// Commands of `coracle image`.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {}

impl ImageCommand {
    /// Runs it.
    pub fn run(self, _: &Context) -> Result<Exit> {
        match self {}
    }
}
