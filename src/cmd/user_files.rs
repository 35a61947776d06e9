//! Files that the command line names: environment and label files, seccomp profiles.

use super::flags::Inputs;
use crate::engine::config::Environment;
use crate::engine::config::containers::Containers;
use crate::engine::{Error, Result};
use std::io::Read;
use std::path::Path;

/// What converting flags may look at, over the real file system.
pub fn inputs<'a>(env: &'a Environment, conf: &'a Containers) -> Inputs<'a> {
    Inputs { env, conf, read: &read }
}

/// A text file of at most 16 MiB.
///
/// # Errors
/// It cannot be read, is larger, or is not UTF-8.
pub fn read(path: &Path) -> Result<String> {
    const MOST: u64 = 16 << 20;
    let file = std::fs::File::open(path).map_err(|e| Error::io("open", path, e))?;
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes).map_err(|e| Error::io("read", path, e))?;
    if bytes.len() as u64 > MOST {
        return Err(Error::invalid(format!("{} is too large: more than 16 MiB", path.display())));
    }
    String::from_utf8(bytes).map_err(|_| Error::invalid(format!("{} is not valid UTF-8", path.display())))
}
