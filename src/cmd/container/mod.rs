//! Commands on containers, one file each.

pub mod attach;
pub mod detach_keys;
pub mod exec;
pub mod inspect;
pub mod logs;
pub mod moment;
pub mod ps;
pub mod streams;

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
}

impl ContainerCommand {
    /// Runs it.
    pub fn run(self, cx: &Context) -> Result<Exit> {
        match self {
            Self::Attach(args) => attach::run(cx, args),
            Self::Exec(args) => exec::run(cx, args),
            Self::Logs(args) => logs::run(cx, args),
        }
    }
}
