//! `coracle help`.

use crate::cmd::{Context, Exit, command};
use crate::engine::{Error, Result};
use clap::Args;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Show how a command is used
#[derive(Args, Clone, Debug)]
pub struct HelpArgs {
    /// The command's words; without any: all commands
    #[arg(value_name = "COMMAND")]
    words: Vec<String>,
}

/// What `COMMAND --help` prints.
pub fn run(cx: &Context, args: HelpArgs) -> Result<Exit> {
    let mut found = command();
    // As it was called: through a link it may be "docker".
    let called = std::env::args_os().next().map(PathBuf::from);
    if let Some(name) = called.as_deref().and_then(Path::file_name).and_then(OsStr::to_str) {
        found = found.bin_name(name);
    }
    // Gives the subcommands their usage lines.
    found.build();
    for word in &args.words {
        let inner = found.find_subcommand(word).cloned();
        found =
            inner.ok_or_else(|| Error::not_found(format!("unknown help topic: {}", args.words.join(" "))))?;
    }
    cx.print(found.render_long_help().to_string())?;
    Ok(Exit::OK)
}
