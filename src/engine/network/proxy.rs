//! The process that keeps a container's published ports, and passes on what no firewall rule redirects: IPv6 connections to a
//! container without IPv6, and everything where there is no firewall. It belongs to one container and ends with it.
//!
//! [`start`] hands it the sockets of [`super::ports::hold`] as descriptors from 3 on. Where to is read from a file for every
//! new connection, since a running container may change networks:
//!
//! ```text
//! <run dir>/port-proxy           PID and start time; empty while it is being started
//! <run dir>/port-proxy.targets   the container's addresses, one a line
//! ```

use super::pidfile;
use super::ports::Held;
use crate::engine::Result;
use crate::engine::config::Config;
use crate::engine::host::atomic::{self, Durability};
use crate::engine::host::process::PidFd;
use crate::engine::host::spawn::{Spawn, inherited};
use crate::engine::spec::Protocol;
use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;

/// `argv[0]` of the process; the program's `main` hands over to [`serve`] when it sees it.
pub const NAME: &str = "coracle-port-proxy";

const FILE: &str = "port-proxy";
const TARGETS: &str = "port-proxy.targets";

/// How long a UDP client may be silent before its answers' way back is forgotten (docker-proxy's `UDPConnTrackTimeout`).
const UDP_SILENCE: Duration = Duration::from_secs(90);
/// UDP clients remembered for one port; further ones wait until one is forgotten.
const UDP_CLIENTS: usize = 1024;
/// The largest UDP payload.
const UDP_PAYLOAD: usize = 65_507;

/// Starts it: `held` are its ports, `targets` the container's addresses.
pub fn start(config: &Config, run_dir: &Path, held: &[Held], targets: &[IpAddr]) -> Result<()> {
    if held.is_empty() {
        return Ok(());
    }
    retarget(run_dir, targets)?;
    let pidfile = run_dir.join(FILE);
    pidfile::announce(&pidfile)?;
    let mut spawn =
        Spawn::new(&config.env.program).name(NAME).arg(&pidfile).new_session().directory(Path::new("/"));
    for (number, port) in (3..).zip(held) {
        let target = format!("{}:{}", port.protocol.as_str(), port.container_port);
        spawn = spawn.arg(target).fd(port.socket.as_fd(), number);
    }
    let pid = spawn.spawn()?.pid();
    crate::failpoint!("network.after-proxy");
    pidfile::record(&pidfile, pid)?;
    super::session::leave(config, "network", pid);
    Ok(())
}

/// Has it connect to these addresses from now on.
pub fn retarget(run_dir: &Path, targets: &[IpAddr]) -> Result<()> {
    let text: String = targets.iter().map(|t| format!("{t}\n")).collect();
    atomic::write(&run_dir.join(TARGETS), text.as_bytes(), 0o600, Durability::None)
}

/// Ends it, if it runs.
pub fn stop(run_dir: &Path) -> Result<()> {
    let path = run_dir.join(FILE);
    if let Some((pid, start)) = pidfile::find(&path)
        && let Some(fd) = PidFd::open(pid, start)?
        && fd.signal(libc::SIGKILL)?
    {
        // The ports are free when this returns.
        fd.wait(Some(Duration::from_secs(5)))?;
    }
    for path in [run_dir.join(TARGETS), path] {
        let _ = fs::remove_file(path);
    }
    Ok(())
}

/// What the process does, until it is killed. `arguments`: the pidfile, then `PROTOCOL:PORT` for each descriptor from 3 on.
/// Returns only when it cannot work.
pub fn serve(mut arguments: impl Iterator<Item = std::ffi::OsString>) {
    let Some(pidfile) = arguments.next().map(PathBuf::from) else { return };
    let targets: Arc<Path> = pidfile.with_file_name(TARGETS).into();
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for (number, argument) in (3..).zip(arguments) {
            let text = argument.to_string_lossy().into_owned();
            let Some((protocol, port)) = text.split_once(':') else { continue };
            let (Ok(port), Some(socket)) = (port.parse::<u16>(), take(number)) else { continue };
            let targets = targets.clone();
            match Protocol::parse(protocol) {
                Some(Protocol::Tcp) => drop(tasks.spawn(tcp(socket, port, targets))),
                Some(Protocol::Udp) => drop(tasks.spawn(udp(socket, port, targets))),
                _ => {}
            }
        }
        while tasks.join_next().await.is_some() {}
    });
}

/// The descriptor by its number; the copy that remains is this process's to keep.
fn take(number: i32) -> Option<OwnedFd> {
    inherited(number)
}

/// The address of the listener's own family, else any.
fn target(targets: &Path, listener: SocketAddr, port: u16) -> Option<SocketAddr> {
    let text = fs::read_to_string(targets).ok()?;
    let mut addresses = text.lines().filter_map(|line| line.parse::<IpAddr>().ok());
    let first = addresses.clone().next()?;
    let same = addresses.find(|a| a.is_ipv4() == listener.is_ipv4());
    Some(SocketAddr::new(same.unwrap_or(first), port))
}

async fn tcp(socket: OwnedFd, port: u16, targets: Arc<Path>) {
    let Ok(listener) = TcpListener::from_std(socket.into()) else { return };
    let Ok(own) = listener.local_addr() else { return };
    loop {
        let Ok((mut client, _)) = listener.accept().await else {
            // Out of descriptors, most likely: others have to end first.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Some(target) = target(&targets, own, port) else { continue };
        tokio::spawn(async move {
            if let Ok(mut server) = TcpStream::connect(target).await {
                let _ = client.set_nodelay(true);
                let _ = server.set_nodelay(true);
                // A connection that breaks is the clients' matter.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}

async fn udp(socket: OwnedFd, port: u16, targets: Arc<Path>) {
    let Ok(socket) = UdpSocket::from_std(socket.into()) else { return };
    let Ok(own) = socket.local_addr() else { return };
    let socket = Arc::new(socket);
    let mut sessions: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>> = HashMap::new();
    let mut buffer = vec![0; UDP_PAYLOAD];
    loop {
        // An error is that of an earlier answer (ICMP), not of this socket.
        let Ok((size, client)) = socket.recv_from(&mut buffer).await else { continue };
        let mut message = buffer[..size].to_vec();
        if let Some(session) = sessions.get(&client) {
            match session.try_send(message) {
                Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => continue,
                Err(mpsc::error::TrySendError::Closed(unsent)) => message = unsent,
            }
        }
        if sessions.len() >= UDP_CLIENTS {
            sessions.retain(|_, session| !session.is_closed());
        }
        if sessions.len() >= UDP_CLIENTS {
            continue;
        }
        let Some(target) = target(&targets, own, port) else { continue };
        let (sender, receiver) = mpsc::channel(64);
        let _ = sender.try_send(message);
        sessions.insert(client, sender);
        tokio::spawn(udp_session(socket.clone(), client, target, receiver));
    }
}

/// One client's datagrams to the container and back, until both are silent.
async fn udp_session(
    socket: Arc<UdpSocket>,
    client: SocketAddr,
    target: SocketAddr,
    mut from_client: mpsc::Receiver<Vec<u8>>,
) {
    let any: SocketAddr = if target.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let Ok(server) = UdpSocket::bind(any).await else { return };
    if server.connect(target).await.is_err() {
        return;
    }
    let mut buffer = vec![0; UDP_PAYLOAD];
    loop {
        tokio::select! {
            message = from_client.recv() => match message {
                Some(message) => drop(server.send(&message).await),
                None => return,
            },
            answer = server.recv(&mut buffer) => if let Ok(size) = answer {
                let _ = socket.send_to(&buffer[..size], client).await;
            },
            () = tokio::time::sleep(UDP_SILENCE) => return,
        }
    }
}
