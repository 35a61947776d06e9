//! `coracle artifact add` and `extract`: files in, files out.

use crate::cmd::{Context, Exit};
use crate::engine::artifact::{self, AddRequest, Which};
use crate::engine::{Error, Result};
use clap::Args;
use std::path::PathBuf;

/// Make an artifact of files
///
/// Prints its digest.
#[derive(Args, Clone, Debug, Default)]
pub struct AddArgs {
    /// Annotate the files: KEY=VALUE (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    pub annotation: Vec<String>,
    /// Type of the artifact: a media type
    #[arg(long = "type", value_name = "TYPE")]
    pub artifact_type: Option<String>,
    /// Name of the artifact
    #[arg(value_name = "ARTIFACT")]
    pub name: String,
    /// Files
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// Runs `coracle artifact add`.
pub fn run(cx: &Context, args: AddArgs) -> Result<Exit> {
    let pair = |word: &String| match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Error::invalid(format!("no value given for annotation {word:?}")).with_hint("KEY=VALUE")),
    };
    let request = AddRequest {
        annotations: args.annotation.iter().map(pair).collect::<Result<_>>()?,
        name: args.name,
        files: args.files,
        artifact_type: args.artifact_type,
    };
    cx.println(artifact::add(cx.engine()?, &request)?.hex())?;
    Ok(Exit::OK)
}

/// Copy the files of an artifact
#[derive(Args, Clone, Debug, Default)]
pub struct ExtractArgs {
    /// Only the file with this digest
    #[arg(long, value_name = "DIGEST")]
    pub digest: Option<String>,
    /// Only the file of this name
    #[arg(long, value_name = "NAME")]
    pub title: Option<String>,
    /// The artifact: its name or digest
    #[arg(value_name = "ARTIFACT")]
    pub name: String,
    /// A directory, or a file if only one is copied
    #[arg(value_name = "PATH")]
    pub target: PathBuf,
}

/// Runs `coracle artifact extract`.
pub fn extract(cx: &Context, args: ExtractArgs) -> Result<Exit> {
    let which = Which { digest: args.digest, title: args.title };
    artifact::extract(cx.engine()?, &args.name, &args.target, &which)?;
    Ok(Exit::OK)
}
