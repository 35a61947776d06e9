//! `coracle image exists`.

use clap::Args;

use crate::cmd::{Context, Exit};
use crate::engine::image::find;
use crate::engine::{ErrorKind, Result};

/// Tell by the exit code whether an image is here: 0 if it is, 1 if not
#[derive(Args, Clone, Debug, Default)]
pub struct ExistsArgs {
    /// Image
    #[arg(value_name = "IMAGE")]
    pub image: String,
}

/// Runs `coracle image exists`.
pub fn run(cx: &Context, args: ExistsArgs) -> Result<Exit> {
    match find(cx.engine()?, &args.image) {
        Ok(_) => Ok(Exit::OK),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Exit::FAILED),
        Err(e) => Err(e),
    }
}
