//! `update`: other limits and another restart policy for a container that exists.

use super::settle::{runtime_of, settle};
use super::stop::gone;
use super::told::tell;
use super::{facts, health};
use crate::engine::oci;
use crate::engine::spec::{ContainerSpec, RestartPolicy};
use crate::engine::{Context, Engine, Error, ErrorKind, Result};

/// Changes what the container `id` is to be: `change` is given its spec and may alter limits, restart policy and health
/// check. A container that runs has the new limits at once; nothing has changed if the runtime refuses them.
///
/// # Errors
/// What `change` says; [`ErrorKind::Conflict`] for a restart policy with `--rm`; [`ErrorKind::Unsupported`] for limits of a
/// running container without a cgroup of its own.
pub fn update(
    engine: &Engine,
    id: &str,
    change: impl FnOnce(&mut ContainerSpec) -> Result<()>,
) -> Result<()> {
    let locked = engine.state.lock(id)?;
    let mut record = settle(engine, &locked)?.ok_or_else(|| gone(id))?;
    let before = record.spec()?;
    let mut spec = before.clone();
    change(&mut spec)?;
    health::settle_destination(engine, &mut spec)?;
    oci::complete::check_startup(&spec)?;
    if spec.remove && spec.restart != RestartPolicy::default() {
        let what = "restart policy cannot be updated because AutoRemove is enabled for the container";
        return Err(Error::new(ErrorKind::Conflict, what));
    }
    if record.state.status.is_live() && spec.resources != before.resources {
        let limits = oci::limits(
            &spec,
            &facts::host_facts(engine, &spec),
            &record.state.cgroup_path,
            facts::block_devices(&spec)?,
        )?;
        runtime_of(engine, &record.state)?
            .update(id, &limits)
            .with_context(|| format!("update container {}", record.name()))?;
    }
    crate::failpoint!("update.after-limits");
    locked.respecify(&spec)?;
    crate::failpoint!("update.after-spec");
    if record.state.head.restart != spec.restart {
        record.state.head.restart = spec.restart;
        // Its count belongs to the policy it was counted for.
        record.state.restart_count = 0;
        locked.save(&record.state)?;
    }
    tell(engine, "update", &record, &[]);
    Ok(())
}
