//! `coracle push`.

use std::path::PathBuf;

use clap::Args;

use super::progress::{Board, Copying, Receiving};
use crate::cmd::flags::image::{AccessArgs, PlatformArgs};
use crate::cmd::flags::transfer::{CompressionArgs, EncryptionArgs, SigningArgs};
use crate::cmd::{Context, Exit};
use crate::engine::image::push::{PushRequest, Pushed, push, tags};
use crate::engine::image::transfer::{Instances, TransferRequest, transfer};
use crate::engine::registry::Reference;
use crate::engine::registry::reference::DEFAULT_DOMAIN;
use crate::engine::transport::compress::{Algorithm, Method};
use crate::engine::transport::{CopyOptions, Format, LayerForm, Location};
use crate::engine::{Error, Result};

/// Push an image to a registry
///
/// DESTINATION may also be oci:PATH:REF, oci-archive:PATH, docker-archive:PATH:NAME, dir:PATH or docker-daemon:NAME.
///
/// Layers that the registry has, or that another of its repositories has, are not sent. An image that was pulled keeps its
/// digest as long as its layers are those.
#[derive(Args, Clone, Debug, Default)]
pub struct PushArgs {
    /// Push every tag of the repository
    #[arg(short, long)]
    pub all_tags: bool,
    /// Show nothing but the name
    #[arg(short, long)]
    pub quiet: bool,
    /// Write the manifest's digest to this file
    #[arg(long, value_name = "FILE")]
    pub digestfile: Option<PathBuf>,
    /// Form of the manifest: oci or v2s2 [default: as the image has it]
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub compression: CompressionArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub access: AccessArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub platform: PlatformArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub signing: SigningArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub encryption: EncryptionArgs,
    /// Image to push
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// Name at the registry [default: the image's own]
    #[arg(value_name = "DESTINATION")]
    pub destination: Option<String>,
}

/// Runs `coracle push`.
pub fn run(cx: &Context, args: PushArgs) -> Result<Exit> {
    args.encryption.check()?;
    let engine = cx.engine()?;
    let layers = args.compression.form(&engine.config.containers.engine)?;
    let request = PushRequest {
        image: args.image,
        destination: args.destination,
        access: args.access.access()?,
        options: CopyOptions {
            format: args.format.as_deref().map(Format::parse).transpose()?,
            layers,
            force: args.compression.force(),
            platform: args.platform.request(None)?,
            signing: args.signing.signing(&engine.config.env)?,
            ..CopyOptions::default()
        },
    };
    let destination = request.destination.as_deref().map(Location::parse).transpose()?;
    if let Some(place) =
        destination.filter(|place| !matches!(place, Location::Name(_) | Location::Registry(_)))
    {
        return to_place(cx, place, request, &args.compression, (args.all_tags, args.quiet), args.digestfile);
    }
    let show = |request: &PushRequest| -> Result<Pushed> {
        let progress = Copying(Board::new(args.quiet));
        let pushed = push(engine, request, &|name| progress.0.text(&heading(name)), &progress)?;
        match args.quiet {
            true => cx.println(pushed.name.to_string())?,
            false => {
                let tag = pushed.name.tag_or_digest();
                cx.println(format!("{tag}: digest: {} size: {}", pushed.digest, pushed.size))?;
            }
        }
        Ok(pushed)
    };
    if !args.all_tags {
        let pushed = show(&request)?;
        if let Some(path) = &args.digestfile {
            std::fs::write(path, pushed.digest.as_str()).map_err(|e| Error::io("write", path, e))?;
        }
        return Ok(Exit::OK);
    }
    if request.destination.is_some() || args.digestfile.is_some() {
        return Err(Error::invalid("--all-tags goes with neither a destination nor --digestfile"));
    }
    for name in tags(engine, &request.image)? {
        show(&PushRequest { image: name.to_string(), ..request.clone() })?;
    }
    Ok(Exit::OK)
}

/// To a place that is no registry.
fn to_place(
    cx: &Context,
    destination: Location,
    request: PushRequest,
    compression: &CompressionArgs,
    (all_tags, quiet): (bool, bool),
    digestfile: Option<PathBuf>,
) -> Result<Exit> {
    if all_tags {
        return Err(Error::invalid(format!("--all-tags is for registries, not for {destination}")));
    }
    let mut options = request.options;
    if compression.compress && options.layers.is_none() && matches!(destination, Location::Directory(_)) {
        options.layers = Some(LayerForm::Compressed(Method { algorithm: Algorithm::Gzip, level: None }));
    }
    let request = TransferRequest {
        source: Location::Storage(request.image),
        destination,
        source_access: request.access.clone(),
        destination_access: request.access,
        instances: Instances::System,
        options,
        additional_tags: Vec::new(),
        signature_policy: None,
    };
    let sending = Copying::unless_piped(Board::new(quiet));
    let copied = transfer(cx.engine()?, &request, &Receiving::new(quiet), &sending)?;
    if let Some(path) = &digestfile {
        std::fs::write(path, copied.digest.as_str()).map_err(|e| Error::io("write", path, e))?;
    }
    Ok(Exit::OK)
}

/// What docker says before a push.
pub fn heading(name: &Reference) -> String {
    let repository = match name.domain() {
        DEFAULT_DOMAIN => format!("{DEFAULT_DOMAIN}/{}", name.path()),
        _ => name.name(),
    };
    format!("The push refers to repository [{repository}]")
}
