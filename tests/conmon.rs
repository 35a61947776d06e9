//! conmon and the OCI runtime below the engine's verbs: a bundle made by hand, no store, no records.

use coracle::engine::ErrorKind;
use coracle::engine::config::{Config, Environment, Overrides};
use coracle::engine::conmon::{
    self, AttachSocket, ExitFile, Launch, LogTarget, PACKET, RunDir, Runtime, Stream, Waited,
};
use coracle::engine::host::process::PidFd;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A bundle with busybox as its whole root.
struct Bundle {
    dir: tempfile::TempDir,
    runtime: Runtime,
    conmon: PathBuf,
    run_dir: RunDir,
}

fn bundle(args: &[&str], terminal: bool) -> Option<Bundle> {
    let busybox = Path::new("/bin/busybox");
    if !rustix::process::geteuid().is_root() || !busybox.exists() {
        eprintln!("skipped: needs root and /bin/busybox");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("rootfs/bin");
    std::fs::create_dir_all(&bin).unwrap();
    for sub in ["proc", "dev", "sys"] {
        std::fs::create_dir_all(dir.path().join("rootfs").join(sub)).unwrap();
    }
    std::fs::copy(busybox, bin.join("busybox")).unwrap();
    for name in ["sh", "cat", "true", "sleep", "stty", "echo", "dd"] {
        std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
    }
    let vars = std::env::vars().filter(|(n, _)| n == "PATH" || n == "HOME").collect();
    let env = Environment { vars, home: "/root".into(), ..Environment::default() };
    let overrides = Overrides {
        root: Some(dir.path().join("root")),
        run_root: Some(dir.path().join("run")),
        ..Overrides::default()
    };
    let config = Config::load(env, overrides).unwrap();
    let runtime = Runtime::find(&config, &std::env::var("CORACLE_TEST_RUNTIME").unwrap_or_default()).unwrap();
    let run_dir = RunDir::new(dir.path().join("bundle"));
    std::fs::create_dir_all(run_dir.path()).unwrap();
    std::fs::create_dir_all(dir.path().join("exits")).unwrap();
    let ns = |kind: &str| json!({"type": kind});
    let spec = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": terminal, "user": {"uid": 0, "gid": 0}, "args": args, "cwd": "/",
            "env": ["PATH=/bin"],
        },
        "root": {"path": dir.path().join("rootfs")},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["newinstance", "ptmxmode=0666"]},
        ],
        "linux": {
            "cgroupsPath": format!("/coracle-test/{}", dir.path().file_name().unwrap().to_string_lossy()),
            "namespaces": [ns("pid"), ns("mount"), ns("ipc"), ns("uts"), ns("network")],
        },
    });
    std::fs::write(run_dir.config(), spec.to_string()).unwrap();
    Some(Bundle { conmon: conmon::find(&config).unwrap(), runtime, run_dir, dir })
}

impl Bundle {
    fn exits(&self) -> PathBuf {
        self.dir.path().join("exits")
    }

    fn launch(&self) -> Launch<'_> {
        Launch {
            id: "abcdef0123456789",
            name: "test",
            ..Launch::new(&self.conmon, &self.runtime, &self.run_dir, Box::leak(Box::new(self.exits())))
        }
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = self.runtime.delete("abcdef0123456789", true);
    }
}

fn create(launch: &Launch<'_>) -> coracle::engine::Result<conmon::Launched> {
    conmon::stand_by(launch)?.go(None)
}

/// All output until the end, with `input` given to stdin meanwhile.
fn talk(socket: &AttachSocket, input: &[u8]) -> (Vec<u8>, Vec<u8>) {
    use rustix::event::{PollFd, PollFlags, poll};
    let (mut out, mut err, mut sent) = (Vec::new(), Vec::new(), 0);
    let mut buffer = vec![0; PACKET + 1];
    let mut ended = false;
    loop {
        if sent == input.len() && !ended {
            socket.end_stdin();
            ended = true;
        }
        let want = if ended { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
        poll(&mut [PollFd::new(socket, want)], None).unwrap();
        match socket.receive(&mut buffer) {
            Ok(None) => return (out, err),
            Ok(Some(chunk)) if chunk.stream == Stream::Stderr => err.extend_from_slice(chunk.bytes),
            Ok(Some(chunk)) => out.extend_from_slice(chunk.bytes),
            Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::WouldBlock),
        }
        if !ended && let Ok(n) = socket.send(&input[sent..]) {
            sent += n;
        }
    }
}

#[test]
fn a_container_lives_and_leaves_its_code() {
    let Some(bundle) = bundle(&["sh", "-c", "echo out; echo err >&2; exit 7"], false) else { return };
    let log = bundle.dir.path().join("log");
    let before = Instant::now();
    let launch = Launch { log: LogTarget::File { path: &log, max_size: None }, ..bundle.launch() };
    let mut launched = create(&launch).unwrap();
    let created = before.elapsed();
    let socket = AttachSocket::connect(&bundle.run_dir).unwrap();
    bundle.runtime.start("abcdef0123456789", launched.pid, false).unwrap();
    let started = before.elapsed();
    assert_eq!(talk(&socket, b""), (b"out\n".to_vec(), b"err\n".to_vec()));
    let conmon = PidFd::open(launched.conmon_pid, launched.conmon_start).unwrap();
    let exit = ExitFile::new(&bundle.exits(), "abcdef0123456789");
    let waited = exit.wait(None, conmon.as_ref(), Some(Duration::from_secs(10))).unwrap();
    assert_eq!(waited, Waited::Code(7));
    let ended = before.elapsed();
    launched.conmon.wait().unwrap();
    bundle.runtime.delete("abcdef0123456789", false).unwrap();
    println!("created {created:?} started {started:?} ended {ended:?} deleted {:?}", before.elapsed());
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains(" stdout F out\n") && text.contains(" stderr F err\n"), "{text}");
}

#[test]
fn ten_megabytes_go_through_unchanged() {
    let Some(bundle) = bundle(&["cat"], false) else { return };
    let launched = create(&Launch { stdin: true, ..bundle.launch() }).unwrap();
    let socket = AttachSocket::connect(&bundle.run_dir).unwrap();
    bundle.runtime.start("abcdef0123456789", launched.pid, false).unwrap();
    let input: Vec<u8> = (0..10_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let (out, err) = talk(&socket, &input);
    assert_eq!((out.len(), err.len()), (input.len(), 0));
    assert!(out == input);
}

#[test]
fn a_terminal_has_the_size_it_was_given_before_the_start() {
    let Some(bundle) = bundle(&["stty", "size"], true) else { return };
    let launched = create(&Launch { terminal: true, ..bundle.launch() }).unwrap();
    let socket = AttachSocket::connect(&bundle.run_dir).unwrap();
    conmon::resize(&bundle.run_dir, 33, 101).unwrap();
    // conmon reads the FIFO in its own time
    std::thread::sleep(Duration::from_millis(50));
    bundle.runtime.start("abcdef0123456789", launched.pid, false).unwrap();
    let (out, _) = talk(&socket, b"");
    assert_eq!(String::from_utf8_lossy(&out), "33 101\r\n");
}

#[test]
fn a_command_that_is_not_there_and_one_that_cannot_run() {
    for (command, kind) in [
        ("nope", ErrorKind::CommandNotFound),
        ("/nope/nope", ErrorKind::CommandNotFound),
        ("/proc/version", ErrorKind::CommandNotExecutable),
        ("/bin", ErrorKind::CommandNotExecutable),
    ] {
        let Some(bundle) = bundle(&[command], false) else { return };
        let e = match create(&bundle.launch()) {
            Err(e) => e,
            Ok(launched) => {
                bundle.runtime.start("abcdef0123456789", launched.pid, false).unwrap();
                panic!("{command} was started");
            }
        };
        println!("{command}: {e}");
        assert_eq!(e.kind(), kind, "{command}: {e}");
    }
}

#[test]
fn a_conmon_that_cannot_start_says_why() {
    let Some(bundle) = bundle(&["true"], false) else { return };
    let log = bundle.dir.path().join("no/such/dir/log");
    let launch = Launch { log: LogTarget::File { path: &log, max_size: None }, ..bundle.launch() };
    let e = create(&launch).unwrap_err();
    println!("{e}");
    assert!(e.to_string().contains("log file"), "{e}");
}

/// What goes wrong before the bundle is finished ends it, before it has the runtime do anything.
#[test]
fn a_conmon_that_is_not_told_to_go_does_nothing() {
    let Some(bundle) = bundle(&["true"], false) else { return };
    drop(conmon::stand_by(&bundle.launch()).unwrap());
    assert!(!bundle.run_dir.pidfile().exists());
    assert!(bundle.runtime.state("abcdef0123456789").unwrap().is_none());
    // The next one starts as if there had been none.
    let launched = create(&bundle.launch()).unwrap();
    bundle.runtime.start("abcdef0123456789", launched.pid, false).unwrap();
}
