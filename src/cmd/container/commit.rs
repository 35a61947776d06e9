//! `coracle commit`.

use crate::cmd::flags::values::boolean;
use crate::cmd::user_files;
use crate::cmd::{Context, Exit};
use crate::engine::container::{self, CommitRequest};
use crate::engine::image::draft::Format;
use crate::engine::{Error, Result};
use clap::Args;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Make an image of a container's changes
///
/// The image is that of the container with one more layer. A running container is paused while its files are read, if it
/// can be. Prints the image's ID.
#[derive(Args, Clone, Debug)]
pub struct CommitArgs {
    /// Who made the image
    #[arg(short, long, value_name = "AUTHOR", overrides_with = "author")]
    author: Option<String>,
    /// Change the configuration by a Dockerfile instruction (may be repeated): CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME or WORKDIR
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// JSON file with a configuration that is merged into the image's
    #[arg(long, value_name = "FILE", overrides_with = "config")]
    config: Option<PathBuf>,
    /// Format of manifest and configuration: oci or docker
    #[arg(short, long, value_name = "FORMAT", default_value = "oci", overrides_with = "format")]
    format: String,
    /// Write the image's ID to a file
    #[arg(long, value_name = "FILE", overrides_with = "iidfile")]
    iidfile: Option<PathBuf>,
    /// The container's mounts become volumes of the image
    #[arg(long)]
    include_volumes: bool,
    /// A comment on the new layer
    #[arg(short, long, value_name = "TEXT", overrides_with = "message")]
    message: Option<String>,
    /// Pause the container meanwhile [default: true, where it can be]
    #[arg(short, long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    pause: Option<bool>,
    /// Print nothing but the ID (nothing else is printed anyway)
    #[arg(short, long)]
    quiet: bool,
    /// One layer of everything
    #[arg(short, long)]
    squash: bool,
    /// Name or ID
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// The image's name
    #[arg(value_name = "IMAGE")]
    image: Option<String>,
}

/// Commits.
pub fn run(cx: &Context, args: CommitArgs) -> Result<Exit> {
    let config = args.config.as_deref().map(object).transpose()?;
    let request = CommitRequest {
        name: args.image.filter(|name| !name.is_empty()),
        author: args.author.unwrap_or_default(),
        message: args.message.unwrap_or_default(),
        changes: args.change,
        config,
        pause: args.pause,
        format: Format::parse(&args.format)?,
        squash: args.squash,
        include_volumes: args.include_volumes,
    };
    let engine = cx.engine()?;
    let id = container::resolve(engine, args.container.trim_start_matches('/'))?;
    let image = container::commit(engine, &id, &request)?;
    if let Some(path) = &args.iidfile {
        std::fs::write(path, &image.id).map_err(|e| Error::io("write", path, e))?;
    }
    cx.println(&image.id)?;
    Ok(Exit::OK)
}

fn object(path: &Path) -> Result<Map<String, Value>> {
    let text = user_files::read(path)?;
    serde_json::from_str(&text)
        .map_err(|e| Error::invalid(format!("--config: {} is no JSON object", path.display())).with_source(e))
}
