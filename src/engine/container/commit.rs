//! `commit`: a container's changes as a layer of a new image.
//!
//! A running container is frozen while its files are read, so that they are of one moment; its lock is held for as long,
//! and the record says that it was frozen for this, so that whoever has the lock after a crash thaws it.

use super::pause::{freeze, thaw};
use super::settle::settle;
use super::stop::gone;
use super::told::tell;
use super::volumes;
use crate::engine::image::config::{History, RunConfig};
use crate::engine::image::draft::{self, Base, Draft, Format};
use crate::engine::image::tag::new_name;
use crate::engine::image::{self, ImageConfig, changes};
use crate::engine::spec::{ContainerSpec, MountKind};
use crate::engine::state::{Locked, Record, Status};
use crate::engine::store::diff::Applied;
use crate::engine::store::diff::create::Node;
use crate::engine::store::{ImageRecord, StagedLayer};
use crate::engine::{Engine, Error, ErrorKind, Result};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// What to commit, and how.
#[derive(Clone, Debug, Default)]
pub struct CommitRequest {
    /// The new image's name; `None`: none.
    pub name: Option<String>,
    /// Who made it.
    pub author: String,
    /// A comment on the step.
    pub message: String,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// A configuration whose fields are merged in, before the instructions.
    pub config: Option<Map<String, Value>>,
    /// Whether to freeze it: `None`: if it can be.
    pub pause: Option<bool>,
    /// The documents' dialect.
    pub format: Format,
    /// One layer instead of the image's and one more.
    pub squash: bool,
    /// All its mounts become volumes of the image, not its anonymous volumes alone.
    pub include_volumes: bool,
}

/// An empty tar: two blocks of zeros.
const EMPTY: u64 = 1024;

/// Files the engine binds its own to: where the image has none, an empty one marks the place.
const MARKS: &[&[u8]] =
    &[b"etc/hosts", b"etc/resolv.conf", b"etc/hostname", b"run/.containerenv", b"run/podman-init"];

/// Makes an image of the container `id`, running or not.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a container without an image, or one that cannot be frozen and must be;
/// [`ErrorKind::Invalid`] for a bad name or instruction.
pub fn commit(engine: &Engine, id: &str, request: &CommitRequest) -> Result<ImageRecord> {
    // What can be refused is refused before anything is done.
    let name = request.name.as_deref().map(new_name).transpose()?.map(|name| name.to_string());
    let record = engine.state.load(id)?;
    let spec = record.spec()?;
    if spec.image.rootfs.is_some() {
        return Err(Error::unsupported("a container that was made with --rootfs has no image to build on"));
    }
    let base = engine.store.image(&spec.image.id)?;
    let parsed = image::config_of(engine, &base)?;
    let mut run = run_config(engine, spec, &parsed, request.include_volumes);
    let mut unknown = raw_config(engine, &base)?;
    if let Some(config) = &request.config {
        merge(&mut run, &mut unknown, config)?;
    }
    changes::apply(&mut run, &request.changes)?;
    let mut draft = Draft { format: request.format, name, ..Draft::default() };
    draft.base = if request.squash { Base::default() } else { draft::base_of(engine, &base, &parsed)? };
    draft.annotations = annotations(&record, &base);

    let (staged, applied) = read(engine, id, request)?;
    crate::failpoint!("commit.layer-unpacked");
    let empty = applied.diff_size == EMPTY && !draft.base.layers.is_empty();
    if !empty {
        draft.layer = Some((staged, applied));
    }
    let created = jiff::Timestamp::now().to_string();
    let step = History {
        created: created.clone(),
        created_by: record.state.head.command.join(" "),
        author: request.author.clone(),
        comment: request.message.clone(),
        empty_layer: empty,
    };
    let mut history = Vec::new();
    if !request.squash {
        history.extend(parsed.history.iter().map(draft::step));
    }
    history.push(draft::step(&step));
    draft::put_run_config(&mut unknown, &run);
    let author = if request.author.is_empty() { &parsed.author } else { &request.author };
    let platform = [parsed.os.as_str(), &parsed.architecture, &parsed.variant];
    draft.document = draft::document(&created, author, platform, unknown, history);
    if request.format == Format::Docker && !request.message.is_empty() {
        draft.document.insert("comment".to_owned(), Value::from(request.message.as_str()));
    }
    let image = draft::commit(engine, draft)?;
    tell(engine, "commit", &record, &[("imageID", &image.id)]);
    Ok(image)
}

/// Reads its files, under its lock and, if it runs, frozen.
fn read(engine: &Engine, id: &str, request: &CommitRequest) -> Result<(StagedLayer, Applied)> {
    let locked = engine.state.lock(id)?;
    let Some(mut record) = settle(engine, &locked)? else { return Err(gone(id)) };
    let frozen = record.state.status == Status::Running
        && request.pause != Some(false)
        && freeze_for_this(engine, &locked, &mut record, request.pause == Some(true))?;
    crate::failpoint!("commit.frozen");
    let staged = engine.store.stage_changes(id, request.squash, &is_mark);
    if frozen {
        thaw(engine, &locked, &mut record)?;
    }
    staged
}

/// `false`: it cannot be frozen and need not.
fn freeze_for_this(engine: &Engine, locked: &Locked, record: &mut Record, must: bool) -> Result<bool> {
    record.state.frozen_by_commit = true;
    match freeze(engine, locked, record) {
        Ok(()) => Ok(true),
        Err(e) if !must && e.kind() == ErrorKind::Unsupported => {
            tracing::debug!("{e}; its files are read as they are");
            Ok(false)
        }
        Err(e) => Err(e),
    }
}

/// Whether a file only marks the place of one of the engine's own.
pub(super) fn is_mark(path: &[u8], node: &Node) -> bool {
    MARKS.contains(&path) && node.kind().is_file() && node.stat.st_size == 0
}

fn annotations(record: &Record, base: &ImageRecord) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::new();
    if let Some(digest) = &base.digest {
        annotations.insert("org.opencontainers.image.base.digest".to_owned(), digest.to_string());
    }
    let name = &record.state.head.image;
    if base.names.contains(name) {
        annotations.insert("org.opencontainers.image.base.name".to_owned(), name.clone());
    }
    annotations
}

fn raw_config(engine: &Engine, base: &ImageRecord) -> Result<Map<String, Value>> {
    let raw = image::raw_config(engine, base)?;
    let mut document: Value = serde_json::from_slice(&raw)
        .map_err(|e| Error::corrupt("parse the image's configuration").with_source(e))?;
    match document.get_mut("config").map(Value::take) {
        Some(Value::Object(config)) => Ok(config),
        _ => Ok(Map::new()),
    }
}

/// What the container was made with is what the image's containers get (docker's and podman's commit).
fn run_config(engine: &Engine, spec: &ContainerSpec, image: &ImageConfig, all_volumes: bool) -> RunConfig {
    let before = &image.config;
    let process = &spec.process;
    let some = |words: &[String]| Some(words.to_vec()).filter(|words| !words.is_empty());
    let mut ports: BTreeSet<String> =
        before.exposed_ports.iter().chain(&spec.exposed_ports).cloned().collect();
    for port in &spec.network.ports {
        let last = port.container_port.saturating_add(port.range.max(1) - 1);
        let named = |n: u16| format!("{n}/{}", port.protocol.as_str());
        ports.extend((port.container_port..=last).map(named));
    }
    let mut mounted: BTreeSet<String> = before.volumes.iter().cloned().collect();
    mounted.extend(spec.mounts.iter().filter_map(|mount| {
        let own = volumes::is_anonymous(mount);
        let all = all_volumes && matches!(mount.kind, MountKind::Volume | MountKind::Bind);
        (own || all).then(|| mount.target.clone())
    }));
    let default = |given: &str, default: &str, before: &str| {
        if given == default && before.is_empty() { String::new() } else { given.to_owned() }
    };
    RunConfig {
        user: process.user.clone(),
        exposed_ports: ports.into_iter().collect(),
        env: own_env(engine, &process.env, &before.env),
        entrypoint: process.entrypoint.as_deref().and_then(some),
        cmd: some(&process.command),
        volumes: mounted.into_iter().collect(),
        working_dir: default(&process.workdir, "/", &before.working_dir),
        labels: spec.labels.clone(),
        stop_signal: default(&spec.stop_signal, "SIGTERM", &before.stop_signal),
        stop_timeout: before.stop_timeout,
        healthcheck: spec
            .healthcheck
            .as_ref()
            .and_then(|check| serde_json::to_value(check).and_then(serde_json::from_value).ok()),
        shell: before.shell.clone(),
        // They were for images built from it; a commit is none.
        on_build: Vec::new(),
    }
}

/// Proxies of this host that were passed on, perhaps with a password in them, are none of the image's business.
fn own_env(engine: &Engine, env: &[String], before: &[String]) -> Vec<String> {
    let passed_on = |entry: &String| {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        name.to_lowercase().ends_with("_proxy")
            && !before.contains(entry)
            && engine.config.env.var(name) == Some(value)
    };
    env.iter().filter(|entry| !passed_on(entry)).cloned().collect()
}

/// podman's `--config` (buildah `OverrideOCI`): fields that are there replace or extend the image's.
fn merge(run: &mut RunConfig, unknown: &mut Map<String, Value>, config: &Map<String, Value>) -> Result<()> {
    let over: RunConfig = serde_json::from_value(Value::Object(config.clone()))
        .map_err(|e| Error::invalid("--config is no configuration of a container").with_source(e))?;
    let text = |to: &mut String, from: String| {
        if !from.is_empty() {
            *to = from;
        }
    };
    text(&mut run.user, over.user);
    text(&mut run.working_dir, over.working_dir);
    text(&mut run.stop_signal, over.stop_signal);
    run.exposed_ports.extend(over.exposed_ports);
    run.volumes.extend(over.volumes);
    run.labels.extend(over.labels);
    for list in [&mut run.exposed_ports, &mut run.volumes] {
        list.sort();
        list.dedup();
    }
    for entry in over.env {
        let name = entry.split('=').next().unwrap_or_default().to_owned();
        match run.env.iter_mut().find(|e| e.split('=').next() == Some(&name)) {
            Some(there) => *there = entry,
            None => run.env.push(entry),
        }
    }
    let some = |words: &Option<Vec<String>>| words.as_ref().is_some_and(|words| !words.is_empty());
    if some(&over.entrypoint) || some(&over.cmd) {
        (run.entrypoint, run.cmd) = (over.entrypoint, over.cmd);
    }
    run.healthcheck = over.healthcheck.or(run.healthcheck.take());
    run.shell = over.shell.or(run.shell.take());
    run.on_build.extend(over.on_build);
    for (key, value) in config {
        unknown.insert(key.clone(), value.clone());
    }
    Ok(())
}
