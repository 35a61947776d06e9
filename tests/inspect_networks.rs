//! What `inspect`, `network inspect`, `network ls` and `port` say of containers on networks, beside podman's and docker's own on
//! hosts of their own: as [`crate::inspect_fields`], with tables of its own.

use crate::inspect_fields::How::{Absent, Own};
use crate::inspect_fields::{Difference, Report, differences};
use crate::network::on_a_host_with;
use crate::support::{Cmd, Docker, Lan, Missing, Sandbox, require};
use serde_json::{Value, json};

const ID: &str = "every engine gives its own";
const MOMENT: &str = "when it happened";
const CHOSEN: &str = "every engine chooses its own";

/// Of containers, from both.
const CONTAINER: &[Difference] = &[
    ("NetworkSettings.SandboxID", Own, ID),
    ("NetworkSettings.SandboxKey", Own, "where the namespace is"),
    ("NetworkSettings.EndpointID", Own, ID),
    ("NetworkSettings.Networks.*.EndpointID", Own, ID),
    ("NetworkSettings.Networks.*.NetworkID", Own, ID),
    ("NetworkSettings.Networks.*.Aliases", Own, "with the short ID, which is each engine's"),
];

/// On the default network, whose subnet each chooses.
const DEFAULT: &[Difference] = &[
    ("NetworkSettings.Gateway", Own, CHOSEN),
    ("NetworkSettings.IPAddress", Own, CHOSEN),
    ("NetworkSettings.MacAddress", Own, CHOSEN),
    ("NetworkSettings.Networks.*.Gateway", Own, CHOSEN),
    ("NetworkSettings.Networks.*.IPAddress", Own, CHOSEN),
    ("NetworkSettings.Networks.*.MacAddress", Own, CHOSEN),
];

const PODMAN_CONTAINER: &[Difference] = &[
    ("HostConfig.PortBindings.*.*.HostIp", Own, "docker's: as it was asked for; podman 5 says 0.0.0.0"),
    ("NetworkSettings.Networks.podman", Absent, "docker's name of the default network: bridge"),
    ("HostConfig.NetworkMode", Own, "docker's: the network's name, not that it is a bridge"),
    ("NetworkSettings.Ports", Own, "podman 4 does not show ports that are only exposed"),
    (
        "HostConfig.PortBindings.*",
        Absent,
        "docker's: published ports; podman 4 has those that are only exposed among them",
    ),
    (
        "NetworkSettings.IPAddress",
        Own,
        "that of the first network; podman has it on its default network only",
    ),
    (
        "NetworkSettings.IPPrefixLen",
        Own,
        "that of the first network; podman has it on its default network only",
    ),
    ("NetworkSettings.Gateway", Own, "that of the first network; podman has it on its default network only"),
    (
        "NetworkSettings.MacAddress",
        Own,
        "that of the first network; podman has it on its default network only",
    ),
];

const DOCKER_CONTAINER: &[Difference] = &[
    (
        "NetworkSettings.Networks.*.DNSNames",
        Own,
        "with the short ID, which is each engine's, and in docker's order",
    ),
    (
        "NetworkSettings.IPAddress",
        Own,
        "that of the first network; docker has it on its default network only",
    ),
    (
        "NetworkSettings.IPPrefixLen",
        Own,
        "that of the first network; docker has it on its default network only",
    ),
    ("NetworkSettings.Gateway", Own, "that of the first network; docker has it on its default network only"),
    (
        "NetworkSettings.MacAddress",
        Own,
        "that of the first network; docker has it on its default network only",
    ),
    ("HostConfig.NetworkMode", Own, "the default network's name"),
];

const NETWORK: &[Difference] = &[
    ("created", Own, MOMENT),
    ("id", Own, ID),
    ("network_interface", Own, CHOSEN),
    ("containers.*", Absent, ID),
];

const DOCKER_NETWORK: &[Difference] = &[
    ("Id", Own, ID),
    ("Created", Own, MOMENT),
    ("Containers.*", Absent, ID),
    ("Options.*", Own, "netavark's beside docker's"),
];

const PODMAN_LS: &[Difference] =
    &[("*.created", Own, MOMENT), ("*.id", Own, ID), ("*.network_interface", Own, CHOSEN)];

const DOCKER_LS: &[Difference] = &[("ID", Own, ID), ("CreatedAt", Own, MOMENT)];

/// Of a container, what networks have to do with.
fn of_networks(inspected: &Value) -> Value {
    let inspected = &inspected[0];
    json!({
        "NetworkSettings": inspected["NetworkSettings"],
        "HostConfig": {
            "NetworkMode": inspected["HostConfig"]["NetworkMode"],
            "PortBindings": inspected["HostConfig"]["PortBindings"],
            "PublishAllPorts": inspected["HostConfig"]["PublishAllPorts"],
        },
        "Config": { "ExposedPorts": inspected["Config"]["ExposedPorts"] },
    })
}

const MAKE: &[&str] = &[
    "network create --subnet 10.77.6.0/24 --label a=b -o MTU=1400 fields",
    "run -d --name web --network fields --ip 10.77.6.9 --mac-address 02:00:00:00:00:09 --network-alias www -p 8080:80 \
     -p 127.0.0.1:5300:53/udp --expose 99 lab/busybox sleep 1000",
    "run -d --name plain --network bridge lab/busybox sleep 1000",
];

fn furnish(command: impl Fn(Vec<String>) -> Cmd, mtu: &str) {
    for line in MAKE {
        command(line.split_whitespace().map(|word| word.replace("MTU", mtu)).collect()).ok();
    }
}

fn ours(mtu: &str) -> Result<(Lan, Sandbox), Missing> {
    let (lan, sandbox, _) = on_a_host_with(Sandbox::root()?, "lab/busybox")?;
    furnish(|words| sandbox.coracle(words), mtu);
    Ok((lan, sandbox))
}

#[test]
fn everything_podman_shows() {
    let (_lan, ours) = require!(ours("mtu"));
    let mut theirs = require!(Sandbox::root());
    theirs.registry().provide("lab/busybox");
    require!(theirs.podman(["pull", "-q", "lab/busybox"])).ok();
    let host = require!(Lan::new());
    theirs.move_to(&host.host);
    furnish(|words| theirs.podman(words).unwrap(), "mtu");
    let look = |words: &[&str]| {
        let podman = theirs.podman(words.iter().copied()).unwrap().ok().json();
        (podman, ours.coracle(words.iter().copied()).ok().json())
    };
    let mut report = Report::default();
    for (name, tables) in
        [("web", &[CONTAINER, PODMAN_CONTAINER][..]), ("plain", &[CONTAINER, DEFAULT, PODMAN_CONTAINER])]
    {
        let (podman, coracle) = look(&["inspect", name]);
        let found = differences(&of_networks(&podman), &of_networks(&coracle), tables);
        report.add(&format!("podman inspect {name}"), found);
    }
    let (podman, coracle) = look(&["network", "inspect", "fields"]);
    report.add("podman network inspect", differences(&podman[0], &coracle[0], &[NETWORK]));
    let (podman, coracle) = look(&["network", "ls", "--format", "json", "--filter", "name=fields"]);
    report.add("podman network ls", differences(&podman, &coracle, &[PODMAN_LS]));
    require!(theirs.podman(["rm", "-f", "-t", "0", "--all"])).ok();
    report.finish();
}

#[test]
fn everything_docker_shows() {
    let (_lan, ours) = require!(ours("com.docker.network.driver.mtu"));
    let host = require!(Lan::new());
    let docker = require!(Docker::start_on(&host.host));
    // From where the registry is.
    docker.load(&require!(Sandbox::root()), "lab/busybox");
    furnish(|words| docker.command(words), "com.docker.network.driver.mtu");
    let both = |words: &[&str]| {
        (docker.command(words.iter().copied()).ok(), ours.coracle(words.iter().copied()).ok())
    };
    let mut report = Report::default();
    for (name, tables) in
        [("web", &[CONTAINER, DOCKER_CONTAINER][..]), ("plain", &[CONTAINER, DEFAULT, DOCKER_CONTAINER])]
    {
        let (theirs, coracle) = both(&["inspect", name]);
        let found = differences(&of_networks(&theirs.json()), &of_networks(&coracle.json()), tables);
        report.add(&format!("docker inspect {name}"), found);
    }
    let (theirs, coracle) = both(&["network", "inspect", "fields"]);
    let (theirs, coracle) = (theirs.json(), coracle.json());
    report.add("docker network inspect", differences(&theirs[0], &coracle[0], &[DOCKER_NETWORK]));
    // Containers stand there by their IDs.
    let container =
        |network: &Value| network[0]["Containers"].as_object().unwrap().values().next().unwrap().clone();
    let rows: &[Difference] = &[("EndpointID", Own, ID)];
    report.add("docker network inspect", differences(&container(&theirs), &container(&coracle), &[rows]));
    let (theirs, coracle) = both(&["network", "ls", "--filter", "name=fields", "--format", "{{json .}}"]);
    report.add("docker network ls", differences(&theirs.json(), &coracle.json(), &[DOCKER_LS]));
    let (theirs, coracle) = both(&["port", "web"]);
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(|l| l.replace(":::", "[::]:")).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(theirs.text()), sorted(coracle.text()));
    report.finish();
}
