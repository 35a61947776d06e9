//! User-mode networking with real packets: a client and a host, each a network namespace, and containers behind pasta.
//!
//! `CORACLE_TEST_PASTA` names a directory with another pasta than the installed one.

use crate::support::lab::{BOTH, Echo, Lab, TIMEOUT, ask, command, ip, kill, within};
use crate::support::{self, require};
use coracle::engine::config::Config;
use coracle::engine::host::{netns, process};
use coracle::engine::network::rootless::Shared;
use coracle::engine::network::{UserMode, forward, pasta, slirp4netns, user_mode};
use coracle::engine::spec::{PortMapping, Protocol};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};

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
