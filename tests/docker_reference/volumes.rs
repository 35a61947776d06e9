//! Of the pages volume_*.md.

use super::{Example, both};
use crate::support::require;

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
