//! What keeps a container and its networks alive must not end with the session of the command that started it: pasta and
//! slirp4netns, the process that holds published ports, the one that checks health. Under systemd each is a scope of its
//! own, as conmon is. Called where such a process is recorded.

use crate::engine::config::Config;
use crate::engine::host::cgroup;
use crate::engine::host::systemd::{SYSTEM_BUS, Scope};

/// Has systemd take `pid` out of the session; `kind` is for the scope's name. Not in a service, whose manager is to see what it started, nor where the user
/// wants no systemd. A process for which that fails works, and ends with the session.
pub fn leave(config: &Config, kind: &str, pid: u32) {
    let env = &config.env;
    if (env.var("INVOCATION_ID").is_some() && cgroup::in_service())
        || config.containers.engine.cgroup_manager.as_deref().is_some_and(|m| m != "systemd")
    {
        return;
    }
    let (bus, slice) = match config.rootless() {
        true => (env.user_bus(), "user.slice"),
        false => (Some(SYSTEM_BUS.to_owned()), "machine.slice"),
    };
    let Some(bus) = bus else { return };
    let scope = Scope::request(&bus, env.uid, &format!("coracle-{kind}-{pid}.scope"), slice, pid);
    if let Err(e) = scope.and_then(Scope::wait) {
        tracing::debug!("process {pid} stays in the cgroup of this command: {e}");
    }
}
