//! The command lines of run and create, as people type them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::cmd::switches::with_values;
use crate::engine::ErrorKind;
use crate::engine::spec::{ContainerSpec, MountKind, NamespaceMode};
use clap::{CommandFactory, FromArgMatches, Parser};

/// A caller in /srv/here with two variables.
pub(super) fn environment() -> Environment {
    Environment {
        vars: [("FOO", "foo"), ("FOOD", "bread"), ("EMPTY", "")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into(),
        uid: 1000,
        gid: 1000,
        cwd: "/srv/here".into(),
        ..Environment::default()
    }
}

pub(super) fn read_nothing(path: &Path) -> Result<String> {
    match path.to_str() {
        Some("/srv/here/env") => Ok("A=1\nFOO\nMISSING\n# c\nQ=\"q\"\n".to_owned()),
        Some("/srv/here/labels") => Ok("a=1\nb\n".to_owned()),
        _ => Err(Error::not_found(format!("open {}: no such file or directory", path.display()))),
    }
}

#[derive(Debug, Parser)]
#[command(name = "run", disable_help_flag = true, args_override_self = true)]
struct Line {
    #[command(flatten)]
    create: CreateFlags,
    #[command(flatten)]
    run: RunFlags,
    #[arg(trailing_var_arg = true, required = true, value_name = "IMAGE")]
    argv: Vec<String>,
}

fn line(words: &str) -> std::result::Result<Line, clap::Error> {
    let words = shell_words::split(words).unwrap();
    let matches =
        with_values(Line::command()).try_get_matches_from(std::iter::once("run".to_owned()).chain(words))?;
    Line::from_arg_matches(&matches)
}

fn try_spec(words: &str) -> Result<ContainerSpec> {
    with_conf(&Containers::default(), words)
}

fn with_conf(conf: &Containers, words: &str) -> Result<ContainerSpec> {
    let line = line(words).unwrap_or_else(|e| panic!("{words}: {e}"));
    let env = environment();
    let inputs = Inputs { env: &env, conf, read: &read_nothing };
    let mut spec = line.create.spec(&line.argv, &inputs)?;
    line.run.apply(&line.create, &mut spec)?;
    Ok(spec)
}

fn spec(words: &str) -> ContainerSpec {
    try_spec(words).unwrap_or_else(|e| panic!("{words}: {e}"))
}

#[test]
fn the_definitions_are_consistent() {
    with_values(Line::command()).debug_assert();
}

#[test]
fn what_follows_the_image_is_the_containers() {
    let got = line("-d nginx -d --rm -v x:y --help").unwrap();
    assert!(got.run.detach && !got.create.life.rm);
    assert_eq!(got.argv, ["nginx", "-d", "--rm", "-v", "x:y", "--help"]);
    let got = spec("alpine sh -c 'echo $X -- -i' --");
    assert_eq!(got.image.requested, "alpine");
    assert_eq!(got.process.command, ["sh", "-c", "echo $X -- -i", "--"]);
    assert_eq!(spec("-- alpine -x").process.command, ["-x"]);
    assert!(line("").is_err());
    assert!(line("--bogus alpine").unwrap_err().to_string().contains("--bogus"));
    assert!(line("-Q alpine").is_err());
}

#[test]
fn switches_combine_and_take_values() {
    let got = spec("-it --rm alpine");
    assert!(got.process.terminal && got.process.open_stdin && got.remove);
    let got = line("-itd alpine").unwrap();
    assert!(got.run.detach && got.create.process.tty && got.create.process.interactive);
    assert!(!spec("--rm=false alpine").remove);
    assert!(!spec("-t=0 alpine").process.terminal);
    assert!(spec("--tty=false --tty alpine").process.terminal);
    assert!(!spec("--tty --tty=F alpine").process.terminal);
    assert!(line("--tty=maybe alpine").is_err());
    assert_eq!(line("--sig-proxy=false alpine").unwrap().run.attach.sig_proxy, Some(false));
    assert_eq!(
        line("--read-only-tmpfs=false --read-only x").unwrap().create.mounts.read_only_tmpfs,
        Some(false)
    );
    // A switch does not eat the image.
    assert_eq!(line("--privileged alpine").unwrap().argv, ["alpine"]);
    assert_eq!(line("--init --systemd alpine true").unwrap().argv, ["alpine", "true"]);
}

#[test]
fn the_last_of_a_single_flag_wins_and_lists_grow() {
    assert_eq!(spec("--name a --name b x").name, "b");
    assert_eq!(spec("-m 1g -m 2g x").resources.memory, Some(2 << 30));
    assert_eq!(spec("-e A=1 -e B=2 x").process.env, ["A=1", "B=2"]);
    assert_eq!(spec("--cap-add net_admin,SYS_TIME --cap-add kill x").security.cap_add.len(), 3);
}

#[test]
fn values_that_start_with_a_hyphen() {
    let got =
        spec("-m 1g --memory-swap -1 --cpu-quota -1 --pids-limit -1 --oom-score-adj -5 --stop-timeout -1 x");
    assert_eq!((got.resources.memory_swap, got.resources.cpu_quota), (Some(-1), Some(-1)));
    assert_eq!((got.resources.pids_limit, got.resources.oom_score_adj), (Some(-1), Some(-5)));
    assert_eq!(got.stop_timeout, Some(u32::MAX));
}

#[test]
fn h_is_the_host_name() {
    assert_eq!(spec("-h db x").hostname, "db");
    assert_eq!(spec("-hdb x").hostname, "db");
}

#[test]
fn the_environment_comes_from_the_caller_and_from_files() {
    let got = spec("--env-file env -e FOO -e 'FOO*' -e EMPTY -e A=2 -e MISSING -e X= x").process;
    assert_eq!(
        got.env,
        ["A=1", "FOO=foo", "Q=\"q\"", "FOO=foo", "FOO=foo", "FOOD=bread", "EMPTY=", "A=2", "X="]
    );
    assert_eq!(got.unset_env, ["MISSING"]);
    assert_eq!(spec("--env-host -e A=1 x").process.env.len(), 4);
    assert!(try_spec("-e =x y").is_err());
    assert_eq!(try_spec("--env-file nope x").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn labels_of_files_and_of_the_command_line() {
    let got = spec("--label-file labels -l a=2 --label c --annotation k=v x");
    let labels: Vec<_> = got.labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(labels, ["a=2", "b=", "c="]);
    assert_eq!(got.annotations["k"], "v");
    assert!(try_spec("-l =x y").is_err());
}

#[test]
fn a_long_line() {
    let got = spec(
        "-d --name web --restart=on-failure:3 --user 1000:100 -w /srv --entrypoint '[\"/a\",\"b\"]' \
         -v ./data:/data:ro --mount type=tmpfs,dst=/t --tmpfs /u:size=1m -v /anon --read-only --network none \
         --pid host --ipc none --cpus 1.5 -c 512 --security-opt no-new-privileges --device /dev/fuse \
         --ulimit nofile=10:20 --sysctl net.core.somaxconn=9 --log-driver json-file --log-opt max-size=1m \
         --stop-signal INT --stop-timeout 3 --shm-size 1g --group-add audio,video --init --expose 80-81 \
         --dns 192.0.2.1 --add-host db:192.0.2.7 --pull always --platform linux/arm64 nginx -g 'daemon off;'",
    );
    assert_eq!(got.name, "web");
    assert_eq!(got.process.entrypoint.as_deref().unwrap(), ["/a", "b"]);
    assert_eq!(got.process.command, ["-g", "daemon off;"]);
    let kinds: Vec<_> = got.mounts.iter().map(|m| (m.target.as_str(), m.kind)).collect();
    assert_eq!(
        kinds,
        [
            ("/t", MountKind::Tmpfs),
            ("/data", MountKind::Bind),
            ("/anon", MountKind::Volume),
            ("/u", MountKind::Tmpfs)
        ]
    );
    assert_eq!(got.namespaces.network, NamespaceMode::None);
    assert_eq!(got.namespaces.pid, NamespaceMode::Host);
    assert_eq!(got.resources.nano_cpus, Some(1_500_000_000));
    assert_eq!(got.resources.cpu_shares, Some(512));
    assert_eq!((got.log.driver.as_str(), got.log.max_size), ("json-file", Some(1_000_000)));
    assert_eq!((got.stop_signal.as_str(), got.stop_timeout), ("SIGINT", Some(3)));
    assert_eq!(got.exposed_ports, ["80/tcp", "81/tcp"]);
    assert_eq!(got.process.groups, ["audio", "video"]);
    assert!(got.read_only && got.read_only_tmpfs && got.init);
    let again: ContainerSpec = serde_json::from_str(&serde_json::to_string(&got).unwrap()).unwrap();
    assert_eq!(again, got);
}

#[test]
fn entrypoints() {
    assert_eq!(spec("x").process.entrypoint, None);
    assert_eq!(spec("--entrypoint '' x").process.entrypoint, Some(vec![]));
    assert_eq!(spec("--entrypoint '[broken' x").process.entrypoint, Some(vec!["[broken".to_owned()]));
}

#[test]
fn later_machinery_is_refused_in_one_sentence() {
    for words in [
        "--pod p x",
        "--volume-driver nfs x",
        "--use-api-socket x",
        "--isolation hyperv x",
        "--decryption-key k x",
    ] {
        let e = try_spec(words).expect_err(words);
        assert_eq!(e.kind(), ErrorKind::Unsupported, "{words}: {e}");
        assert!(!e.to_string().contains('\n'));
    }
}

#[test]
fn layers_may_have_limits() {
    let options = spec("--storage-opt size=1G --storage-opt inodes=7 x").storage_options;
    assert_eq!(crate::engine::spec::layer_limits(&options).unwrap(), (1 << 30, 7));
    for bad in ["size", "size=much", "inodes=-1", "other=1"] {
        let e = try_spec(&format!("--storage-opt {bad} x")).expect_err(bad);
        assert_eq!(e.kind(), ErrorKind::Invalid, "{bad}: {e}");
    }
    assert!(try_spec("--storage-opt size=1G --rootfs /x").is_err());
}

#[test]
fn what_stands_alone() {
    let got = spec(
        "--requires a,b --requires c --chrootdirs /x/,/y/../z --personality per_linux32 --rdt-class fast \
         --seccomp-policy image --shm-size-systemd 1m --gpus 2 --device v.com/c=n x",
    );
    assert_eq!(got.requires, ["a", "b", "c"]);
    assert_eq!(got.chroot_dirs, ["/x", "/z"]);
    assert_eq!((got.personality.as_str(), got.rdt_class.as_str()), ("LINUX32", "fast"));
    assert!(got.security.seccomp_from_image);
    assert_eq!(got.systemd_shm_size, Some(1 << 20));
    let devices: Vec<_> = got.devices.iter().map(|d| d.source.as_str()).collect();
    assert_eq!(devices, ["v.com/c=n", "nvidia.com/gpu=0", "nvidia.com/gpu=1"]);
    for bad in [
        "--chrootdirs x x",
        "--chrootdirs / x",
        "--personality BSD x",
        "--seccomp-policy none x",
        "--gpus a= x",
    ] {
        assert_eq!(try_spec(bad).expect_err(bad).kind(), ErrorKind::Invalid, "{bad}");
    }
}

#[test]
fn networks_addresses_and_ports() {
    let on = |words: &str| {
        let got = spec(words);
        assert_eq!(got.namespaces.network, NamespaceMode::Network("bridge".into()), "{words}");
        got.network
    };
    let got = on(
        "--network app:alias=one --net other --network-alias two,three --ip 10.1.0.2 --ip6 fd00::2 \
                  --mac-address 02-42-AC-11-00-02 --link-local-ip 169.254.1.1,fe80::1 -p 8080:80 -p 8080:80 -p 80 -p 80 \
                  -p 53:53/udp,54:54 -P --link /db:sql --link cache x",
    );
    let names: Vec<_> = got.attachments.iter().map(|a| a.network.as_str()).collect();
    assert_eq!(names, ["app", "other"]);
    let (first, second) = (&got.attachments[0], &got.attachments[1]);
    assert_eq!(
        (&first.aliases[..], &second.aliases[..]),
        (&["one", "two", "three"].map(String::from)[..], &["two", "three"].map(String::from)[..],)
    );
    assert_eq!(first.ips, ["10.1.0.2".parse::<std::net::IpAddr>().unwrap(), "fd00::2".parse().unwrap()]);
    assert_eq!(first.mac.as_deref(), Some("02:42:ac:11:00:02"));
    assert_eq!(first.options["link-local-ip"], "169.254.1.1,fe80::1");
    assert!(second.ips.is_empty() && second.mac.is_none() && second.options.is_empty());
    assert_eq!(got.ports.iter().map(|p| p.host_port).collect::<Vec<_>>(), [8080, 0, 0, 53, 54]);
    assert!(got.publish_all);
    let links: Vec<_> = got.links.iter().map(|l| (l.container.as_str(), l.alias.as_str())).collect();
    assert_eq!(links, [("db", "sql"), ("cache", "cache")]);
    assert_eq!(on("--network podman x").attachments[0].network, "bridge");
    // What only a container on a network can have puts it on the default one.
    for words in
        ["--ip 10.1.0.2 x", "--mac-address 02:42:ac:11:00:02 x", "--network private --network-alias a x"]
    {
        assert_eq!(on(words).attachments[0].network, "bridge", "{words}");
    }
    assert_eq!(spec("--network name=app,alias=a -h web x").network.attachments[0].aliases, ["a"]);
    assert_eq!(spec("--network pasta:-t,80 x").network.options, ["-t", "80"]);
    let got = spec(
        "--network ns:/run/netns/x --hosts-file image --dns none --dns-search . --dns-option ndots:1 \
                    --add-host 'a;b:192.0.2.1,c:host-gateway' --domainname example.org --no-hostname x",
    );
    assert_eq!(got.namespaces.network, NamespaceMode::Path("/run/netns/x".into()));
    assert_eq!(got.add_hosts, ["a;b:192.0.2.1", "c:host-gateway"]);
    assert_eq!((got.network.hosts_file.as_str(), got.domainname.as_str()), ("image", "example.org"));
    assert!(got.no_hostname);
}

#[test]
fn networks_that_contradict_something() {
    for (words, phrase) in [
        (
            "--network none --network a x",
            "cannot set multiple networks without bridge network mode, selected mode none",
        ),
        ("--network a --network host x", "cannot set multiple networks"),
        ("--network a --network a x", "network \"a\" is specified multiple times"),
        ("--network bridge --network podman x", "network \"bridge\" is specified multiple times"),
        ("--network host --ip 10.0.0.1 x", "--ip can only be set when the network mode is bridge"),
        (
            "--network none --network-alias a x",
            "--network-alias can only be set when the network mode is bridge",
        ),
        ("--network pasta --ip6 fd00::1 x", "--ip6 can only be set when"),
        (
            "--network host --mac-address 02:42:ac:11:00:02 x",
            "conflicting options: mac-address and the network mode",
        ),
        ("--network a:ip=10.0.0.1 --ip 10.0.0.2 x", "cannot specify both --ip and per-network IPv4 address"),
        ("--network a:ip6=fd00::1 --ip6 fd00::2 x", "cannot specify both --ip6 and per-network IPv6 address"),
        (
            "--network a:mac=02:42:ac:11:00:02 --mac-address 02:42:ac:11:00:03 x",
            "cannot specify both --mac-address and per-network MAC address",
        ),
        ("--network name=a,link-local-ip=169.254.1.1 --link-local-ip 169.254.1.2 x", "link-local"),
        (
            "--network container:c -p 80 x",
            "conflicting options: port publishing and the container type network mode",
        ),
        ("--network container:c -P x", "conflicting options: port publishing"),
        ("--network container:c --expose 80 x", "conflicting options: port exposing and the container type"),
        ("--network container:c --link a x", "container type network can't be used with links"),
        ("--network container:c --dns 192.0.2.1 x", "conflicting options: dns and the network mode"),
        ("--network container:c --add-host a:192.0.2.1 x", "conflicting options: custom host-to-IP mapping"),
        ("--network host --link a x", "conflicting options: host type networking can't be used with links"),
        ("--ip fd00::1 x", "invalid --ip \"fd00::1\": it is not an IPv4 address"),
        ("--ip6 10.0.0.1 x", "it is not an IPv6 address"),
        ("--mac-address zz x", "zz is not a valid mac address"),
        ("--link '' x", "empty string specified for links"),
        ("--link a:b:c x", "bad format for links: a:b:c"),
        ("--link a: x", "bad format for links: a:"),
        ("-p 8080:80 -p 8080:81 x", "conflicting port mappings for host port 8080"),
        ("--dns none --dns 192.0.2.1 x", "--dns none is not allowed"),
        ("--dns-search 'a b' x", "is not a valid domain"),
        ("--dns-option '' x", "invalid --dns-option"),
        ("--no-hosts --hosts-file none x", "--no-hosts and --hosts-file cannot be set together"),
        ("--no-hosts --add-host a:192.0.2.1 x", "--no-hosts and --add-host cannot be set together"),
        ("--hosts-file relative x", "invalid --hosts-file"),
        ("--domainname 'a b' x", "invalid --domainname"),
    ] {
        let e = try_spec(words).expect_err(words);
        assert_eq!(e.kind(), ErrorKind::Invalid, "{words}: {e}");
        assert!(e.to_string().contains(phrase), "{words}: {e}");
    }
}

#[test]
fn contradictions_are_errors() {
    for words in [
        "--rm --restart always x",
        "-d -a stdout x",
        "--replace x",
        "--no-hosts --add-host a:192.0.2.1 x",
        "--userns host --uidmap 0:1:2 x",
        "--cpus 1 --cpu-quota 5000 x",
        "-v /a:/b -v /c:/b x",
        "-m 1g --memory-swap 512m x",
        "-w relative x",
        "--dns nope x",
        "--detach-keys ctrl-1 x",
        "-a stdlog x",
        "--umask 9 x",
        "--memory lots x",
        "--cap-add NOPE x",
        "--stop-signal NOPE x",
        "--name .. x",
        "--hostname 'a b' x",
    ] {
        let e = try_spec(words).expect_err(words);
        assert_eq!(e.kind(), ErrorKind::Invalid, "{words}: {e}");
    }
}

#[test]
fn disabling_the_health_check_needs_no_machinery() {
    assert_eq!(spec("--no-healthcheck x").healthcheck.unwrap().test, ["NONE"]);
}

#[test]
fn a_directory_instead_of_an_image() {
    let got = spec("--rootfs ./root sh");
    assert_eq!(got.image.rootfs.as_deref(), Some("/srv/here/./root"));
    assert_eq!(got.process.command, ["sh"]);
}

#[test]
fn containers_conf_says_what_flags_are_when_they_are_not_given() {
    let conf: Containers = toml::from_str(
        r#"init = true
           read_only = true
           privileged = true
           env_host = true
           volumes = ["/conf/v:/v:ro", "named:/n"]
           mounts = ["type=bind,src=/conf/m,dst=/m", "type=npipe,src=x,dst=/i"]
           devices = ["/dev/null:/dev/conf:r"]"#,
    )
    .unwrap();
    let shown = |words: &str| {
        let spec = with_conf(&conf, words).unwrap_or_else(|e| panic!("{words}: {e}"));
        let mounts: Vec<_> = spec.mounts.iter().map(|m| format!("{}:{}", m.source, m.target)).collect();
        let devices: Vec<_> = spec.devices.iter().map(|d| d.target.as_str()).collect();
        let switches = [spec.init, spec.read_only, spec.security.privileged, !spec.process.env.is_empty()];
        let switches: String = switches.map(|on| if on { 'y' } else { 'n' }).iter().collect();
        format!("{} | {} | {switches}", mounts.join(" "), devices.join(" "))
    };
    for (words, expected) in [
        ("x", "/conf/v:/v named:/n /conf/m:/m | /dev/conf | yyyy"),
        (
            "--init=false --read-only=false --privileged=false --env-host=false x",
            "/conf/v:/v named:/n /conf/m:/m | /dev/conf | nnnn",
        ),
        // As podman: volumes are replaced, mounts and devices are not.
        ("-v /a:/b x", "/a:/b /conf/m:/m | /dev/conf | yyyy"),
        ("--mount type=bind,src=/a,dst=/b x", "/a:/b /conf/v:/v named:/n /conf/m:/m | /dev/conf | yyyy"),
        ("--device /dev/zero x", "/conf/v:/v named:/n /conf/m:/m | /dev/conf /dev/zero | yyyy"),
        // What is mounted by hand wins.
        ("-v /a:/m x", "/a:/m | /dev/conf | yyyy"),
        ("--mount type=bind,src=/a,dst=/v x", "/a:/v named:/n /conf/m:/m | /dev/conf | yyyy"),
        ("--tmpfs /v x", ":/v named:/n /conf/m:/m | /dev/conf | yyyy"),
    ] {
        assert_eq!(shown(words), expected, "{words}");
    }
    for (conf, phrase) in [
        ("volumes = [\"relative\"]", "containers.conf: volumes"),
        ("mounts = [\"type=nonsense,dst=/x\"]", "containers.conf: mounts"),
        ("devices = [\"/dev/null:relative\"]", "containers.conf: devices"),
    ] {
        let conf: Containers = toml::from_str(conf).unwrap();
        let error = with_conf(&conf, "x").unwrap_err().to_string();
        assert!(error.starts_with(phrase), "{error}");
    }
}
