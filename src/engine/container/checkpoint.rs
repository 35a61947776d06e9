//! `checkpoint`: a running container's processes written to files by CRIU, from which [`super::restore()`] makes them again.
//!
//! A checkpoint is a directory of CRIU's images, `checkpoints/NAME` beside the container's record, and in it `endpoints.json`: the
//! addresses the container had, which open connections need. It is written under another name and renamed, so that it is there
//! whole or not at all. [`archive`] puts it into a file with all that the container is, and [`mod@import`] makes a container of that.

mod archive;
mod describe;
mod foreign;
mod import;
mod network_status;
pub(super) mod statistics;

pub use import::{ImportOptions, Unpacked, import};
pub use statistics::Statistics;

use super::cleanup;
use super::restore::{self, RestoreOptions, Source};
use super::settle::{runtime_of, settle};
use super::stop::gone;
use super::told::tell;
use super::wait::wait_for_exit;
use crate::engine::conmon::{Runtime, RuntimeKind};
use crate::engine::host::atomic::{self, Durability};
use crate::engine::host::process;
use crate::engine::host::relay::relay;
use crate::engine::image::import::ImportRequest;
use crate::engine::image::{self, tag::new_name};
use crate::engine::registry::PlatformRequest;
use crate::engine::state::{Record, Status};
use crate::engine::store::ImageRecord;
use crate::engine::{Context, Engine, Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The name of a checkpoint that nobody named.
pub const DEFAULT: &str = "default";

/// Where a container's pre-checkpoint is: its memory, written while it ran on. podman's name, to which a checkpoint that continues it
/// has a link.
const PRE: &str = "pre-checkpoint";

/// What CRIU writes beside its images.
const LOGS: [&str; 4] = ["dump.log", "restore.log", statistics::DUMP, statistics::RESTORE];

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
    /// Leave the container's files out of an archive.
    pub ignore_rootfs: bool,
    /// Leave its volumes out of an archive.
    pub ignore_volumes: bool,
}

/// Is given what writes a tar, and has it written to where it belongs, to the last byte.
pub type Deliver<'a> = &'a mut dyn FnMut(&dyn Fn(&mut dyn Write) -> Result<()>) -> Result<()>;

/// Where a checkpoint goes.
#[derive(Default)]
pub enum Destination<'a> {
    /// Beside the container alone.
    #[default]
    Beside,
    /// Into an archive as well.
    Archive(Deliver<'a>),
    /// Into an image of this name as well.
    Image(&'a str),
}

/// What a checkpoint or a restore took.
#[derive(Clone, Debug)]
pub struct Taken {
    /// How long the runtime worked.
    pub duration: Duration,
    /// What CRIU counted.
    pub statistics: Option<Statistics>,
}

/// Writes a checkpoint of the running container `id`, which ends then unless it is to go on.
///
/// # Errors
/// [`ErrorKind::InUse`] if it does not run; [`ErrorKind::Unsupported`] for an ordinary user and for a runtime without CRIU;
/// [`ErrorKind::MissingProgram`] without CRIU; [`ErrorKind::Runtime`] with what CRIU says; the destination's. The container goes
/// on then.
pub fn checkpoint(
    engine: &Engine,
    id: &str,
    options: &CheckpointOptions,
    destination: Destination<'_>,
) -> Result<Taken> {
    let locked = engine.state.lock(id)?;
    let Some(mut record) = settle(engine, &locked)? else { return Err(gone(id)) };
    let beside = matches!(destination, Destination::Beside);
    if let Destination::Image(name) = &destination {
        new_name(name)?;
    }
    let runtime = possible(engine, &record, options, beside)?;
    let all = directory(&record);
    let name = if options.pre { PRE } else { name(&options.name)? };
    let goes_on = options.leave_running || options.pre;
    if !goes_on {
        // Its end is wanted: no restart policy applies.
        record.state.stopped_by_user = true;
        locked.save(&record.state)?;
    }
    crate::failpoint!("checkpoint.after-state");
    let (duration, counted) = match dump(&runtime, &record, &all.join(format!(".{name}")), options) {
        Ok(dumped) => dumped,
        Err(e) => {
            record.state.stopped_by_user = false;
            locked.save(&record.state)?;
            return Err(e);
        }
    };
    let images = all.join(name);
    remove(&images)?;
    fs::rename(all.join(format!(".{name}")), &images).map_err(|e| Error::io("rename to", &images, e))?;
    crate::failpoint!("checkpoint.after-rename");
    if !options.pre {
        record.state.checkpointed_at = Some(jiff::Timestamp::now());
        locked.save(&record.state)?;
    }
    if !goes_on {
        wait_for_exit(engine, &record, Some(END))?;
    }
    let inside = if options.pre { PRE } else { archive::IMAGES };
    let write = |out: &mut dyn Write| {
        archive::write(engine, &record, (&images, inside), options, counted.as_deref(), out)
    };
    let sent = match destination {
        Destination::Beside => Ok(()),
        Destination::Archive(deliver) => deliver(&write).context("write the archive of the checkpoint"),
        Destination::Image(image) => {
            let annotations = annotations(&record, &runtime);
            let platform = PlatformRequest::default().wanted().into_iter().next().unwrap_or_default();
            let name = Some(image.to_owned());
            let request = ImportRequest { name, annotations, platform, ..ImportRequest::default() };
            relay(|mut out| write(&mut out), |from| image::import::import(engine, from, &request).map(drop))
                .context("put the checkpoint into an image")
        }
    };
    if !goes_on && let Some(settled) = settle(engine, &locked)? {
        record = settled;
    }
    if let Err(e) = sent {
        if goes_on {
            record.state.checkpointed_at = None;
            locked.save(&record.state)?;
        } else {
            // It ended for what was not to be had.
            let source = Source { images: images.clone(), ..Source::default() };
            let options = RestoreOptions {
                tcp_established: options.tcp_established,
                file_locks: options.file_locks,
                ..RestoreOptions::default()
            };
            restore::go_on(engine, &locked, &mut record, &source, &options)?;
        }
        remove(&images)?;
        return Err(e);
    }
    tell(engine, "checkpoint", &record, &[]);
    drop(locked);
    if record.ephemeral && !goes_on {
        cleanup::end_of_run(engine, id)?;
    }
    let statistics = counted.as_deref().and_then(statistics::parse);
    Ok(Taken { duration, statistics })
}

/// Refuses what cannot be; returns the runtime that is to do it.
fn possible(engine: &Engine, record: &Record, options: &CheckpointOptions, beside: bool) -> Result<Runtime> {
    let name = record.name();
    if record.state.status != Status::Running {
        let text = format!("container {name} is not running: only running containers can be checkpointed");
        return Err(Error::new(ErrorKind::InUse, text));
    }
    if record.ephemeral && beside && !options.leave_running && !options.pre {
        let text = format!("container {name} was made with --rm: its checkpoint would go with it");
        return Err(Error::new(ErrorKind::InUse, text)
            .with_hint("--export, --create-image, --leave-running, or make it without --rm"));
    }
    if !beside {
        archive::possible(record.spec()?)?;
    }
    let runtime = runtime_of(engine, &record.state)?;
    able(engine, &runtime)?;
    if options.with_previous && !directory(record).join(PRE).is_dir() {
        return Err(Error::not_found(format!("container {name} has no pre-checkpoint"))
            .with_hint("make one with --pre-checkpoint"));
    }
    Ok(runtime)
}

/// Has CRIU write into the fresh directory `images`. Returns how long that took, and CRIU's statistics as they are.
fn dump(
    runtime: &Runtime,
    record: &Record,
    images: &Path,
    options: &CheckpointOptions,
) -> Result<(Duration, Option<Vec<u8>>)> {
    remove(images)?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(images)
        .map_err(|e| Error::io("mkdir", images, e))?;
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
    let begun = Instant::now();
    let written = runtime.checkpoint(&record.id, images, &args).map_err(|e| match options.pre {
        true if e.to_string().contains("missing features") => {
            Error::unsupported("this kernel does not track which memory changes (CONFIG_MEM_SOFT_DIRTY)")
                .with_source(e)
        }
        _ => e,
    });
    let took = begun.elapsed();
    if let Err(e) = written {
        let error =
            explained(e, &images.join("dump.log")).wrap(format!("checkpoint container {}", record.name()));
        if !options.keep {
            remove(images)?;
            return Err(error.with_hint("--keep keeps CRIU's log"));
        }
        return Err(error.with_hint(format!("CRIU's log is {}", images.join("dump.log").display())));
    }
    crate::failpoint!("checkpoint.after-dump");
    let endpoints = serde_json::to_vec(&record.state.network.endpoints)
        .map_err(|e| Error::corrupt("encode the container's addresses").with_source(e))?;
    atomic::write(&images.join(ENDPOINTS), &endpoints, 0o600, Durability::None)?;
    let counted = fs::read(images.join(statistics::DUMP)).ok();
    if !options.keep {
        clear_logs(images)?;
    }
    Ok((took, counted))
}

/// What an image of a checkpoint says of it (podman `libpod/define/annotations.go`); it is one by that of the runtime.
fn annotations(record: &Record, runtime: &Runtime) -> BTreeMap<String, String> {
    let head = &record.state.head;
    let first = |text: Result<String>| {
        text.ok().and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or_default()
    };
    let host = rustix::system::uname();
    [
        ("name", head.name.clone()),
        ("rawImageName", record.spec().map(|spec| spec.image.requested.clone()).unwrap_or_default()),
        ("rootfsImageID", head.image_id.clone()),
        ("rootfsImageName", head.image.clone()),
        (RUNTIME_NAME, describe::runtime_name(&record.state.runtime).to_owned()),
        ("runtime.version", first(runtime.version())),
        ("host.arch", host.machine().to_string_lossy().into_owned()),
        ("host.kernel", host.release().to_string_lossy().into_owned()),
    ]
    .into_iter()
    .map(|(key, value)| (format!("{ANNOTATION}{key}"), value))
    .collect()
}

/// With which the annotations of an image of a checkpoint begin.
const ANNOTATION: &str = "io.podman.annotations.checkpoint.";
const RUNTIME_NAME: &str = "runtime.name";

/// Whether an image holds a checkpoint: the name of the runtime that wrote it.
///
/// # Errors
/// The image's manifest cannot be read.
pub fn runtime_of_image(engine: &Engine, image: &ImageRecord) -> Result<Option<String>> {
    let manifest: serde_json::Value = serde_json::from_slice(&image::raw_manifest(engine, image)?)
        .map_err(|e| Error::corrupt("parse the image's manifest").with_source(e))?;
    Ok(manifest["annotations"][format!("{ANNOTATION}{RUNTIME_NAME}")].as_str().map(str::to_owned))
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
        for bad in ["..", "a/b", ".x", "pre-checkpoint"] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
