//! Of the pages container_*.md but container_run.md.

use super::{Example, alias, both, follow};
use crate::support::{Sandbox, require};

/// container_commit.md to container_wait.md, but for run.
#[test]
fn containers() {
    require!(both(&[
        Example("docker run -d --name topdemo alpine top -b", 0, "ID"),
        Example(
            "docker ps -a --filter name=topdemo",
            0,
            "CONTAINER ID IMAGE COMMAND CREATED STATUS PORTS NAMES\n\
             id docker.io/library/alpine:latest top -b * ago Up * topdemo",
        ),
        Example("docker kill --signal=9 topdemo", 0, "topdemo"),
        Example("docker ps -a --filter name=topdemo --format '{{.Status}}'", 0, "Exited (137) * ago"),
        Example("docker run --name mycontainer -d -i -t alpine /bin/sh", 0, "ID"),
        Example("docker exec -d mycontainer touch /tmp/execWorks; sleep 0.5", 0, ""),
        Example("docker exec mycontainer ls /tmp", 0, "execWorks"),
        Example(
            "docker exec -e VAR_A=1 -e VAR_B=2 mycontainer env | sort",
            0,
            "HOME=/root\nHOSTNAME=*\nPATH=/bin:/usr/bin:/sbin\nTERM=xterm\nVAR_A=1\nVAR_B=2\ncontainer=*",
        ),
        Example("docker exec -w /root mycontainer pwd", 0, "/root"),
        Example("docker inspect -f '{{ .Config.Env }}' mycontainer", 0, "[PATH=/bin:/usr/bin:/sbin]"),
        Example(
            "docker commit --change 'ENV DEBUG=true' mycontainer svendowideit/testimage:version3",
            0,
            "ID"
        ),
        Example("docker inspect -f '{{ .Config.Env }}' svendowideit/testimage:version3", 0, "[*DEBUG=true]"),
        Example("docker ps -f ancestor=alpine --format {{.Names}}", 0, "mycontainer"),
        Example("docker run -d --name child svendowideit/testimage:version3 top", 0, "ID"),
        Example("docker ps -f ancestor=alpine --format {{.Names}}", 0, "child\nmycontainer"),
        Example("docker ps -f ancestor=svendowideit/testimage:version3 --format {{.Names}}", 0, "child"),
        Example("docker rm -f child", 0, "child"),
        Example("echo content > some_file; docker cp ./some_file mycontainer:/", 0, "*"),
        Example("docker cp mycontainer:/some_file - | tar x -O | grep con", 0, "content"),
        Example(
            "docker export mycontainer > latest.tar; tar tf latest.tar | grep execWorks",
            0,
            "*tmp/execWorks"
        ),
        Example(
            "docker export --output=latest.tar mycontainer; tar tf latest.tar | grep some_file",
            0,
            "*some_file"
        ),
        Example(
            "docker kill --signal=SIGHUP mycontainer; docker kill --signal=HUP mycontainer",
            0,
            "mycontainer\nmycontainer"
        ),
        Example("docker kill -s -HUP mycontainer", 0, "mycontainer"),
        Example("docker rename mycontainer my_container", 0, ""),
        Example("docker restart -t 0 my_container", 0, "my_container"),
        Example("docker stop -t 0 my_container", 0, "my_container"),
        Example("docker exec my_container ls", 125, "Error: container my_container is not running: *"),
        Example("docker wait my_container", 0, "137"),
        Example("docker start my_container", 0, "my_container"),
        Example("docker rm my_container", 2, "Error: *running*\nhint: *"),
        Example("docker rm --force my_container", 0, "my_container"),
        Example("docker rm /topdemo", 0, "/topdemo"),
        Example("docker create -v awesome:/foo -v /bar --name hello redis", 0, "ID"),
        Example(
            "docker ps -a --filter volume=awesome --format 'table {{.Names}}\\t{{.Mounts}}'",
            0,
            "NAMES MOUNTS\nhello *awesome*"
        ),
        Example("docker rm -v hello", 0, "hello"),
        Example("docker volume ls -q", 0, "awesome"),
        Example("docker run --name log -d busybox sh -c 'echo one; echo two; echo three'", 0, "ID"),
        Example("docker wait log", 0, "0"),
        Example("docker logs -n 1 log", 0, "three"),
        Example("docker logs --tail 2 log", 0, "two\nthree"),
        Example(
            "docker logs --tail -1 log; docker logs --tail nonsense log",
            0,
            "one\ntwo\nthree\none\ntwo\nthree"
        ),
        Example("docker logs --until 1h log", 0, ""),
        Example("docker logs -t --since 1h --tail 1 log", 0, "*-*T*Z three"),
        Example(
            "docker stats --all --no-stream --format 'table {{.Container}}\\t{{.CPUPerc}}\\t{{.MemUsage}}' log",
            0,
            "CONTAINER CPU % MEM USAGE / LIMIT\nlog 0.00% 0B / 0B",
        ),
        Example("docker ps -a --filter exited=0 --format {{.Names}}", 0, "log"),
        Example("docker rm $(docker ps --filter status=exited -q)", 0, "id"),
        Example(
            "echo n | docker container prune",
            0,
            "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] "
        ),
        Example("docker create --name pruned busybox", 0, "ID"),
        Example("docker container prune --force --filter until=5m", 0, "Total reclaimed space: 0B"),
        Example("docker container prune --force", 0, "Deleted Containers:\nID\n\nTotal reclaimed space: *B"),
    ]));
}

/// container_pause.md, container_update.md: what takes a cgroup.
#[test]
fn cgroups() {
    let sandbox = require!(Sandbox::root());
    alias(&sandbox);
    follow(
        &sandbox,
        &[
            Example("docker run -d --name mycontainer alpine top", 0, "ID"),
            Example("docker pause mycontainer", 0, "mycontainer"),
            Example("docker ps --filter status=paused --format {{.Status}}", 0, "Up * (Paused)"),
            Example(
                "docker exec mycontainer sh",
                125,
                "Error: container mycontainer is paused, unpause the container before exec",
            ),
            Example("docker unpause mycontainer", 0, "mycontainer"),
            Example("docker update --cpu-shares 512 -m 300M mycontainer", 0, "mycontainer"),
            Example("docker update --restart=on-failure:3 mycontainer", 0, "mycontainer"),
            Example(
                "docker inspect -f '{{json .HostConfig.RestartPolicy}} {{.HostConfig.Memory}}' mycontainer",
                0,
                r#"{"Name":"on-failure","MaximumRetryCount":3} 314572800"#,
            ),
            Example(
                "docker stats mycontainer --no-stream --format '{{ json . }}'",
                0,
                r#"{"BlockIO":"*B / *B","CPUPerc":"*%","Container":"mycontainer","ID":"*","MemPerc":"*%","MemUsage":"*B / 300MiB","Name":"mycontainer","NetIO":"0B / 0B","PIDs":"1"*}"#,
            ),
        ],
    );
}
