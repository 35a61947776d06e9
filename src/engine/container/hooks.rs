//! The host's OCI hooks, read at each start. What they say is [`crate::engine::oci::hooks`].

use crate::engine::oci::hooks::{DIRECTORIES, HookFile};
use crate::engine::{Context, Engine, Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind as Io;
use std::path::PathBuf;

/// `--hooks-dir`, else containers.conf's, else root's.
fn directories(engine: &Engine) -> Vec<PathBuf> {
    let given = &engine.config.overrides.hooks_dir;
    if !given.is_empty() {
        return given.iter().map(|dir| engine.config.env.cwd.join(dir)).collect();
    }
    match engine.config.containers.engine.hooks_dir.values.as_slice() {
        [] if engine.rootless() => Vec::new(),
        [] => DIRECTORIES.map(PathBuf::from).to_vec(),
        configured => configured.iter().map(PathBuf::from).collect(),
    }
}

/// Those of all directories, in the order of their names; a file of a later directory replaces that of an earlier one.
///
/// # Errors
/// A file cannot be read, or is no hook: that a container runs without one may be worse than that it does not run.
pub(super) fn read(engine: &Engine) -> Result<Vec<HookFile>> {
    let mut found = BTreeMap::new();
    for directory in directories(engine) {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == Io::NotFound => continue,
            Err(e) => return Err(Error::io("read directory", &directory, e)),
        };
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if path.extension().is_some_and(|e| e == "json")
                && let Some(name) = path.file_name()
            {
                found.insert(name.to_owned(), path);
            }
        }
    }
    let parse = |path: PathBuf| {
        let text = fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
        HookFile::parse(&text).with_context(|| format!("OCI hook {}", path.display()))
    };
    found.into_values().map(parse).collect()
}
