//! `coracle manifest exists`, `remove` (an image from a list) and `rm` (lists).

use crate::cmd::{Context, Exit};
use crate::engine::image::index;
use crate::engine::image::remove::{RemoveOptions, remove as remove_image};
use crate::engine::{ErrorKind, Result};
use clap::Args;

/// Whether a manifest list exists, by the exit code
#[derive(Args, Clone, Debug, Default)]
pub struct ExistsArgs {
    /// The list
    #[arg(value_name = "LIST")]
    pub list: String,
}

/// Runs `coracle manifest exists`.
pub fn exists(cx: &Context, args: ExistsArgs) -> Result<Exit> {
    match index::lookup(cx.engine()?, &args.list) {
        Ok(_) => Ok(Exit::OK),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Exit::FAILED),
        Err(e) => Err(e),
    }
}

/// Take an image out of a manifest list
#[derive(Args, Clone, Debug, Default)]
pub struct RemoveArgs {
    /// The list
    #[arg(value_name = "LIST")]
    pub list: String,
    /// Digest of the image
    #[arg(value_name = "DIGEST")]
    pub digest: String,
}

/// Runs `coracle manifest remove`.
pub fn remove(cx: &Context, args: RemoveArgs) -> Result<Exit> {
    let id = index::remove(cx.engine()?, &args.list, &args.digest)?;
    cx.println(format!("{id}: {}", args.digest))?;
    Ok(Exit::OK)
}

/// Remove manifest lists; the images they name stay
#[derive(Args, Clone, Debug, Default)]
pub struct RmArgs {
    /// A missing list is no error
    #[arg(short, long)]
    pub ignore: bool,
    /// The lists
    #[arg(value_name = "LIST", required = true)]
    pub lists: Vec<String>,
}

/// Runs `coracle manifest rm`.
pub fn run(cx: &Context, args: RmArgs) -> Result<Exit> {
    let engine = cx.engine()?;
    let mut exit = Exit::OK;
    for name in &args.lists {
        let removed = index::lookup(engine, name).and_then(|_| {
            remove_image(engine, name, &RemoveOptions { no_prune: true, ..RemoveOptions::default() })
        });
        match removed {
            Ok(removed) => crate::cmd::image::rmi::print(cx, &removed)?,
            Err(e) if args.ignore && e.kind() == ErrorKind::NotFound => {}
            Err(e) if args.lists.len() == 1 => return Err(e),
            Err(e) => {
                cx.report(&e);
                exit = Exit::FAILED;
            }
        }
    }
    Ok(exit)
}
