//! Of the pages image_*.md, and logout.md.

use super::{Example, both};
use crate::support::require;

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
