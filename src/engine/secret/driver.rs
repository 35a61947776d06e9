//! Who keeps the data of secrets: a file beside the record, pass(1), or commands of the user's. Data goes through pipes and
//! files without a name, never through arguments or the environment.
//!
//! Options and variables are podman's (`podman-secret-create(1)`; common `pkg/secrets/passdriver`, `shelldriver`).

use super::{LARGEST, Secret};
use crate::engine::config::Config;
use crate::engine::host::atomic::{self, Durability};
use crate::engine::host::process;
use crate::engine::host::spawn::{Spawn, scratch};
use crate::engine::{Error, ErrorKind, Result};
use std::fs;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::Path;

/// The driver that keeps data in a file of its owner's.
pub const FILE: &str = "file";
const PASS: &str = "pass";
const SHELL: &str = "shell";

/// All of them.
pub const DRIVERS: [&str; 3] = [FILE, PASS, SHELL];

const DATA: &str = "data";

/// `directory`: where the driver `file` keeps it.
pub(super) fn store(config: &Config, secret: &Secret, directory: &Path, data: &[u8]) -> Result<()> {
    match secret.driver.as_str() {
        FILE => atomic::write(&directory.join(DATA), data, 0o600, Durability::Synced),
        PASS => pass(config, secret, &["insert", "-m", "-f"], data).map(drop),
        SHELL => shell(config, secret, "store", data).map(drop),
        other => Err(Error::invalid(format!("{other}: no such secret driver"))
            .with_hint(format!("one of {}", DRIVERS.join(", ")))),
    }
}

pub(super) fn lookup(config: &Config, secret: &Secret, directory: &Path) -> Result<Vec<u8>> {
    match secret.driver.as_str() {
        FILE => {
            let path = directory.join(DATA);
            fs::read(&path).map_err(|e| Error::io("read", &path, e))
        }
        PASS => pass(config, secret, &["show"], b""),
        _ => shell(config, secret, "lookup", b""),
    }
}

/// Whatever there is of it elsewhere.
pub(super) fn delete(config: &Config, secret: &Secret) -> Result<()> {
    match secret.driver.as_str() {
        PASS => pass(config, secret, &["rm", "-f"], b"").map(drop),
        SHELL => shell(config, secret, "delete", b"").map(drop),
        _ => Ok(()),
    }
}

fn pass(config: &Config, secret: &Secret, verb: &[&str], input: &[u8]) -> Result<Vec<u8>> {
    let program = process::find_program(PASS, &config.env.path()).ok_or_else(|| {
        Error::new(ErrorKind::MissingProgram, "the secret driver pass needs the program pass")
            .with_hint("install the package pass")
    })?;
    let root = secret.options.get("root").map_or("", String::as_str).trim_matches('/');
    let key = if root.is_empty() { secret.id.clone() } else { format!("{root}/{}", secret.id) };
    let mut spawn = Spawn::new(&program).args(verb).arg(key);
    for (option, variable) in [("store", "PASSWORD_STORE_DIR"), ("gpghomedir", "GNUPGHOME")] {
        if let Some(value) = secret.options.get(option) {
            spawn = spawn.env(variable, value);
        } else if let Some(value) = config.env.var(variable) {
            spawn = spawn.env(variable, value);
        }
    }
    run(config, spawn, input, "pass")
}

/// `verb`: an option of the driver, which is a command for sh.
fn shell(config: &Config, secret: &Secret, verb: &str, input: &[u8]) -> Result<Vec<u8>> {
    let command = secret.options.get(verb).ok_or_else(|| {
        Error::invalid(format!("missing config value {verb:?} of the secret driver shell"))
            .with_hint("--driver-opts store=COMMAND,lookup=COMMAND,delete=COMMAND,list=COMMAND")
    })?;
    let spawn = Spawn::new(Path::new("/bin/sh")).args(["-c", command]).env("SECRET_ID", &secret.id);
    run(config, spawn, input, verb)
}

fn run(config: &Config, spawn: Spawn<'_>, input: &[u8], what: &str) -> Result<Vec<u8>> {
    let [mut stdin, mut stdout, mut stderr] = [scratch()?, scratch()?, scratch()?];
    let failed = |e| Error::os("talk to a secret driver", e);
    stdin.write_all(input).and_then(|()| stdin.rewind()).map_err(failed)?;
    let mut spawn = spawn.env("PATH", config.env.var("PATH").unwrap_or_default());
    for name in ["HOME", "XDG_RUNTIME_DIR", "GPG_TTY"] {
        if let Some(value) = config.env.var(name) {
            spawn = spawn.env(name, value);
        }
    }
    let ended = spawn.fd(stdin.as_fd(), 0).fd(stdout.as_fd(), 1).fd(stderr.as_fd(), 2).spawn()?.wait()?;
    if !ended.success() {
        let mut said = String::new();
        // What is no text says nothing.
        let _ = stderr.rewind().and_then(|()| (&mut stderr).take(4096).read_to_string(&mut said));
        return Err(Error::new(ErrorKind::Runtime, format!("the secret driver's {what} failed"))
            .with_source(said.trim().to_owned()));
    }
    let mut data = Vec::new();
    let limit = LARGEST as u64 + 1;
    stdout.rewind().and_then(|()| (&mut stdout).take(limit).read_to_end(&mut data)).map_err(failed)?;
    if data.len() > LARGEST {
        return Err(Error::corrupt(format!("the secret driver's {what} gives more than {LARGEST} bytes")));
    }
    Ok(data)
}
