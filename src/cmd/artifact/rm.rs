//! `coracle artifact rm`, `artifact remove`.

use crate::cmd::{Context, Exit};
use crate::engine::{Result, artifact};
use clap::Args;

/// Remove artifacts
///
/// Prints their digests.
#[derive(Args, Clone, Debug, Default)]
pub struct RmArgs {
    /// The artifacts: names or digests
    #[arg(value_name = "ARTIFACT", required = true)]
    pub names: Vec<String>,
}

/// Runs `coracle artifact rm`.
pub fn run(cx: &Context, args: RmArgs) -> Result<Exit> {
    let mut exit = Exit::OK;
    for name in &args.names {
        match artifact::remove(cx.engine()?, name) {
            Ok(digest) => cx.println(digest.hex())?,
            Err(e) if args.names.len() == 1 => return Err(e),
            Err(e) => {
                cx.report(&e);
                exit = Exit::FAILED;
            }
        }
    }
    Ok(exit)
}
