//! `coracle update`.

use super::select::{SelectArgs, Selection, each};
use crate::cmd::flags::{HealthArgs, ResourceArgs, restart};
use crate::cmd::{Context, Exit};
use crate::engine::container::update;
use crate::engine::spec::ContainerSpec;
use crate::engine::{Error, Result};
use clap::Args;

/// Change limits or the restart policy of one or more containers
///
/// Containers that run have the new limits at once. What is not named stays as it is.
#[derive(Args, Debug)]
pub struct UpdateArgs {
    /// Restart after exit: no, on-failure, on-failure:TIMES, always or unless-stopped
    #[arg(long, value_name = "POLICY")]
    restart: Option<String>,
    #[command(flatten)]
    resources: ResourceArgs,
    #[command(flatten)]
    health: HealthArgs,
    /// The container that was created last
    #[arg(long, short = 'l', conflicts_with = "containers")]
    latest: bool,
    /// Names, IDs or beginnings of IDs
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl UpdateArgs {
    fn apply(&self, spec: &mut ContainerSpec) -> Result<()> {
        if let Some(policy) = &self.restart {
            spec.restart = restart(policy)?;
        }
        self.resources.replace(&mut spec.resources)?;
        self.health.apply(spec)?;
        if self.health.details() && spec.healthcheck.as_ref().is_none_or(|check| check.command().is_none()) {
            return Err(Error::invalid("healthcheck command is not set").with_hint("add --health-cmd"));
        }
        Ok(())
    }
}

/// Updates them at the same time.
pub fn run(cx: &Context, args: UpdateArgs) -> Result<Exit> {
    let limits = args.resources != ResourceArgs::default();
    if args.restart.is_none() && !limits && args.health == HealthArgs::default() {
        return Err(Error::invalid("you must provide one or more flags when using this command"));
    }
    let named =
        SelectArgs { latest: args.latest, containers: args.containers.clone(), ..SelectArgs::default() };
    let chosen = Selection { args: &named, all: false, filters: &[], states: |_| true, ignore: false };
    each(cx, chosen.choose(cx)?, |engine, id| update(engine, id, |spec| args.apply(spec)))
}
