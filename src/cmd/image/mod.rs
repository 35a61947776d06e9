//! Commands on images, one file each.

pub mod copy;
pub mod exists;
pub mod filters;
pub mod history;
pub mod images;
pub mod import;
pub mod inspect;
pub mod load;
pub mod mount;
pub mod progress;
pub mod prune;
pub mod pull;
pub mod push;
pub mod remote;
pub mod rmi;
pub mod save;
pub mod scp;
pub mod sign;
pub mod sync;
pub mod tag;
pub mod tree;
pub mod trust;
pub mod untag;

use super::later::Later;
use super::{Context, Exit};
use crate::engine::Result;
use clap::Subcommand;

/// Commands of `coracle image`; what each does is said by its arguments.
#[allow(missing_docs, clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    #[command(visible_alias = "cp")]
    Copy(Later<copy::CopyArgs>),
    Delete(Later<remote::DeleteArgs>),
    Diff(Later<super::container::diff::ImageDiffArgs>),
    Exists(Later<exists::ExistsArgs>),
    History(Later<history::HistoryArgs>),
    Import(Later<import::ImportArgs>),
    Inspect(Later<inspect::ImageInspectArgs>),
    ListTags(Later<remote::ListTagsArgs>),
    Load(Later<load::LoadArgs>),
    #[command(visible_alias = "list")]
    Ls(Later<images::ImagesArgs>),
    Mount(Later<mount::MountArgs>),
    Prune(Later<prune::PruneArgs>),
    Pull(Later<pull::PullArgs>),
    Push(Later<push::PushArgs>),
    #[command(visible_alias = "remove")]
    Rm(Later<rmi::RmiArgs>),
    Save(Later<save::SaveArgs>),
    Scp(Later<scp::ScpArgs>),
    Sign(Later<sign::SignArgs>),
    Sync(Later<sync::SyncArgs>),
    Search(Later<super::registry::search::SearchArgs>),
    Tag(Later<tag::TagArgs>),
    /// Say and show which images may be used
    #[command(subcommand)]
    Trust(trust::TrustCommand),
    Tree(Later<tree::TreeArgs>),
    #[command(visible_alias = "umount")]
    Unmount(Later<mount::UnmountArgs>),
    Untag(Later<untag::UntagArgs>),
}

impl ImageCommand {
    /// Runs it.
    pub fn run(self, cx: &Context) -> Result<Exit> {
        match self {
            Self::Copy(args) => copy::run(cx, args.0),
            Self::Delete(args) => remote::delete(cx, args.0),
            Self::Diff(args) => super::container::diff::image(cx, args.0),
            Self::Exists(args) => exists::run(cx, args.0),
            Self::History(args) => history::run(cx, args.0),
            Self::Import(args) => import::run(cx, args.0),
            Self::Inspect(args) => inspect::run(cx, args.0),
            Self::ListTags(args) => remote::list_tags(cx, args.0),
            Self::Load(args) => load::run(cx, args.0),
            Self::Ls(args) => images::run(cx, args.0),
            Self::Mount(args) => mount::run(cx, args.0),
            Self::Prune(args) => prune::run(cx, args.0),
            Self::Pull(args) => pull::run(cx, args.0),
            Self::Push(args) => push::run(cx, args.0),
            Self::Rm(args) => rmi::run(cx, args.0),
            Self::Save(args) => save::run(cx, args.0),
            Self::Scp(args) => scp::run(cx, args.0),
            Self::Sign(args) => sign::run(cx, args.0),
            Self::Sync(args) => sync::run(cx, args.0),
            Self::Search(args) => super::registry::search::run(cx, args.0),
            Self::Tag(args) => tag::run(cx, args.0),
            Self::Trust(command) => command.run(cx),
            Self::Tree(args) => tree::run(cx, args.0),
            Self::Unmount(args) => mount::undo(cx, args.0),
            Self::Untag(args) => untag::run(cx, args.0),
        }
    }
}
