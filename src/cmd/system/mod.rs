//! Commands about the engine itself.

pub mod check;
pub mod completion;
pub mod df;
pub mod events;
pub mod help;
pub mod info;
pub mod inspect;
pub mod migrate;
pub mod prune;
pub mod reset;
pub mod unshare;
pub mod version;

use super::later::Later;
use super::{Context, Exit};
use crate::engine::Result;
use clap::Subcommand;

/// Commands of `coracle system`.
#[allow(missing_docs)]
#[derive(Debug, Subcommand)]
pub enum SystemCommand {
    Check(Later<check::CheckArgs>),
    /// Show the host, the store and the configuration
    Info(Later<info::InfoArgs>),
    Df(Later<df::DfArgs>),
    Events(Later<events::EventsArgs>),
    Migrate(Later<migrate::MigrateArgs>),
    Prune(Later<prune::PruneArgs>),
    Renumber(Later<migrate::RenumberArgs>),
    Reset(Later<reset::ResetArgs>),
}

impl SystemCommand {
    /// Runs it.
    pub fn run(self, cx: &Context) -> Result<Exit> {
        match self {
            Self::Check(args) => check::run(cx, args.0),
            Self::Info(args) => info::run(cx, args.0),
            Self::Df(args) => df::run(cx, args.0),
            Self::Events(args) => events::run(cx, args.0),
            Self::Migrate(args) => migrate::run(cx, args.0),
            Self::Prune(args) => prune::run(cx, args.0),
            Self::Renumber(args) => migrate::renumber(cx, args.0),
            Self::Reset(args) => reset::run(cx, args.0),
        }
    }
}
