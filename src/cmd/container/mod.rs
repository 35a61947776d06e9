//! Commands on containers, one file each.

pub mod attach;
pub mod checkpoint;
pub mod cleanup;
pub mod clone;
pub mod commit;
pub mod cp;
pub mod create;
pub mod detach_keys;
pub mod diff;
pub mod exec;
pub mod exists;
pub mod export;
pub mod healthcheck;
pub mod init;
pub mod inspect;
pub mod kill;
pub mod logs;
pub mod making;
pub mod mount;
pub mod pause;
pub mod port;
pub mod ports;
pub mod prune;
pub mod ps;
pub mod rename;
pub mod restart;
pub mod restore;
pub mod rm;
pub mod run;
pub mod runlabel;
pub mod select;
pub mod start;
pub mod started;
pub mod stats;
pub mod stop;
pub mod streams;
pub mod top;
pub mod update;
pub mod wait;

use super::later::Later;
use super::{Context, Exit};
use crate::engine::Result;
use clap::Subcommand;

/// Commands of `coracle container`; what each does is said by its arguments.
#[allow(missing_docs)]
#[derive(Debug, Subcommand)]
pub enum ContainerCommand {
    Attach(Later<attach::AttachArgs>),
    Exec(Later<exec::ExecArgs>),
    Logs(Later<logs::LogsArgs>),
    #[command(hide = true)]
    Cleanup(Later<cleanup::CleanupArgs>),
    #[command(hide = true)]
    HealthMonitor(Later<healthcheck::MonitorArgs>),
    Checkpoint(Later<checkpoint::CheckpointArgs>),
    Clone(Later<clone::CloneArgs>),
    Commit(Later<commit::CommitArgs>),
    Cp(Later<cp::CpArgs>),
    Create(Later<create::CreateArgs>),
    Diff(Later<diff::DiffArgs>),
    Exists(Later<exists::ExistsArgs>),
    Export(Later<export::ExportArgs>),
    Init(Later<init::InitArgs>),
    Inspect(Later<inspect::ContainerInspectArgs>),
    Kill(Later<kill::KillArgs>),
    Mount(Later<mount::MountArgs>),
    #[command(visible_aliases = ["list", "ps"])]
    Ls(Later<ps::PsArgs>),
    Pause(Later<pause::PauseArgs>),
    Port(Later<port::PortArgs>),
    Prune(Later<prune::PruneArgs>),
    Rename(Later<rename::RenameArgs>),
    Restart(Later<restart::RestartArgs>),
    Restore(Later<restore::RestoreArgs>),
    #[command(visible_alias = "remove")]
    Rm(Later<rm::RmArgs>),
    Run(Later<run::RunArgs>),
    Runlabel(Later<runlabel::RunlabelArgs>),
    Start(Later<start::StartArgs>),
    Stats(Later<stats::StatsArgs>),
    Stop(Later<stop::StopArgs>),
    #[command(visible_alias = "umount")]
    Unmount(Later<mount::UnmountArgs>),
    Unpause(Later<pause::UnpauseArgs>),
    Update(Later<update::UpdateArgs>),
    Top(Later<top::TopArgs>),
    Wait(Later<wait::WaitArgs>),
}

impl ContainerCommand {
    /// Runs it.
    pub fn run(self, cx: &Context) -> Result<Exit> {
        match self {
            Self::Attach(args) => attach::run(cx, args.0),
            Self::Exec(args) => exec::run(cx, args.0),
            Self::Logs(args) => logs::run(cx, args.0),
            Self::Cleanup(args) => cleanup::run(cx, args.0),
            Self::HealthMonitor(args) => healthcheck::monitor(cx, args.0),
            Self::Checkpoint(args) => checkpoint::run(cx, args.0),
            Self::Clone(args) => clone::run(cx, args.0),
            Self::Commit(args) => commit::run(cx, args.0),
            Self::Cp(args) => cp::run(cx, args.0),
            Self::Create(args) => create::run(cx, args.0),
            Self::Diff(args) => diff::container(cx, args.0),
            Self::Export(args) => export::run(cx, args.0),
            Self::Exists(args) => exists::run(cx, args.0),
            Self::Init(args) => init::run(cx, args.0),
            Self::Inspect(args) => inspect::run(cx, args.0),
            Self::Ls(args) => ps::run(cx, args.0),
            Self::Kill(args) => kill::run(cx, args.0),
            Self::Mount(args) => mount::run(cx, args.0),
            Self::Unmount(args) => mount::undo(cx, args.0),
            Self::Pause(args) => pause::pause(cx, args.0),
            Self::Port(args) => port::run(cx, args.0),
            Self::Prune(args) => prune::run(cx, args.0),
            Self::Rename(args) => rename::run(cx, args.0),
            Self::Restore(args) => restore::run(cx, args.0),
            Self::Restart(args) => restart::run(cx, args.0),
            Self::Rm(args) => rm::run(cx, args.0),
            Self::Runlabel(args) => runlabel::run(cx, args.0),
            Self::Run(args) => run::run(cx, args.0),
            Self::Start(args) => start::run(cx, args.0),
            Self::Stats(args) => stats::run(cx, args.0),
            Self::Stop(args) => stop::run(cx, args.0),
            Self::Unpause(args) => pause::unpause(cx, args.0),
            Self::Update(args) => update::run(cx, args.0),
            Self::Top(args) => top::run(cx, args.0),
            Self::Wait(args) => wait::run(cx, args.0),
        }
    }
}
