//! `coracle save`.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::progress::{Board, Copying};
use crate::cmd::{Context, Exit};
use crate::engine::image::save::{SaveFormat, SaveRequest, SaveTo, save};
use crate::engine::registry::PlatformRequest;
use crate::engine::{Error, Result};

/// Save images to an archive or a directory
///
/// A docker archive, which is what is written unless --format says otherwise, is read by docker, podman and everything else. A
/// name without a tag stands for all tags of that repository there. Without --output the archive goes to standard output.
#[derive(Args, Clone, Debug, Default)]
pub struct SaveArgs {
    /// File or directory to write to; a file is replaced when the archive is complete
    #[arg(short, long, value_name = "PATH", overrides_with = "output")]
    pub output: Option<PathBuf>,
    /// Form: docker-archive, oci-archive, oci-dir or docker-dir
    #[arg(long, value_name = "FORMAT", default_value = "docker-archive")]
    pub format: String,
    /// Compress layers; only for docker-dir, OCI layouts have them compressed
    #[arg(long)]
    pub compress: bool,
    /// Do not compress layers; only for the OCI formats
    #[arg(long, conflicts_with = "compress")]
    pub uncompressed: bool,
    /// Accepted: an archive holds as many images as are named
    #[arg(short, long)]
    pub multi_image_archive: bool,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
    /// Only images for this platform: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
    /// Names or IDs
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
}

/// Runs `coracle save`.
pub fn run(cx: &Context, args: SaveArgs) -> Result<Exit> {
    let format = SaveFormat::parse(&args.format)?;
    if args.compress && format != SaveFormat::DockerDirectory {
        return Err(Error::invalid("--compress can only be set when --format is 'docker-dir'"));
    }
    if args.uncompressed && !matches!(format, SaveFormat::OciArchive | SaveFormat::OciDirectory) {
        return Err(Error::invalid(
            "--uncompressed can only be set when --format is 'oci-archive' or 'oci-dir'",
        ));
    }
    let platform = args.platform.as_deref().map(PlatformRequest::parse).transpose()?;
    let request = SaveRequest {
        images: args.images,
        format,
        compress: match (args.compress, args.uncompressed) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ => None,
        },
        platform: platform.unwrap_or_default(),
    };
    let engine = cx.engine()?;
    let to = destination(cx, args.output.as_deref(), format)?;
    let progress = Copying::unless_piped(Board::new(args.quiet));
    save(engine, &request, to, &progress)?;
    Ok(Exit::OK)
}

fn destination(cx: &Context, path: Option<&Path>, format: SaveFormat) -> Result<SaveTo> {
    if let Some(path) = path.filter(|path| *path != Path::new("-")) {
        let special = fs::metadata(path).is_ok_and(|meta| {
            let kind = meta.file_type();
            kind.is_char_device() || kind.is_fifo() || kind.is_block_device()
        });
        if !special || format.is_directory() {
            return Ok(SaveTo::Path(path.to_owned()));
        }
        let file = File::options().write(true).open(path).map_err(|e| Error::io("open", path, e))?;
        return Ok(SaveTo::Open(file));
    }
    if format.is_directory() {
        return Err(Error::invalid(
            "--format oci-dir and docker-dir want a directory: give one with --output",
        ));
    }
    if cx.stdout_is_terminal() {
        return Err(Error::invalid("refusing to save to terminal")
            .with_hint("use the -o flag, or redirect standard output"));
    }
    let fd = io::stdout().as_fd().try_clone_to_owned();
    Ok(SaveTo::Open(fd.map_err(|e| Error::os("duplicate standard output", e))?.into()))
}
