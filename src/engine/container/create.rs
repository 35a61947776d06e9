//! `create`: from a request to a container that can be started.
//!
//! Directory, lock, spec, name, volumes, the store's container, state: in this order, each step leaving something the next
//! command knows how to remove until the last one makes the container exist.

use super::told::tell_of;
use super::{cdi, defaults, facts, health, names, namespaces, network, remove, secrets, sources, volumes};
use crate::engine::host::quota::Limits;
use crate::engine::host::random;
use crate::engine::image;
use crate::engine::oci;
use crate::engine::spec::{
    ContainerSpec, HostFacts, IdMappings, ImageConfig, MountKind, NetworkState, layer_limits,
};
use crate::engine::state::{ContainerState, Head, Locked};
use crate::engine::store::NewContainer;
use crate::engine::{Context, Engine, Error, ErrorKind, Result};

/// A container to make. The image in the spec has been found: its `id` and `name` are filled in.
#[derive(Clone, Debug, Default)]
pub struct CreateRequest {
    /// What is asked for.
    pub spec: ContainerSpec,
    /// `--replace`: a container of that name is removed first.
    pub replace: bool,
    /// It is started right away, so ports that are taken are told before anything is made.
    pub starts: bool,
    /// Its ID, of a container that comes from elsewhere; `None`: a new one.
    pub id: Option<String>,
    /// Files and processes are still to be restored from a checkpoint, without which it is not to be started.
    pub unrestored: bool,
}

/// Makes a container and returns its ID.
///
/// # Errors
/// [`ErrorKind::Conflict`] when the name is taken; whatever of the request is invalid.
pub fn create(engine: &Engine, request: CreateRequest) -> Result<String> {
    let CreateRequest { mut spec, replace, starts, id, unrestored } = request;
    // What a killed command left keeps images and names in use.
    if let Err(e) = remove::repair(engine) {
        tracing::debug!("repair: {e}");
    }
    absolutize(engine, &mut spec);
    health::settle_destination(engine, &mut spec)?;
    // A source that is not there is told before anything is made.
    volumes::inherit(engine, &mut spec)?;
    sources::settle(engine, &mut spec)?;
    cdi::edits(engine, &spec)?;
    let host = facts::host_facts(engine, &spec);
    let config = match &spec.image.rootfs {
        Some(_) => None,
        None => Some(image_config(engine, &spec.image.id)?),
    };
    let defaults = defaults::defaults(&engine.config)?;
    oci::complete(&mut spec, config.as_ref(), &defaults, &host)?;
    facts::apparmor(engine, &spec, &host)?;
    facts::rdt(engine, &spec)?;
    namespaces::resolve(engine, &mut spec)?;
    network::resolve(engine, &mut spec)?;
    secrets::resolve(engine, &mut spec)?;
    namespaces::settle_user(engine, &mut spec, &host)?;
    if replace && !spec.name.is_empty() {
        replace_old(engine, &spec.name)?;
    }
    if starts {
        network::check_ports(engine, &spec)?;
    }
    volumes::name_anonymous(&mut spec)?;
    let created = jiff::Timestamp::now();
    let locked = claim(engine, &mut spec, id, created, defaults.name_as_hostname)?;
    let id = locked.id().to_owned();
    match build(engine, &locked, &spec, (created, unrestored), &host) {
        Ok(()) => {
            if let Some(syncer) = locked.syncer() {
                syncer.run()?;
            }
            tell_of(engine, "create", &id, &Head::of(&spec), &[]);
            Ok(id)
        }
        Err(error) => {
            // The first failure is the one to tell.
            if let Err(e) = remove::finish(engine, locked) {
                tracing::debug!("undo the creation of {id}: {e}");
            }
            Err(error)
        }
    }
}

/// What containers get from an image.
fn image_config(engine: &Engine, id: &str) -> Result<ImageConfig> {
    #[derive(serde::Deserialize)]
    struct Document {
        config: Option<ImageConfig>,
    }
    let raw = image::raw_config(engine, &engine.store.image(id)?)?;
    let document: Document = serde_json::from_slice(&raw)
        .map_err(|e| Error::corrupt(format!("the configuration of image {id}")).with_source(e))?;
    Ok(document.config.unwrap_or_default())
}

/// The spec outlives the caller's working directory.
fn absolutize(engine: &Engine, spec: &mut ContainerSpec) {
    let cwd = &engine.config.env.cwd;
    let absolute = |path: &mut String| *path = cwd.join(&*path).to_string_lossy().into_owned();
    for mount in spec.mounts.iter_mut().filter(|m| matches!(m.kind, MountKind::Bind | MountKind::Glob)) {
        absolute(&mut mount.source);
    }
    let paths = [&mut spec.image.rootfs, &mut spec.pidfile, &mut spec.conmon_pidfile, &mut spec.log.path];
    paths.into_iter().flatten().for_each(absolute);
}

fn replace_old(engine: &Engine, name: &str) -> Result<()> {
    let id = match engine.state.name_holder(name) {
        Some(id) => id,
        None => return Ok(()),
    };
    let options = remove::RemoveOptions { force: true, ..Default::default() };
    match remove::remove(engine, &id, &options) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map(drop).with_context(|| format!("replace container {name}")),
    }
}

/// Takes an ID and the name, or the first generated name that is free. The name may be the host name inside, too.
fn claim(
    engine: &Engine,
    spec: &mut ContainerSpec,
    id: Option<String>,
    created: jiff::Timestamp,
    name_as_hostname: bool,
) -> Result<Locked> {
    if let Some(id) = id.as_deref().filter(|id| engine.state.exists(id)) {
        let text = format!("the container ID {id} is already in use");
        return Err(Error::new(ErrorKind::Conflict, text));
    }
    let named = !spec.name.is_empty();
    let name_as_hostname = name_as_hostname && spec.hostname.is_empty() && oci::has_own_hostname(spec);
    for attempt in 0..100 {
        if !named {
            spec.name = names::generate(attempt)?;
        }
        if name_as_hostname {
            spec.hostname = oci::files::hostname_of(&spec.name);
        }
        let id = id.clone().map_or_else(random::id, Ok)?;
        match engine.state.claim(&id, spec, created) {
            Err(e) if e.kind() == ErrorKind::Conflict && !named => {}
            Err(e) if e.kind() == ErrorKind::Conflict && attempt == 0 => {
                finish_interrupted(engine, &spec.name, e)?
            }
            other => return other,
        }
    }
    Err(Error::new(ErrorKind::Conflict, "no free name was found"))
}

/// The holder of the name may be the rest of an interrupted create or remove: then it goes, and the claim is repeated.
fn finish_interrupted(engine: &Engine, name: &str, conflict: Error) -> Result<()> {
    let Some(id) = engine.state.name_holder(name) else { return Ok(()) };
    let Some(locked) = engine.state.try_lock(&id)? else { return Err(conflict) };
    match locked.read()? {
        Some(record) if record.name() != name => {
            drop(locked);
            if engine.state.release_stale(name)? { Ok(()) } else { Err(conflict) }
        }
        Some(_) => Err(conflict),
        None => remove::finish(engine, locked),
    }
}

fn build(
    engine: &Engine,
    locked: &Locked,
    spec: &ContainerSpec,
    (created, unrestored): (jiff::Timestamp, bool),
    host: &HostFacts,
) -> Result<()> {
    let volumes = volumes::make(engine, locked.id(), spec)?;
    crate::failpoint!("create.after-volumes");
    secrets::copy(engine, locked, spec)?;
    for owner in namespaces::needed(spec) {
        remove::note_user(&engine.state.lock(&owner)?, locked.id())?;
    }
    crate::failpoint!("create.before-images");
    image::mounted::check(engine, spec)?;
    let mut layer = String::new();
    if spec.image.rootfs.is_none() {
        let maps = namespaces::id_maps(engine, spec, host)?.unwrap_or_default();
        let (bytes, inodes) = layer_limits(&spec.storage_options)?;
        let made = engine.store.create_container(NewContainer {
            limits: Limits { bytes, inodes },
            id: locked.id().to_owned(),
            names: vec![spec.name.clone()],
            image: Some(spec.image.id.clone()),
            metadata: store_metadata(&spec.image.name, &spec.image.id, &spec.name, created),
            volatile: spec.remove,
            id_maps: IdMappings { uids: maps.uids, gids: maps.gids },
            ..NewContainer::default()
        })?;
        layer = made.layer;
    }
    crate::failpoint!("create.after-store");
    let network = NetworkState { attachments: spec.network.attachments.clone(), ..NetworkState::default() };
    locked.publish(&ContainerState {
        head: Head::of(spec),
        created,
        layer,
        network,
        unrestored,
        ..ContainerState::default()
    })?;
    drop(volumes);
    crate::failpoint!("create.after-state");
    Ok(())
}

/// What the store keeps of a container of ours beside what it needs itself: podman's fields, and whose it is.
pub fn store_metadata(image_name: &str, image_id: &str, name: &str, created: jiff::Timestamp) -> String {
    serde_json::json!({
        "image-name": image_name,
        "image-id": image_id,
        "name": name,
        "created-at": created.as_second(),
        remove::OWNER_KEY: remove::OWNER,
    })
    .to_string()
}
