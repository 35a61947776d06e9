//! Flag groups used by two or more commands, and their pure conversion to the engine's types.
//!
//! A flag stands in one group, with its help; the group's `apply` checks it and puts it into the spec. A flag whose
//! machinery is not there yet parses and is refused by [`later`] in one sentence, never ignored.
#![allow(missing_docs, reason = "the fields are flags; their doc comments are the help")]

pub mod attach;
pub mod create;
pub mod exec;
pub mod filter;
pub mod health;
pub mod image;
pub mod labels;
pub mod lifetime;
pub mod logging;
pub mod mounts;
pub mod namespaces;
pub mod network;
pub mod process;
pub mod resources;
pub mod security;
pub mod values;

pub use create::{CreateFlags, RunFlags};
pub use exec::ExecFlags;
pub use filter::FilterArgs;

use crate::engine::config::Environment;
use crate::engine::{Error, Result};
use clap::ArgAction;
use std::path::Path;

/// What converting flags may look at.
pub struct Inputs<'a> {
    /// The caller's environment and directory.
    pub env: &'a Environment,
    /// Reads a file the user named.
    pub read: &'a dyn Fn(&Path) -> Result<String>,
}

impl<'a> Inputs<'a> {
    /// Over the real file system.
    pub fn new(env: &'a Environment) -> Self {
        Self { env, read: &read_file }
    }
}

/// A file the user named on the command line, at most 16 MiB.
fn read_file(path: &Path) -> Result<String> {
    use std::io::Read;
    const MOST: u64 = 16 << 20;
    let file = std::fs::File::open(path).map_err(|e| Error::io("open", path, e))?;
    let mut text = String::new();
    file.take(MOST + 1).read_to_string(&mut text).map_err(|e| Error::io("read", path, e))?;
    if text.len() as u64 > MOST {
        return Err(Error::invalid(format!("{} is too large: more than 16 MiB", path.display())));
    }
    Ok(text)
}

/// The refusal of a flag that has no machinery yet.
pub fn later(flag: &str, what: &str) -> Error {
    Error::unsupported(format!("{flag} is not supported yet: it needs {what}"))
}

/// Lets every switch of a command and its subcommands take `=true` or `=false`, as Go's flag packages do.
pub fn booleans(command: clap::Command) -> clap::Command {
    command
        .mut_args(|arg| match arg.get_action() {
            ArgAction::SetTrue => arg
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("true")
                .default_value("false")
                .hide_default_value(true)
                .hide_possible_values(true)
                .value_name("BOOL")
                .value_parser(values::boolean),
            _ => arg,
        })
        .mut_subcommands(booleans)
}

#[cfg(test)]
mod tests;
