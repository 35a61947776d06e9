//! `coracle untag`.

use clap::Args;

use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::image::tag::untag;

/// Take names away from an image
#[derive(Args, Clone, Debug, Default)]
pub struct UntagArgs {
    /// Image
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// Names to take away; all if none is given
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
}

/// Runs `coracle untag`.
pub fn run(cx: &Context, args: UntagArgs) -> Result<Exit> {
    untag(cx.engine()?, &args.image, &args.names)?;
    Ok(Exit::OK)
}
