//! `coracle volume export`.

use crate::cmd::output::Output;
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::volume::Volumes;
use clap::Args;
use std::path::PathBuf;

/// Write a volume's files as a tar archive
///
/// Without --output the archive goes to standard output.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// File to write to; it is replaced when the archive is complete
    #[arg(short, long, value_name = "FILE", overrides_with = "output")]
    output: Option<PathBuf>,
    /// Name
    #[arg(value_name = "VOLUME")]
    volume: String,
}

/// Exports.
pub fn run(cx: &Context, args: ExportArgs) -> Result<Exit> {
    let engine = cx.engine()?;
    let volume = Volumes::open(&engine.config).resolve(&args.volume)?;
    let mut output = Output::open(cx, args.output.as_deref())?;
    crate::engine::container::export_volume(engine, &volume, &mut output)?;
    output.done()?;
    Ok(Exit::OK)
}
