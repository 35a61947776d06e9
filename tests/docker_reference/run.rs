//! Of container_run.md and docs/reference/run.md.

use super::{Example, both};
use crate::support::require;

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
        Example(
            "docker run --rm -v $(pwd):$(pwd) -w $(pwd)/x ubuntu pwd | sed \"s,^$(pwd)/,HERE/,\"",
            0,
            "HERE/x"
        ),
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
