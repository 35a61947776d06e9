//! User-defined networks: names, several networks, what changes while containers run.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::network::{get, on_a_host_with, serve};
use crate::support::{Lan, Missing, Sandbox, require};

/// One for root, with a busybox and what is on the host before.
fn hosts() -> Result<Vec<(Lan, Sandbox, String)>, Missing> {
    Sandbox::both()?.into_iter().map(|sandbox| on_a_host_with(sandbox, "lab/busybox")).collect()
}

/// Runs a command in the container until it succeeds, for a few seconds; what it printed.
#[track_caller]
fn eventually(sandbox: &Sandbox, container: &str, command: &str) -> String {
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

/// A bridge without a MAC address of its own has that of a container, until this one goes.
#[test]
fn the_host_is_reached_whoever_comes_and_goes() {
    for (lan, sandbox, before) in require!(hosts()) {
        sandbox.coracle(["network", "create", "app"]).ok();
        sandbox
            .coracle(["run", "-d", "--name", "stays", "--network", "app", "lab/busybox", "sleep", "600"])
            .ok();
        let server = ["exec", "stays", "sh", "-c", "nslookup stays >/dev/null; sed 1d /proc/net/arp"];
        let known = sandbox.coracle(server).ok().text().to_owned();
        for _ in 0..5 {
            sandbox.coracle(["run", "--rm", "--network", "app", "lab/busybox", "true"]).ok();
            sandbox.coracle(server).ok().stdout_is(&known);
        }
        sandbox.coracle(["rm", "-f", "-t", "0", "stays"]).ok();
        sandbox.coracle(["network", "rm", "app"]).ok();
        assert_eq!(lan.host.state(), before);
    }
}

/// After it there is another host, without interfaces, rules and processes of before; addresses that were asked for are those of
/// before, others are free.
#[test]
fn networks_are_there_again_after_a_reboot() {
    for (lan, mut sandbox, _) in require!(hosts()) {
        sandbox.coracle(["network", "create", "--subnet", "10.77.9.0/24", "app"]).ok();
        let flags = ["--network", "app", "--ip", "10.77.9.9", "-p", "8080:80"];
        serve(&sandbox, "web", &flags, "here");
        sandbox
            .coracle(["run", "-d", "--name", "other", "--network", "app", "lab/busybox", "sleep", "600"])
            .ok();
        sandbox.reboot();
        drop(lan);
        let lan = require!(Lan::new());
        sandbox.move_to(&lan.host);
        let before = lan.host.state();
        sandbox.coracle(["ps", "-q"]).ok().stdout_is("");
        let leases = sandbox.run_root().join("coracle/network/leases");
        assert!(!leases.exists() || std::fs::read_dir(leases).unwrap().next().is_none());
        sandbox.coracle(["start", "web", "other"]).ok();
        assert_eq!(get(&lan.client, &format!("http://{}:8080/", lan.host.ipv4)), "here");
        assert_eq!(eventually(&sandbox, "other", "wget -qO- http://web/"), "here");
        let shown = sandbox.coracle(["inspect", "--format", "{{.NetworkSettings.IPAddress}}", "web"]).ok();
        shown.stdout_is("10.77.9.9");
        sandbox.coracle(["rm", "-f", "-t", "0", "web", "other"]).ok();
        sandbox.coracle(["network", "rm", "app"]).ok();
        assert_eq!(lan.host.state(), before);
    }
}

#[test]
fn a_renamed_container_is_found_by_its_new_name_at_once() {
    for (lan, sandbox, before) in require!(hosts()) {
        sandbox.coracle(["network", "create", "app"]).ok();
        serve(&sandbox, "blue", &["--network", "app", "--network-alias", "web"], "found");
        sandbox
            .coracle(["run", "-d", "--name", "client", "--network", "app", "lab/busybox", "sleep", "600"])
            .ok();
        sandbox.coracle(["rename", "blue", "green"]).ok();
        for name in ["green", "web"] {
            let ask = ["exec", "client", "wget", "-qO-", &format!("http://{name}/")];
            sandbox.coracle(ask).ok().stdout_is("found");
        }
        assert_ne!(sandbox.coracle(["exec", "client", "nslookup", "blue"]).run().exit_code(), 0);
        let hosts = sandbox.coracle(["exec", "green", "cat", "/etc/hosts"]).ok();
        assert!(hosts.text().contains("green") && !hosts.text().contains("blue"), "{hosts}");
        // It leaves as whole as it would have under its first name.
        sandbox.coracle(["restart", "-t", "0", "green"]).ok();
        assert_eq!(eventually(&sandbox, "client", "wget -qO- http://green/"), "found");
        sandbox.coracle(["rm", "-f", "-t", "0", "green", "client"]).ok();
        sandbox.coracle(["network", "rm", "app"]).ok();
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

#[test]
fn networks_are_joined_and_left_while_a_container_runs() {
    for (lan, sandbox, before) in require!(hosts()) {
        sandbox.coracle(["network", "create", "one"]).ok();
        sandbox.coracle(["network", "create", "two"]).ok();
        // On whatever the default is, and one elsewhere to be found.
        sandbox.coracle(["run", "-d", "--name", "mover", "lab/busybox", "sleep", "600"]).ok();
        serve(&sandbox, "first", &["--network", "one"], "one");
        serve(&sandbox, "second", &["--network", "two"], "two");
        sandbox.coracle(["network", "connect", "one", "mover"]).ok();
        assert_eq!(eventually(&sandbox, "mover", "wget -qO- http://first/"), "one");
        sandbox.coracle(["network", "connect", "--alias", "late", "two", "mover"]).ok();
        assert_eq!(eventually(&sandbox, "mover", "wget -qO- http://second/"), "two");
        assert!(!eventually(&sandbox, "second", "nslookup late").is_empty());
        sandbox.coracle(["network", "connect", "one", "mover"]).fails(1).stderr_has("already connected");
        sandbox.coracle(["network", "disconnect", "one", "mover"]).ok();
        assert_ne!(
            sandbox
                .coracle(["exec", "mover", "timeout", "2", "wget", "-qO-", "http://first/"])
                .run()
                .exit_code(),
            0
        );
        assert_eq!(eventually(&sandbox, "mover", "wget -qO- http://second/"), "two");
        // Off the last one it has itself, before and after a start, and can be put on others.
        sandbox
            .coracle(["run", "-d", "--name", "alone", "--network", "one", "lab/busybox", "sleep", "600"])
            .ok();
        sandbox.coracle(["network", "disconnect", "one", "alone"]).ok();
        for _ in 0..2 {
            sandbox
                .coracle(["exec", "alone", "ip", "address"])
                .ok()
                .stdout_has("127.0.0.1")
                .stdout_lacks("eth0");
            sandbox.coracle(["exec", "alone", "cat", "/etc/hosts"]).ok().stdout_lacks("10.128.");
            sandbox.coracle(["restart", "-t", "0", "alone"]).ok();
        }
        sandbox.coracle(["network", "connect", "one", "alone"]).ok();
        assert_eq!(eventually(&sandbox, "alone", "wget -qO- http://first/"), "one");
        sandbox.coracle(["rm", "-f", "-t", "0", "alone"]).ok();
        // What was joined is joined again at the next start.
        sandbox.coracle(["restart", "-t", "0", "mover"]).ok();
        assert_eq!(eventually(&sandbox, "mover", "wget -qO- http://second/"), "two");
        sandbox.coracle(["rm", "-f", "-t", "0", "mover", "first", "second"]).ok();
        sandbox.coracle(["network", "prune", "-f"]).ok();
        assert_eq!(lan.host.state(), before);
    }
}

#[test]
fn addresses_that_were_asked_for_stay() {
    for (lan, sandbox, before) in require!(hosts()) {
        sandbox
            .coracle([
                "network",
                "create",
                "--subnet",
                "10.201.7.0/24",
                "--ipv6",
                "--subnet",
                "fd00:201:7::/64",
                "app",
            ])
            .ok();
        let fixed = ["run", "-d", "--name", "fixed", "--network", "app:ip=10.201.7.77,mac=02:00:00:00:00:77"];
        sandbox.coracle(fixed).args(["lab/busybox", "sleep", "600"]).ok();
        for _ in 0..2 {
            let shown = sandbox.coracle(["exec", "fixed", "ip", "address", "show", "eth0"]).ok();
            shown.stdout_has("10.201.7.77/24").stdout_has("02:00:00:00:00:77").stdout_has("fd00:201:7::");
            sandbox.coracle(["restart", "-t", "0", "fixed"]).ok();
        }
        let local = ["run", "--rm", "--network", "app", "--link-local-ip", "169.254.77.7", "lab/busybox"];
        sandbox.coracle(local).args(["ip", "address", "show", "eth0"]).ok().stdout_has("169.254.77.7/16");
        let taken = ["run", "--rm", "--network", "app", "--ip", "10.201.7.77", "lab/busybox", "true"];
        sandbox.coracle(taken).fails(125).stderr_has("already allocated");
        let outside = ["run", "--rm", "--network", "app", "--ip", "10.9.9.9", "lab/busybox", "true"];
        sandbox.coracle(outside).fails(125).stderr_has("not in any subnet");
        sandbox.coracle(["rm", "-f", "-t", "0", "fixed"]).ok();
        sandbox.coracle(["network", "rm", "app"]).ok();
        assert_eq!(lan.host.state(), before);
    }
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

#[test]
fn fifty_containers_eight_at_a_time() {
    for (lan, sandbox, before) in require!(hosts()) {
        sandbox.coracle(["network", "create", "crowd"]).ok();
        let numbers = std::sync::Mutex::new(0..50);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    loop {
                        let Some(number) = numbers.lock().unwrap().next() else { return };
                        let run = ["run", "-d", "--network", "crowd", "--name", &format!("c{number}")];
                        sandbox.coracle(run).args(["lab/busybox", "sleep", "6000"]).ok();
                    }
                });
            }
        });
        let ids = sandbox.coracle(["ps", "-q"]).ok();
        assert_eq!(ids.lines().len(), 50);
        let hosts: String = ids
            .lines()
            .iter()
            .map(|id| sandbox.coracle(["exec", id, "hostname", "-i"]).ok().text().to_owned() + "\n")
            .collect();
        let mut addresses: Vec<&str> = hosts.lines().collect();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), 50, "{addresses:?}");
        for name in ["c0", "c25", "c49"] {
            eventually(&sandbox, "c1", &format!("nslookup {name}"));
        }
        sandbox.coracle(["rm", "-f", "-t", "0", "--all"]).timeout(Duration::from_secs(300)).ok();
        sandbox.coracle(["network", "rm", "crowd"]).ok();
        assert_eq!(lan.host.state(), before);
    }
}

#[test]
fn nginx_and_postgresql() {
    let made = Sandbox::both().and_then(|both| {
        both.into_iter().map(|sandbox| on_a_host_with(sandbox, "lab/services")).collect::<Result<Vec<_>, _>>()
    });
    for (lan, sandbox, before) in require!(made) {
        sandbox.coracle(["run", "-d", "--name", "web", "-p", "8080:80", "lab/services"]).ok();
        for address in ["127.0.0.1", "[::1]", &lan.host.ipv4] {
            assert!(get(&lan.host, &format!("http://{address}:8080/")).contains("nginx"), "{address}");
        }
        assert!(get(&lan.client, &format!("http://{}:8080/", lan.host.ipv4)).contains("nginx"));
        sandbox.coracle(["logs", "web"]).ok().stdout_has(&format!("{} - ", lan.client.ipv4));
        sandbox.coracle(["port", "web"]).ok().stdout_has("80/tcp -> 0.0.0.0:8080");
        sandbox.coracle(["network", "create", "app"]).ok();
        let server = "initdb -A trust -D /tmp/data >/dev/null && echo 'host all all all trust' >>/tmp/data/pg_hba.conf && exec postgres -D /tmp/data -h 0.0.0.0 -k /tmp";
        let run = [
            "run",
            "-d",
            "--name",
            "db",
            "--network",
            "app",
            "--user",
            "postgres",
            "lab/services",
            "sh",
            "-c",
        ];
        sandbox.coracle(run).arg(server).ok();
        let query = "for i in $(seq 100); do psql -h db -U postgres -tAc 'select 6 * 7' 2>/dev/null && exit; sleep 0.2; done; exit 1";
        let asked = sandbox.coracle(["run", "--rm", "--network", "app", "lab/services", "sh", "-c", query]);
        asked.timeout(Duration::from_secs(120)).ok().stdout_is("42");
        sandbox.coracle(["rm", "-f", "-t", "0", "--all"]).ok();
        sandbox.coracle(["network", "prune", "-f"]).ok();
        assert_eq!(lan.host.state(), before);
    }
}
