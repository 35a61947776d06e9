//! Commands on images, one file each.

pub mod exists;
pub mod filters;
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
pub enum ImageCommand {
    /// List images
    #[command(visible_alias = "list")]
    Ls(images::ImagesArgs),
}

impl ImageCommand {
    /// Runs it.
    pub fn run(self, cx: &Context) -> Result<Exit> {
        match self {
            Self::Ls(args) => images::run(cx, args),
        }
    }
}
