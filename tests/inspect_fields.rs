//! inspect, image inspect, ps, images, version and info beside podman's and docker's own: every field of theirs is in
//! ours, with the same type, and with the same value where the same request decides it. What differs on purpose stands
//! in the tables, each with its reason.

use crate::support::{Cmd, Docker, Missing, Sandbox, require};
use serde_json::Value;

/// How a field may differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum How {
    /// It may be missing.
    Absent,
    /// It may be of another type.
    Type,
    /// It has the same type and a value of its own; so has everything below it.
    Own,
}
use How::{Absent, Own, Type};

/// Path of the field (`*`: any one name, a final `**`: everything below), how it differs, and why.
pub type Difference = (&'static str, How, &'static str);

const ID: &str = "every engine gives its own";
const MOMENT: &str = "when it happened";
const PLACE: &str = "every engine has its own directories";
const PROCESS: &str = "another process";

/// Of a container, from both of them.
const CONTAINER: &[Difference] = &[
    ("Id", Own, ID),
    ("Created", Own, MOMENT),
    ("State.StartedAt", Own, MOMENT),
    ("State.FinishedAt", Own, MOMENT),
    ("State.Pid", Own, PROCESS),
    ("SizeRw", Own, "what each writes into a container by itself"),
    ("SizeRootFs", Own, "podman counts the archives in an image, the files in a container"),
    ("ResolvConfPath", Own, PLACE),
    ("HostnamePath", Own, PLACE),
    ("HostsPath", Own, PLACE),
    ("LogPath", Own, PLACE),
    ("GraphDriver.Data.*", Own, PLACE),
    ("Mounts.*.Name", Own, ID),
    ("Mounts.*.Source", Own, PLACE),
    ("Config.Hostname", Own, "the short ID unless given"),
    ("NetworkSettings.SandboxKey", Own, PROCESS),
];

const PODMAN_CONTAINER: &[Difference] = &[
    ("Config.HealthcheckMaxLogSize", Own, "docker's: 4096 bytes of a result are kept"),
    ("Path", Own, "docker's: what was asked for, not the init program in front of it"),
    ("Args", Own, "docker's: what was asked for, not the init program in front of it"),
    ("State.OciVersion", Own, "what the OCI runtime's configuration is written for"),
    ("State.ConmonPid", Own, PROCESS),
    ("State.CgroupPath", Own, "below /coracle, not /libpod_parent"),
    ("State.Health.Status", Own, "podman 4 shows an empty one where there is no check"),
    ("State.Health", Absent, "podman 4 shows an empty one where there is no check"),
    ("StaticDir", Own, PLACE),
    ("OCIConfigPath", Own, PLACE),
    ("ConmonPidFile", Own, "only where asked for: the record has the process"),
    ("PidFile", Own, PLACE),
    ("BoundingCaps", Own, "podman 4 has further defaults: AUDIT_WRITE, MKNOD, NET_RAW"),
    ("EffectiveCaps", Own, "podman 4 has further defaults: AUDIT_WRITE, MKNOD, NET_RAW"),
    ("Mounts.*.Mode", Own, "docker's: what was given; podman leaves it empty"),
    ("Mounts.*.Options", Own, "podman's volumes have nodev, exec, nosuid among them"),
    ("lockNumber", Own, "there is no table of locks"),
    ("Config.Env", Own, "docker's: what was given and what the image says, not what every container gets"),
    ("Config.Entrypoint", Type, "podman 4 has a string, podman 5 and docker a list"),
    ("Config.StopSignal", Type, "podman 4 has a number, podman 5 and docker a name"),
    ("Config.Annotations.*", Absent, "podman's notes to itself"),
    ("HostConfig.Annotations.*", Absent, "podman's notes to itself"),
    ("Config.Healthcheck.Timeout", Absent, "the image says none; podman fills in its default"),
    ("Config.CreateCommand", Own, "another command line"),
    ("HostConfig.Binds", Own, "podman's volumes have nodev, exec, nosuid among the options"),
    ("HostConfig.LogConfig.Path", Own, PLACE),
    ("HostConfig.RestartPolicy.Name", Own, "podman 4 writes an empty one, podman 5 and docker \"no\""),
    ("HostConfig.CapAdd", Own, "as given; podman works them out from its defaults"),
    ("HostConfig.CapDrop", Own, "as given; podman works them out from its defaults"),
    ("HostConfig.IpcMode", Own, "podman 4 says shareable of privileged containers, whatever they share"),
    ("HostConfig.MemorySwappiness", Own, "podman 4 writes 0, podman 5 -1: nothing was asked for"),
    ("HostConfig.ShmSize", Own, "podman shows 64000 KiB where it mounts 65536"),
    ("HostConfig.Runtime", Own, "docker's: the runtime's name"),
    ("HostConfig.Ulimits", Own, "as given; podman adds its defaults"),
    ("HostConfig.PidsLimit", Own, "podman's default is 2048 everywhere"),
    ("HostConfig.SecurityOpt", Own, "podman does not show no-new-privileges"),
    ("HostConfig.Tmpfs.*", Own, "podman adds the options it mounts with"),
    ("HostConfig.Tmpfs.*", Absent, "as given; podman adds those of a read-only container"),
    ("HostConfig.Devices", Own, "podman leaves the permissions empty"),
    ("HostConfig.GroupAdd", Own, "podman does not show groups given by number"),
    ("HostConfig.LogConfig.Size", Own, "podman rounds in another way"),
    ("NetworkSettings.Ports", Own, "podman 4 does not show ports that are only exposed"),
];

const DOCKER_CONTAINER: &[Difference] = &[
    ("Image", Own, "podman's: the ID without sha256:"),
    ("Name", Own, "podman's: without a slash in front"),
    ("Driver", Own, "the daemon of the test uses vfs"),
    ("GraphDriver.Name", Own, "the daemon of the test uses vfs"),
    ("Mounts.*.Propagation", Own, "podman's: volumes have one, too"),
    ("Config.Image", Own, "podman's: the whole name"),
    ("Config.Env", Own, "docker adds its PATH"),
    ("Config.WorkingDir", Own, "podman's: / where nothing was said"),
    ("Config.AttachStdin", Own, "podman's: never; who attaches is no property of the container"),
    ("Config.AttachStdout", Own, "podman's: never; who attaches is no property of the container"),
    ("Config.AttachStderr", Own, "podman's: never; who attaches is no property of the container"),
    ("Config.StdinOnce", Own, "podman's: never; who attaches is no property of the container"),
    ("HostConfig.LogConfig.Type", Own, "conmon writes k8s-file; json-file is an alias for it"),
    ("HostConfig.LogConfig.Config.*", Absent, "podman's: max-size stands in Size"),
    ("HostConfig.Binds", Own, "podman's: every mount, with all its options"),
    ("HostConfig.Mounts", Absent, "podman's: every mount stands in Binds"),
    ("HostConfig.Tmpfs.*", Own, "podman's: the options that are mounted with"),
    ("HostConfig.SecurityOpt", Own, "podman's: as given; docker adds label=disable to some"),
    ("HostConfig.IpcMode", Own, "podman's: shareable by default"),
    ("HostConfig.PidMode", Own, "podman's: private by default, not empty"),
    ("HostConfig.UTSMode", Own, "podman's: private by default, not empty"),
    ("HostConfig.Runtime", Own, "the runtime that runs it"),
    ("HostConfig.PidsLimit", Own, "podman's default is 2048"),
    ("HostConfig.Ulimits", Own, "podman's: names as RLIMIT_NOFILE"),
    ("HostConfig.CapAdd", Own, "podman's: names with CAP_"),
    ("HostConfig.CapDrop", Own, "podman's: names with CAP_"),
    ("HostConfig.MaskedPaths", Own, "podman's list"),
    ("HostConfig.ReadonlyPaths", Own, "podman's list"),
    ("HostConfig.CgroupParent", Own, "the daemon of the test has one for all"),
    ("NetworkSettings.SandboxID", Own, ID),
    ("NetworkSettings.Ports", Own, "docker 20 does not show ports of a container without a network"),
    ("NetworkSettings.Networks.*.NetworkID", Own, ID),
    ("NetworkSettings.Networks.*.EndpointID", Own, ID),
];

const PODMAN_IMAGE: &[Difference] = &[("GraphDriver.Data.*", Own, PLACE)];

const DOCKER_IMAGE: &[Difference] = &[
    ("Id", Own, "podman's: without sha256:"),
    ("RepoTags", Own, "podman's: whole names"),
    ("RepoDigests", Own, "podman's: an image that was loaded has one, too"),
    ("Size", Own, "podman's: the archives' size, not the files'"),
    ("VirtualSize", Own, "podman's: the archives' size, not the files'"),
    ("GraphDriver.Name", Own, "the daemon of the test uses vfs"),
    ("GraphDriver.Data.*", Own, PLACE),
    ("Metadata.LastTagTime", Own, MOMENT),
    ("Container", Absent, "gone from docker 26: the container an image was committed from"),
    ("ContainerConfig", Absent, "gone from docker 26: the configuration of that container"),
    ("Config.Hostname", Absent, "gone from docker 29: a container's, empty in images"),
    ("Config.Domainname", Absent, "gone from docker 29: a container's, empty in images"),
    ("Config.AttachStdin", Absent, "gone from docker 29: a container's, empty in images"),
    ("Config.AttachStdout", Absent, "gone from docker 29: a container's, empty in images"),
    ("Config.AttachStderr", Absent, "gone from docker 29: a container's, empty in images"),
    ("Config.Tty", Absent, "gone from docker 29: a container's, empty in images"),
    ("Config.OpenStdin", Absent, "gone from docker 29: a container's, empty in images"),
    ("Config.StdinOnce", Absent, "gone from docker 29: a container's, empty in images"),
    ("Config.Image", Absent, "gone from docker 29: a container's, empty in images"),
];

const PODMAN_PS: &[Difference] = &[
    ("*.Id", Own, ID),
    ("*.Created", Own, MOMENT),
    ("*.CreatedAt", Own, MOMENT),
    ("*.StartedAt", Own, MOMENT),
    ("*.ExitedAt", Own, MOMENT),
    ("*.Status", Own, MOMENT),
    ("*.Pid", Own, PROCESS),
    ("*.Networks", Own, "docker's: a container without a network is on \"none\""),
    ("*.Command", Own, "podman shows the arguments behind the image only"),
    ("*.Mounts", Own, "in the order they were given"),
    ("*.ExposedPorts", Own, "podman 4 has no such field"),
];

const DOCKER_PS: &[Difference] = &[
    ("*.ID", Own, ID),
    ("*.CreatedAt", Own, MOMENT),
    ("*.RunningFor", Own, MOMENT),
    ("*.Status", Own, MOMENT),
    ("*.Image", Own, "podman's: the whole name"),
    ("*.Command", Own, "podman's: without quotes around it"),
    ("*.Mounts", Own, "podman's: where they are inside"),
    ("*.Size", Own, "docker's file system counts otherwise"),
    ("*.Labels", Own, "sorted; docker writes them in any order"),
    ("*.Ports", Own, "docker does not show ports of a container without a network"),
];

const PODMAN_IMAGES: &[Difference] = &[];

const DOCKER_IMAGES: &[Difference] = &[
    ("*.Repository", Own, "podman's: the whole name"),
    ("*.Size", Own, "podman's: the archives' size, with a space before the unit"),
    ("*.VirtualSize", Own, "podman's: the archives' size, with a space before the unit"),
    ("*.Digest", Own, "podman's: an image that was loaded has one, too"),
    ("*.Containers", Own, "podman's: they are counted"),
];

const VERSION: &[Difference] = &[
    ("**", Own, "of another program"),
    ("Server.Components", Own, "docker's parts: containerd, docker-init"),
];

const PODMAN_INFO: &[Difference] = &[
    ("host.freeLocks", Absent, "there is no table of locks"),
    ("registries.*", Own, "podman 4 shows nothing where nothing is configured"),
    ("**", Own, "the host and the store at another moment, from another program"),
];

const DOCKER_INFO: &[Difference] = &[
    ("Runtimes.*", Absent, "containerd's names for runc"),
    ("Runtimes.*.status", Absent, "of newer docker: what the runtime says of its features"),
    ("RegistryConfig.IndexConfigs.*", Absent, "the daemon of the test has registries of its own"),
    ("DiscoveredDevices", Absent, "of CDI, which is not supported yet"),
    ("**", Own, "the host and the store at another moment, from another program"),
];

/// Everything of `theirs` that is not in `ours` and in none of the tables.
pub fn differences(theirs: &Value, ours: &Value, tables: &[&[Difference]]) -> Vec<String> {
    let rows: Vec<_> = tables.iter().flat_map(|table| table.iter().copied()).collect();
    let mut found = Vec::new();
    compare(theirs, Some(ours), &[], &rows, false, &mut found);
    found
}

fn compare(
    theirs: &Value,
    ours: Option<&Value>,
    path: &[&str],
    rows: &[Difference],
    own: bool,
    found: &mut Vec<String>,
) {
    let allowed = |how: How| rows.iter().any(|(pattern, is, _)| *is == how && matches(pattern, path));
    let Some(ours) = ours else {
        if !allowed(Absent) {
            found.push(format!("{} is missing: {theirs}", path.join(".")));
        }
        return;
    };
    let own = own || allowed(Own);
    let shown = path.join(".");
    match (theirs, ours) {
        // Go's nil: of whatever type.
        (Value::Null, _) => {}
        (theirs, Value::Null) if is_empty(theirs) => {}
        (Value::Object(theirs), Value::Object(ours)) => {
            for (key, theirs) in theirs {
                compare(theirs, ours.get(key), &[path, &[key.as_str()]].concat(), rows, own, found);
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            if theirs.len() != ours.len() && !own {
                found.push(format!("{shown} has {} elements, not {}", ours.len(), theirs.len()));
            }
            for (index, theirs) in theirs.iter().enumerate() {
                if let Some(ours) = partner(theirs, index, ours) {
                    let place = index.to_string();
                    compare(theirs, Some(ours), &[path, &[place.as_str()]].concat(), rows, own, found);
                }
            }
        }
        _ if kind(theirs) != kind(ours) => {
            if !allowed(Type) {
                found.push(format!("{shown} is {ours}, which is no {}: {theirs}", kind(theirs)));
            }
        }
        _ if theirs == ours || own || allowed(Type) => {}
        _ => found.push(format!("{shown} is {ours}, not {theirs}")),
    }
}

/// The element that tells of the same thing, by what names it; else the one in the same place.
fn partner<'a>(theirs: &Value, index: usize, ours: &'a [Value]) -> Option<&'a Value> {
    for key in ["Destination", "Names", "Repository"] {
        if let Some(name) = theirs.get(key).filter(|name| !name.is_null()) {
            return ours.iter().find(|ours| last_name(&ours[key]) == last_name(name));
        }
    }
    ours.get(index)
}

/// `busybox` of `docker.io/lab/busybox`, of a list's first element.
fn last_name(name: &Value) -> Option<&str> {
    let name = name.get(0).unwrap_or(name).as_str()?;
    name.rsplit('/').next()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => value.is_null(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

fn matches(pattern: &str, path: &[&str]) -> bool {
    let mut pattern = pattern.split('.');
    for part in path {
        match pattern.next() {
            Some("**") => return true,
            Some("*") => {}
            Some(one) if one == *part => {}
            _ => return false,
        }
    }
    pattern.next().is_none()
}

/// What was found in several documents; fails at its end.
#[derive(Default)]
pub struct Report(Vec<String>);

impl Report {
    pub fn add(&mut self, what: &str, found: Vec<String>) {
        self.0.extend(found.into_iter().map(|one| format!("{what}: {one}")));
    }

    #[track_caller]
    pub fn finish(self) {
        assert!(self.0.is_empty(), "\n{}", self.0.join("\n"));
    }
}

/// What all of them understand.
struct Given {
    name: &'static str,
    /// run or create: here nobody may have all the capabilities there are, which docker insists on.
    verb: &'static str,
    flags: &'static str,
    image: &'static str,
    words: &'static [&'static str],
}

const GIVEN: &[Given] = &[
    given("plain", "-d --network none"),
    Given { words: &["sh", "-c", "exit 3"], ..given("ended", "--network none") },
    given(
        "process",
        "-d --network none -e A=b --env C=d=e --label l=v --user 1000:10 --workdir /tmp --group-add 29 --read-only --init
         --stop-signal SIGINT --stop-timeout 3 -i -t --cap-add NET_ADMIN --cap-drop MKNOD
         --security-opt no-new-privileges --hostname lab.example --expose 99 --expose 53/udp",
    ),
    given(
        "limits",
        "-d --network none --memory 64m --memory-reservation 32m --cpu-shares 512 --cpuset-cpus 0 --cpu-period 50000
         --cpu-quota 25000 --pids-limit 50 --oom-score-adj 100 --shm-size 8m",
    ),
    given(
        "host",
        "-d --network none -v SHARED:/mnt/a:ro -v SHARED:/mnt/b --mount type=bind,source=SHARED,target=/mnt/c
         --tmpfs /mnt/t --device /dev/zero:/dev/lab:r --sysctl net.ipv4.ip_default_ttl=70 --pid host --uts host
         --restart on-failure:3 --log-opt max-size=1m",
    ),
    given(
        "names",
        "-d --network host --dns 9.9.9.9 --dns-search example.com --dns-option ndots:2 --add-host some:1.2.3.4",
    ),
    Given { image: "lab/config", words: &["sleep 1000"], ..given("image", "-d --network none") },
    Given { verb: "create", ..given("privileged", "--network none --privileged --ipc host --rm") },
];

const fn given(name: &'static str, flags: &'static str) -> Given {
    Given { name, verb: "run", flags, image: "lab/busybox", words: &["sleep", "1000"] }
}

impl Given {
    fn line(&self, sandbox: &Sandbox) -> Vec<String> {
        let shared = sandbox.mkdir("work/shared").display().to_string();
        let mut line = vec![self.verb.to_owned(), "--name".to_owned(), self.name.to_owned()];
        line.extend(self.flags.split_whitespace().map(|word| word.replace("SHARED", &shared)));
        line.push(self.image.to_owned());
        line.extend(self.words.iter().map(|word| (*word).to_owned()));
        line
    }

    #[track_caller]
    fn make(&self, command: Cmd) {
        command.run().code(if self.name == "ended" { 3 } else { 0 });
    }
}

/// One of ours of every kind, in a sandbox that is not shared with the other engine.
fn furnished() -> Result<Sandbox, Missing> {
    let sandbox = Sandbox::root()?;
    for image in ["lab/busybox", "lab/config"] {
        sandbox.pull(image);
    }
    for given in GIVEN {
        given.make(sandbox.coracle(given.line(&sandbox)));
    }
    Ok(sandbox)
}

#[test]
fn everything_podman_shows() {
    let ours = require!(furnished());
    let theirs = require!(Sandbox::root());
    for image in ["lab/busybox", "lab/config"] {
        theirs.registry().provide(image);
        require!(theirs.podman(["pull", "-q", image])).ok();
    }
    for given in GIVEN {
        given.make(theirs.podman(given.line(&theirs)).unwrap());
    }
    let mut report = Report::default();
    let look = |words: &[&str]| {
        let podman = theirs.podman(words.iter().copied()).unwrap().ok().json();
        (podman, ours.coracle(words.iter().copied()).ok().json())
    };
    for Given { name, .. } in GIVEN {
        let (podman, coracle) = look(&["inspect", "--size", name]);
        let found = differences(&podman[0], &coracle[0], &[CONTAINER, PODMAN_CONTAINER]);
        report.add(&format!("podman inspect {name}"), found);
    }
    for name in ["lab/busybox", "lab/config"] {
        let (podman, coracle) = look(&["image", "inspect", name]);
        let found = differences(&podman[0], &coracle[0], &[PODMAN_IMAGE]);
        report.add(&format!("podman image inspect {name}"), found);
    }
    for (words, table) in [
        (&["ps", "-a", "--format", "json"][..], PODMAN_PS),
        (&["images", "--format", "json"], PODMAN_IMAGES),
        (&["version", "--format", "json"], VERSION),
        (&["info", "--format", "json"], PODMAN_INFO),
    ] {
        let (podman, coracle) = look(words);
        report.add(&format!("podman {words:?}"), differences(&podman, &coracle, &[table]));
    }
    require!(theirs.podman(["rm", "-f", "-t", "0", "--all"])).ok();
    // With its anonymous volume.
    ours.coracle(["rm", "-f", "-v", "-t", "0", "image"]).ok();
    report.finish();
}

#[test]
fn everything_docker_shows() {
    let ours = require!(furnished());
    let docker = require!(Docker::start());
    for image in ["lab/busybox", "lab/config"] {
        docker.load(&ours, image);
    }
    for given in GIVEN {
        given.make(docker.command(given.line(&ours)));
    }
    let mut report = Report::default();
    let both = |words: &[&str]| {
        (docker.command(words.iter().copied()).ok(), ours.coracle(words.iter().copied()).ok())
    };
    for Given { name, .. } in GIVEN {
        let (theirs, coracle) = both(&["inspect", "--size", name]);
        let found = differences(&theirs.json()[0], &coracle.json()[0], &[CONTAINER, DOCKER_CONTAINER]);
        report.add(&format!("docker inspect {name}"), found);
    }
    for name in ["lab/busybox", "lab/config"] {
        let (theirs, coracle) = both(&["image", "inspect", name]);
        let found = differences(&theirs.json()[0], &coracle.json()[0], &[DOCKER_IMAGE]);
        report.add(&format!("docker image inspect {name}"), found);
    }
    // One document a line.
    let lines =
        |text: &str| Value::Array(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect());
    for (words, table) in [
        (&["ps", "-a", "--format", "{{json .}}"][..], DOCKER_PS),
        (&["images", "--format", "{{json .}}"], DOCKER_IMAGES),
    ] {
        let (theirs, coracle) = both(words);
        let found = differences(&lines(theirs.text()), &lines(coracle.text()), &[table]);
        report.add(&format!("docker {words:?}"), found);
    }
    for (words, table) in [("version", VERSION), ("info", DOCKER_INFO)] {
        let (theirs, coracle) = both(&[words, "--format", "{{json .}}"]);
        report.add(&format!("docker {words}"), differences(&theirs.json(), &coracle.json(), &[table]));
    }
    // With its anonymous volume.
    ours.coracle(["rm", "-f", "-v", "-t", "0", "image"]).ok();
    report.finish();
}

#[test]
fn the_comparison_finds_what_differs() {
    let theirs: Value =
        serde_json::json!({"a": 1, "b": {"c": "x", "d": null}, "e": [{"Destination": "/y", "m": 1}]});
    let ours = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let same =
        r#"{"a": 1, "b": {"c": "x", "d": []}, "e": [{"Destination": "/x"}, {"Destination": "/y", "m": 1}]}"#;
    assert_eq!(differences(&theirs, &ours(same), &[]), ["e has 2 elements, not 1"]);
    let other = ours(r#"{"a": "1", "b": {"c": "y"}, "e": [{"Destination": "/y", "m": 2}]}"#);
    assert_eq!(differences(&theirs, &other, &[]).len(), 4);
    let rows: &[Difference] =
        &[("a", Type, ""), ("b.c", Own, ""), ("b.*", Absent, ""), ("e.**", Own, ""), ("x", Own, "")];
    assert_eq!(differences(&theirs, &other, &[rows]), Vec::<String>::new());
}
