//! Deterministic crash points for the test suite.
//!
//! With the `failpoints` feature, `failpoint!("pull.layer-committed")` kills the process with SIGKILL when the
//! environment names that point in `CORACLE_FAILPOINT`; without the feature it is nothing. Names are
//! `verb.what-was-just-done`, and each stands once in the source: the tests find them by reading it.

/// Dies here if the tests ask for it.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        $crate::engine::host::failpoint::hit($name);
    };
}

/// Kills this process if `CORACLE_FAILPOINT` is `name`. Where `CORACLE_FAILPOINT_LOG` names a file, the name is added to it:
/// that is how the tests learn which points a command comes by.
#[cfg(feature = "failpoints")]
pub fn hit(name: &str) {
    if let Some(path) = std::env::var_os("CORACLE_FAILPOINT_LOG")
        && let Ok(mut log) = std::fs::File::options().create(true).append(true).open(path)
    {
        let _ = std::io::Write::write_all(&mut log, format!("{name}\n").as_bytes());
    }
    if std::env::var_os("CORACLE_FAILPOINT").is_some_and(|wanted| wanted == name) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
    }
}
