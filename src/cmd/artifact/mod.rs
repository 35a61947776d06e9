//! Commands on artifacts, one file each.

pub mod add;
pub mod inspect;
pub mod ls;
pub mod rm;
pub mod transfer;

use super::later::Later;
use super::{Context, Exit};
use crate::engine::Result;
use clap::Subcommand;

/// Commands of `coracle artifact`; what each does is said by its arguments.
#[allow(missing_docs, clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
pub enum ArtifactCommand {
    Add(Later<add::AddArgs>),
    Extract(Later<add::ExtractArgs>),
    Inspect(Later<inspect::InspectArgs>),
    #[command(visible_alias = "list")]
    Ls(Later<ls::LsArgs>),
    Pull(Later<transfer::PullArgs>),
    Push(Later<transfer::PushArgs>),
    #[command(visible_alias = "remove")]
    Rm(Later<rm::RmArgs>),
}

impl ArtifactCommand {
    /// Runs it.
    pub fn run(self, cx: &Context) -> Result<Exit> {
        match self {
            Self::Add(args) => add::run(cx, args.0),
            Self::Extract(args) => add::extract(cx, args.0),
            Self::Inspect(args) => inspect::run(cx, args.0),
            Self::Ls(args) => ls::run(cx, args.0),
            Self::Pull(args) => transfer::pull(cx, args.0),
            Self::Push(args) => transfer::push(cx, args.0),
            Self::Rm(args) => rm::run(cx, args.0),
        }
    }
}
