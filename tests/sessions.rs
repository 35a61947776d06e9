//! What outlives a session and a boot: scripts/test-vm runs this in three steps, on the default store of root and of a user.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::{Cmd, Sandbox, binary, elsewhere, eventually, is_root, program, registry, require};

/// `coracle ARGUMENTS` as whoever runs the tests would type it: on the default store.
fn at_home<S: Into<OsString>>(arguments: impl IntoIterator<Item = S>) -> Cmd {
    let mut command = Cmd::new([binary()], "/".into());
    for name in ["PATH", "HOME", "USER", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "LANG"] {
        if let Some(value) = std::env::var_os(name) {
            command = command.env(name, value);
        }
    }
    command.args(arguments)
}

fn home_store() -> PathBuf {
    at_home(["info", "--format", "{{.Store.GraphRoot}}"]).ok().text().into()
}

/// Layers in the default store, by their directories.
fn layers() -> usize {
    let entries = fs::read_dir(home_store().join("overlay")).unwrap().flatten();
    entries.filter(|entry| entry.file_name().len() == 64).count()
}

/// Free ports, root's others than the user's.
fn port(number: u16) -> u16 {
    18080 + number + if is_root() { 100 } else { 0 }
}

/// What a container says to whoever connects to this port of the host.
fn hello(port: u16) -> Option<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).ok()?;
    (said == "hello\n").then_some(())
}

/// Puts systemd/coracle-restart.service where the caller's units are, and enables it.
fn boot_unit() {
    let (directory, scope) = match is_root() {
        true => (PathBuf::from("/etc/systemd/system"), "--system"),
        false => (PathBuf::from(std::env::var_os("HOME").unwrap()).join(".config/systemd/user"), "--user"),
    };
    let unit = include_str!("../systemd/coracle-restart.service");
    let unit = unit.replace("@BINDIR@/coracle", binary().to_str().unwrap());
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("coracle-restart.service"), unit).unwrap();
    let systemctl = program("systemctl").unwrap();
    let enabled = std::process::Command::new(systemctl).args([scope, "enable", "coracle-restart"]).status();
    assert!(enabled.unwrap().success());
}

/// Containers are started in one session, are looked at from another, and after a reboot.
#[test]
fn sessions_and_boots_come_and_go() {
    let phase = std::env::var("CORACLE_VM_PHASE").unwrap_or_default();
    let lines = || at_home(["logs", "lives"]).ok().stdout.lines().count();
    match phase.as_str() {
        "start" => {
            registry().provide("lab/busybox");
            let sandbox = require!(if is_root() { Sandbox::root() } else { Sandbox::user() });
            sandbox.registry();
            let image = format!("{}/lab/busybox", registry().address());
            let pull = at_home(["pull", "-q", &image]);
            pull.env("CONTAINERS_REGISTRIES_CONF", sandbox.path("conf/registries.conf")).ok();
            let count = "while sleep 1; do echo more; done";
            at_home(["tag", &image, "busybox"]).ok();
            at_home(["run", "-d", "--name=lives", "busybox", "sh", "-c", count]).ok();
            at_home(["run", "-d", "--rm", "--name=gone", "busybox", "sleep", "6000"]).ok();
            at_home(["create", "--name=made", "busybox", "true"]).ok();
            at_home(["run", "--name=over", "busybox", "sh", "-c", "exit 3"]).run().code(3);
            at_home(["network", "create", "lan"]).ok();
            let answer = "while true; do echo hello | nc -l -p 80; done";
            for (number, name, network) in [(0, "serves", "lan"), (1, "alone", "default")] {
                let publish = format!("--publish=127.0.0.1:{}:80", port(number));
                let serve = ["run", "-d", "--name", name, "--network", network, &publish, "busybox"];
                at_home(serve).args(["sh", "-c", answer]).ok();
            }
            // One that comes back after a boot, and is looked after.
            let health = ["--health-cmd=true", "--health-interval=1s"];
            at_home(["run", "-d", "--name=back", "--restart=always"])
                .args(health)
                .args(["busybox", "sleep", "6000"])
                .ok();
            boot_unit();
            assert_eq!(layers(), 8);
        }
        "logout" => {
            let states = at_home(["ps", "--format", "{{.Names}} {{.State}}", "--sort=names"]).ok();
            assert_eq!(
                states.lines(),
                ["alone running", "back running", "gone running", "lives running", "serves running"]
            );
            let checked = || {
                at_home(["inspect", "--format", "{{json .State.Health.Log}}", "back"]).ok().text().to_owned()
            };
            let last = checked();
            eventually("its health is still looked after", Duration::from_secs(30), || {
                (checked() != last).then_some(())
            });
            let before = lines();
            eventually("conmon still writes the log", Duration::from_secs(30), || {
                (lines() > before).then_some(())
            });
            at_home(["exec", "lives", "true"]).ok();
            at_home(["exec", "gone", "true"]).ok();
            for number in [0, 1] {
                eventually("a published port is served", Duration::from_secs(30), || hello(port(number)));
            }
            eventually("a container finds the other", Duration::from_secs(60), || {
                let asks = ["run", "--rm", "--network=lan", "busybox", "nc", "-w", "9", "serves", "80"];
                (at_home(asks).run().text() == "hello").then_some(())
            });
        }
        "reboot" => {
            eventually("what is to run after a boot runs", Duration::from_secs(120), || {
                at_home(["ps", "--format", "{{.Names}}"]).ok().text().contains("back").then_some(())
            });
            at_home(["wait", "--condition=healthy", "back"]).ok();
            let states = at_home(["ps", "-a", "--format", "{{.Names}} {{.State}}", "--sort=names"]).ok();
            let wanted = [
                "alone exited",
                "back running",
                "lives exited",
                "made created",
                "over exited",
                "serves exited",
            ];
            assert_eq!(states.lines(), wanted);
            at_home(["inspect", "--format", "{{.State.ExitCode}}", "over"]).ok().stdout_is("3");
            at_home(["inspect", "gone"]).run().code(1).stderr_has("no such");
            assert!(lines() > 1);
            at_home(["run", "-d", "--rm", "--name=gone", "busybox", "sleep", "6000"]).ok();
            assert_eq!(layers(), 8, "the image's and seven containers': what the old one had was swept");
            at_home(["start", "lives"]).ok().stdout_is("lives");
            at_home(["exec", "lives", "true"]).ok();
            at_home(["start", "-a", "made"]).ok();
            at_home(["start", "serves"]).ok();
            eventually("a published port is served", Duration::from_secs(30), || hello(port(0)));
            at_home(["rm", "-f", "-t", "0", "--all"]).ok();
            at_home(["network", "rm", "lan"]).ok();
            assert_eq!(layers(), 1);
            let podman = Cmd::new([require!(program("podman"))], "/".into());
            let podman = ["PATH", "HOME", "XDG_RUNTIME_DIR"]
                .into_iter()
                .fold(podman, |podman, name| podman.env(name, std::env::var_os(name).unwrap_or_default()));
            podman.args(["ps", "--all", "--external", "--quiet"]).ok().stdout_is("");
            at_home(["rmi", "--all", "--force"]).ok();
            assert_eq!(layers(), 0);
        }
        _ => elsewhere("sessions and boots (make test-vm)"),
    }
}
