//! `coracle container cleanup`: conmon's exit command.

use super::select::{SelectArgs, Selection};
use crate::cmd::{Context, Exit};
use crate::engine::container::{RemoveOptions, cleanup, remove};
use crate::engine::image::mounted::{self, Mounters};
use crate::engine::{ErrorKind, Result};
use clap::Args;

/// Clean up after containers that have ended
///
/// Runs by itself when a container ends; by hand it is never needed, and harmless.
#[derive(Args, Debug)]
pub struct CleanupArgs {
    /// All containers
    #[arg(long, short = 'a')]
    all: bool,
    /// Clean up after an exec session; they need nothing
    #[arg(long, value_name = "SESSION", conflicts_with = "rm")]
    exec: Option<String>,
    /// Remove the containers afterwards
    #[arg(long)]
    rm: bool,
    /// Remove their images, too
    #[arg(long, requires = "rm")]
    rmi: bool,
    #[command(flatten)]
    select: SelectArgs,
}

/// Cleans up; that a container is gone is what a cleanup wants.
pub fn run(cx: &Context, args: CleanupArgs) -> Result<Exit> {
    let selection =
        Selection { args: &args.select, all: args.all, filters: &[], states: |_| true, ignore: true };
    let (chosen, _) = selection.choose(cx)?;
    if args.exec.is_some() {
        return Ok(Exit::OK);
    }
    let engine = cx.engine()?;
    let mut failed = false;
    for (label, id) in &chosen {
        let image = args.rmi.then(|| engine.state.load(id).map(|r| r.state.head.image_id)).transpose();
        let mut result = cleanup(engine, id);
        if args.rm && result.is_ok() {
            result = remove(engine, id, &RemoveOptions::default()).map(drop);
            if let (Ok(()), Ok(Some(image))) = (&result, image) {
                result = mounted::delete(engine, &image, &mut Mounters::new(engine)).map(drop);
            }
        }
        match result {
            Ok(()) if args.all || args.rm => cx.println(label)?,
            Ok(()) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => {
                failed = true;
                cx.report(&e);
            }
        }
    }
    // A front end that was faster leaves us the files of a `--rm` container.
    engine.store.sweep_trash();
    Ok(if failed { Exit::FAILED } else { Exit::OK })
}
