//! The sessions of exec as they are kept: each one's directory, its record, and the sweeping of what killed programs left.

use crate::engine::conmon::RunDir;
use crate::engine::host::atomic::{self, Durability};
use crate::engine::host::process;
use crate::engine::spec::ProcessSpec;
use crate::engine::{Engine, Error, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::time::Duration;

/// `session.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// Program and arguments.
    pub command: Vec<String>,
    /// As given by `--user`.
    pub user: String,
    /// It has a terminal.
    pub terminal: bool,
    /// The session runs as long as this process: ours while it is being made, then the runtime or conmon.
    pub holder: u32,
    /// Start time of `holder`.
    pub holder_start: u64,
    /// The program that made the session and still reads its files when the holder has ended.
    #[serde(default)]
    pub client: u32,
    /// Start time of `client`.
    #[serde(default)]
    pub client_start: u64,
}

/// A process as records keep it: PID and start time.
pub(super) type Process = (u32, u64);

/// This process.
pub(super) fn me() -> Process {
    let pid = std::process::id();
    (pid, process::start_time(pid).unwrap_or_default())
}

/// Records a session: what it executes, who reads its files, and who holds it.
pub(super) fn remember(dir: &RunDir, what: &ProcessSpec, client: Process, holder: Process) -> Result<()> {
    let record = SessionRecord {
        command: what.command.clone(),
        user: what.user.clone(),
        terminal: what.terminal,
        holder: holder.0,
        holder_start: holder.1,
        client: client.0,
        client_start: client.1,
    };
    let bytes = serde_json::to_vec(&record).map_err(|e| Error::invalid("session.json").with_source(e))?;
    let path = dir.path().join("session.json");
    // Replaced as a whole: half a record would look like a dead program's, and another exec would sweep the session.
    atomic::write(&path, &bytes, 0o600, Durability::None)
}

/// The sessions of a container that are under way: ID and record. Writes nothing.
pub fn sessions(engine: &Engine, id: &str) -> Vec<(String, SessionRecord)> {
    let run_dir = RunDir::new(engine.state.run_dir(id));
    let mut found: Vec<_> = entries(&run_dir)
        .filter_map(|name| Some((name.clone(), recorded(&run_dir.exec_session(&name))?)))
        .filter(|(_, session)| process::alive(session.holder, session.holder_start))
        .collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

fn entries(run_dir: &RunDir) -> impl Iterator<Item = String> {
    let names = fs::read_dir(run_dir.exec_sessions()).into_iter().flatten();
    names.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

fn recorded(dir: &RunDir) -> Option<SessionRecord> {
    serde_json::from_slice(&fs::read(dir.path().join("session.json")).ok()?).ok()
}

/// Whether somebody still needs the session's files: the process runs, or its client has yet to read how it ended.
fn needed(session: &SessionRecord) -> bool {
    process::alive(session.holder, session.holder_start)
        || process::alive(session.client, session.client_start)
}

/// A session's directory without a record is left alone so long.
const UNWRITTEN: Duration = Duration::from_secs(60);

/// Removes what sessions left whose program was killed, and those of `--detach`, which nobody waits for.
pub(super) fn sweep(run_dir: &RunDir) {
    for name in entries(run_dir) {
        let dir = run_dir.exec_session(&name);
        let in_use = match recorded(&dir) {
            Some(session) => needed(&session),
            // Somebody may be between making the directory and writing the record into it.
            None => {
                let made = fs::metadata(dir.path()).and_then(|m| m.modified()).ok();
                made.and_then(|t| t.elapsed().ok()).is_none_or(|age| age < UNWRITTEN)
            }
        };
        if !in_use {
            let _ = fs::remove_dir_all(dir.path());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_session_being_recorded_is_not_swept() {
        let tmp = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(tmp.path());
        let dir = run_dir.exec_session("s");
        fs::create_dir_all(dir.path()).unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    sweep(&run_dir);
                }
            });
            for _ in 0..3000 {
                if let Err(e) = remember(&dir, &ProcessSpec::default(), me(), me()) {
                    over.store(true, std::sync::atomic::Ordering::Relaxed);
                    panic!("swept: {e}");
                }
            }
            over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        assert!(needed(&recorded(&dir).unwrap()));
    }

    #[test]
    fn leftovers_of_dead_holders_are_swept_and_live_sessions_stay() {
        let tmp = tempfile::tempdir().unwrap();
        let run_dir = RunDir::new(tmp.path());
        let me = std::process::id();
        for (name, holder, start) in
            [("live", me, process::start_time(me).unwrap()), ("dead", me, 1), ("unwritten", 0, 0)]
        {
            let dir = run_dir.exec_session(name);
            fs::create_dir_all(dir.path()).unwrap();
            if holder != 0 {
                remember(&dir, &ProcessSpec::default(), (holder, start), (holder, start)).unwrap();
            }
        }
        let ended = run_dir.exec_session("ended");
        fs::create_dir_all(ended.path()).unwrap();
        remember(&ended, &ProcessSpec::default(), super::me(), (me, 1)).unwrap();
        sweep(&run_dir);
        let mut left: Vec<String> = entries(&run_dir).collect();
        left.sort();
        assert_eq!(left, ["ended", "live", "unwritten"], "the client of one that has ended reads its files");
    }
}
