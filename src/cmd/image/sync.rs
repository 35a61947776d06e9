//! `coracle image sync`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::progress::{Board, Copying, Receiving};
use crate::cmd::flags::sides::SidesArgs;
use crate::cmd::flags::transfer::SigningArgs;
use crate::cmd::{Context, Exit};
use crate::engine::image::sync::{Side, Step, SyncRequest, plan};
use crate::engine::image::transfer::{Instances, TransferRequest, transfer};
use crate::engine::transport::{CopyOptions, Format, Location};
use crate::engine::{Error, Result};

/// Copy many images between registries and directories
///
/// A repository stands for all its tags, a directory for all dir: images below it, a YAML file (skopeo-sync(1)) for the images
/// it lists. Only the last part of a name is kept at the destination, all of it with --scoped.
#[derive(Args, Clone, Debug, Default)]
pub struct SyncArgs {
    /// What the source is: docker, dir or yaml, a file that lists images of registries
    #[arg(short, long, value_name = "KIND")]
    pub src: String,
    /// What the destination is: docker or dir
    #[arg(short, long, value_name = "KIND")]
    pub dest: String,
    /// Keep whole names
    #[arg(long)]
    pub scoped: bool,
    /// Append this to every tag
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub append_suffix: String,
    /// Copy all platforms of each image
    #[arg(short, long)]
    pub all: bool,
    /// Fail instead of changing a digest
    #[arg(long)]
    pub preserve_digests: bool,
    /// Form of the manifests: oci or v2s2
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Go on after an image failed
    #[arg(long)]
    pub keep_going: bool,
    /// Only say what would be copied
    #[arg(long)]
    pub dry_run: bool,
    /// Write digest and name of each image to this file
    #[arg(long, value_name = "FILE")]
    pub digestfile: Option<PathBuf>,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
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
    pub signing: SigningArgs,
}

fn side(flag: &str, text: &str) -> Result<Side> {
    match text {
        "docker" => Ok(Side::Registry),
        "dir" => Ok(Side::Directory),
        "yaml" if flag == "--src" => Ok(Side::List),
        _ => Err(Error::invalid(format!("{flag} {text:?} is neither docker nor dir"))),
    }
}

/// Runs `coracle image sync`.
pub fn run(cx: &Context, args: SyncArgs) -> Result<Exit> {
    let request = SyncRequest {
        from: side("--src", &args.src)?,
        to: side("--dest", &args.dest)?,
        source: args.source.clone(),
        destination: args.destination.clone(),
        scoped: args.scoped,
        suffix: args.append_suffix.clone(),
    };
    if request.from == Side::Directory && request.to == Side::Directory {
        return Err(Error::invalid("sync from directories to directories is cp's business"));
    }
    let engine = cx.engine()?;
    let steps = plan(engine, &request, &args.sides.source()?)?;
    let mut digests = match &args.digestfile {
        Some(path) => Some(std::fs::File::create(path).map_err(|e| Error::io("create", path, e))?),
        None => None,
    };
    let mut failed = 0;
    for step in &steps {
        if args.dry_run {
            cx.println(format!("would copy {} to {}", step.source, step.destination))?;
            continue;
        }
        match copy(cx, &args, step) {
            Ok(digest) => {
                if let Some(file) = &mut digests {
                    let line = format!("{digest} {}\n", step.source);
                    file.write_all(line.as_bytes()).map_err(|e| Error::os("write the digests", e))?;
                }
                cx.println(step.destination.to_string())?;
            }
            Err(e) if args.keep_going => {
                cx.report(&e);
                failed += 1;
            }
            Err(e) => return Err(e),
        }
    }
    Ok(if failed == 0 { Exit::OK } else { Exit::FAILED })
}

fn copy(cx: &Context, args: &SyncArgs, step: &Step) -> Result<String> {
    if let Location::Directory(path) = &step.destination {
        std::fs::create_dir_all(path).map_err(|e| Error::io("mkdir", path, e))?;
    }
    let request = TransferRequest {
        source: step.source.clone(),
        destination: step.destination.clone(),
        source_access: step.access.clone().map_or_else(|| args.sides.source(), Ok)?,
        destination_access: args.sides.destination()?,
        instances: if args.all { Instances::All } else { Instances::System },
        options: CopyOptions {
            format: args.format.as_deref().map(Format::parse).transpose()?,
            layers: args.sides.layers(matches!(step.destination, Location::Directory(_)))?,
            force: args.sides.force(),
            preserve_digests: args.preserve_digests,
            parallel: args.sides.image_parallel_copies.unwrap_or(0).min(32),
            referrers: args.sides.referrers,
            signing: args.signing.signing(&cx.engine()?.config.env)?,
            ..CopyOptions::default()
        },
        additional_tags: Vec::new(),
        signature_policy: None,
    };
    let sending = Copying::unless_piped(Board::new(args.quiet));
    let copied = transfer(cx.engine()?, &request, &Receiving::new(args.quiet), &sending)?;
    Ok(copied.digest.to_string())
}
