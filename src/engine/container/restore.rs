//! `restore`: a container's processes made again from a checkpoint.
//!
//! A start as any other, in which the runtime restores the processes instead of creating one, so that mounts, networks and the
//! container's own files are there before.

use super::checkpoint::{self, ENDPOINTS, able, clear_logs};
use super::settle::settle;
use super::start::{Restoration, StartOptions, start_locked};
use super::stop::gone;
use super::told::tell;
use crate::engine::conmon::Runtime;
use crate::engine::spec::{Attachment, Endpoint};
use crate::engine::{Context, Engine, Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

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

/// Restores the container `id` from its checkpoint, which is gone then unless it is to be kept. Returns how long it took.
///
/// # Errors
/// [`ErrorKind::NotFound`] without a checkpoint, [`ErrorKind::InUse`] if the container runs; [`ErrorKind::Runtime`] with what CRIU
/// says. The checkpoint stays then.
pub fn restore(engine: &Engine, id: &str, options: &RestoreOptions) -> Result<Duration> {
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
    let mut args = Vec::new();
    for (wanted, flag) in
        [(options.tcp_established, "--tcp-established"), (options.file_locks, "--file-locks")]
    {
        args.extend(wanted.then(|| flag.to_owned()));
    }
    let asked = record.state.network.attachments.clone();
    let had = endpoints(&images)?;
    for attachment in &mut record.state.network.attachments {
        settle_place(attachment, had.get(&attachment.network), options);
    }
    let restoration = Restoration { images: images.clone(), args };
    let start = StartOptions { detached: true, restoration: Some(restoration), ..StartOptions::default() };
    let begun = Instant::now();
    let started = start_locked(engine, &locked, &mut record, start, &mut |_| Ok(()));
    let took = begun.elapsed();
    // What was taken for this once is not what the container asks for.
    record.state.network.attachments = asked;
    if started.is_ok() {
        record.state.restored_at = Some(jiff::Timestamp::now());
    }
    locked.save(&record.state)?;
    started.with_context(|| format!("restore container {}", record.name()))?;
    crate::failpoint!("restore.after-start");
    tell(engine, "restore", &record, &[]);
    if options.keep {
        return Ok(took);
    }
    if options.directory.is_some() {
        clear_logs(&images)?
    } else {
        checkpoint::remove(&images)?
    }
    Ok(took)
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
