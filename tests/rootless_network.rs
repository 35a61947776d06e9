//! User-mode networking with real packets: a client and a host, each a network namespace, and containers behind pasta.
//!
//! `CORACLE_TEST_PASTA` names a directory with another pasta than the installed one.

use crate::network::{get, serve};
use crate::support::{self, Lan, Missing, Sandbox, require};
use coracle::engine::Result;
use coracle::engine::config::Config;
use coracle::engine::host::{netns, process};
use coracle::engine::network::rootless::Shared;
use coracle::engine::network::{UserMode, forward, pasta, slirp4netns, user_mode};
use coracle::engine::spec::{PortMapping, Protocol};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);

/// A client and a host on one link, `10.77.0.2` and `10.77.0.1`, `fd77::2` and `fd77::1`. The client is the host's router,
/// too, as `10.77.0.254` and `fd77::fe`; behind it, in the world, are `198.51.100.7` and `2001:db8:7::7`. The host resolves names at 127.0.0.53.
struct Lab {
    dir: tempfile::TempDir,
    client: PathBuf,
    host: PathBuf,
}

impl Lab {
    fn new() -> Self {
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
    fn on_host(&self, test: impl FnOnce() + Send) {
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

fn within<T: Send>(namespace: &Path, act: impl FnOnce() -> T + Send) -> T {
    netns::within(namespace, || Ok(act())).unwrap()
}

fn ip(namespace: &Path, arguments: &str) {
    within(namespace, || command(&format!("ip {arguments}")));
}

fn command(line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Answers every connection and datagram on a port with the peer's address.
struct Echo {
    tcp: Arc<TcpListener>,
    udp: Arc<UdpSocket>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Echo {
    fn new(namespace: &Path, address: &str) -> Self {
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
fn ask(namespace: &Path, protocol: Protocol, from: &str, to: &str) -> Result<String, std::io::Error> {
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

fn config() -> Config {
    let mut config = Config::default();
    if let Some(path) = std::env::var_os("CORACLE_TEST_PASTA") {
        config.env.vars.insert("PATH".to_owned(), path.into_string().unwrap());
    }
    config
}

fn port(host_port: u16, container_port: u16, protocol: Protocol) -> PortMapping {
    PortMapping { host_port, container_port, range: 1, protocol, ..PortMapping::default() }
}

/// Whether pasta is of the newer generation.
fn recent(config: &Config) -> bool {
    let program = process::find_program("pasta", &config.env.path()).unwrap();
    String::from_utf8_lossy(&std::fs::read(program).unwrap()).contains("map-guest-addr")
}

const BOTH: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

/// The host's resolver: answers every query with its first twelve bytes, marked as an answer.
fn resolver(host: &Path) -> UdpSocket {
    let socket = within(host, || UdpSocket::bind("127.0.0.53:53").unwrap());
    let server = socket.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((n @ 12.., peer)) = server.recv_from(&mut buffer) {
            buffer[2] |= 0x80;
            let _ = server.send_to(&buffer[..n], peer);
        }
    });
    socket
}

fn resolves(namespace: &Path, found: &UserMode) {
    let query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04test\x00\x00\x01\x00\x01";
    let answer = within(namespace, || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(TIMEOUT)).unwrap();
        socket.connect((found.name_servers[0], 53)).unwrap();
        socket.send(query).unwrap();
        let mut buffer = [0; 512];
        let n = socket.recv(&mut buffer).unwrap();
        buffer[..n].to_vec()
    });
    assert_eq!(answer[..3], [0x12, 0x34, 0x81]);
}

#[test]
fn pasta_gives_a_namespace_the_hosts_network_and_its_ports() {
    require!(support::root());
    let lab = Lab::new();
    lab.on_host(|| {
        let container = lab.dir.path().join("container");
        netns::create(&container).unwrap();
        let pidfile = lab.dir.path().join("pasta.pid");
        let ports = BOTH.map(|p| port(8080, 80, p));
        let config = config();
        let request = user_mode::Request {
            config: &config,
            netns: &container,
            ports: &ports,
            options: &[],
            pidfile: &pidfile,
        };
        let found = pasta::start(&request).unwrap();
        assert!(user_mode::running(&pidfile));
        assert_eq!(found.gateways.len(), 2, "{found:?}");
        let _world = Echo::new(&lab.client, "[::]:7000");
        let _host = Echo::new(&lab.host, "10.77.0.1:7001");
        let _inside = Echo::new(&container, "[::]:80");
        for protocol in BOTH {
            for (from, to) in [
                ("10.77.0.2", "10.77.0.1:8080"),
                ("198.51.100.7", "10.77.0.1:8080"),
                ("fd77::2", "[fd77::1]:8080"),
                ("2001:db8:7::7", "[fd77::1]:8080"),
            ] {
                assert_eq!(ask(&lab.client, protocol, from, to).unwrap(), from, "{protocol:?} {to}");
            }
            ask(&lab.host, protocol, "", "10.77.0.1:8080").unwrap();
            // Debian 12's pasta loses datagrams from the loopback to a port of another number.
            for to in ["127.0.0.1:8080", "[::1]:8080"]
                .iter()
                .filter(|_| protocol == Protocol::Tcp || recent(&config))
            {
                ask(&lab.host, protocol, "", to).unwrap();
            }
            assert_eq!(ask(&container, protocol, "", "10.77.0.2:7000").unwrap(), "10.77.0.1");
            assert_eq!(ask(&container, protocol, "", "[fd77::2]:7000").unwrap(), "fd77::1");
            let host = SocketAddr::new(found.host_address.unwrap(), 7001).to_string();
            ask(&container, protocol, "", &host).unwrap();
        }
        let _resolver = resolver(&lab.host);
        resolves(&container, &found);

        // The port is taken now; whoever wants it, too, is told so.
        let other = lab.dir.path().join("other");
        netns::create(&other).unwrap();
        let second = lab.dir.path().join("second.pid");
        let error =
            pasta::start(&user_mode::Request { netns: &other, pidfile: &second, ..request }).unwrap_err();
        assert_eq!(error.to_string(), "cannot listen on 0.0.0.0:8080/tcp: address already in use");
        assert!(!second.exists());
        user_mode::stop(&pidfile).unwrap();
        assert!(!user_mode::running(&pidfile) && !pidfile.exists());
        assert!(ask(&lab.client, Protocol::Tcp, "", "10.77.0.1:8080").is_err());
        for namespace in [container, other] {
            netns::remove(&namespace).unwrap();
        }
    });
}

#[test]
fn slirp4netns_gives_a_namespace_the_world_and_ipv4_ports() {
    require!(support::root());
    let lab = Lab::new();
    lab.on_host(|| {
        let container = lab.dir.path().join("container");
        netns::create(&container).unwrap();
        let pidfile = lab.dir.path().join("slirp4netns.pid");
        let ports = BOTH.map(|p| port(8080, 80, p));
        let config = config();
        let request = user_mode::Request {
            config: &config,
            netns: &container,
            ports: &ports,
            options: &["cidr=10.5.0.0/24".to_owned()],
            pidfile: &pidfile,
        };
        let found = slirp4netns::start(&request).unwrap();
        assert_eq!(found.interface, "tap0");
        // IPv6 is told by router advertisements, which may come later.
        assert_eq!(found.addresses[0], "10.5.0.100/24".parse().unwrap());
        assert_eq!(found.gateways[0], "10.5.0.2".parse::<IpAddr>().unwrap());
        let _world = Echo::new(&lab.client, "[::]:7000");
        let _host = [Echo::new(&lab.host, "10.77.0.1:7001"), Echo::new(&lab.host, "127.0.0.1:7001")];
        let _inside = Echo::new(&container, "[::]:80");
        let host = SocketAddr::new(found.host_address.unwrap(), 7001).to_string();
        for protocol in BOTH {
            for from in ["10.77.0.2", "198.51.100.7"] {
                assert_eq!(ask(&lab.client, protocol, from, "10.77.0.1:8080").unwrap(), from);
            }
            assert_eq!(ask(&container, protocol, "", "10.77.0.2:7000").unwrap(), "10.77.0.1");
            assert_eq!(ask(&container, protocol, "", &host).unwrap(), "10.77.0.1");
        }
        assert_eq!(ask(&lab.host, Protocol::Tcp, "", "127.0.0.1:8080").unwrap(), "10.5.0.2");
        assert!(
            ask(&container, Protocol::Tcp, "", "10.5.0.2:7001").is_err(),
            "the host's loopback is its own"
        );
        let _resolver = resolver(&lab.host);
        resolves(&container, &found);

        let other = lab.dir.path().join("other");
        netns::create(&other).unwrap();
        let second = lab.dir.path().join("second.pid");
        let error = slirp4netns::start(&user_mode::Request { netns: &other, pidfile: &second, ..request })
            .unwrap_err();
        assert_eq!(error.to_string(), "cannot listen on 0.0.0.0:8080/tcp: address already in use");
        assert!(!second.exists());
        user_mode::stop(&pidfile).unwrap();
        assert!(!user_mode::running(&pidfile) && !pidfile.exists());
        let options = ["allow_host_loopback=true".to_owned()];
        let open = user_mode::Request { netns: &other, ports: &[], options: &options, ..request };
        let found = slirp4netns::start(&open).unwrap();
        let host = SocketAddr::new(found.host_address.unwrap(), 7001).to_string();
        assert_eq!(ask(&other, Protocol::Tcp, "", &host).unwrap(), "127.0.0.1");
        user_mode::stop(&pidfile).unwrap();
        for namespace in [container, other] {
            netns::remove(&namespace).unwrap();
        }
    });
}

/// A container on a bridge in the shared namespace: what netavark makes, without it.
fn container_on_bridge(lab: &Lab, shared: &Shared, n: u8) -> PathBuf {
    let path = lab.dir.path().join(format!("container{n}"));
    netns::create(&path).unwrap();
    let space = shared.path();
    if n == 2 {
        within(&space, || command("ip link add br0 type bridge"));
        for line in ["addr add 10.89.0.1/24 dev br0", "addr add fd89::1/64 dev br0", "link set br0 up"] {
            ip(&space, line);
        }
        for (program, subnet) in [("iptables", "10.89.0.0/24"), ("ip6tables", "fd89::/64")] {
            let rule = format!("{program} -t nat -A POSTROUTING -s {subnet} ! -d {subnet} -j MASQUERADE");
            within(&space, || command(&rule));
        }
    }
    ip(&space, &format!("link add v{n} type veth peer name e{n}"));
    ip(&space, &format!("link set v{n} master br0 up"));
    ip(&space, &format!("link set e{n} netns {}", path.display()));
    within(&path, || std::fs::write("/proc/sys/net/ipv6/conf/all/accept_dad", "0").unwrap());
    for line in [
        format!("addr add 10.89.0.{n}/24 dev e{n}"),
        format!("addr add fd89::{n}/64 dev e{n} nodad"),
        "link set lo up".to_owned(),
        format!("link set e{n} up"),
        "route add default via 10.89.0.1".to_owned(),
        "-6 route add default via fd89::1".to_owned(),
    ] {
        ip(&path, &line);
    }
    path
}

fn kill(pidfile: &Path) {
    let text = std::fs::read_to_string(pidfile).unwrap();
    let mut words = text.split_whitespace();
    let pid: u32 = words.next().unwrap().parse().unwrap();
    let fd = process::PidFd::open(pid, words.next().unwrap().parse().unwrap()).unwrap().unwrap();
    fd.signal(9).unwrap();
    assert!(fd.wait(Some(TIMEOUT)).unwrap());
}

/// Everybody's connections to the container 2's port 8080.
fn published_ports_work(lab: &Lab) {
    for protocol in BOTH {
        for (from, to) in [
            ("10.77.0.2", "10.77.0.1:8080"),
            ("198.51.100.7", "10.77.0.1:8080"),
            ("fd77::2", "[fd77::1]:8080"),
            ("2001:db8:7::7", "[fd77::1]:8080"),
        ] {
            assert_eq!(ask(&lab.client, protocol, from, to).unwrap(), from, "{protocol:?} {to}");
        }
        assert_eq!(ask(&lab.host, protocol, "", "10.77.0.1:8080").unwrap(), "10.77.0.1");
        assert_eq!(ask(&lab.host, protocol, "", "[fd77::1]:8080").unwrap(), "fd77::1");
        assert_eq!(ask(&lab.host, protocol, "", "127.0.0.1:8080").unwrap(), "10.89.0.1");
    }
    let seen = ask(&lab.host, Protocol::Tcp, "", "[::1]:8080").unwrap();
    assert!(seen.starts_with("fd"), "{seen}");
}

#[test]
fn bridges_in_the_shared_namespace_reach_the_world_and_publish_ports() {
    require!(support::root());
    let lab = Lab::new();
    lab.on_host(|| {
        let config = config();
        let directory = lab.dir.path().join("netns");
        let all = |_: &str| true;
        let shared = Shared::acquire(&config, &directory, "two", &all).unwrap();
        let two = container_on_bridge(&lab, &shared, 2);
        let three = container_on_bridge(&lab, &shared, 3);
        let _world = Echo::new(&lab.client, "[::]:7000");
        let _host = Echo::new(&lab.host, "10.77.0.1:7001");
        let _resolver = resolver(&lab.host);
        let ports = BOTH.map(|p| port(8080, 80, p));
        let addresses = |n: u8| [format!("10.89.0.{n}"), format!("fd89::{n}")].map(|a| a.parse().unwrap());
        forward::start(&config, &shared, "two", &addresses(2), &ports).unwrap();
        let outwards = |container: &Path| {
            for protocol in BOTH {
                assert_eq!(ask(container, protocol, "", "10.77.0.2:7000").unwrap(), "10.77.0.1");
                assert_eq!(ask(container, protocol, "", "[fd77::2]:7000").unwrap(), "fd77::1");
                let host = SocketAddr::new(shared.facts().host_address.unwrap(), 7001).to_string();
                ask(container, protocol, "", &host).unwrap();
            }
        };
        outwards(&two);
        // From the published port itself, which has a way of its own, and must still be reached afterwards.
        for (from, to) in [("10.89.0.2", "10.77.0.2:7000"), ("fd89::2", "[fd77::2]:7000")] {
            let stream = within(&two, || from_port_80(from, to.parse().unwrap()));
            assert!(stream.starts_with("10.77.0.1") || stream.starts_with("fd77::1"), "{stream}");
        }
        let _inside = [Echo::new(&two, "[::]:80"), Echo::new(&three, "[::]:80")];
        published_ports_work(&lab);
        resolves(&shared.path(), shared.facts());

        // A second container comes and goes while a connection to the first one stays open.
        let mut open = within(&lab.client, || TcpStream::connect("10.77.0.1:8080").unwrap());
        open.set_read_timeout(Some(TIMEOUT)).unwrap();
        Shared::acquire(&config, &directory, "three", &all).unwrap();
        let local =
            PortMapping { host_ip: Some("127.0.0.1".parse().unwrap()), ..port(8081, 80, Protocol::Tcp) };
        forward::start(&config, &shared, "three", &addresses(3), &[local]).unwrap();
        assert_eq!(ask(&lab.host, Protocol::Tcp, "", "127.0.0.1:8081").unwrap(), "10.89.0.1");
        assert!(ask(&lab.client, Protocol::Tcp, "", "10.77.0.1:8081").is_err());
        outwards(&three);
        let error = forward::start(&config, &shared, "three", &addresses(3), &ports).unwrap_err();
        assert_eq!(error.to_string(), "cannot listen on 0.0.0.0:8080/tcp: address already in use");
        Shared::release(&config, &directory, "three", &all).unwrap();
        assert!(ask(&lab.host, Protocol::Tcp, "", "127.0.0.1:8081").is_err());
        open.write_all(b"?").unwrap();
        let mut text = String::new();
        open.read_to_string(&mut text).unwrap();
        assert_eq!(text, "10.77.0.2");

        // Killed processes are started again by the next command.
        kill(&directory.join("rootless.pid"));
        kill(&directory.join("rootless-ports-two.pid"));
        let shared = Shared::acquire(&config, &directory, "two", &all).unwrap();
        published_ports_work(&lab);
        outwards(&two);
        resolves(&shared.path(), shared.facts());

        // With the last container that lives everything goes.
        Shared::acquire(&config, &directory, "crashed", &all).unwrap();
        Shared::release(&config, &directory, "two", &|id| id != "crashed").unwrap();
        let left: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["rootless-users"]);
        assert_eq!(std::fs::read_dir(directory.join("rootless-users")).unwrap().count(), 0);
        assert!(ask(&lab.client, Protocol::Tcp, "", "10.77.0.1:8080").is_err());
        for namespace in [two, three] {
            netns::remove(&namespace).unwrap();
        }
    });
}

#[test]
fn slirp4netns_is_the_way_out_of_the_shared_namespace_where_it_is_configured() {
    require!(support::root());
    let lab = Lab::new();
    lab.on_host(|| {
        let mut config = config();
        config.containers.network.default_rootless_network_cmd = Some("slirp4netns".to_owned());
        let directory = lab.dir.path().join("netns");
        let all = |_: &str| true;
        let shared = Shared::acquire(&config, &directory, "two", &all).unwrap();
        let two = container_on_bridge(&lab, &shared, 2);
        let _world = Echo::new(&lab.client, "[::]:7000");
        let _host = Echo::new(&lab.host, "10.77.0.1:7001");
        let _resolver = resolver(&lab.host);
        let works = |shared: &Shared| {
            let host = SocketAddr::new(shared.facts().host_address.unwrap(), 7001).to_string();
            for protocol in BOTH {
                assert_eq!(ask(&two, protocol, "", "10.77.0.2:7000").unwrap(), "10.77.0.1");
                ask(&two, protocol, "", &host).unwrap();
            }
            resolves(&shared.path(), shared.facts());
        };
        works(&shared);
        kill(&directory.join("rootless.pid"));
        works(&Shared::acquire(&config, &directory, "two", &all).unwrap());
        Shared::release(&config, &directory, "two", &all).unwrap();
        assert!(!user_mode::running(&directory.join("rootless.pid")) && !shared.path().exists());
        netns::remove(&two).unwrap();
    });
}

fn from_port_80(from: &str, to: SocketAddr) -> String {
    let family =
        if to.is_ipv4() { rustix::net::AddressFamily::INET } else { rustix::net::AddressFamily::INET6 };
    let socket = rustix::net::socket(family, rustix::net::SocketType::DGRAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::new(from.parse().unwrap(), 80)).unwrap();
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    socket.connect(to).unwrap();
    socket.send(b"who am I?").unwrap();
    let mut buffer = [0; 64];
    let n = socket.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..n]).into_owned()
}

/// An ordinary user on the host of a link, with a busybox.
fn user_on_a_host() -> Result<(Lan, Sandbox), Missing> {
    let lan = Lan::new()?;
    let mut sandbox = Sandbox::user()?;
    sandbox.pull("lab/busybox");
    sandbox.move_to(&lan.host);
    Ok((lan, sandbox))
}

#[test]
fn a_users_container_is_on_the_hosts_network_and_publishes_ports() {
    let (lan, sandbox) = require!(user_on_a_host());
    let before = lan.host.state();
    serve(&sandbox, "web", &["-p", "8080:80"], "hello");
    for address in ["127.0.0.1", "[::1]", &lan.host.ipv4, &format!("[{}]", lan.host.ipv6)] {
        assert_eq!(get(&lan.host, &format!("http://{address}:8080/")), "hello", "{address} from the host");
    }
    assert_eq!(get(&lan.client, &format!("http://{}:8080/", lan.host.ipv4)), "hello");
    sandbox.coracle(["logs", "web"]).ok().stderr_has(&lan.client.ipv4);
    assert_eq!(get(&lan.client, &format!("http://[{}]:8080/", lan.host.ipv6)), "hello");
    sandbox.coracle(["logs", "web"]).ok().stderr_has(&lan.client.ipv6);
    sandbox.coracle(["port", "web"]).ok().stdout_has("80/tcp -> 0.0.0.0:8080");

    let _host = Echo::new(&lan.host.namespace(), &format!("{}:7001", lan.host.ipv4));
    let _world = Echo::new(&lan.client.namespace(), "[::]:7000");
    for to in [
        "host.containers.internal 7001".to_owned(),
        format!("{} 7000", lan.client.ipv4),
        format!("{} 7000", lan.client.ipv6),
    ] {
        // Its own direction stays open: Debian 12's pasta forgets to close the other one after that.
        let script = format!("mkfifo /f; exec 3<>/f; echo >&3; rm /f; nc {to} <&3");
        sandbox.coracle(["exec", "web", "sh", "-c", &script]).ok().stdout_has(if to.contains(':') {
            &lan.host.ipv6
        } else {
            &lan.host.ipv4
        });
    }

    sandbox
        .coracle(["run", "-d", "--name", "late", "-p", "8080:80", "lab/busybox", "true"])
        .fails(125)
        .stderr_has("8080");
    let id = sandbox.coracle(["inspect", "-f", "{{.Id}}", "web"]).ok().text().trim().to_owned();
    kill(&sandbox.run_root().join("coracle/run").join(&id).join("user-mode"));
    sandbox.coracle(["network", "reload", "web"]).ok();
    assert_eq!(get(&lan.client, &format!("http://{}:8080/", lan.host.ipv4)), "hello");
    sandbox.coracle(["restart", "-t", "0", "web"]).ok();
    assert_eq!(get(&lan.client, &format!("http://{}:8080/", lan.host.ipv4)), "hello");
    sandbox.coracle(["rm", "-f", "-t", "0", "web"]).ok();
    assert_eq!(lan.host.state(), before);
    let refused = lan
        .client
        .command(&["curl", "-sS", "--max-time", "3", &format!("http://{}:8080/", lan.host.ipv4)])
        .status()
        .unwrap();
    assert!(!refused.success());
}

#[test]
fn options_of_pasta_and_slirp4netns_reach_them() {
    let (lan, sandbox) = require!(user_on_a_host());
    let show = |network: &str| {
        let argv = ["run", "--rm", "--network", network, "lab/busybox", "ip", "address"];
        sandbox.coracle(argv).ok().text().to_owned()
    };
    let shown = show("pasta:-I,outside0,--mtu,1400,-a,10.44.0.5,-n,24,-g,10.44.0.1");
    assert!(
        shown.contains("outside0") && shown.contains("mtu 1400") && shown.contains("10.44.0.5/24"),
        "{shown}"
    );
    let shown = show("slirp4netns:cidr=10.45.0.0/24,mtu=1300");
    assert!(
        shown.contains("tap0") && shown.contains("mtu 1300") && shown.contains("10.45.0.100/24"),
        "{shown}"
    );
    let wrong = ["run", "--rm", "--network", "slirp4netns:colour=red", "lab/busybox", "true"];
    sandbox.coracle(wrong).fails(125).stderr_has("unknown option for slirp4netns: \"colour=red\"");
    let wrong = ["run", "--rm", "--network", "pasta:--colour", "lab/busybox", "true"];
    sandbox.coracle(wrong).fails(125).stderr_has("pasta failed").stderr_lacks("Usage");
    serve(&sandbox, "web", &["--network", "slirp4netns", "-p", "8081:80"], "slirp");
    assert_eq!(get(&lan.client, &format!("http://{}:8081/", lan.host.ipv4)), "slirp");
    sandbox.coracle(["logs", "web"]).ok().stderr_has(&lan.client.ipv4);
    sandbox.coracle(["rm", "-f", "-t", "0", "web"]).ok();
}

#[test]
fn killed_pastas_of_a_users_bridges_are_started_again_by_the_next_container() {
    let (lan, sandbox) = require!(user_on_a_host());
    sandbox.coracle(["network", "create", "--ipv6", "app"]).ok();
    serve(&sandbox, "web", &["--network", "app", "-p", "8080:80"], "hello");
    let id = sandbox.coracle(["inspect", "-f", "{{.Id}}", "web"]).ok().text().trim().to_owned();
    let directory = sandbox.run_root().join("coracle/netns");
    let works = || {
        for (from, to) in [
            (&lan.client, lan.host.ipv4.clone()),
            (&lan.client, format!("[{}]", lan.host.ipv6)),
            (&lan.host, "127.0.0.1".to_owned()),
            (&lan.host, "[::1]".to_owned()),
        ] {
            assert_eq!(get(from, &format!("http://{to}:8080/")), "hello", "{to} from {}", from.name);
        }
    };
    works();
    let log = sandbox.coracle(["logs", "web"]).ok();
    log.stderr_has(&lan.client.ipv4).stderr_has(&lan.client.ipv6);
    kill(&directory.join("rootless.pid"));
    kill(&directory.join(format!("rootless-ports-{id}.pid")));
    assert!(!user_mode::running(&directory.join("rootless.pid")));
    // It finds the server by its name, and the world.
    let _world = Echo::new(&lan.client.namespace(), "[::]:7000");
    let script = format!(
        "wget -qO- http://web/ && mkfifo /f && exec 3<>/f && echo >&3 && nc {} 7000 <&3",
        lan.client.ipv4
    );
    let next = sandbox.coracle(["run", "--rm", "--network", "app", "lab/busybox", "sh", "-c", &script]);
    next.ok().stdout_has("hello").stdout_has(&lan.host.ipv4);
    works();
    sandbox.coracle(["rm", "-f", "-t", "0", "web"]).ok();
    let left: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["rootless-users"]);
}
