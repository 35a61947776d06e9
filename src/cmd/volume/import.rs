//! `coracle volume import`.

use crate::cmd::{Context, Exit};
use crate::engine::container::import_volume;
use crate::engine::volume::Volumes;
use crate::engine::{Error, Result};
use clap::Args;
use std::fs::File;

/// Unpack a tar archive into a volume
///
/// Files that are there under the same names are replaced, others stay.
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// Name
    #[arg(value_name = "VOLUME")]
    volume: String,
    /// Archive, compressed or not; - or nothing: standard input
    #[arg(value_name = "FILE")]
    source: Option<String>,
}

/// Imports.
pub fn run(cx: &Context, args: ImportArgs) -> Result<Exit> {
    let engine = cx.engine()?;
    let volume = Volumes::open(&engine.config).resolve(&args.volume)?;
    match args.source.as_deref() {
        None | Some("-") if cx.stdin_is_terminal() => {
            return Err(Error::invalid("an archive is not read from a terminal")
                .with_hint("name a file, or use a pipe"));
        }
        None | Some("-") => import_volume(engine, &volume, std::io::stdin())?,
        Some(path) => {
            let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
            import_volume(engine, &volume, file)?;
        }
    }
    Ok(Exit::OK)
}
