//! Commands on volumes, one file each.

pub mod create;
pub mod exists;
pub mod export;
pub mod import;
pub mod inspect;
pub mod ls;
pub mod mount;
pub mod prune;
pub mod reload;
pub mod rm;
pub mod update;

use super::later::Later;
use super::{Context, Exit};
use crate::engine::Result;
use clap::Subcommand;

/// Commands of `coracle volume`; what each does is said by its arguments.
#[allow(missing_docs, clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
pub enum VolumeCommand {
    Create(Later<create::CreateArgs>),
    Exists(Later<exists::ExistsArgs>),
    Export(Later<export::ExportArgs>),
    Import(Later<import::ImportArgs>),
    Inspect(Later<inspect::InspectArgs>),
    #[command(visible_alias = "list")]
    Ls(Later<ls::LsArgs>),
    Mount(Later<mount::MountArgs>),
    Prune(Later<prune::PruneArgs>),
    Reload(Later<reload::ReloadArgs>),
    #[command(visible_alias = "remove")]
    Rm(Later<rm::RmArgs>),
    #[command(visible_alias = "umount")]
    Unmount(Later<mount::UnmountArgs>),
    #[command(hide = true)]
    Update(Later<update::UpdateArgs>),
}

impl VolumeCommand {
    /// Runs it.
    pub fn run(self, cx: &Context) -> Result<Exit> {
        match self {
            Self::Create(args) => create::run(cx, args.0),
            Self::Exists(args) => exists::run(cx, args.0),
            Self::Export(args) => export::run(cx, args.0),
            Self::Import(args) => import::run(cx, args.0),
            Self::Inspect(args) => inspect::run(cx, args.0),
            Self::Ls(args) => ls::run(cx, args.0),
            Self::Mount(args) => mount::run(cx, args.0),
            Self::Prune(args) => prune::run(cx, args.0),
            Self::Reload(args) => reload::run(cx, args.0),
            Self::Rm(args) => rm::run(cx, args.0),
            Self::Unmount(args) => mount::undo(cx, args.0),
            Self::Update(args) => update::run(cx, args.0),
        }
    }
}
