//! `--sdnotify`: what a service manager hears of a container.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::{Cmd, Missing, Sandbox, require};

const IMAGE: &str = "lab/busybox";
const SOON: Duration = Duration::from_secs(20);

/// A service manager's end.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn listen(sandbox: &Sandbox, name: &str) -> Manager {
        let path = sandbox.mkdir("work").join(name);
        let socket = UnixDatagram::bind(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Manager { socket, path }
    }

    fn hears(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("the service manager hears nothing");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn hears_nothing(&self) {
        self.socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let mut buffer = [0; 4096];
        let heard = self.socket.recv(&mut buffer);
        assert!(heard.is_err(), "{:?}", String::from_utf8_lossy(&buffer));
    }
}

fn both() -> Result<Vec<Sandbox>, Missing> {
    let sandboxes = Sandbox::both()?;
    sandboxes.iter().for_each(|sandbox| sandbox.pull(IMAGE));
    Ok(sandboxes)
}

fn run(sandbox: &Sandbox, name: &str, manager: &Manager, flags: &[&str]) -> Cmd {
    let run = sandbox.coracle(["run", "-d", "--network=none", "--name", name]);
    run.env("NOTIFY_SOCKET", manager.path.display().to_string()).args(flags.iter().copied())
}

fn conmon(sandbox: &Sandbox, name: &str) -> String {
    let pid = sandbox.coracle(["inspect", "-f", "{{.State.ConmonPid}}", name]).ok().text().to_owned();
    format!("MAINPID={pid}")
}

#[test]
fn conmon_is_ready_when_the_container_runs() {
    for sandbox in require!(both()) {
        let manager = Manager::listen(&sandbox, "n1");
        run(&sandbox, "c", &manager, &["--sdnotify=conmon", IMAGE, "sleep", "100"]).ok();
        assert_eq!(manager.hears(), format!("{}\nREADY=1", conmon(&sandbox, "c")));
        // And the container is told of no socket.
        sandbox.coracle(["exec", "c", "sh", "-c", "echo $NOTIFY_SOCKET"]).ok().stdout_is("");
        manager.hears_nothing();
    }
}

#[test]
fn a_container_is_ready_when_it_is_healthy() {
    for sandbox in require!(both()) {
        let manager = Manager::listen(&sandbox, "n2");
        let check = ["--health-cmd=test -e /ready", "--health-interval=100ms", "--sdnotify=healthy"];
        run(&sandbox, "c", &manager, &[&check[..], &[IMAGE, "sleep", "100"]].concat()).ok();
        assert_eq!(manager.hears(), conmon(&sandbox, "c"));
        sandbox.coracle(["exec", "c", "touch", "/ready"]).ok();
        assert_eq!(manager.hears(), "READY=1");
        let lone = ["create", "--sdnotify=healthy", IMAGE, "true"];
        sandbox.coracle(lone).fails(125).stderr_has("requires a healthcheck");
    }
}

#[test]
fn nobody_is_told_when_that_is_not_wanted() {
    for sandbox in require!(both()) {
        let manager = Manager::listen(&sandbox, "n3");
        run(&sandbox, "c", &manager, &["--sdnotify=ignore", IMAGE, "sleep", "100"]).ok();
        manager.hears_nothing();
    }
}

#[test]
fn a_containers_own_words_are_passed_on() {
    for sandbox in require!(both()) {
        let manager = Manager::listen(&sandbox, "n4");
        // The host's perl, for want of anything in busybox that speaks datagrams.
        let mounts = ["-v=/usr:/usr:ro", "-v=/usr/lib:/lib:ro", "-v=/usr/lib64:/lib64:ro"];
        let say = "socket(S, AF_UNIX, SOCK_DGRAM, 0); defined send(S, qq(READY=1\\nSTATUS=here), 0, \
                   sockaddr_un($ENV{NOTIFY_SOCKET})) or die $!; sleep 100";
        let command = [IMAGE, "/usr/bin/perl", "-MSocket", "-e", say];
        run(&sandbox, "c", &manager, &[&mounts[..], &command].concat()).ok();
        let heard = [manager.hears(), manager.hears()].join("\n");
        let main = conmon(&sandbox, "c");
        assert!(heard.contains(&main) && heard.contains("READY=1"), "{heard}");
    }
}
