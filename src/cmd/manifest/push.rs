//! `coracle manifest push`.

use super::tls_verify;
use crate::cmd::flags::image::AccessArgs;
use crate::cmd::flags::transfer::{CompressionArgs, SigningArgs};
use crate::cmd::flags::values::boolean;
use crate::cmd::image::progress::{Board, Copying};
use crate::cmd::{Context, Exit};
use crate::engine::image::index::{self, IndexPush};
use crate::engine::image::request::RegistryAccess;
use crate::engine::transport::compress::Algorithm;
use crate::engine::transport::{CopyOptions, Format};
use crate::engine::{Error, Result};
use clap::Args;
use std::path::PathBuf;

/// Push a manifest list to a registry, or another place
///
/// Prints the digest it has there.
#[derive(Args, Clone, Debug, Default)]
pub struct PushArgs {
    /// Add a copy of each image with its layers compressed so, by gzip, zstd or zstd:chunked at its usual level, where the
    /// list has none
    #[arg(long, value_name = "FORMAT", value_delimiter = ',')]
    pub add_compression: Vec<String>,
    /// Push the images of the list, too
    #[arg(long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    pub all: bool,
    /// Write the digest to this file
    #[arg(long, value_name = "FILE")]
    pub digestfile: Option<PathBuf>,
    /// Form of the manifests: oci or v2s2 [default: as they are]
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Allow a registry without TLS
    #[arg(long)]
    pub insecure: bool,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
    /// Remove the list here afterwards
    #[arg(long)]
    pub rm: bool,
    /// The same as --rm
    #[arg(short, long)]
    pub purge: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub compression: CompressionArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub access: AccessArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub signing: SigningArgs,
    /// The list
    #[arg(value_name = "LIST")]
    pub list: String,
    /// Name at the registry, or another place, as in oci:DIR:TAG [default: the list's own name]
    #[arg(value_name = "DESTINATION")]
    pub destination: Option<String>,
}

/// Runs `coracle manifest push`.
pub fn run(cx: &Context, args: PushArgs) -> Result<Exit> {
    if !args.add_compression.is_empty() && !args.all {
        return Err(Error::invalid("--add-compression needs the images of the list")
            .with_hint("leave out --all=false"));
    }
    let access = args.access.access()?;
    let engine = cx.engine()?;
    let request = IndexPush {
        list: args.list,
        destination: args.destination,
        all: args.all,
        remove: args.rm || args.purge,
        access: RegistryAccess { tls_verify: tls_verify(access.tls_verify, args.insecure)?, ..access },
        options: CopyOptions {
            format: args.format.as_deref().map(Format::parse).transpose()?,
            layers: args.compression.form(&engine.config.containers.engine)?,
            force: args.compression.force(),
            variants: args
                .add_compression
                .iter()
                .map(|name| Algorithm::parse(name))
                .collect::<Result<_>>()?,
            signing: args.signing.signing(&engine.config.env)?,
            ..CopyOptions::default()
        },
    };
    let progress = Copying(Board::new(args.quiet));
    let pushed = index::push(
        engine,
        &request,
        &|name| progress.0.text(&crate::cmd::image::push::heading(name)),
        &progress,
    )?;
    if let Some(path) = &args.digestfile {
        std::fs::write(path, pushed.digest.as_str()).map_err(|e| Error::io("write", path, e))?;
    }
    cx.println(pushed.digest.as_str())?;
    Ok(Exit::OK)
}
