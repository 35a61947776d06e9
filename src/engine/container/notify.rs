//! `--sdnotify`: telling the service manager that started us that the container is ready (sd_notify(3)).
//!
//! With `container`, the default, conmon passes the container's own words on; with `conmon` the container is ready as soon as
//! it runs, with `healthy` when a check has first found it so, which the process that checks it tells. In each case conmon is
//! made the service's main process. With `ignore` nobody is told anything.

use crate::engine::conmon::RunDir;
use crate::engine::oci::Resolved;
use crate::engine::spec::ContainerSpec;
use crate::engine::{Engine, Error, Result};
use oci_spec::runtime::Mount;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

/// The variable with the service manager's socket.
pub(super) const VARIABLE: &str = "NOTIFY_SOCKET";

/// The service manager's socket, if this container concerns it. An abstract one begins with `@`.
fn socket<'e>(engine: &'e Engine, spec: &ContainerSpec) -> Option<&'e str> {
    engine.config.env.var(VARIABLE).filter(|_| spec.sdnotify != "ignore")
}

/// The socket that conmon passes the container's words on to.
pub(super) fn relayed(engine: &Engine, spec: &ContainerSpec) -> Option<PathBuf> {
    socket(engine, spec).filter(|_| matches!(spec.sdnotify.as_str(), "" | "container")).map(PathBuf::from)
}

/// Where conmon listens, in a directory that is mounted in the container (podman's place).
const DIRECTORY: &str = "/run/notify";

/// Makes the directory in which conmon is going to listen.
pub(super) fn make_relay(run_dir: &RunDir) -> Result<()> {
    let directory = run_dir.notify();
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o755).create(&directory).map_err(|e| Error::io("mkdir", &directory, e))
}

/// Shows it to the container.
pub(super) fn provide_relay(run_dir: &RunDir, resolved: &mut Resolved) {
    let mut mount = Mount::default();
    mount
        .set_destination(PathBuf::from(DIRECTORY))
        .set_typ(Some("bind".to_owned()))
        .set_source(Some(run_dir.notify()))
        .set_options(Some(["bind", "rprivate", "nosuid", "noexec", "nodev"].map(str::to_owned).to_vec()));
    resolved.extra_mounts.push(mount);
    resolved.env.push(format!("{VARIABLE}={DIRECTORY}/notify.sock"));
}

/// What the process that checks the container is given in its environment.
pub(super) fn awaiting_health<'e>(
    engine: &'e Engine,
    spec: &ContainerSpec,
) -> Option<(&'static str, &'e str)> {
    socket(engine, spec).filter(|_| spec.sdnotify == "healthy").map(|socket| (VARIABLE, socket))
}

/// Tells that the container runs, with its conmon.
pub(super) fn started(engine: &Engine, spec: &ContainerSpec, conmon: u32) {
    let Some(socket) = socket(engine, spec) else { return };
    let ready = if spec.sdnotify == "conmon" { "\nREADY=1" } else { "" };
    told(send(socket, &format!("MAINPID={conmon}{ready}")));
}

/// Tells that the container is healthy.
pub(super) fn healthy(engine: &Engine, spec: &ContainerSpec) {
    if let Some((_, socket)) = awaiting_health(engine, spec) {
        told(send(socket, "READY=1"));
    }
}

/// The container runs, whatever becomes of the message.
fn told(sent: Result<()>) {
    if let Err(e) = sent {
        tracing::warn!("{e}");
    }
}

fn send(socket: &str, text: &str) -> Result<()> {
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(Path::new(socket)),
    };
    address
        .and_then(|address| UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address))
        .map(drop)
        .map_err(|e| Error::io("notify the service manager at", socket, e))
}
