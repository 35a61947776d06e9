//! `coracle image copy`.

use std::path::PathBuf;

use clap::Args;

use super::progress::{Board, Copying, Receiving};
use crate::cmd::flags::image::{DecryptionArgs, PlatformArgs};
use crate::cmd::flags::sides::SidesArgs;
use crate::cmd::flags::transfer::{EncryptionArgs, SigningArgs};
use crate::cmd::{Context, Exit};
use crate::engine::image::transfer::{Instances, TransferRequest, transfer};
use crate::engine::registry::Reference;
use crate::engine::transport::{CopyOptions, Format, Location, Signing};
use crate::engine::{Error, Result};

/// Copy an image from one place to another
///
/// Places are docker://NAME, containers-storage:NAME, oci:PATH:REF, oci-archive:PATH:REF, docker-archive:PATH:NAME (without REF
/// or NAME: the only image there), dir:PATH and docker-daemon:NAME; a name alone is an image here. What need not change keeps its digest.
#[derive(Args, Clone, Debug, Default)]
pub struct CopyArgs {
    /// Copy all platforms of an image
    #[arg(short, long)]
    pub all: bool,
    /// Which platforms: system, all or index-only
    #[arg(long, value_name = "WHICH", conflicts_with = "all", value_parser = ["system", "all", "index-only"])]
    pub multi_arch: Option<String>,
    /// Fail instead of changing the digest
    #[arg(long)]
    pub preserve_digests: bool,
    /// Form of the manifest: oci or v2s2 [default: as it is, if it can be had there]
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Further name in a docker archive or here (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub additional_tag: Vec<String>,
    /// Write the manifest's digest to this file
    #[arg(long, value_name = "FILE")]
    pub digestfile: Option<PathBuf>,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
    /// Name that new signatures are for [default: that of the destination]
    #[arg(long, value_name = "NAME", help_heading = "Signatures")]
    pub sign_identity: Option<String>,
    /// Signature policy file instead of policy.json
    #[arg(long, value_name = "FILE", hide = true)]
    pub signature_policy: Option<PathBuf>,
    /// From where
    #[arg(value_name = "SOURCE")]
    pub source: String,
    /// To where
    #[arg(value_name = "DESTINATION")]
    pub destination: String,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub sides: SidesArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub platform: PlatformArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub signing: SigningArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub encryption: EncryptionArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub decryption: DecryptionArgs,
}

/// Runs `coracle image copy`.
pub fn run(cx: &Context, args: CopyArgs) -> Result<Exit> {
    args.encryption.check()?;
    args.decryption.check()?;
    let instances = match args.multi_arch.as_deref() {
        _ if args.all => Instances::All,
        Some("all") => Instances::All,
        Some("index-only") => Instances::IndexOnly,
        _ => Instances::System,
    };
    let destination = Location::parse(&args.destination)?;
    let identity = args.sign_identity.as_deref().map(Reference::parse).transpose()?;
    let engine = cx.engine()?;
    let signing = Signing { identity, ..args.signing.signing(&engine.config.env)? };
    let directory = matches!(destination, Location::Directory(_));
    let request = TransferRequest {
        source: Location::parse(&args.source)?,
        source_access: args.sides.source()?,
        destination_access: args.sides.destination()?,
        instances,
        options: CopyOptions {
            format: args.format.as_deref().map(Format::parse).transpose()?,
            layers: args.sides.layers(directory)?,
            force: args.sides.force(),
            preserve_digests: args.preserve_digests,
            platform: args.platform.request(None)?,
            parallel: args.sides.image_parallel_copies.unwrap_or(0).min(32),
            signing,
            referrers: args.sides.referrers,
            ..CopyOptions::default()
        },
        additional_tags: args.additional_tag,
        signature_policy: args.signature_policy,
        destination,
    };
    let sending = Copying::unless_piped(Board::new(args.quiet));
    let copied = transfer(engine, &request, &Receiving::new(args.quiet), &sending)?;
    if let Some(path) = &args.digestfile {
        std::fs::write(path, copied.digest.as_str()).map_err(|e| Error::io("write", path, e))?;
    }
    cx.println(copied.id.unwrap_or_else(|| copied.digest.to_string()))?;
    Ok(Exit::OK)
}
