//! What is true now, whatever a record says: a reboot, a killed conmon or an exit nobody recorded yet.

use super::{ContainerState, State, Status};
use crate::engine::host::process;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Exit code of a run whose end nobody saw (docker's, for containers that a daemon crash or a reboot took).
pub const EXIT_UNKNOWN: i32 = 255;

/// The facts records are checked against.
pub struct World<'a> {
    boot_id: &'a str,
    exits: PathBuf,
    /// The IDs that have an exit file; `None`: look for each.
    listed: Option<HashSet<String>>,
    alive: fn(u32, u64) -> bool,
}

/// What an exit file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exit {
    code: i32,
    at: Option<jiff::Timestamp>,
}

impl World<'static> {
    /// This host, now.
    pub(super) fn now(state: &State) -> Self {
        Self { boot_id: process::boot_id(), exits: state.exit_dir(), listed: None, alive: process::alive }
    }
}

impl World<'_> {
    /// Reads the exit directory once, for a listing.
    pub(super) fn with_exits_listed(mut self) -> Self {
        self.listed = Some(super::ids_in(&self.exits).unwrap_or_default().into_iter().collect());
        self
    }

    /// The exit file of `id`, complete.
    fn exit(&self, id: &str) -> Option<Exit> {
        if self.listed.as_ref().is_some_and(|listed| !listed.contains(id)) {
            return None;
        }
        read_exit(&self.exits.join(id))
    }

    #[cfg(test)]
    pub(super) fn fake(boot_id: &'static str, exits: &Path, alive: fn(u32, u64) -> bool) -> World<'static> {
        World { boot_id, exits: exits.to_owned(), listed: None, alive }
    }
}

/// conmon writes the decimal code to a temporary file and renames it (ctr_exit.c).
fn read_exit(path: &Path) -> Option<Exit> {
    let text = std::fs::read_to_string(path).ok()?;
    let code = text.trim().parse().ok()?;
    let modified = std::fs::metadata(path).and_then(|m| m.modified()).ok();
    Some(Exit { code, at: modified.and_then(|t| jiff::Timestamp::try_from(t).ok()) })
}

/// Makes `state` say what is true now. Writes nothing.
pub(super) fn correct(
    state: &mut ContainerState,
    id: &str,
    run_dir: impl FnOnce() -> PathBuf,
    world: &World<'_>,
) {
    if !state.status.is_live() {
        return;
    }
    if state.boot_id != world.boot_id {
        ended(state, Exit { code: EXIT_UNKNOWN, at: None });
        return;
    }
    if let Some(exit) = world.exit(id) {
        state.oom_killed = run_dir().join("oom").exists();
        ended(state, exit);
        return;
    }
    if (world.alive)(state.pid, state.pid_start) || (world.alive)(state.conmon_pid, state.conmon_start) {
        // Running; or its process just ended and conmon is about to write the exit file.
        return;
    }
    // conmon may have written the file between the two looks.
    let exit = world.exit(id).or_else(|| read_exit(&world.exits.join(id)));
    ended(state, exit.unwrap_or(Exit { code: EXIT_UNKNOWN, at: None }));
}

fn ended(state: &mut ContainerState, exit: Exit) {
    // A start that never reached the program leaves a container that was not started, and what only was initialized is what
    // it was before.
    let ran = state.status != Status::Initialized;
    state.status = match state.status {
        Status::Starting => Status::Created,
        Status::Initialized if !state.started_before => Status::Created,
        _ => Status::Exited,
    };
    state.pid = 0;
    state.pid_start = 0;
    state.conmon_pid = 0;
    state.conmon_start = 0;
    if ran {
        state.exit_code = exit.code;
        state.finished_at = exit.at.or(state.finished_at).or(state.started_at);
    }
    state.mountpoint = PathBuf::new();
    state.network.endpoints.clear();
    state.network.ports.clear();
}
