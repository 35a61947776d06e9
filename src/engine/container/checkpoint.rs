//! `checkpoint`: a running container's processes written to files by CRIU, from which [`super::restore()`] makes them again.
//!
//! A checkpoint is a directory of CRIU's images, `checkpoints/NAME` beside the container's record, and in it `endpoints.json`: the
//! addresses the container had, which open connections need. It is written under another name and renamed, so that it is there
//! whole or not at all.

use super::settle::{runtime_of, settle};
use super::stop::gone;
use super::told::tell;
use super::wait::wait_for_exit;
use crate::engine::conmon::{Runtime, RuntimeKind};
use crate::engine::host::atomic::{self, Durability};
use crate::engine::host::process;
use crate::engine::state::{Record, Status};
use crate::engine::{Engine, Error, ErrorKind, Result};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The name of a checkpoint that nobody named.
pub const DEFAULT: &str = "default";

/// Where a container's pre-checkpoint is: its memory, written while it ran on.
const PRE: &str = "pre";

/// What CRIU writes beside its images.
const LOGS: [&str; 4] = ["dump.log", "restore.log", "stats-dump", "stats-restore"];

/// Until the end of a container that was checkpointed shows.
const END: Duration = Duration::from_secs(20);

/// How to write one.
#[derive(Clone, Debug, Default)]
pub struct CheckpointOptions {
    /// Its name; empty: [`DEFAULT`].
    pub name: String,
    /// Keep CRIU's logs and statistics.
    pub keep: bool,
    /// The container goes on.
    pub leave_running: bool,
    /// With open TCP connections.
    pub tcp_established: bool,
    /// With locks of files.
    pub file_locks: bool,
    /// Write the memory alone, and let the container go on.
    pub pre: bool,
    /// Write only what changed since the pre-checkpoint.
    pub with_previous: bool,
}

/// Writes a checkpoint of the running container `id`, which ends then unless it is to go on. Returns how long the runtime took.
///
/// # Errors
/// [`ErrorKind::InUse`] if it does not run; [`ErrorKind::Unsupported`] for an ordinary user and for a runtime without CRIU;
/// [`ErrorKind::MissingProgram`] without CRIU; [`ErrorKind::Runtime`] with what CRIU says. The container goes on then.
pub fn checkpoint(engine: &Engine, id: &str, options: &CheckpointOptions) -> Result<Duration> {
    let locked = engine.state.lock(id)?;
    let Some(mut record) = settle(engine, &locked)? else { return Err(gone(id)) };
    if record.state.status != Status::Running {
        let text = format!(
            "container {} is not running: only running containers can be checkpointed",
            record.name()
        );
        return Err(Error::new(ErrorKind::InUse, text));
    }
    if record.ephemeral && !options.leave_running && !options.pre {
        let text = format!("container {} was made with --rm: its checkpoint would go with it", record.name());
        return Err(Error::new(ErrorKind::InUse, text).with_hint("--leave-running, or make it without --rm"));
    }
    let runtime = runtime_of(engine, &record.state)?;
    able(engine, &runtime)?;
    let all = directory(&record);
    if options.with_previous && !all.join(PRE).is_dir() {
        return Err(Error::not_found(format!("container {} has no pre-checkpoint", record.name()))
            .with_hint("make one with --pre-checkpoint"));
    }
    let name = if options.pre { PRE } else { name(&options.name)? };
    let unfinished = all.join(format!(".{name}"));
    remove(&unfinished)?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&unfinished)
        .map_err(|e| Error::io("mkdir", &unfinished, e))?;
    let mut args = Vec::new();
    for (wanted, flag) in [
        (options.leave_running && !options.pre, "--leave-running"),
        (options.tcp_established, "--tcp-established"),
        (options.file_locks, "--file-locks"),
        (options.pre, "--pre-dump"),
    ] {
        args.extend(wanted.then(|| flag.to_owned()));
    }
    if options.with_previous {
        args.extend(["--parent-path".to_owned(), format!("../{PRE}")]);
    }
    let goes_on = options.leave_running || options.pre;
    if !goes_on {
        // Its end is wanted: no restart policy applies.
        record.state.stopped_by_user = true;
        locked.save(&record.state)?;
    }
    crate::failpoint!("checkpoint.after-state");
    let begun = Instant::now();
    let written = runtime.checkpoint(id, &unfinished, &args).map_err(|e| match options.pre {
        true if e.to_string().contains("missing features") => {
            Error::unsupported("this kernel does not track which memory changes (CONFIG_MEM_SOFT_DIRTY)")
                .with_source(e)
        }
        _ => e,
    });
    let took = begun.elapsed();
    if let Err(e) = written {
        record.state.stopped_by_user = false;
        locked.save(&record.state)?;
        let error = explained(e, &unfinished.join("dump.log"))
            .wrap(format!("checkpoint container {}", record.name()));
        if !options.keep {
            remove(&unfinished)?;
            return Err(error.with_hint("--keep keeps CRIU's log"));
        }
        return Err(error.with_hint(format!("CRIU's log is {}", unfinished.join("dump.log").display())));
    }
    crate::failpoint!("checkpoint.after-dump");
    let endpoints = serde_json::to_vec(&record.state.network.endpoints)
        .map_err(|e| Error::corrupt("encode the container's addresses").with_source(e))?;
    atomic::write(&unfinished.join(ENDPOINTS), &endpoints, 0o600, Durability::None)?;
    if !options.keep {
        clear_logs(&unfinished)?;
    }
    let target = all.join(name);
    remove(&target)?;
    fs::rename(&unfinished, &target).map_err(|e| Error::io("rename to", &target, e))?;
    crate::failpoint!("checkpoint.after-rename");
    if !options.pre {
        record.state.checkpointed_at = Some(jiff::Timestamp::now());
        locked.save(&record.state)?;
    }
    if !goes_on {
        wait_for_exit(engine, &record, Some(END))?;
        settle(engine, &locked)?;
    }
    tell(engine, "checkpoint", &record, &[]);
    Ok(took)
}

/// File in a checkpoint with the addresses the container had.
pub(super) const ENDPOINTS: &str = "endpoints.json";

/// The checkpoints of a container.
pub(super) fn directory(record: &Record) -> PathBuf {
    record.dir().join("checkpoints")
}

/// A checkpoint's name as a file's.
pub(super) fn name(given: &str) -> Result<&str> {
    match given {
        "" => Ok(DEFAULT),
        given if crate::engine::spec::is_name(given) && given != PRE => Ok(given),
        given => Err(Error::invalid(format!("{given:?} cannot be the name of a checkpoint"))),
    }
}

/// Whether checkpoints can be made and restored here at all.
pub(super) fn able(engine: &Engine, runtime: &Runtime) -> Result<()> {
    if engine.rootless() {
        return Err(Error::unsupported(
            "checkpoint and restore need root: CRIU cannot do it in a user namespace",
        ));
    }
    if runtime.kind == RuntimeKind::Crun && !runtime.version()?.contains("+CRIU") {
        return Err(Error::unsupported(format!("{} was built without CRIU", runtime.path.display()))
            .with_hint("start the container with another runtime: run --runtime runc"));
    }
    process::require_program("criu", &engine.config.env.path(), "criu").map(drop)
}

/// A runtime's error with what CRIU's log says, which is what went wrong.
pub(super) fn explained(error: Error, log: &Path) -> Error {
    let text = fs::read_to_string(log).unwrap_or_default();
    // `(00.015286) Error (criu/cr-dump.c:2098): Dumping FAILED.`: the first one is the cause.
    let said = text.lines().find_map(|line| {
        let line = line.split_once("Error (")?.1.split_once("): ")?.1;
        (!line.starts_with("rlimit:")).then(|| line.trim().to_owned())
    });
    match said {
        Some(said) => Error::new(ErrorKind::Runtime, format!("CRIU: {said}")),
        None => error,
    }
}

pub(super) fn clear_logs(directory: &Path) -> Result<()> {
    for log in LOGS.map(|log| directory.join(log)) {
        match fs::remove_file(&log) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io("unlink", &log, e)),
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", directory, e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_the_first_error_of_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("dump.log");
        let lines = "(00.1) Warn  (criu/x.c:1): no\n(00.2) Error (criu/util.c:1533): rlimit: Can't setup\n\
                     (00.3) Error (criu/net.c:3282): net: Locking network failed\n(00.4) Error (criu/cr-dump.c:2111): Dumping FAILED.\n";
        fs::write(&log, lines).unwrap();
        let runtimes = || Error::new(ErrorKind::Runtime, "criu failed");
        assert_eq!(explained(runtimes(), &log).to_string(), "CRIU: net: Locking network failed");
        assert_eq!(explained(runtimes(), &dir.path().join("none")).to_string(), "criu failed");
    }

    #[test]
    fn names_are_files() {
        assert_eq!(name("").unwrap(), "default");
        assert_eq!(name("one").unwrap(), "one");
        for bad in ["..", "a/b", ".x", "pre"] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
