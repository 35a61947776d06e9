//! Flag groups used by two or more commands, and their pure conversion to the engine's types.
//!
//! A flag stands in one group, with its help; the group's `apply` checks it and puts it into the spec. A flag whose
//! machinery is not there yet parses and is refused by [`later`] in one sentence, never ignored.
#![allow(missing_docs, reason = "the fields are flags; their doc comments are the help")]

pub mod attach;
pub mod create;
pub mod exec;
pub mod filter;
mod gpus;
pub mod health;
pub mod image;
pub mod labels;
pub mod lifetime;
pub mod listing;
pub mod logging;
pub mod mounts;
pub mod namespaces;
pub mod network;
pub mod place;
pub mod ports;
pub mod process;
pub mod resources;
pub mod security;
pub mod sides;
pub mod subnets;
pub mod transfer;
pub mod values;

pub use create::{CreateFlags, RunFlags};
pub use exec::ExecFlags;
pub use filter::FilterArgs;
pub use health::HealthArgs;
pub use lifetime::restart;
pub use listing::ListingArgs;
pub use resources::ResourceArgs;

use crate::engine::config::Environment;
use crate::engine::config::containers::Containers;
use crate::engine::{Error, Result};
use std::path::Path;

/// What converting flags may look at.
pub struct Inputs<'a> {
    /// The caller's environment and directory.
    pub env: &'a Environment,
    /// containers.conf, where it says what a flag is when it is not given.
    pub conf: &'a Containers,
    /// Reads a file the user named.
    pub read: &'a dyn Fn(&Path) -> Result<String>,
}

/// The refusal of a flag that has no machinery yet.
pub fn later(flag: &str, what: &str) -> Error {
    Error::unsupported(format!("{flag} is not supported yet: it needs {what}"))
}

#[cfg(test)]
mod tests;
