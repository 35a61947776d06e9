//! User-defined networks: names, and who reaches whom.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::network::{get, on_a_host_with, serve};
use crate::support::{Lan, Missing, Sandbox, require};

/// One for root, with a busybox and what is on the host before.
pub fn hosts() -> Result<Vec<(Lan, Sandbox, String)>, Missing> {
    Sandbox::both()?.into_iter().map(|sandbox| on_a_host_with(sandbox, "lab/busybox")).collect()
}

/// Runs a command in the container until it succeeds, for a few seconds; what it printed.
#[track_caller]
pub fn eventually(sandbox: &Sandbox, container: &str, command: &str) -> String {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let outcome = sandbox.coracle(["exec", container, "sh", "-c", command]).run();
        if outcome.exit_code() == 0 {
            return outcome.text().to_owned();
        }
        assert!(Instant::now() < end, "{outcome}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn containers_find_each_other_by_name_alias_and_id() {
    for (lan, sandbox, before) in require!(hosts()) {
        sandbox.coracle(["network", "create", "app"]).ok();
        serve(&sandbox, "db", &["--network", "app", "--network-alias", "sql"], "found");
        let id = sandbox.coracle(["inspect", "--format", "{{.Id}}", "db"]).ok().text().to_owned();
        for name in ["db", "sql", &id[..12]] {
            let ask = format!("wget -qO- http://{name}/");
            let asked = sandbox.coracle(["run", "--rm", "--network", "app", "lab/busybox", "sh", "-c", &ask]);
            asked.ok().stdout_is("found");
        }
        // Not from another network, nor by a name that is nobody's.
        sandbox.coracle(["network", "create", "other"]).ok();
        for (network, name) in [("other", "db"), ("app", "nobody")] {
            let ask = ["run", "--rm", "--network", network, "lab/busybox", "nslookup", name];
            assert_ne!(sandbox.coracle(ask).run().exit_code(), 0, "{name} on {network}");
        }
        sandbox.coracle(["network", "rm", "app"]).fails(1).stderr_has("db");
        sandbox.coracle(["rm", "-f", "-t", "0", "db"]).ok();
        sandbox.coracle(["network", "rm", "app", "other"]).ok();
        assert_eq!(lan.host.state(), before);
    }
}

/// aardvark-dns from 1.11 on; what asked over UDP and was told to come again comes over TCP.
#[test]
fn names_are_answered_over_tcp() {
    let (lan, sandbox, _) = require!(on_a_host_with(require!(Sandbox::root()), "lab/busybox"));
    sandbox.coracle(["network", "create", "--subnet", "10.77.9.0/24", "app"]).ok();
    sandbox.coracle(["run", "-d", "--name", "db", "--network", "app", "lab/busybox", "sleep", "600"]).ok();
    // ID 1, recursion desired, one question: db, type A, class IN.
    let question = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x02db\0\0\x01\0\x01";
    let answer = lan.host.enter(|| {
        let mut server = TcpStream::connect(("10.77.9.1", 53)).ok()?;
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        server.write_all(&[0, question.len() as u8]).unwrap();
        server.write_all(question).unwrap();
        let mut length = [0; 2];
        server.read_exact(&mut length).unwrap();
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        server.read_exact(&mut answer).unwrap();
        Some(answer)
    });
    let version = lan.host.run(&["/usr/lib/podman/aardvark-dns", "--version"]);
    let minor: u32 = version.split('.').nth(1).unwrap().parse().unwrap();
    match answer {
        Some(answer) => assert!(answer.ends_with(&[10, 77, 9, 2]), "{answer:?}"),
        None => assert!(version.contains(" 1.") && minor < 11, "{version}"),
    }
    sandbox.coracle(["rm", "-f", "-t", "0", "db"]).ok();
}

/// A name server that knows one name, for as long as it is asked.
fn name_server(socket: std::net::UdpSocket) {
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut query = [0; 512];
    while let Ok((size, client)) = socket.recv_from(&mut query) {
        let mut reply = query[..size].to_vec();
        let name = b"\x09somewhere\x07example\x00\x00";
        let (known, wanted) =
            (reply[12..].starts_with(name), reply[12..].starts_with(&[name, &[1][..]].concat()));
        // The question without what follows it (EDNS), and one A record that names it by its place.
        let end = 12 + reply[12..].iter().position(|b| *b == 0).unwrap() + 5;
        reply.truncate(end);
        (reply[2], reply[3], reply[11]) = (0x81, if known { 0x80 } else { 0x83 }, 0);
        reply[7] = u8::from(wanted);
        if wanted {
            reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 51, 100, 7]);
        }
        socket.send_to(&reply, client).unwrap();
    }
}

#[test]
fn names_of_the_world_are_asked_for_outside() {
    for (lan, sandbox, before) in require!(hosts()) {
        let address = format!("{}:53", lan.client.ipv4);
        let socket = lan.client.enter(|| std::net::UdpSocket::bind(address).unwrap());
        std::thread::spawn(|| name_server(socket));
        sandbox.coracle(["network", "create", "app"]).ok();
        let run = ["run", "--rm", "--network", "app", "--dns", &lan.client.ipv4, "lab/busybox"];
        sandbox.coracle(run).args(["nslookup", "somewhere.example"]).ok().stdout_has("198.51.100.7");
        assert_ne!(sandbox.coracle(run).args(["nslookup", "nowhere.example"]).run().exit_code(), 0);
        // A server of the network's own, changed later.
        let updated = sandbox.coracle(["network", "update", "--dns-add", &lan.client.ipv4, "app"]);
        updated.ok();
        let run = ["run", "--rm", "--network", "app", "lab/busybox", "nslookup", "somewhere.example"];
        sandbox.coracle(run).ok().stdout_has("198.51.100.7");
        // For one that runs, and away again: whom it asks then knows nothing.
        sandbox
            .coracle(["run", "-d", "--name", "asks", "--network", "app", "lab/busybox", "sleep", "600"])
            .ok();
        eventually(&sandbox, "asks", "nslookup somewhere.example");
        let nobody = ["network", "update", "--dns-drop", &lan.client.ipv4, "--dns-add", "240.0.0.1", "app"];
        sandbox.coracle(nobody).ok();
        eventually(&sandbox, "asks", "! nslookup somewhere.example");
        eventually(&sandbox, "asks", "nslookup asks");
        sandbox
            .coracle(["network", "update", "--dns-add", &lan.client.ipv4, "--dns-drop", "240.0.0.1", "app"])
            .ok();
        eventually(&sandbox, "asks", "nslookup somewhere.example");
        sandbox.coracle(["network", "reload", "asks"]).ok();
        eventually(&sandbox, "asks", "nslookup somewhere.example");
        sandbox.coracle(["rm", "-f", "-t", "0", "asks"]).ok();
        sandbox.coracle(["network", "rm", "app"]).ok();
        assert_eq!(lan.host.state(), before);
    }
}

#[test]
fn ipv6_is_published_with_the_clients_address() {
    for (lan, sandbox, before) in require!(hosts()) {
        sandbox.coracle(["network", "create", "--ipv6", "six"]).ok();
        serve(&sandbox, "web", &["--network", "six", "-p", "8080:80"], "six");
        assert_eq!(get(&lan.client, &format!("http://[{}]:8080/", lan.host.ipv6)), "six");
        sandbox.coracle(["logs", "web"]).ok().stderr_has(&lan.client.ipv6);
        assert_eq!(get(&lan.host, "http://[::1]:8080/"), "six");
        sandbox.coracle(["rm", "-f", "-t", "0", "web"]).ok();
        sandbox.coracle(["network", "rm", "six"]).ok();
        assert_eq!(lan.host.state(), before);
    }
}

/// Nor does its name server ask anybody: CVE-2024-29018, CVE-2025-8283.
#[test]
fn an_internal_network_leads_nowhere() {
    for (lan, sandbox, before) in require!(hosts()) {
        // A name server elsewhere that must never be asked.
        let asked = lan.client.enter(|| {
            let socket = std::net::UdpSocket::bind("192.0.2.2:53").unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        });
        sandbox.coracle(["network", "create", "--internal", "inner"]).ok();
        serve(&sandbox, "web", &["--network", "inner"], "inside");
        let run = |command: &str| {
            let argv = [
                "run",
                "--rm",
                "--network",
                "inner",
                "--dns",
                "192.0.2.2",
                "lab/busybox",
                "sh",
                "-c",
                command,
            ];
            sandbox.coracle(argv).run()
        };
        assert_eq!(run("wget -qO- http://web/").text(), "inside");
        assert_ne!(
            run(&format!(
                "ping -c 1 -W 1 {} || timeout 1 wget -qO- http://{}/",
                lan.client.ipv4, lan.client.ipv4
            ))
            .exit_code(),
            0
        );
        assert_ne!(run("nslookup somewhere.example").exit_code(), 0);
        let mut buffer = [0; 512];
        assert!(asked.recv(&mut buffer).is_err(), "a query left the internal network");
        sandbox.coracle(["rm", "-f", "-t", "0", "web"]).ok();
        sandbox.coracle(["network", "rm", "inner"]).ok();
        assert_eq!(lan.host.state(), before);
    }
}

/// docker's `enable_icc=false`: neither from port to port nor by way of the host, whoever makes routes for it.
#[test]
fn containers_are_kept_apart_and_reach_everything_else() {
    for (lan, sandbox, before) in require!(hosts()) {
        let apart =
            ["network", "create", "--ipv6", "-o", "com.docker.network.bridge.enable_icc=false", "apart"];
        sandbox.coracle(apart).ok();
        sandbox.coracle(["network", "create", "together"]).ok();
        serve(&sandbox, "web", &["--network", "apart", "-p", "8080:80"], "web");
        for (name, network) in [("other", "apart"), ("late", "together")] {
            let run = ["run", "-d", "--name", name, "--network", network, "--cap-add", "NET_ADMIN"];
            sandbox.coracle(run).args(["lab/busybox", "sleep", "600"]).ok();
        }
        sandbox.coracle(["network", "connect", "apart", "late"]).ok();
        let shown = |field: &str| {
            let format = format!("{{{{.NetworkSettings.Networks.apart.{field}}}}}");
            sandbox.coracle(["inspect", "-f", &format, "web"]).ok().text().to_owned()
        };
        let fetch = |from: &str, url: &str| {
            sandbox.coracle(["exec", from, "timeout", "2", "wget", "-qO-", &format!("http://{url}")]).run()
        };
        let (ipv4, ipv6) = (shown("IPAddress"), shown("GlobalIPv6Address"));
        let published = format!("{}:8080", lan.host.ipv4);
        for from in ["other", "late"] {
            for url in ["web", &ipv4, &format!("[{ipv6}]")] {
                assert_ne!(fetch(from, url).exit_code(), 0, "{url} from {from}");
            }
            let fetched = fetch(from, &published);
            assert_eq!(fetched.text(), "web", "{from}: {fetched}");
            for (family, address, gateway) in
                [("-4", &ipv4, shown("Gateway")), ("-6", &ipv6, shown("IPv6Gateway"))]
            {
                let route = ["exec", from, "ip", family, "route", "add", address, "via", &gateway];
                sandbox.coracle(route).ok();
            }
            for url in [&ipv4, &format!("[{ipv6}]")] {
                assert_ne!(fetch(from, url).exit_code(), 0, "{url} from {from} by the gateway");
            }
        }
        assert_eq!(get(&lan.client, &format!("http://{published}/")), "web");
        assert_eq!(get(&lan.client, &format!("http://[{}]:8080/", lan.host.ipv6)), "web");
        if sandbox.uid() == 0 {
            assert_eq!(get(&lan.host, &format!("http://{ipv4}/")), "web");
        }
        let mut world = lan
            .client
            .command(&["busybox", "httpd", "-f", "-p", "9000", "-h", "/usr/share/doc/base-files"])
            .spawn()
            .unwrap();
        assert!(!get(&lan.client, "http://127.0.0.1:9000/README").is_empty());
        let fetched = fetch("other", &format!("{}:9000/README", lan.client.ipv4));
        world.kill().unwrap();
        world.wait().unwrap();
        assert_eq!(fetched.exit_code(), 0, "{fetched}");
        sandbox.coracle(["rm", "-f", "-t", "0", "--all"]).ok();
        sandbox.coracle(["network", "rm", "apart", "together"]).ok();
        assert_eq!(lan.host.state(), before);
    }
}

#[test]
fn the_name_server_keeps_no_containers_file_system() {
    for (_lan, sandbox, _) in require!(hosts()) {
        sandbox.coracle(["network", "create", "app"]).ok();
        // The first one is there when the name server is started, and goes while it runs.
        for (name, network) in [("first", "none"), ("second", "app")] {
            let run = ["run", "-d", "--name", name, "--network", network, "lab/busybox", "sleep", "600"];
            sandbox.coracle(run).ok();
        }
        let merged = ["inspect", "--format", "{{.GraphDriver.Data.MergedDir}}", "first"];
        let merged = sandbox.coracle(merged).ok().text().to_owned();
        assert!(merged.contains("overlay"), "{merged}");
        sandbox.coracle(["rm", "-f", "-t", "0", "first"]).ok();
        let server = sandbox.read("run/coracle/network/aardvark-dns/aardvark.pid");
        let table = std::fs::read_to_string(format!("/proc/{}/mountinfo", server.trim())).unwrap();
        assert!(!table.contains(&merged), "{table}");
        sandbox.coracle(["rm", "-f", "-t", "0", "second"]).ok();
        sandbox.coracle(["network", "rm", "app"]).ok();
    }
}
