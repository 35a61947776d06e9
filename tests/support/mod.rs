//! What the tests stand on: a [`Sandbox`] for each test, a loopback [`Registry`] with images made here, a terminal
//! ([`Pty`]), and the foreign programs (podman, skopeo, buildah) that judge what Coracle leaves on disk.
//!
//! ```ignore
//! #[test]
//! fn says_hello() {
//!     let sandbox = require!(Sandbox::user());
//!     sandbox.pull("lab/busybox");
//!     sandbox.coracle(["run", "--rm", "lab/busybox", "echo", "hello"]).ok().stdout_is("hello");
//! }
//! ```
//!
//! A test that should hold for both loops: `for sandbox in require!(Sandbox::both()) { … }`.

mod command;
pub mod damage;
mod docker;
mod flaky;
mod gate;
mod http;
mod images;
pub mod lab;
mod lan;
pub mod leaks;
mod oracle;
mod pty;
mod reboot;
mod registry;
mod sandbox;
mod signing;
pub mod store;
mod tarball;
mod tokens;

pub use command::{Cmd, Outcome, Running};
pub use docker::Docker;
pub use flaky::{Flaky, Spoil};
pub use gate::{Asked, Gate, Verdict};
pub use http::{Response, request};
pub use images::{Image, Layer, busybox, busybox_entries, busybox_tar, digest, host_architecture};
pub use lan::{Host, Lan};
pub use leaks::everybody;
pub use pty::Pty;
pub use registry::{Options as RegistryOptions, Registry, registry};
pub use sandbox::{Sandbox, Who};
pub use signing::{GpgKey, SigstoreKey, Web, base64, openssl, sealed};
pub use tarball::{Entry, Kind, Tarball, gzip, noise};
pub use tokens::{IDENTITY, Tokens};

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What this machine lacks for a test.
#[derive(Debug)]
pub struct Missing(pub String);

/// The value of a `Result<_, Missing>`; when something is missing, leaves the test with a visible line, or, where
/// `CI` is set, fails it.
macro_rules! require {
    ($what:expr) => {
        match $what {
            Ok(value) => value,
            Err(missing) => {
                $crate::support::skip(&missing);
                return;
            }
        }
    };
}
pub(crate) use require;

/// The end of a test for lack of something. Use [`require!`].
pub fn skip(missing: &Missing) {
    use std::io::Write;
    let name = std::thread::current().name().unwrap_or("test").to_owned();
    assert!(std::env::var_os("CI").is_none(), "{name} needs {}, and nothing may be skipped here", missing.0);
    // Not eprintln!, which the test harness would swallow.
    let _ = writeln!(std::io::stderr(), "test {name} ... skipped: needs {}", missing.0);
}

/// The end of a test that another machine runs, so that even `CI` may do without it here.
pub fn elsewhere(what: &str) {
    use std::io::Write;
    let name = std::thread::current().name().unwrap_or("test").to_owned();
    let _ = writeln!(std::io::stderr(), "test {name} ... left to a machine with {what}");
}

/// The program that is tested: the one that cargo built with the tests, or `CORACLE_BINARY`.
pub fn binary() -> PathBuf {
    std::env::var_os("CORACLE_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_coracle").into(), PathBuf::from)
}

/// The directories in which programs are looked for and that tests' children get as `PATH`.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program of the system, or the package that has it.
pub fn program(name: &str) -> Result<PathBuf, Missing> {
    PATH.split(':')
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| Missing(format!("the program {name} (scripts/deps test)")))
}

/// That the tests run as root.
pub fn root() -> Result<(), Missing> {
    if is_root() { Ok(()) } else { Err(Missing("to run as root".into())) }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The cgroup layout of the host: "v1", "hybrid" (v1 with a v2 tree beside) or "v2".
pub fn cgroups() -> &'static str {
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        "v2"
    } else if Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists() {
        "hybrid"
    } else {
        "v1"
    }
}

/// Calls `check` until it gives a value; panics with `what` after `limit`.
pub fn eventually<T>(what: &str, limit: Duration, mut check: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = check() {
            return value;
        }
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A directory that survives between test runs, for what is expensive to make: `target/test-cache`.
pub fn cache_dir() -> PathBuf {
    let target = Path::new(env!("CARGO_BIN_EXE_coracle")).ancestors().nth(2).unwrap();
    let path = target.join("test-cache");
    std::fs::create_dir_all(&path).unwrap();
    path
}
