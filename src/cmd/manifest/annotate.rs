//! `coracle manifest annotate`, and the flags that say something of an instance.

use super::annotations;
use super::inspect::describe;
use crate::cmd::{Context, Exit};
use crate::engine::image::index::{self, Annotations};
use crate::engine::{Error, Result};
use clap::Args;

/// What a list says of an instance.
#[derive(Args, Clone, Debug, Default)]
pub struct InstanceArgs {
    /// Annotate: KEY=VALUE (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    pub annotation: Vec<String>,
    /// Architecture
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<String>,
    /// Features of the processor
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    pub features: Vec<String>,
    /// Operating system
    #[arg(long, value_name = "OS")]
    pub os: Option<String>,
    /// Features of the operating system
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    pub os_features: Vec<String>,
    /// Version of the operating system
    #[arg(long, value_name = "VERSION")]
    pub os_version: Option<String>,
    /// Variant of the architecture
    #[arg(long, value_name = "VARIANT")]
    pub variant: Option<String>,
}

impl InstanceArgs {
    /// The engine's form.
    ///
    /// # Errors
    /// An annotation without a value.
    pub fn annotations(&self) -> Result<Annotations> {
        let given = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
        Ok(Annotations {
            annotations: annotations(&self.annotation)?,
            architecture: given(&self.arch),
            os: given(&self.os),
            os_version: given(&self.os_version),
            os_features: self.os_features.clone(),
            features: self.features.clone(),
            variant: given(&self.variant),
        })
    }
}

/// Say more of an image in a manifest list, or of the list
#[derive(Args, Clone, Debug, Default)]
pub struct AnnotateArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub instance: InstanceArgs,
    /// Annotate the list itself
    #[arg(long)]
    pub index: bool,
    /// Image that the list is about
    #[arg(long, value_name = "IMAGE")]
    pub subject: Option<String>,
    /// The list
    #[arg(value_name = "LIST")]
    pub list: String,
    /// The image: its digest, or its name
    #[arg(value_name = "IMAGE")]
    pub image: Option<String>,
}

/// Runs `coracle manifest annotate`.
pub fn run(cx: &Context, args: AnnotateArgs) -> Result<Exit> {
    let annotations = args.instance.annotations()?;
    if args.index && args.image.is_some() {
        return Err(Error::invalid("--index goes with no image: it is the list that is annotated"));
    }
    if !args.index && args.image.is_none() {
        return Err(Error::invalid("which image of the list is to be annotated?").with_hint("or --index"));
    }
    let only_index = Annotations { annotations: annotations.annotations.clone(), ..Annotations::default() };
    if args.index && annotations != only_index {
        return Err(Error::invalid("a list has annotations and a subject; the rest is of its images"));
    }
    if args.subject.is_some() && !args.index {
        return Err(Error::invalid("--subject is of a list: use it with --index"));
    }
    let engine = cx.engine()?;
    let subject = args.subject.as_deref().map(|name| describe(engine, name)).transpose()?;
    let (id, digest) = index::annotate(engine, &args.list, args.image.as_deref(), &annotations, subject)?;
    match digest {
        Some(digest) => cx.println(format!("{id}: {digest}"))?,
        None => cx.println(id)?,
    }
    Ok(Exit::OK)
}
