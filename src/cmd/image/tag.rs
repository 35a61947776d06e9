//! `coracle tag`.

use clap::Args;

use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::image::tag::tag;

/// Add names to an image
#[derive(Args, Clone, Debug, Default)]
pub struct TagArgs {
    /// Image to name
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// New names
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
}

/// Runs `coracle tag`.
pub fn run(cx: &Context, args: TagArgs) -> Result<Exit> {
    tag(cx.engine()?, &args.image, &args.names)?;
    Ok(Exit::OK)
}
