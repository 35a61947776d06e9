//! What every command is given: the global flags, the caller, and the engine once it asks for it.

use super::globals::Globals;
use crate::engine::config::{Config, Environment};
use crate::engine::{Engine, Error, Result};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

/// What every command is given.
#[derive(Debug)]
pub struct Context {
    /// Flags before the command.
    pub globals: Globals,
    /// The command line as it was typed, program name first.
    pub argv: Vec<String>,
    config: OnceCell<Config>,
    engine: OnceCell<Engine>,
}

impl Context {
    /// For one command line.
    pub fn new(globals: Globals, argv: Vec<String>) -> Self {
        Self { globals, argv, config: OnceCell::new(), engine: OnceCell::new() }
    }

    /// The engine. The first call reads the configuration, joins the rootless user namespace and opens the store, so
    /// it must come before any thread is started.
    pub fn engine(&self) -> Result<&Engine> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let engine = Engine::open(self.config()?)?;
        Ok(self.engine.get_or_init(|| engine))
    }

    /// The configuration alone, without store or user namespace; its files are read once.
    pub fn config(&self) -> Result<Config> {
        if let Some(config) = self.config.get() {
            return Ok(config.clone());
        }
        let config = Config::load(environment()?, self.globals.overrides())?;
        Ok(self.config.get_or_init(|| config).clone())
    }

    /// Writes to standard output; a closed pipe is an error that ends the command quietly.
    pub fn print(&self, text: impl AsRef<str>) -> Result<()> {
        self.print_bytes(text.as_ref().as_bytes())
    }

    /// [`Context::print`] of what need not be UTF-8.
    pub fn print_bytes(&self, bytes: &[u8]) -> Result<()> {
        let mut stdout = std::io::stdout().lock();
        let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
        written.map_err(|e| Error::os("write to standard output", e))
    }

    /// [`Context::print`] with a newline.
    pub fn println(&self, text: impl AsRef<str>) -> Result<()> {
        self.print(format!("{}\n", text.as_ref()))
    }

    /// Writes a line to standard error: progress, warnings, hints.
    pub fn note(&self, text: impl AsRef<str>) {
        let _ = writeln!(std::io::stderr().lock(), "{}", text.as_ref());
    }

    /// Prints an error of one of several objects and goes on.
    pub fn report(&self, error: &Error) {
        super::failure::print(error);
    }

    /// Asks whether to go on after `warning`, as docker does.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn confirmed(&self, warning: &str) -> Result<bool> {
        use std::io::{BufRead, Write};
        self.print(format!("{warning}\nAre you sure you want to continue? [y/N] "))?;
        std::io::stdout().flush().map_err(|e| Error::os("write to standard output", e))?;
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        Ok(read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    /// Whether standard output is a terminal.
    pub fn stdout_is_terminal(&self) -> bool {
        std::io::stdout().is_terminal()
    }

    /// Whether standard input is a terminal.
    pub fn stdin_is_terminal(&self) -> bool {
        std::io::stdin().is_terminal()
    }
}

/// What tells a program that this user namespace is the one it needs, and who made it: podman, buildah, and we ourselves.
pub fn namespace_variables(engine: &Engine) -> [(&'static str, String); 3] {
    let env = &engine.config.env;
    [
        ("_CONTAINERS_USERNS_CONFIGURED", "done".to_owned()),
        ("_CONTAINERS_ROOTLESS_UID", env.uid.to_string()),
        ("_CONTAINERS_ROOTLESS_GID", env.gid.to_string()),
    ]
}

/// Gathers the caller's identity and environment. Inside our own user namespace (`coracle unshare`, an exit command) the
/// identity outside comes from the variables podman uses for it.
pub fn environment() -> Result<Environment> {
    let vars: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
        .collect();
    let number = |name: &str| vars.get(name).and_then(|value| value.parse::<u32>().ok());
    let (euid, egid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let outside = number("_CONTAINERS_ROOTLESS_UID").filter(|uid| euid == 0 && *uid != 0);
    let (uid, gid, in_userns) = match outside {
        Some(uid) => (uid, number("_CONTAINERS_ROOTLESS_GID").unwrap_or(uid), true),
        None => (euid, egid, false),
    };
    let home = vars.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let home = home.or_else(dirs::home_dir).unwrap_or_else(|| PathBuf::from("/"));
    Ok(Environment {
        uid,
        gid,
        in_userns,
        home,
        cwd: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        program: std::env::current_exe().map_err(|e| Error::io("read link", "/proc/self/exe", e))?,
        vars,
    })
}
