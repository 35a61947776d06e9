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

/// Commands of `coracle image`; what each does is said by its arguments.
#[allow(missing_docs, clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    Exists(exists::ExistsArgs),
    Inspect(inspect::ImageInspectArgs),
    #[command(visible_alias = "list")]
    Ls(images::ImagesArgs),
    Prune(prune::PruneArgs),
    Pull(Box<pull::PullArgs>),
    #[command(visible_alias = "remove")]
    Rm(rmi::RmiArgs),
    Tag(tag::TagArgs),
    Untag(untag::UntagArgs),
}

impl ImageCommand {
    /// Runs it.
    pub fn run(self, cx: &Context) -> Result<Exit> {
        match self {
            Self::Exists(args) => exists::run(cx, args),
            Self::Inspect(args) => inspect::run(cx, args),
            Self::Ls(args) => images::run(cx, args),
            Self::Prune(args) => prune::run(cx, args),
            Self::Pull(args) => pull::run(cx, *args),
            Self::Rm(args) => rmi::run(cx, args),
            Self::Tag(args) => tag::run(cx, args),
            Self::Untag(args) => untag::run(cx, args),
        }
    }
}
