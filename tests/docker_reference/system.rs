//! Of the pages system_*.md, context_*.md, inspect.md and version.md.

use super::{Example, both};
use crate::support::require;

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
