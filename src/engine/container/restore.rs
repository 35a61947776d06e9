//! `restore`: a container's processes made again from a checkpoint.
//!
//! A start as any other, in which the runtime restores the processes instead of creating one, so that mounts, networks and the
//! container's own files are there before.

use super::checkpoint::{self, ENDPOINTS, Taken, able, clear_logs, statistics};
use super::settle::settle;
use super::start::{Restoration, StartOptions, start_locked};
use super::stop::gone;
use super::told::tell;
use crate::engine::conmon::Runtime;
use crate::engine::spec::{Attachment, Endpoint};
use crate::engine::state::{Locked, Record};
use crate::engine::{Context, Engine, Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How to restore.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// The checkpoint's name; empty: that of a checkpoint nobody named.
    pub name: String,
    /// Where the checkpoints are, instead of beside the container's record (docker's `--checkpoint-dir`).
    pub directory: Option<PathBuf>,
    /// Keep the checkpoint, and CRIU's log.
    pub keep: bool,
    /// With open TCP connections.
    pub tcp_established: bool,
    /// With locks of files.
    pub file_locks: bool,
    /// Take any free addresses, not those it had.
    pub ignore_addresses: bool,
    /// Take any MAC address.
    pub ignore_mac: bool,
}

/// What processes are restored from, when that is not beside their container's record.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    /// Directory of CRIU's images.
    pub images: PathBuf,
    /// Tar of what was in /dev/shm, where that is bound into the container.
    pub shared_memory: Option<PathBuf>,
    /// Take new addresses, whatever it had.
    pub new_addresses: bool,
}

/// Restores the container `id` from its checkpoint, which is gone then unless it is to be kept.
///
/// # Errors
/// [`ErrorKind::NotFound`] without a checkpoint, [`ErrorKind::InUse`] if the container runs; [`ErrorKind::Runtime`] with what CRIU
/// says. The checkpoint stays then.
pub fn restore(engine: &Engine, id: &str, options: &RestoreOptions) -> Result<Taken> {
    let locked = engine.state.lock(id)?;
    let Some(mut record) = settle(engine, &locked)? else { return Err(gone(id)) };
    if record.state.status.is_live() {
        let text = format!("container {} is running or paused, cannot restore", record.name());
        return Err(Error::new(ErrorKind::InUse, text));
    }
    let all = options.directory.clone().unwrap_or_else(|| checkpoint::directory(&record));
    let images = all.join(checkpoint::name(&options.name)?);
    if !images.is_dir() {
        let text = format!("a checkpoint for container {} cannot be found, cannot restore", record.name());
        return Err(Error::not_found(text).with_hint("make one with `container checkpoint`"));
    }
    let runtime = &record.spec()?.runtime;
    able(
        engine,
        &Runtime::find(&engine.config, if runtime.is_empty() { &record.state.runtime } else { runtime })?,
    )?;
    let source = Source { images: images.clone(), ..Source::default() };
    let taken = go_on(engine, &locked, &mut record, &source, options)?;
    if options.keep {
        return Ok(taken);
    }
    if options.directory.is_some() {
        clear_logs(&images)?
    } else {
        checkpoint::remove(&images)?
    }
    Ok(taken)
}

/// Restores the container `id`, which has just been made, from `source`.
pub(super) fn restore_from(
    engine: &Engine,
    id: &str,
    source: &Source,
    options: &RestoreOptions,
) -> Result<Taken> {
    let locked = engine.state.lock(id)?;
    let Some(mut record) = settle(engine, &locked)? else { return Err(gone(id)) };
    if record.state.status.is_live() {
        let text = format!("container {} was started meanwhile", record.name());
        return Err(Error::new(ErrorKind::InUse, text));
    }
    go_on(engine, &locked, &mut record, source, options)
}

/// Lets a settled container that does not run go on.
pub(super) fn go_on(
    engine: &Engine,
    locked: &Locked,
    record: &mut Record,
    source: &Source,
    options: &RestoreOptions,
) -> Result<Taken> {
    let mut args = Vec::new();
    for (wanted, flag) in
        [(options.tcp_established, "--tcp-established"), (options.file_locks, "--file-locks")]
    {
        args.extend(wanted.then(|| flag.to_owned()));
    }
    let asked = record.state.network.attachments.clone();
    if !source.new_addresses {
        let had = endpoints(&source.images)?;
        for attachment in &mut record.state.network.attachments {
            settle_place(attachment, had.get(&attachment.network), options);
        }
    }
    let restoration =
        Restoration { images: source.images.clone(), args, shared_memory: source.shared_memory.clone() };
    let start = StartOptions { detached: true, restoration: Some(restoration), ..StartOptions::default() };
    let begun = Instant::now();
    let started = start_locked(engine, locked, record, start, &mut |_| Ok(()));
    let duration = begun.elapsed();
    // What was taken for this once is not what the container asks for.
    record.state.network.attachments = asked;
    if started.is_ok() {
        record.state.restored_at = Some(jiff::Timestamp::now());
    }
    locked.save(&record.state)?;
    started.with_context(|| format!("restore container {}", record.name()))?;
    crate::failpoint!("restore.after-start");
    tell(engine, "restore", record, &[]);
    let statistics = statistics::read(&engine.state.run_dir(&record.id).join(statistics::RESTORE));
    Ok(Taken { duration, statistics })
}

/// The addresses the container had, by network.
fn endpoints(images: &Path) -> Result<BTreeMap<String, Endpoint>> {
    let path = images.join(ENDPOINTS);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|e| Error::corrupt(format!("parse {}", path.display())).with_source(e)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(e) => Err(Error::io("read", &path, e)),
    }
}

/// Asks for the place on a network that the container had.
fn settle_place(attachment: &mut Attachment, had: Option<&Endpoint>, options: &RestoreOptions) {
    let Some(had) = had else { return };
    if attachment.ips.is_empty() && !options.ignore_addresses {
        attachment.ips = had.addresses.iter().map(ipnet::IpNet::addr).collect();
    }
    if attachment.mac.is_none() && !options.ignore_mac && !had.mac.is_empty() {
        attachment.mac = Some(had.mac.clone());
    }
    if attachment.interface.is_empty() {
        attachment.interface.clone_from(&had.interface);
    }
}
