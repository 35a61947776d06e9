//! The examples of docker's own reference (docker/cli, docs/reference/commandline), typed as they stand there by somebody
//! whose `docker` is Coracle, and what is shown compared. What it takes a network for is in `networks.rs`, a terminal in
//! `streams.rs`. Where Coracle differs on purpose stands in docs/differences.md, and the difference is here.

use std::os::unix::fs::symlink;

use crate::support::{Missing, Outcome, Sandbox, require};

/// A line of the shell, the exit code of its last command, and what it shows. Runs of white space are one space; `*` is any text,
/// `ID` and `id` are a container's or an image's, long and short.
struct Example(&'static str, i32, &'static str);

/// Where `docker` is Coracle, with the images that the examples use.
fn alias(sandbox: &Sandbox) {
    sandbox.pull("lab/busybox");
    for name in ["busybox", "alpine", "alpine:3.3", "ubuntu", "ubuntu:24.04", "redis", "nginx"] {
        sandbox.coracle(["tag", "lab/busybox", &format!("docker.io/library/{name}")]).ok();
    }
    sandbox.coracle(["rmi", "lab/busybox"]).ok();
    symlink("coracle", sandbox.path("bin/docker")).unwrap();
}

fn type_in(sandbox: &Sandbox, line: &str) -> Outcome {
    let path = format!("{}:{}", sandbox.path("bin").display(), crate::support::PATH);
    sandbox.command(["sh", "-c", &format!("exec 2>&1; {line}")]).env("PATH", path).run()
}

/// White space squeezed, IDs by their names.
fn plain(text: &str) -> String {
    let hex = |word: &str| word.len() > 11 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let named = |piece: &str| match piece.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()) {
        id if id.len() == 64 && hex(id) => piece.replace(id, "ID"),
        id if id.len() == 12 && hex(id) => piece.replace(id, "id"),
        _ => piece.to_owned(),
    };
    let word = |word: &str| {
        word.split_inclusive(|c: char| !c.is_ascii_alphanumeric()).map(named).collect::<String>()
    };
    let line = |line: &str| line.split_whitespace().map(word).collect::<Vec<_>>().join(" ");
    text.trim().lines().map(line).collect::<Vec<_>>().join("\n")
}

fn is_shown(wanted: &str, shown: &str) -> bool {
    let pattern = regex::escape(&plain(wanted)).replace(r"\*", "[^\n]*");
    regex::Regex::new(&format!("^{pattern}$")).unwrap().is_match(&plain(shown))
}

fn follow(sandbox: &Sandbox, examples: &[Example]) {
    let mut wrong = Vec::new();
    for Example(line, code, wanted) in examples {
        let outcome = type_in(sandbox, line);
        if outcome.exit_code() != *code || !is_shown(wanted, &outcome.stdout) {
            wrong.push(format!("{outcome}\n--- wanted, with exit code {code}\n{}", plain(wanted)));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), examples.len(), wrong.join("\n"));
}

fn both(examples: &[Example]) -> Result<(), Missing> {
    for sandbox in Sandbox::both()? {
        alias(&sandbox);
        follow(&sandbox, examples);
    }
    Ok(())
}

#[test]
fn patterns_mean_what_they_say() {
    let id = "0123456789abcdef".repeat(4);
    assert!(is_shown("ID  busybox Up * seconds", &format!("{id} busybox   Up 3 seconds\n")));
    assert!(is_shown(
        "container create ID (image=*, name=c)",
        &format!("container create {id} (image=x, name=c)")
    ));
    assert!(!is_shown("id", &id));
    assert!(!is_shown("one\ntwo", "one\nthree\ntwo"));
    assert!(!is_shown("o*e", "one\ntwo\nthree"));
}

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

/// container_run.md and docs/reference/run.md.
#[test]
fn run() {
    require!(both(&[
        Example(
            "docker run --cidfile docker_test.cid ubuntu echo test; wc -c < docker_test.cid",
            0,
            "test\n64"
        ),
        Example(
            "docker run --cidfile docker_test.cid ubuntu echo test",
            125,
            "Error: container ID file found, make sure *docker_test.cid"
        ),
        Example("docker run --rm -w /path/to/dir/ ubuntu pwd", 0, "/path/to/dir"),
        Example("docker run --rm ubuntu mount -t tmpfs none /tmp", 1, "mount: permission denied*"),
        Example("docker run --rm -v $(pwd):$(pwd) -w $(pwd)/x ubuntu pwd", 0, "*/work/x"),
        Example("mkdir content; docker run --rm -v ./content:/content -w /content ubuntu pwd", 0, "/content"),
        Example("docker run --rm --read-only -v /icanwrite busybox touch /icanwrite/here", 0, ""),
        Example("docker run --rm --read-only busybox touch /here", 1, "touch: /here: Read-only file system"),
        Example(
            "docker run --rm --read-only --mount type=volume,target=/icanwrite busybox touch /icanwrite/here",
            0,
            ""
        ),
        Example(
            "docker run --rm --tmpfs /run:rw,noexec,nosuid,size=65536k busybox sh -c 'mount | grep \" /run \"'",
            0,
            "tmpfs on /run type tmpfs (rw,*noexec,*size=65536k*)"
        ),
        Example("docker run --pull=never hello-world", 125, "Error: *hello-world*\nhint: *"),
        Example(
            "docker run --rm --env VAR1=value1 --env VAR2=value2 ubuntu env | grep VAR",
            0,
            "VAR1=value1\nVAR2=value2"
        ),
        Example(
            "export VAR1=value1 VAR2=value2; docker run --rm --env VAR1 --env VAR2 ubuntu env | grep VAR",
            0,
            "VAR1=value1\nVAR2=value2"
        ),
        Example(
            "printf '# This is a comment\\nVAR1=value1\\nVAR2=value2\\nWHO\\n' > env.list; \
             WHO=jonzeolla docker run --rm --env-file env.list ubuntu env | grep -E 'VAR|WHO'",
            0,
            "VAR1=value1\nVAR2=value2\nWHO=jonzeolla",
        ),
        Example("docker run --name l -l my-label --label com.example.foo=bar ubuntu true", 0, ""),
        Example(
            "docker inspect -f '{{json .Config.Labels}}' l",
            0,
            r#"{"com.example.foo":"bar","my-label":""}"#
        ),
        Example("docker create -v /data --name data ubuntu", 0, "ID"),
        Example(
            "docker run --rm --volumes-from data ubuntu ls -lad /data",
            0,
            "drwxr-xr-x 2 root root * /data"
        ),
        Example("docker rm -v data", 0, "data"),
        Example(
            "docker run --rm --device=/dev/zero:/dev/foobar ubuntu sh -c 'head -c 3 /dev/foobar | wc -c'",
            0,
            "3"
        ),
        Example("echo test | docker run -i -a stdin --name as ubuntu cat -", 0, "ID"),
        Example("docker wait as; docker logs as", 0, "0\ntest"),
        Example("docker run -a stderr ubuntu echo test", 0, ""),
        Example("echo hello | docker run --rm -i busybox cat", 0, "hello"),
        Example(
            "docker run --rm -i busybox echo 'foo bar baz' | docker run --rm -i busybox awk '{ print $2 }' | \
             docker run --rm -i busybox rev",
            0,
            "rab",
        ),
        Example("docker run --rm --restart=always busybox true", 125, "Error: *--rm*"),
        Example(
            "docker run --rm --add-host=my-hostname=8.8.8.8 alpine grep my-hostname /etc/hosts",
            0,
            "8.8.8.8 my-hostname"
        ),
        Example(
            "docker run --rm --add-host my-hostname=[2001:db8::33] alpine grep my-hostname /etc/hosts",
            0,
            "2001:db8::33 my-hostname"
        ),
        Example("docker run --log-driver=none --name nolog busybox echo x", 0, "x"),
        Example("docker logs nolog", 1, "Error: *does not support reading*"),
        Example("docker run --ulimit nofile=1024:1024 --rm alpine sh -c 'ulimit -n'", 0, "1024"),
        Example(
            "docker run --rm --security-opt no-new-privileges ubuntu grep NoNewPrivs /proc/self/status",
            0,
            "NoNewPrivs: 1"
        ),
        Example("docker run --rm --isolation default busybox echo top", 0, "top"),
        Example("docker run --rm --group-add 777 busybox id -G", 0, "*777*"),
        Example(
            "docker run --rm --cap-drop=ALL busybox grep CapEff /proc/self/status",
            0,
            "CapEff: 0000000000000000"
        ),
        Example("docker run --rm --entrypoint /bin/sh redis -c 'echo $0'", 0, "/bin/sh"),
        Example("docker run --rm --entrypoint= redis echo hello", 0, "hello"),
        Example(
            "today=Wednesday docker run -e deep=purple -e today --rm alpine env | grep -E 'deep|today'",
            0,
            "deep=purple\ntoday=Wednesday"
        ),
        Example("docker run --foo busybox", 125, "Error: unknown flag: --foo\nhint: *"),
        Example("docker run --rm busybox /etc", 126, "Error: *"),
        Example("docker run --rm busybox foo", 127, "Error: *foo*"),
        Example("docker run --rm busybox /bin/sh -c 'exit 3'", 3, ""),
        Example(
            "docker run --rm --uts=host --hostname foo busybox hostname",
            125,
            "Error: conflicting options: hostname and the UTS mode"
        ),
        Example("docker run --rm -m 1k busybox true", 125, "Error: *minimum memory limit allowed is 6MB"),
        Example("docker run --name test -d --rm busybox sleep 100; docker rm -f test", 0, "ID\ntest"),
        Example(
            "docker run --rm --mount source=my_volume,target=/foo busybox sh -c 'echo hello, volume! > /foo/hello.txt'",
            0,
            ""
        ),
        Example(
            "docker run --rm --mount source=my_volume,target=/bar busybox cat /bar/hello.txt",
            0,
            "hello, volume!"
        ),
        Example(
            "docker run --rm --mount type=bind,source=.,target=/foo busybox cat /foo/env.list",
            0,
            "# This*\nVAR1=value1\nVAR2=value2\nWHO"
        ),
        Example(
            "docker run --rm --mount type=bind,source=$PWD/made,target=/foo,bind-create-src busybox true; ls -d made",
            0,
            "made"
        ),
    ]));
}

/// volume_create.md to volume_rm.md.
#[test]
fn volumes() {
    require!(both(&[
        Example("docker volume create hello", 0, "hello"),
        Example("docker volume create hello", 0, "hello"),
        Example("docker run -d -v hello:/world busybox ls /world", 0, "ID"),
        Example(
            "docker volume create --driver fake --opt tardis=blue --opt timey=wimey foo",
            1,
            "Error: *fake*"
        ),
        Example(
            "docker volume create --driver local --opt type=tmpfs --opt device=tmpfs --opt o=size=100m,uid=1000 foo",
            0,
            "foo",
        ),
        Example(
            "docker run --rm -v foo:/x busybox sh -c 'mount | grep /x; stat -c %u /x'",
            0,
            "tmpfs on /x type tmpfs (*size=102400k*)\n1000"
        ),
        Example(
            "docker volume create --opt type=nfs --opt o=addr=192.168.1.1,rw --opt device=:/path/to/dir bar",
            0,
            "bar"
        ),
        Example("docker volume inspect --format '{{ .Mountpoint }}' hello", 0, "*/volumes/hello/_data"),
        Example(
            "docker volume inspect --format '{{json .Options}} {{.Driver}} {{.Scope}}' bar",
            0,
            r#"{"device":":/path/to/dir","o":"addr=192.168.1.1,rw","type":"nfs"} local local"#
        ),
        Example("docker volume rm foo bar", 0, "foo\nbar"),
        Example("docker volume create rosemary; docker volume create tyler", 0, "rosemary\ntyler"),
        Example("docker volume ls", 0, "DRIVER VOLUME NAME\nlocal hello\nlocal rosemary\nlocal tyler"),
        Example("docker run -d -v tyler:/tmpwork busybox", 0, "ID"),
        Example("docker volume ls -f dangling=true", 0, "DRIVER VOLUME NAME\nlocal rosemary"),
        Example("docker volume ls -qf driver=local", 0, "hello\nrosemary\ntyler"),
        Example("docker volume create the-doctor --label is-timelord=yes", 0, "the-doctor"),
        Example("docker volume create daleks --label is-timelord=no", 0, "daleks"),
        Example(
            "docker volume ls --filter label=is-timelord",
            0,
            "DRIVER VOLUME NAME\nlocal daleks\nlocal the-doctor"
        ),
        Example("docker volume ls --filter label=is-timelord=yes", 0, "DRIVER VOLUME NAME\nlocal the-doctor"),
        Example(
            "docker volume ls --filter label=is-timelord=yes --filter label=is-timelord=no",
            0,
            "DRIVER VOLUME NAME"
        ),
        Example("docker volume ls -f name=rose", 0, "DRIVER VOLUME NAME\nlocal rosemary"),
        Example("docker volume ls --format '{{.Name}}: {{.Driver}}' -f name=ro", 0, "rosemary: local"),
        Example(
            "docker volume ls --format '{{json .}}' -f name=rose",
            0,
            r#"{"Name":"rosemary","Driver":"local","Scope":"local","Mountpoint":"*/volumes/rosemary/_data","Labels":"","Links":"N/A","Size":"N/A",*}"#,
        ),
        Example("docker volume rm tyler", 1, "Error: volume tyler is in use *\nhint: *"),
        Example("docker create -v /anonymous busybox", 0, "ID"),
        Example("docker rm $(docker ps -lq)", 0, "id"),
        Example(
            "echo y | docker volume prune",
            0,
            "WARNING! This will remove anonymous local volumes not used by at least one container.\n\
             Are you sure you want to continue? [y/N] Deleted Volumes:\nID\n\nTotal reclaimed space: 0B",
        ),
        Example(
            "docker volume prune -af --filter label=is-timelord=no",
            0,
            "Deleted Volumes:\ndaleks\n\nTotal reclaimed space: 0B"
        ),
        Example(
            "docker volume prune -af --filter label!=is-timelord",
            0,
            "Deleted Volumes:\nrosemary\n\nTotal reclaimed space: 0B"
        ),
    ]));
}

/// system_df.md, system_events.md, system_prune.md, context_*.md, inspect.md, version.md.
#[test]
fn the_system() {
    require!(both(&[
        Example("docker run -d --name up -v vol:/v busybox top", 0, "ID"),
        Example("docker run --name down busybox sh -c 'echo 12345 > /file'", 0, ""),
        Example(
            "docker system df | sed '/Build/d'",
            0,
            "TYPE TOTAL ACTIVE SIZE RECLAIMABLE\nImages 1 1 *MB 0B (0%)\nContainers 2 1 *B *B (*%)\nLocal Volumes 1 1 0B 0B",
        ),
        Example(
            "docker system df -v",
            0,
            "Images space usage:\n\nREPOSITORY TAG IMAGE ID CREATED SIZE SHARED SIZE UNIQUE SIZE CONTAINERS\n* * id * 2\n\n\
             Containers space usage:\n\nCONTAINER ID IMAGE COMMAND LOCAL VOLUMES SIZE CREATED STATUS NAMES\n\
             id * \"*\" * ago * *\nid * \"*\" * ago * *\n\n\
             Local Volumes space usage:\n\nVOLUME NAME LINKS SIZE\nvol 1 0B\n\nBuild cache usage: 0B",
        ),
        Example("docker system df -v | grep -c 'Exited (0) .* ago'", 0, "1"),
        Example(
            "docker system df --format '{{.Type}}: {{.TotalCount}}' | head -n 3",
            0,
            "Images: 1\nContainers: 2\nLocal Volumes: 1"
        ),
        Example(
            "docker events --since 1h --until 0s --filter container=down --filter type=container",
            0,
            "*T* container create ID (image=*, name=down)\n*T* container attach ID (image=*, name=down)\n\
             *T* container start ID (image=*, name=down)\n*T* container die ID (exitCode=0, image=*, name=down)",
        ),
        Example(
            "docker stop -t 0 up; docker events --since 1h --until 0s --filter container=up --format '{{.Status}}'",
            0,
            "up\ncreate\nstart\nkill\ndie\nstop"
        ),
        Example(
            "docker events --since 1h --until 0s --filter image=busybox --filter event=create | grep -c 'container create'",
            0,
            "2"
        ),
        Example("docker events --since 1h --until 0s --filter image=alpine --filter type=container", 0, ""),
        Example(
            "docker events --since 1h --until 0s --filter event=kill",
            0,
            "*T*Z container kill ID (image=*, name=up, signal=9)"
        ),
        Example(
            "TZ=JST-9 docker events --since 1h --until 0s --filter event=kill",
            0,
            "*T*+09:00 container kill ID *"
        ),
        Example(
            "docker events --since 1h --until 0s --filter type=volume",
            0,
            "*T* volume create vol (driver=local*)\n\
             *T* volume mount vol (container=ID, destination=/v, driver=local,* read/write=true)\n\
             *T* volume unmount vol (container=ID, driver=local*)",
        ),
        Example(
            "docker events --since 1h --until 0s -f scope=swarm; docker events --since 1h --until 0s -f type=plugin",
            0,
            ""
        ),
        Example(
            "docker events --since 1h --until 0s -f scope=local -f event=die -f container=down | wc -l",
            0,
            "1"
        ),
        Example(
            "echo n | docker system prune",
            0,
            "WARNING! This will remove:\n- all stopped containers\n- all networks not used by at least one container\n\
             - all dangling images\n\nAre you sure you want to continue? [y/N] ",
        ),
        Example("docker system prune -f --filter label=nothing", 0, "Total reclaimed space: 0B"),
        Example("docker inspect --type=volume --format '{{.Name}}' vol", 0, "vol"),
        Example("docker inspect --type=container vol", 1, "[]\nError: no such container: vol"),
        Example("docker inspect --size -f '{{ .SizeRw }}' down", 0, "*"),
        Example("docker inspect -f '{{.Config.Image}}' down", 0, "docker.io/library/busybox:latest"),
        Example("docker inspect -f '{{json .Config.Cmd}}' down", 0, r#"["sh","-c","echo 12345 > /file"]"#),
        Example("docker context ls", 0, "NAME DESCRIPTION DOCKER ENDPOINT ERROR\ndefault * *",),
        Example("docker context show; docker context use default", 0, "default\ndefault"),
        Example(
            "docker --context default ps -aq | wc -l; DOCKER_CONTEXT=default docker ps -q | wc -l",
            0,
            "2\n0"
        ),
        Example(
            "docker context create --docker host=unix:///var/run/docker.sock my-context",
            1,
            "Error: *\nhint: *"
        ),
        Example("docker --context my-context ps", 1, "Error: *\nhint: *"),
        Example("docker version --format '{{.Server.Version}} {{.Client.APIVersion}}'", 0, "* 1.*"),
        Example("docker version --format '{{json .}}'", 0, "{\"Client\":*"),
    ]));
}

/// image_history.md to image_tag.md.
#[test]
fn images() {
    require!(both(&[
        Example(
            "docker images --format '{{.Repository}} {{.Tag}}' ubuntu | sort",
            0,
            "docker.io/library/ubuntu 24.04\ndocker.io/library/ubuntu latest"
        ),
        Example("docker images -q ubuntu:24.04", 0, "id"),
        Example("docker images ubuntu:0", 0, "REPOSITORY TAG IMAGE ID CREATED SIZE"),
        Example("docker images --filter=reference='alp*:3*' --format '{{.Tag}}'", 0, "3.3"),
        Example("docker create --name c busybox", 0, "ID"),
        Example("docker commit c", 0, "ID"),
        Example(
            "docker images --filter dangling=true --format '{{.Repository}} {{.Tag}}'",
            0,
            "<none> <none>"
        ),
        Example("docker rmi $(docker images -f dangling=true -q)", 0, "Deleted: *"),
        Example("docker rm c", 0, "c"),
        Example("docker tag alpine fedora/httpd:version1.0", 0, ""),
        Example(
            "docker tag $(docker images -q alpine:latest) myregistryhost:5000/fedora/httpd:version1.0",
            0,
            ""
        ),
        Example("docker images --format {{.Tag}} fedora/httpd", 0, "version1.0\nversion1.0"),
        Example(
            "docker rmi myregistryhost:5000/fedora/httpd:version1.0",
            0,
            "Untagged: myregistryhost:5000/fedora/httpd:version1.0"
        ),
        Example(
            "docker rmi $(docker images -q alpine:latest)",
            1,
            "Error: unable to delete image id (must be forced) - *"
        ),
        Example(
            "docker save busybox > busybox.tar; docker save --output busybox2.tar busybox; ls busybox*.tar",
            0,
            "busybox.tar\nbusybox2.tar"
        ),
        Example(
            "docker save busybox | gzip > busybox.tar.gz; docker load -q -i busybox.tar.gz",
            0,
            "Loaded image: busybox:latest"
        ),
        Example("docker create --name c busybox; docker export c > root.tar", 0, "ID"),
        Example("cat root.tar | docker import - exampleimagelocal:new", 0, "sha256:ID"),
        Example(
            "docker import --change 'ENV DEBUG=true' --change 'LABEL LABEL1=hello' --change 'LABEL LABEL2=world' root.tar exampleimagedir",
            0,
            "sha256:ID"
        ),
        Example(
            "docker inspect -f '{{json .Config.Env}} {{json .Config.Labels}}' exampleimagedir",
            0,
            r#"["DEBUG=true"] {"LABEL1":"hello","LABEL2":"world"}"#
        ),
        Example(
            "docker import --message 'New image imported from tarball' root.tar exampleimagelocal:new",
            0,
            "sha256:ID"
        ),
        Example(
            "docker image history exampleimagelocal:new",
            0,
            "IMAGE CREATED CREATED BY SIZE COMMENT\nid * ago *B New image imported from tarball"
        ),
        Example("docker history --format '{{.ID}}: {{.CreatedSince}}' exampleimagedir", 0, "id: * ago"),
        Example("docker import --platform=linux/arm64 root.tar imported:latest", 0, "sha256:ID"),
        Example(
            "docker image inspect --format '{{.Os}}/{{.Architecture}}' imported:latest",
            0,
            "linux/arm64"
        ),
        Example(
            "docker image prune -a --force --filter until=2017-01-04T00:00:00",
            0,
            "Total reclaimed space: 0B"
        ),
        Example("docker logout localhost:8080", 0, "Not logged in to localhost:8080"),
    ]));
}

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
