//! Commands on containers, one file each.

pub mod attach;
pub mod cleanup;
pub mod create;
pub mod detach_keys;
pub mod exec;
pub mod exists;
pub mod inspect;
pub mod kill;
pub mod logs;
pub mod making;
pub mod prune;
pub mod ps;
pub mod restart;
pub mod rm;
pub mod run;
pub mod select;
pub mod start;
pub mod started;
pub mod stop;
pub mod streams;
pub mod wait;

use super::{Context, Exit};
use crate::engine::Result;
use clap::Subcommand;

/// Commands of `coracle container`; what each does is said by its arguments.
#[allow(missing_docs)]
#[derive(Debug, Subcommand)]
pub enum ContainerCommand {
    Attach(attach::AttachArgs),
    Exec(exec::ExecArgs),
    Logs(logs::LogsArgs),
    #[command(hide = true)]
    Cleanup(cleanup::CleanupArgs),
    Create(create::CreateArgs),
    Exists(exists::ExistsArgs),
    Inspect(inspect::ContainerInspectArgs),
    Kill(kill::KillArgs),
    #[command(visible_aliases = ["list", "ps"])]
    Ls(ps::PsArgs),
    Prune(prune::PruneArgs),
    Restart(restart::RestartArgs),
    #[command(visible_alias = "remove")]
    Rm(rm::RmArgs),
    Run(run::RunArgs),
    Start(start::StartArgs),
    Stop(stop::StopArgs),
    Wait(wait::WaitArgs),
}

impl ContainerCommand {
    /// Runs it.
    pub fn run(self, cx: &Context) -> Result<Exit> {
        match self {
            Self::Attach(args) => attach::run(cx, args),
            Self::Exec(args) => exec::run(cx, args),
            Self::Logs(args) => logs::run(cx, args),
            Self::Cleanup(args) => cleanup::run(cx, args),
            Self::Create(args) => create::run(cx, args),
            Self::Exists(args) => exists::run(cx, args),
            Self::Inspect(args) => inspect::run(cx, args),
            Self::Ls(args) => ps::run(cx, args),
            Self::Kill(args) => kill::run(cx, args),
            Self::Prune(args) => prune::run(cx, args),
            Self::Restart(args) => restart::run(cx, args),
            Self::Rm(args) => rm::run(cx, args),
            Self::Run(args) => run::run(cx, args),
            Self::Start(args) => start::run(cx, args),
            Self::Stop(args) => stop::run(cx, args),
            Self::Wait(args) => wait::run(cx, args),
        }
    }
}
