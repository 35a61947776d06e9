//! Scopes of systemd for what is not the container itself, whose scope the runtime asks for.

use crate::engine::Engine;
use crate::engine::conmon::ConmonScope;
use crate::engine::host::cgroup;
use crate::engine::host::systemd::{self, Scope};
use crate::engine::spec::{CgroupManager, ContainerSpec};

/// conmon's: beside the container's, out of the session or service that this command runs in and that may end before the
/// container. Not when the user wants it otherwise, nor in a service: its manager is to see what it started.
pub(super) fn of_conmon(
    engine: &Engine,
    spec: &ContainerSpec,
    manager: CgroupManager,
    cgroups_path: &str,
) -> Option<ConmonScope> {
    let env = &engine.config.env;
    let wanted = manager == CgroupManager::Systemd && spec.cgroups != "no-conmon";
    if !wanted || (env.var("INVOCATION_ID").is_some() && cgroup::in_service()) {
        return None;
    }
    let slice = cgroups_path.split(':').next().unwrap_or_default().to_owned();
    Some(ConmonScope { bus: bus(engine)?, uid: env.uid, slice })
}

/// Makes it possible for the runtime to put a process into a container of `cgroup_path`.
///
/// The kernel lets an ordinary user move processes only between cgroups below one that is theirs (cgroups(7), "delegation
/// containment"). A container's scope is below their systemd, a login session is not: there this process goes first to a
/// scope of its own, which ends with it.
pub(super) fn reach(engine: &Engine, cgroup_path: &str) {
    let managed = cgroup_path.contains(':');
    if !engine.rootless() || !managed || cgroup::facts(true, engine.config.env.uid).writable {
        return;
    }
    let Some(bus) = bus(engine) else { return };
    let pid = std::process::id();
    let name = format!("coracle-{pid}.scope");
    let scope = Scope::request(&bus, engine.config.env.uid, &name, "user.slice", pid);
    if let Err(e) = scope.and_then(Scope::wait) {
        // The runtime's own complaint follows.
        tracing::debug!("enter a scope: {e}");
    }
}

fn bus(engine: &Engine) -> Option<String> {
    if engine.rootless() { engine.config.env.user_bus() } else { Some(systemd::SYSTEM_BUS.to_owned()) }
}
