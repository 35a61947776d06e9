//! Commands on secrets, one file each.

pub mod create;
pub mod exists;
pub mod inspect;
pub mod ls;
pub mod rm;

use super::later::Later;
use super::{Context, Exit};
use crate::engine::Result;
use clap::Subcommand;

/// Commands of `coracle secret`; what each does is said by its arguments.
#[allow(missing_docs)]
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    Create(Later<create::CreateArgs>),
    Exists(Later<exists::ExistsArgs>),
    Inspect(Later<inspect::InspectArgs>),
    #[command(visible_alias = "list")]
    Ls(Later<ls::LsArgs>),
    #[command(visible_alias = "remove")]
    Rm(Later<rm::RmArgs>),
}

impl SecretCommand {
    /// Runs it.
    pub fn run(self, cx: &Context) -> Result<Exit> {
        match self {
            Self::Create(args) => create::run(cx, args.0),
            Self::Exists(args) => exists::run(cx, args.0),
            Self::Inspect(args) => inspect::run(cx, args.0),
            Self::Ls(args) => ls::run(cx, args.0),
            Self::Rm(args) => rm::run(cx, args.0),
        }
    }
}
