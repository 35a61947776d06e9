//! `coracle export`.

use crate::cmd::output::Output;
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::container::{export, resolve};
use clap::Args;
use std::path::PathBuf;

/// Write a container's file system as a tar archive
///
/// What is mounted in the container is not part of it. Without --output the archive goes to standard output.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// File to write to; it is replaced when the archive is complete
    #[arg(short, long, value_name = "FILE", overrides_with = "output")]
    output: Option<PathBuf>,
    /// Name or ID
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// Exports.
pub fn run(cx: &Context, args: ExportArgs) -> Result<Exit> {
    let engine = cx.engine()?;
    let id = resolve(engine, &args.container)?;
    let mut output = Output::open(cx, args.output.as_deref())?;
    export(engine, &id, &mut output)?;
    output.done()?;
    Ok(Exit::OK)
}
