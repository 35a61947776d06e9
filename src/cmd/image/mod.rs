//! Commands on images, one file each.

pub mod exists;
pub mod filters;
pub mod history;
pub mod images;
pub mod import;
pub mod inspect;
pub mod progress;
pub mod prune;
pub mod pull;
pub mod push;
pub mod rmi;
pub mod tag;
pub mod untag;

use super::later::Later;
use super::{Context, Exit};
use crate::engine::Result;
use clap::Subcommand;

/// Commands of `coracle image`; what each does is said by its arguments.
#[allow(missing_docs, clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    Diff(Later<super::container::diff::ImageDiffArgs>),
    Exists(Later<exists::ExistsArgs>),
    History(Later<history::HistoryArgs>),
    Import(Later<import::ImportArgs>),
    Inspect(Later<inspect::ImageInspectArgs>),
    #[command(visible_alias = "list")]
    Ls(Later<images::ImagesArgs>),
    Prune(Later<prune::PruneArgs>),
    Pull(Later<pull::PullArgs>),
    Push(Later<push::PushArgs>),
    #[command(visible_alias = "remove")]
    Rm(Later<rmi::RmiArgs>),
    Tag(Later<tag::TagArgs>),
    Untag(Later<untag::UntagArgs>),
}

impl ImageCommand {
    /// Runs it.
    pub fn run(self, cx: &Context) -> Result<Exit> {
        match self {
            Self::Diff(args) => super::container::diff::image(cx, args.0),
            Self::Exists(args) => exists::run(cx, args.0),
            Self::History(args) => history::run(cx, args.0),
            Self::Import(args) => import::run(cx, args.0),
            Self::Inspect(args) => inspect::run(cx, args.0),
            Self::Ls(args) => images::run(cx, args.0),
            Self::Prune(args) => prune::run(cx, args.0),
            Self::Pull(args) => pull::run(cx, args.0),
            Self::Push(args) => push::run(cx, args.0),
            Self::Rm(args) => rmi::run(cx, args.0),
            Self::Tag(args) => tag::run(cx, args.0),
            Self::Untag(args) => untag::run(cx, args.0),
        }
    }
}
