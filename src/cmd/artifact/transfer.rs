//! `coracle artifact pull` and `push`.

use crate::cmd::flags::image::{AccessArgs, DecryptionArgs};
use crate::cmd::flags::transfer::SigningArgs;
use crate::cmd::image::progress::{Board, Copying};
use crate::cmd::{Context, Exit};
use crate::engine::{Error, Result, artifact};
use clap::Args;
use std::path::PathBuf;

/// Pull an artifact from a registry
///
/// Prints its digest.
#[derive(Args, Clone, Debug, Default)]
pub struct PullArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub access: AccessArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub decryption: DecryptionArgs,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
    /// Name of the artifact
    #[arg(value_name = "ARTIFACT")]
    pub name: String,
}

/// Runs `coracle artifact pull`.
pub fn pull(cx: &Context, args: PullArgs) -> Result<Exit> {
    args.decryption.check()?;
    let access = args.access.access()?;
    // What has come is told by the digest; the words of a push would be wrong here.
    let progress = crate::engine::transport::Quiet;
    let digest = artifact::pull(cx.engine()?, &args.name, &access, &progress)?;
    if !args.quiet {
        cx.note(format!("{}: pulled", args.name));
    }
    cx.println(digest.hex())?;
    Ok(Exit::OK)
}

/// Push an artifact to a registry
#[derive(Args, Clone, Debug, Default)]
pub struct PushArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub access: AccessArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub signing: SigningArgs,
    /// Write the digest to this file
    #[arg(long, value_name = "FILE")]
    pub digestfile: Option<PathBuf>,
    /// Show nothing but the digest
    #[arg(short, long)]
    pub quiet: bool,
    /// The artifact: its name or digest
    #[arg(value_name = "ARTIFACT")]
    pub name: String,
    /// Name at the registry [default: the artifact's own]
    #[arg(value_name = "DESTINATION")]
    pub destination: Option<String>,
}

/// Runs `coracle artifact push`.
pub fn push(cx: &Context, args: PushArgs) -> Result<Exit> {
    let engine = cx.engine()?;
    let signing = args.signing.signing(&engine.config.env)?;
    let request = artifact::PushRequest {
        name: args.name,
        destination: args.destination,
        access: args.access.access()?,
        signing,
    };
    let progress = Copying(Board::new(args.quiet));
    let (_, digest) = artifact::push(engine, &request, &progress)?;
    if let Some(path) = &args.digestfile {
        std::fs::write(path, digest.as_str()).map_err(|e| Error::io("write", path, e))?;
    }
    cx.println(digest.hex())?;
    Ok(Exit::OK)
}
