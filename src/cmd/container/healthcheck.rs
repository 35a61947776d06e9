//! `coracle healthcheck run`, and the process that does so on its own.

use crate::cmd::later::Later;
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::container::{check_health, health, resolve};
use clap::{Args, Subcommand};

/// Check the health of containers
#[allow(missing_docs)]
#[derive(Debug, Subcommand)]
pub enum HealthcheckCommand {
    Run(Later<RunArgs>),
}

impl HealthcheckCommand {
    /// Runs it.
    pub fn run(self, cx: &Context) -> Result<Exit> {
        match self {
            Self::Run(args) => run(cx, args.0),
        }
    }
}

/// Run the health check of a container once
///
/// Exit code 0: healthy; 1: the check failed; 125: it could not be run.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Name or ID
    #[arg(value_name = "CONTAINER")]
    container: String,
}

fn run(cx: &Context, args: RunArgs) -> Result<Exit> {
    let engine = cx.engine()?;
    let checked = resolve(engine, &args.container).and_then(|id| check_health(engine, &id));
    match checked {
        Ok(true) => Ok(Exit::OK),
        Ok(false) => {
            cx.println("unhealthy")?;
            Ok(Exit::FAILED)
        }
        Err(e) => {
            cx.report(&e);
            Ok(Exit(125))
        }
    }
}

/// Check the health of a container as long as it runs
#[derive(Args, Debug)]
pub struct MonitorArgs {
    /// ID
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// What the monitor does.
pub fn monitor(cx: &Context, args: MonitorArgs) -> Result<Exit> {
    health::monitor(cx.engine()?, &args.container)?;
    Ok(Exit::OK)
}
