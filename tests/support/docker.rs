//! A real docker daemon, to compare with: in directories of its own, with no bridge and no firewall rule.
//!
//! It runs in a mount namespace in which /run, /opt and /etc/docker are empty: dockerd and containerd leave sockets, a
//! key and directories there whatever their command line says. What it mounts goes with the namespace.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Cmd, Host, Missing, PATH, Sandbox, eventually, leaks, program, root};

/// The daemon. Dropping it ends it, and fails the test when something of it is left.
pub struct Docker {
    base: PathBuf,
    cgroup: String,
    daemon: Child,
}

const SCRIPT: &str =
    "mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /opt && mount -t tmpfs tmpfs /etc/docker &&
                      exec \"$0\" \"$@\"";

impl Docker {
    /// Starts one without networks and waits until it answers.
    pub fn start() -> Result<Docker, Missing> {
        Self::start_with(&[], &["--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"])
    }

    /// Starts one on that host, with its own bridge and firewall rules there.
    pub fn start_on(host: &Host) -> Result<Docker, Missing> {
        let enter = format!("--net={}", host.namespace().display());
        Self::start_with(&["nsenter", &enter], &[])
    }

    fn start_with(wrapper: &[&str], networks: &[&str]) -> Result<Docker, Missing> {
        root()?;
        let dockerd = program("dockerd")?;
        client()?;
        program("containerd")?;
        let base =
            tempfile::Builder::new().prefix("cd.").rand_bytes(6).tempdir_in("/var/tmp").unwrap().keep();
        let cgroup = format!("/{}", base.file_name().unwrap().to_string_lossy());
        // docker-registry's, on which all the tests stand, makes it on Debian.
        fs::create_dir_all("/etc/docker").unwrap();
        let log = fs::File::create(base.join("log")).unwrap();
        let unshare = program("unshare")?;
        let mut words = wrapper.iter().map(std::ffi::OsStr::new).chain([unshare.as_os_str()]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT]).arg(dockerd);
        for (flag, file) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
            command.arg(flag).arg(base.join(file));
        }
        command.arg("--host").arg(format!("unix://{}", base.join("socket").display()));
        command.args(networks);
        command.args(["--storage-driver=vfs", "--exec-opt=native.cgroupdriver=cgroupfs", "--cgroup-parent"]);
        command.arg(&cgroup);
        command.env_clear().env("PATH", PATH).env("HOME", &base).current_dir(&base).process_group(0);
        let daemon = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut docker = Docker { base, cgroup, daemon };
        eventually("dockerd answers", Duration::from_secs(60), || {
            let ended = docker.daemon.try_wait().unwrap();
            assert!(ended.is_none(), "dockerd ended:\n{}", docker.log());
            (docker.command(["version"]).run().exit_code() == 0).then_some(())
        });
        Ok(docker)
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.base.join("socket")
    }

    /// `docker ARGUMENTS`.
    pub fn command<S: Into<std::ffi::OsString>>(&self, arguments: impl IntoIterator<Item = S>) -> Cmd {
        let host = format!("unix://{}", self.base.join("socket").display());
        Cmd::new([client().unwrap()], self.base.clone())
            .args(["--host".to_owned(), host])
            .args(arguments)
            .env("PATH", PATH)
            .env("HOME", &self.base)
            .env("TZ", "UTC")
    }

    /// Has the shared registry's image `name` loaded under its short name.
    #[track_caller]
    pub fn load(&self, sandbox: &Sandbox, name: &str) {
        let registry = sandbox.registry();
        registry.provide(name);
        let archive = sandbox.path(format!("work/{}.tar", name.replace('/', "-")));
        let target = format!("docker-archive:{}:{name}:latest", archive.display());
        let source = format!("docker://{}/{name}:latest", registry.address());
        sandbox.skopeo(["copy", "-q", "--src-tls-verify=false"]).unwrap().args([source, target]).ok();
        self.command(["load", "-q", "-i"]).arg(archive).ok();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.base.join("log")).unwrap_or_default()
    }

    fn stop(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        let containers = self.command(["ps", "-aq", "--no-trunc"]).run();
        if containers.exit_code() == 0 && !containers.text().trim().is_empty() {
            self.command(["rm", "-f", "-v"]).args(containers.lines()).run();
        }
        let daemon = Pid::from_raw(self.daemon.id().try_into().unwrap());
        let _ = kill(daemon, Signal::SIGTERM);
        // Gone, not merely asked: it stops containerd first.
        let ended = (0..1500).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            !matches!(self.daemon.try_wait(), Ok(None))
        });
        if !ended {
            left.push(format!("dockerd does not stop:\n{}", self.log()));
            let _ = self.daemon.kill();
            let _ = self.daemon.wait();
        }
        let base = self.base.to_string_lossy().into_owned();
        for _ in 0..250 {
            if leaks::processes_of(&base).is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        for (pid, line) in leaks::processes_of(&base) {
            left.push(format!("process {pid}: {line}"));
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        remove_cgroups(&self.cgroup);
        if let Err(error) = fs::remove_dir_all(&self.base) {
            left.push(format!("{}: {error}", self.base.display()));
        }
        left
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        let log = if failed { self.log() } else { String::new() };
        let left = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.stop())) {
            Ok(left) => left,
            Err(_) => vec!["a docker command did not end".into()],
        };
        if failed && std::env::var_os("CORACLE_KEEP").is_some() {
            eprintln!("{log}");
        }
        assert!(failed || left.is_empty(), "docker left behind:\n  {}", left.join("\n  "));
    }
}

/// docker's own client: the package's, else the first `docker` that is not a link to Coracle or podman.
fn client() -> Result<PathBuf, Missing> {
    let candidates = ["/usr/bin"].into_iter().chain(PATH.split(':'));
    candidates
        .map(|directory| Path::new(directory).join("docker"))
        .find(|path| {
            let said = Command::new(path).arg("--version").env_clear().output();
            said.is_ok_and(|said| said.stdout.starts_with(b"Docker version"))
        })
        .ok_or_else(|| Missing("docker's own client (scripts/deps test)".into()))
}

/// The empty groups that runc made below the daemon's parent, in every hierarchy.
fn remove_cgroups(parent: &str) {
    let hierarchies =
        fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    for hierarchy in hierarchies.chain(["/sys/fs/cgroup".into()]) {
        let group = hierarchy.join(parent.trim_start_matches('/'));
        for inner in fs::read_dir(&group).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(inner.path());
        }
        let _ = fs::remove_dir(&group);
    }
}
