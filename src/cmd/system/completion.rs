//! `coracle completion`.

use crate::cmd::{Context, Exit, completion};
use crate::engine::{Error, Result};
use clap::Args;
use std::path::PathBuf;

/// Print the completion script of a shell
#[derive(Args, Clone, Debug)]
pub struct CompletionArgs {
    /// Write it to a file
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Without descriptions (the shell decides; accepted and ignored)
    #[arg(long)]
    no_desc: bool,
    /// The shell
    #[arg(value_name = "SHELL", value_parser = completion::SHELLS.map(|(name, _)| name))]
    shell: String,
}

/// Prints it.
pub fn run(cx: &Context, args: CompletionArgs) -> Result<Exit> {
    let called = cx.argv.first().map(|path| path.rsplit('/').next().unwrap_or(path));
    let script = completion::script(&args.shell, called.unwrap_or("coracle"))?;
    match args.file {
        Some(file) => std::fs::write(&file, script).map_err(|e| Error::io("write", &file, e))?,
        None => cx.print(script)?,
    }
    Ok(Exit::OK)
}
