//! `coracle manifest add`.

use super::annotate::InstanceArgs;
use super::inspect::describe;
use crate::cmd::flags::image::AccessArgs;
use crate::cmd::{Context, Exit};
use crate::engine::image::index::{self, AddRequest, ArtifactRequest};
use crate::engine::{Error, Result};
use clap::Args;
use std::path::PathBuf;

/// Add images or artifacts to a manifest list
///
/// A name is looked for at its registry, then here; `containers-storage:NAME` is here only.
#[derive(Args, Clone, Debug, Default)]
pub struct AddArgs {
    /// Add every instance of an image that is a list itself
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub instance: InstanceArgs,
    /// Add an artifact that consists of these files
    #[arg(long)]
    pub artifact: bool,
    /// File with the artifact's configuration
    #[arg(long, value_name = "FILE", requires = "artifact")]
    pub artifact_config: Option<PathBuf>,
    /// Media type of the artifact's configuration
    #[arg(long, value_name = "TYPE", requires = "artifact")]
    pub artifact_config_type: Option<String>,
    /// Do not note the names of the artifact's files
    #[arg(long, requires = "artifact")]
    pub artifact_exclude_titles: bool,
    /// Media type of the artifact's files [default: as they look]
    #[arg(long, value_name = "TYPE", requires = "artifact")]
    pub artifact_layer_type: Option<String>,
    /// Image that the artifact is about
    #[arg(long, value_name = "IMAGE", requires = "artifact")]
    pub artifact_subject: Option<String>,
    /// Type of the artifact
    #[arg(long, value_name = "TYPE", requires = "artifact")]
    pub artifact_type: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub access: AccessArgs,
    /// The list
    #[arg(value_name = "LIST")]
    pub list: String,
    /// Images, or files with --artifact
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<String>,
}

/// Runs `coracle manifest add`.
pub fn run(cx: &Context, args: AddArgs) -> Result<Exit> {
    let annotations = args.instance.annotations()?;
    let access = args.access.access()?;
    let engine = cx.engine()?;
    if args.artifact {
        if args.all {
            return Err(Error::invalid("--all is about images, not about artifacts"));
        }
        let request = ArtifactRequest {
            list: args.list,
            files: args.images.iter().map(PathBuf::from).collect(),
            artifact_type: args.artifact_type,
            config: args.artifact_config,
            config_type: args.artifact_config_type,
            layer_type: args.artifact_layer_type,
            exclude_titles: args.artifact_exclude_titles,
            subject: args.artifact_subject.as_deref().map(|name| describe(engine, name)).transpose()?,
            annotations,
        };
        let (id, digest) = index::add_artifact(engine, &request)?;
        cx.println(format!("{id}: {digest}"))?;
        return Ok(Exit::OK);
    }
    for image in args.images {
        let request = AddRequest {
            list: args.list.clone(),
            image,
            all: args.all,
            annotations: annotations.clone(),
            access: access.clone(),
        };
        let (id, digest) = index::add(engine, &request)?;
        cx.println(format!("{id}: {digest}"))?;
    }
    Ok(Exit::OK)
}
