//! `coracle manifest create`.

use super::{annotations, tls_verify};
use crate::cmd::flags::image::AccessArgs;
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::image::index::{self, AddRequest};
use crate::engine::image::request::RegistryAccess;
use clap::Args;

/// Create a manifest list, of images here or at registries
///
/// Prints its ID.
#[derive(Args, Clone, Debug, Default)]
pub struct CreateArgs {
    /// Add every instance of images that are lists themselves
    #[arg(long)]
    pub all: bool,
    /// Add to a list that is there already
    #[arg(short, long)]
    pub amend: bool,
    /// Annotate the list: KEY=VALUE (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    pub annotation: Vec<String>,
    /// Allow registries without TLS
    #[arg(long)]
    pub insecure: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub access: AccessArgs,
    /// Name of the list
    #[arg(value_name = "LIST")]
    pub list: String,
    /// Images to add
    #[arg(value_name = "IMAGE")]
    pub images: Vec<String>,
}

/// Runs `coracle manifest create`.
pub fn run(cx: &Context, args: CreateArgs) -> Result<Exit> {
    let access = args.access.access()?;
    let access = RegistryAccess { tls_verify: tls_verify(access.tls_verify, args.insecure)?, ..access };
    let engine = cx.engine()?;
    let before = index::lookup(engine, &args.list).is_ok();
    let id = index::create(engine, &args.list, args.amend, &annotations(&args.annotation)?)?;
    for image in args.images {
        let request = AddRequest {
            list: id.clone(),
            image,
            all: args.all,
            access: access.clone(),
            ..AddRequest::default()
        };
        if let Err(e) = index::add(engine, &request) {
            // What was made for this is of no use without its images.
            if !before && let Err(left) = engine.store.delete_image(&id) {
                tracing::debug!("{left}");
            }
            return Err(e);
        }
    }
    cx.println(id)?;
    Ok(Exit::OK)
}
