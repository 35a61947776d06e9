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
    let line = line(words).unwrap_or_else(|e| panic!("{words}: {e}"));
    let env = environment();
    let inputs = Inputs { env: &env, read: &read_nothing };
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
    assert_eq!((got.log.driver.as_str(), got.log.max_size), ("k8s-file", Some(1 << 20)));
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
        "-p 80:80 x",
        "-P x",
        "--network bridge x",
        "--network a --network b x",
        "--ip 192.0.2.1 x",
        "-v name:/x y",
        "--secret s x",
        "--pod p x",
        "--health-cmd true x",
        "--gpus all x",
        "--device vendor.com/class=name x",
        "--volumes-from c x",
        "--link a:b x",
        "--requires a x",
        "--mount type=image,src=a,dst=/b x",
        "--storage-opt size=1G x",
        "--use-api-socket x",
        "--isolation hyperv x",
        "--decryption-key k x",
        "--seccomp-policy image x",
    ] {
        let e = try_spec(words).expect_err(words);
        assert_eq!(e.kind(), ErrorKind::Unsupported, "{words}: {e}");
        assert!(!e.to_string().contains('\n'));
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
