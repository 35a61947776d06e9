//! `coracle image sign`.

use std::path::PathBuf;

use clap::Args;

use crate::cmd::flags::image::{RegistryArgs, place};
use crate::cmd::{Context, Exit};
use crate::engine::image::request::RegistryAccess;
use crate::engine::image::sign::{SignImage, sign};
use crate::engine::trust::SignRequest;
use crate::engine::{Error, Result};

/// Sign images
///
/// Signs with a GPG key of yours that a name means this image, and puts the signature into the registry's lookaside, as
/// registries.d says where that is. An image is one of a registry, docker://NAME, or of another place, or a name for an image here.
#[derive(Args, Clone, Debug, Default)]
pub struct SignArgs {
    /// Key to sign with: fingerprint, ID or user ID
    #[arg(long, value_name = "KEY")]
    pub sign_by: Option<String>,
    /// File with the passphrase of the key
    #[arg(long, value_name = "FILE")]
    pub sign_passphrase_file: Option<PathBuf>,
    /// Directory for signatures, instead of the registry's lookaside
    #[arg(short, long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Sign every image of a multi-platform one, not the list of them
    #[arg(short, long)]
    pub all: bool,
    /// Directory with certificates (*.crt, *.cert, *.key) for the registry
    #[arg(long, value_name = "DIR")]
    pub cert_dir: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub registry: RegistryArgs,
    /// Images to sign
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
}

/// Runs `coracle image sign`.
pub fn run(cx: &Context, args: SignArgs) -> Result<Exit> {
    if args.sign_by.as_deref().unwrap_or_default().is_empty() {
        return Err(Error::invalid("no identity provided").with_hint("name your key with --sign-by"));
    }
    let engine = cx.engine()?;
    let request = SignRequest {
        gpg_key: args.sign_by,
        passphrase_file: args.sign_passphrase_file,
        ..SignRequest::default()
    };
    let signers = request.signers(&engine.config.env)?;
    let access = RegistryAccess { cert_dir: args.cert_dir, ..args.registry.access()? };
    for image in &args.images {
        let one = SignImage {
            location: place(image)?,
            access: access.clone(),
            directory: args.directory.clone(),
            all: args.all,
        };
        for file in sign(engine, &one, &signers)? {
            cx.println(file.display().to_string())?;
        }
    }
    Ok(Exit::OK)
}
