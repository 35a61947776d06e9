//! Of the pages network_*.md: definitions.

use super::{Example, alias, follow};
use crate::support::{Sandbox, require};

/// network_create.md to network_rm.md: definitions.
#[test]
fn networks() {
    let sandbox = require!(Sandbox::root());
    alias(&sandbox);
    follow(
        &sandbox,
        &[
            Example(
                "docker network create --driver=bridge --subnet=172.28.0.0/16 --ip-range=172.28.5.0/24 --gateway=172.28.5.254 br0",
                0,
                "ID",
            ),
            Example(
                "docker network inspect -f '{{json (index .IPAM.Config 0)}}' br0",
                0,
                r#"{"Subnet":"172.28.0.0/16","IPRange":"172.28.5.0/24","Gateway":"172.28.5.254",*}"#,
            ),
            Example(
                "docker network create --driver=bridge --subnet=172.28.0.0/16 br1",
                1,
                "Error: subnet 172.28.0.0/16 is already used *\nhint: *",
            ),
            Example("docker network create br0", 1, "Error: network with name br0 already exists\nhint: *"),
            Example(
                "docker network create -d overlay --subnet=192.168.10.0/25 my-multihost-network",
                1,
                "Error: *overlay*",
            ),
            Example(
                "docker network create --subnet=192.168.10.0/25 --aux-address=my-router=192.168.10.5 aux",
                0,
                "ID",
            ),
            Example(
                "docker network create -d bridge --scope swarm --attachable swarm-network",
                1,
                "Error: *swarm*",
            ),
            Example(
                "docker network create --config-only --subnet 192.168.100.0/24 mv-config",
                1,
                "Error: *swarm*",
            ),
            Example(
                "docker network ls",
                0,
                "NETWORK ID NAME DRIVER SCOPE\nid aux bridge local\nid br0 bridge local\n*",
            ),
            Example(
                "docker network create --label usage=prod test2; docker network create --label usage test1",
                0,
                "ID\nID",
            ),
            Example("docker network ls -f label=usage --format {{.Name}}", 0, "test1\ntest2"),
            Example("docker network ls -f label=usage=prod --format {{.Name}}", 0, "test2"),
            Example(
                "docker network ls --filter name=test --format '{{.Name}}: {{.Driver}}'",
                0,
                "test1: bridge\ntest2: bridge",
            ),
            Example(
                "docker network ls --filter id=$(docker network inspect -f {{.Id}} br0 | cut -c1-12) --format {{.Name}}",
                0,
                "br0",
            ),
            Example("docker network ls --filter scope=swarm -q", 0, ""),
            Example("docker create --name c --network test1 busybox", 0, "ID"),
            Example(
                "docker ps -a --filter network=$(docker network inspect --format '{{.ID}}' test1) --format {{.Names}}",
                0,
                "c",
            ),
            Example("docker network connect --alias db --alias mysql test2 c", 0, ""),
            Example("docker network disconnect test2 c", 0, ""),
            Example("docker network rm test1", 1, "Error: *\nhint: *"),
            Example(
                "echo y | docker network prune",
                0,
                "WARNING! This will remove all custom networks not used by at least one container.\nAre you sure you want to continue? [y/N] Deleted Networks:\naux\nbr0\ntest2",
            ),
            Example(
                "docker rm c; docker network rm $(docker network ls --filter type=custom -q)",
                0,
                "c\nid",
            ),
        ],
    );
}
