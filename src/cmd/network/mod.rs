//! Commands on networks, one file each.

pub mod connect;
pub mod create;
pub mod disconnect;
pub mod exists;
pub mod inspect;
pub mod ls;
pub mod prune;
pub mod reload;
pub mod rm;
pub mod update;

use super::later::Later;
use super::{Context, Exit};
use crate::engine::Result;
use clap::Subcommand;

/// Commands of `coracle network`; what each does is said by its arguments.
#[allow(missing_docs, clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
pub enum NetworkCommand {
    Connect(Later<connect::ConnectArgs>),
    Create(Later<create::CreateArgs>),
    Disconnect(Later<disconnect::DisconnectArgs>),
    Exists(Later<exists::ExistsArgs>),
    Inspect(Later<inspect::InspectArgs>),
    #[command(visible_alias = "list")]
    Ls(Later<ls::LsArgs>),
    Prune(Later<prune::PruneArgs>),
    Reload(Later<reload::ReloadArgs>),
    #[command(visible_alias = "remove")]
    Rm(Later<rm::RmArgs>),
    Update(Later<update::UpdateArgs>),
}

impl NetworkCommand {
    /// Runs it.
    pub fn run(self, cx: &Context) -> Result<Exit> {
        match self {
            Self::Connect(args) => connect::run(cx, args.0),
            Self::Create(args) => create::run(cx, args.0),
            Self::Disconnect(args) => disconnect::run(cx, args.0),
            Self::Exists(args) => exists::run(cx, args.0),
            Self::Inspect(args) => inspect::run(cx, args.0),
            Self::Ls(args) => ls::run(cx, args.0),
            Self::Prune(args) => prune::run(cx, args.0),
            Self::Reload(args) => reload::run(cx, args.0),
            Self::Rm(args) => rm::run(cx, args.0),
            Self::Update(args) => update::run(cx, args.0),
        }
    }
}
