//! A client and a host with an engine, each a network namespace, for tests below the command line: with what asks and answers in them.

use coracle::engine::host::{netns, process};
use coracle::engine::spec::Protocol;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

pub const TIMEOUT: Duration = Duration::from_secs(5);

/// A client and a host on one link, `10.77.0.2` and `10.77.0.1`, `fd77::2` and `fd77::1`. The client is the host's router,
/// too, as `10.77.0.254` and `fd77::fe`; behind it, in the world, are `198.51.100.7` and `2001:db8:7::7`. The host resolves names at 127.0.0.53.
pub struct Lab {
    pub dir: tempfile::TempDir,
    pub client: PathBuf,
    pub host: PathBuf,
}

impl Lab {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [client, host] = ["client", "host"].map(|name| dir.path().join(name));
        for path in [&client, &host] {
            netns::create(path).unwrap();
            ip(path, "link set lo up");
            within(path, || std::fs::write("/proc/sys/net/ipv6/conf/default/accept_dad", "0").unwrap());
        }
        within(&client, || command("ip link add c0 type veth peer name h0"));
        ip(&client, &format!("link set h0 netns {}", host.display()));
        for (path, addresses, interface) in [
            (
                &client,
                &[
                    "10.77.0.2/24",
                    "fd77::2/64",
                    "10.77.0.254/24",
                    "fd77::fe/64",
                    "198.51.100.7/32",
                    "2001:db8:7::7/128",
                ][..],
                "c0",
            ),
            (&host, &["10.77.0.1/24", "fd77::1/64"], "h0"),
        ] {
            addresses.iter().for_each(|address| {
                ip(
                    path,
                    &format!(
                        "addr add {address} dev {interface}{}",
                        if address.contains("::fe") { " preferred_lft 0" } else { "" }
                    ),
                )
            });
            ip(path, &format!("link set {interface} up"));
        }
        ip(&host, "route add default via 10.77.0.254");
        ip(&host, "-6 route add default via fd77::fe");
        std::fs::write(dir.path().join("resolv.conf"), "nameserver 127.0.0.53\n").unwrap();
        Self { dir, client, host }
    }

    /// Runs a test on the host.
    pub fn on_host(&self, test: impl FnOnce() + Send) {
        let resolv = self.dir.path().join("resolv.conf");
        let run = netns::within_covered(&self.host, &resolv, Path::new("/etc/resolv.conf"), None, || {
            test();
            Ok(())
        });
        run.unwrap();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for path in [&self.client, &self.host] {
            netns::remove(path).unwrap();
        }
    }
}

pub fn within<T: Send>(namespace: &Path, act: impl FnOnce() -> T + Send) -> T {
    netns::within(namespace, || Ok(act())).unwrap()
}

pub fn ip(namespace: &Path, arguments: &str) {
    within(namespace, || command(&format!("ip {arguments}")));
}

pub fn command(line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Answers every connection and datagram on a port with the peer's address.
pub struct Echo {
    tcp: Arc<TcpListener>,
    udp: Arc<UdpSocket>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Echo {
    pub fn new(namespace: &Path, address: &str) -> Self {
        let (tcp, udp) = within(namespace, || {
            (Arc::new(TcpListener::bind(address).unwrap()), Arc::new(UdpSocket::bind(address).unwrap()))
        });
        let (listener, socket) = (tcp.clone(), udp.clone());
        let serve_tcp = std::thread::spawn(move || {
            while let Ok((mut stream, peer)) = listener.accept() {
                // The client speaks first: Debian 12's pasta tells the container of a connection no sooner.
                let _ = stream.set_read_timeout(Some(TIMEOUT));
                let _ = stream.read_exact(&mut [0]);
                let _ = stream.write_all(peer.ip().to_canonical().to_string().as_bytes());
            }
        });
        let serve_udp = std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((n, peer)) = socket.recv_from(&mut buffer) {
                if n == 0 {
                    break;
                }
                let _ = socket.send_to(peer.ip().to_canonical().to_string().as_bytes(), peer);
            }
        });
        Self { tcp, udp, threads: vec![serve_tcp, serve_udp] }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = rustix::net::shutdown(&*self.tcp, rustix::net::Shutdown::Both);
        // The socket is where it was made, so it reaches itself.
        let mut address = self.udp.local_addr().unwrap();
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv6Addr::LOCALHOST.into());
        }
        self.udp.send_to(&[], address).unwrap();
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// What an [`Echo`] says to a connection from `namespace`, from the address `from` if given.
pub fn ask(namespace: &Path, protocol: Protocol, from: &str, to: &str) -> Result<String, std::io::Error> {
    let asked = try_ask(namespace, protocol, from, to);
    if let Err(e) = &asked {
        println!("{protocol:?} from {} {from} to {to}: {e}", namespace.display());
    }
    asked
}

fn try_ask(namespace: &Path, protocol: Protocol, from: &str, to: &str) -> Result<String, std::io::Error> {
    let to: SocketAddr = to.parse().unwrap();
    within(namespace, || {
        let mut text = String::new();
        if protocol == Protocol::Tcp {
            let mut stream =
                if from.is_empty() { TcpStream::connect_timeout(&to, TIMEOUT)? } else { bound(from, to)? };
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.write_all(b"?")?;
            stream.read_to_string(&mut text)?;
            return Ok(text);
        }
        let any = if to.is_ipv4() { "0.0.0.0" } else { "::" };
        let from: IpAddr = if from.is_empty() { any } else { from }.parse().unwrap();
        let socket = UdpSocket::bind(SocketAddr::new(from, 0))?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.connect(to)?;
        socket.send(b"who am I?")?;
        let mut buffer = [0; 64];
        let n = socket.recv(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..n]).into_owned())
    })
}

/// A connection from a chosen address.
fn bound(from: &str, to: SocketAddr) -> Result<TcpStream, std::io::Error> {
    let family =
        if to.is_ipv4() { rustix::net::AddressFamily::INET } else { rustix::net::AddressFamily::INET6 };
    let socket = rustix::net::socket(family, rustix::net::SocketType::STREAM, None)?;
    rustix::net::bind(&socket, &SocketAddr::new(from.parse().unwrap(), 0))?;
    rustix::net::connect(&socket, &to)?;
    Ok(socket.into())
}

/// Kills the process of a pidfile and waits for its end.
pub fn kill(pidfile: &Path) {
    let text = std::fs::read_to_string(pidfile).unwrap();
    let mut words = text.split_whitespace();
    let pid: u32 = words.next().unwrap().parse().unwrap();
    let fd = process::PidFd::open(pid, words.next().unwrap().parse().unwrap()).unwrap().unwrap();
    fd.signal(9).unwrap();
    assert!(fd.wait(Some(TIMEOUT)).unwrap());
}

pub const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];
