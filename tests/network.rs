//! Containers on bridges, with real packets between namespaces that stand for hosts.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Host, Lan, Missing, Sandbox, eventually, program, require};

/// A rootful sandbox on the host of a link, with a busybox; and what is on that host.
fn on_a_host() -> Result<(Lan, Sandbox, String), Missing> {
    on_a_host_with(Sandbox::root()?, "lab/busybox")
}

/// The same with another image, for anybody.
pub fn on_a_host_with(mut sandbox: Sandbox, image: &str) -> Result<(Lan, Sandbox, String), Missing> {
    let lan = Lan::new()?;
    sandbox.pull(image);
    sandbox.move_to(&lan.host);
    let before = lan.host.state();
    Ok((lan, sandbox, before))
}

/// A web server that says `text` and logs its clients.
pub fn serve(sandbox: &Sandbox, name: &str, flags: &[&str], text: &str) {
    let script = format!("mkdir -p /www; echo {text} >/www/index.html; exec httpd -f -v -p 80 -h /www");
    let mut argv = vec!["run", "-d", "--name", name];
    argv.extend(flags);
    argv.extend(["lab/busybox", "sh", "-c", &script]);
    sandbox.coracle(argv).ok();
}

/// What an HTTP server says, tried for a few seconds.
#[track_caller]
pub fn get(host: &Host, url: &str) -> String {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let output = host.command(&["curl", "-sS", "--max-time", "3", url]).output().unwrap();
        if output.status.success() {
            return String::from_utf8_lossy(&output.stdout).trim().to_owned();
        }
        assert!(Instant::now() < end, "{url}: {}", String::from_utf8_lossy(&output.stderr));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_published_port_answers_everywhere_and_nothing_is_left() {
    let (lan, sandbox, before) = require!(on_a_host());
    serve(&sandbox, "web", &["-p", "8080:80"], "hello");
    for address in ["127.0.0.1", "[::1]", &lan.host.ipv4, &format!("[{}]", lan.host.ipv6)] {
        assert_eq!(get(&lan.host, &format!("http://{address}:8080/")), "hello", "{address} from the host");
    }
    assert_eq!(get(&lan.client, &format!("http://{}:8080/", lan.host.ipv4)), "hello");
    assert_eq!(get(&lan.client, &format!("http://[{}]:8080/", lan.host.ipv6)), "hello");
    sandbox.coracle(["logs", "web"]).ok().stderr_has(&lan.client.ipv4);
    sandbox.coracle(["rm", "-f", "-t", "0", "web"]).ok();
    assert_eq!(lan.host.state(), before);
}

#[test]
fn a_port_in_use_is_told_before_anything_is_made() {
    let (_lan, sandbox, _) = require!(on_a_host());
    serve(&sandbox, "web", &["-p", "8080:80"], "one");
    let refused = sandbox.coracle(["run", "--name", "other", "-p", "8080:80", "lab/busybox", "true"]);
    refused.fails(125).stderr_has("address already in use").stderr_has("container web publishes it");
    sandbox.coracle(["ps", "-a", "--format", "{{.Names}}"]).ok().stdout_is("web");
    // As a range gives a choice, the next one is taken.
    serve(&sandbox, "third", &["-p", "8080-8089:80"], "three");
    sandbox.coracle(["rm", "-f", "-t", "0", "web", "third"]).ok();
}

#[test]
fn containers_reach_each_other_the_host_and_the_world() {
    let (lan, sandbox, before) = require!(on_a_host());
    serve(&sandbox, "web", &[], "inside");
    let address = sandbox.coracle(["exec", "web", "hostname", "-i"]).ok().text().trim().to_owned();
    sandbox
        .coracle(["run", "--rm", "lab/busybox", "wget", "-qO-", &format!("http://{address}/")])
        .ok()
        .stdout_is("inside");
    assert_eq!(get(&lan.host, &format!("http://{address}/")), "inside");
    // A server on the host, and one elsewhere, which sees the host's address.
    for (host, url) in [
        (&lan.host, "http://host.docker.internal:9000/".to_owned()),
        (&lan.client, format!("http://{}:9000/", lan.client.ipv4)),
    ] {
        let mut server = host
            .command(&["busybox", "httpd", "-f", "-p", "9000", "-h", "/usr/share/doc/base-files"])
            .spawn()
            .unwrap();
        assert!(!get(host, "http://127.0.0.1:9000/README").is_empty());
        let fetched =
            sandbox.coracle(["run", "--rm", "lab/busybox", "wget", "-qO-", &format!("{url}README")]);
        let outcome = fetched.run();
        server.kill().unwrap();
        server.wait().unwrap();
        assert_eq!(outcome.exit_code(), 0, "{url}: {outcome}");
    }
    sandbox.coracle(["rm", "-f", "-t", "0", "web"]).ok();
    assert_eq!(lan.host.state(), before);
}

/// What a UDP server answers to `message`, tried for a few seconds.
#[track_caller]
fn ask(host: &Host, server: &str, message: &str) -> String {
    let end = Instant::now() + Duration::from_secs(10);
    host.enter(|| {
        let server: SocketAddr = server.parse().unwrap();
        let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        socket.connect(server).unwrap();
        let mut buffer = [0; 512];
        loop {
            let _ = socket.send(message.as_bytes());
            if let Ok(size) = socket.recv(&mut buffer) {
                return String::from_utf8_lossy(&buffer[..size]).into_owned();
            }
            assert!(Instant::now() < end, "{server} does not answer");
        }
    })
}

#[test]
fn udp_is_published_too() {
    let (lan, sandbox, before) = require!(Sandbox::root().and_then(|s| on_a_host_with(s, "lab/debian")));
    let echo =
        "use IO::Socket::INET; my $s = IO::Socket::INET->new(Proto => 'udp', LocalPort => 53) or die $!;
        while (defined $s->recv(my $m, 512)) { $s->send($m) }";
    let run = ["run", "-d", "--name", "echo", "-p", "5353:53/udp", "lab/debian", "perl", "-e", echo];
    sandbox.coracle(run).ok();
    for server in [format!("{}:5353", lan.host.ipv4), format!("[{}]:5353", lan.host.ipv6)] {
        assert_eq!(ask(&lan.client, &server, "over-udp"), "over-udp", "{server}");
    }
    for server in ["127.0.0.1:5353", "[::1]:5353"] {
        assert_eq!(ask(&lan.host, server, "from-here"), "from-here", "{server}");
    }
    sandbox.coracle(["rm", "-f", "-t", "0", "echo"]).ok();
    assert_eq!(lan.host.state(), before);
}

/// netavark 1.4 knows no ipvlan, nor does every kernel. What it made before it came to that is undone, too.
#[test]
fn what_the_installed_netavark_cannot_do_leaves_nothing() {
    let (lan, sandbox, before) = require!(on_a_host());
    sandbox.coracle(["network", "create", "app"]).ok();
    let ipvlan =
        ["network", "create", "-d", "ipvlan", "-o", "parent=lan0", "--subnet", "192.0.2.0/24", "lan"];
    sandbox.coracle(ipvlan).ok();
    let run = [
        "run",
        "--rm",
        "-p",
        "8080:80",
        "--network",
        "app",
        "--network",
        "lan",
        "lab/busybox",
        "ip",
        "address",
    ];
    let outcome = sandbox.coracle(run).run();
    match outcome.exit_code() {
        0 => assert!(outcome.text().contains("eth1"), "{outcome}"),
        _ if outcome.stderr.contains("unknown network driver") => {
            let told = outcome.code(125).stderr_has("hint: the installed netavark");
            told.stderr_lacks("Warning");
        }
        // The kernel has none.
        _ => drop(outcome.code(125).stderr_has("modprobe ipvlan").stderr_lacks("Warning")),
    }
    assert_eq!(lan.host.state(), before);
}

/// Nobody here speaks SCTP, so the rule is looked at; the port is told and the rule goes with the container.
#[test]
fn sctp_is_redirected_too() {
    let (lan, sandbox, before) = require!(on_a_host());
    let run = ["run", "-d", "--name", "sigtran", "-p", "2905:2905/sctp", "lab/busybox", "sleep", "600"];
    sandbox.coracle(run).ok();
    sandbox.coracle(["port", "sigtran", "2905/sctp"]).ok().stdout_has("0.0.0.0:2905");
    let address = sandbox.coracle(["exec", "sigtran", "hostname", "-i"]).ok().text().trim().to_owned();
    // Of iptables or nft, whichever netavark uses.
    let rules = lan.host.run(&["sh", "-c", "iptables-save -t nat; nft list ruleset 2>/dev/null || true"]);
    let redirects = |line: &str| line.contains("sctp") && line.contains(&format!("{address}:2905"));
    assert!(rules.lines().any(redirects), "{rules}");
    sandbox.coracle(["rm", "-f", "-t", "0", "sigtran"]).ok();
    assert_eq!(lan.host.state(), before);
}

/// Real packets between a macvlan's container and another host of the link; containers.conf says how its interface is called.
#[test]
fn a_macvlan_is_on_the_hosts_link() {
    let (lan, sandbox, before) = require!(on_a_host());
    let create = ["network", "create", "-d", "macvlan", "-o", "parent=lan0", "--subnet", "192.0.2.0/24"];
    sandbox.coracle(create).args(["--ip-range", "192.0.2.64/26", "--gateway", &lan.client.ipv4, "link"]).ok();
    serve(&sandbox, "web", &["--network", "link", "--ip", "192.0.2.77"], "on the link");
    assert_eq!(get(&lan.client, "http://192.0.2.77/"), "on the link");
    let conf = sandbox.write("conf/device.conf", "[containers]\ninterface_name = \"device\"\n");
    let run = ["run", "--rm", "--network", "link", "lab/busybox", "ip", "address", "show", "lan0"];
    sandbox.coracle(run).env("CONTAINERS_CONF_OVERRIDE", conf).ok().stdout_has("192.0.2.6");
    sandbox.coracle(["rm", "-f", "-t", "0", "web"]).ok();
    assert_eq!(lan.host.state(), before);
}

/// A process that ends with the test.
struct Service(std::process::Child);

impl Service {
    fn start(host: &Host, argv: &[&str]) -> Self {
        Self(host.command(argv).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where netavark asks for its DHCP proxy, wherever its own files are; socket units of systemd make it.
const DHCP_PROXY: &str = "/run/podman/nv-proxy.sock";

/// From netavark 1.6 on; an older one says so.
#[test]
fn a_macvlan_has_addresses_of_the_links_dhcp_server() {
    let (lan, sandbox, before) = require!(on_a_host());
    sandbox.coracle(["network", "create", "-d", "macvlan", "-o", "parent=lan0", "leased"]).ok();
    let serve = ["run", "-d", "--name", "web", "--network", "leased", "lab/busybox", "httpd", "-f"];
    if !Path::new(DHCP_PROXY).exists() {
        let outcome = sandbox.coracle(serve).run().code(125);
        if outcome.stderr.contains("netavark is too old") {
            assert_eq!(lan.host.state(), before);
            return;
        }
        outcome.stderr_has("netavark-dhcp-proxy");
        sandbox.coracle(["rm", "web"]).ok();
    }
    let leases = sandbox.path("tmp/leases");
    std::fs::write(&leases, "").unwrap();
    let conf = format!(
        "start 192.0.2.100\nend 192.0.2.103\ninterface lan0\nlease_file {}\npidfile {}\n\
         option subnet 255.255.255.0\noption router {}\n",
        leases.display(),
        sandbox.path("tmp/udhcpd.pid").display(),
        lan.client.ipv4,
    );
    let conf = sandbox.write("tmp/udhcpd.conf", conf);
    let busybox = require!(program("busybox"));
    let _server =
        Service::start(&lan.client, &[busybox.to_str().unwrap(), "udhcpd", "-f", conf.to_str().unwrap()]);
    let proxy = (!Path::new(DHCP_PROXY).exists()).then(|| {
        std::fs::create_dir_all("/run/podman").unwrap();
        Service::start(&lan.host, &["/usr/lib/podman/netavark", "dhcp-proxy", "--timeout", "10"])
    });
    eventually("the proxy listens", Duration::from_secs(10), || Path::new(DHCP_PROXY).exists().then_some(()));
    sandbox.coracle(serve).ok();
    let shown = ["inspect", "--format", "{{.NetworkSettings.Networks.leased.IPAddress}}", "web"];
    let address = sandbox.coracle(shown).ok().text().to_owned();
    assert!(address.starts_with("192.0.2.10"), "{address}");
    get(&lan.client, &format!("http://{address}/bin/busybox"));
    sandbox.coracle(["rm", "-f", "-t", "0", "web"]).ok();
    assert_eq!(lan.host.state(), before);
    if proxy.is_some() {
        for file in [DHCP_PROXY, "/run/podman/nv-proxy.lease"] {
            let _ = std::fs::remove_file(file);
        }
    }
}
