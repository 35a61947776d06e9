//! `coracle container clone`.

use super::making::found_image;
use crate::cmd::flags::image::ImageArgs;
use crate::cmd::flags::{ResourceArgs, later};
use crate::cmd::{Context, Exit};
use crate::engine::container::{CloneRequest, StartOptions, clone, resolve, start};
use crate::engine::{Error, Result};
use clap::Args;

/// Make a container like another one
///
/// It has the same command, environment, mounts, volumes, secrets, ports and networks; its files are the image's. Limits that
/// are not given are the original's. With IMAGE its root is another image, and everything else stays the same.
#[derive(Args, Clone, Debug)]
pub struct CloneArgs {
    /// Remove the original
    #[arg(long)]
    destroy: bool,
    /// With --destroy: even if it runs
    #[arg(long, short = 'f')]
    force: bool,
    /// Name [default: the original's, with -clone behind it]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Make it part of a pod (not supported yet)
    #[arg(long, value_name = "POD")]
    pod: Option<String>,
    /// Start it
    #[arg(long)]
    run: bool,
    #[command(flatten)]
    resources: ResourceArgs,
    /// Name or ID of the original
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// Name of the copy, like --name
    #[arg(value_name = "NAME")]
    copy: Option<String>,
    /// Another image
    #[arg(value_name = "IMAGE")]
    image: Option<String>,
}

/// Copies, removes, starts; prints the ID.
pub fn run(cx: &Context, args: CloneArgs) -> Result<Exit> {
    if args.pod.is_some() {
        return Err(later("--pod", "pods"));
    }
    if args.force && !args.destroy {
        return Err(Error::invalid("cannot set --force without --destroy"));
    }
    let name = match (&args.name, &args.copy) {
        (Some(a), Some(b)) if a != b => {
            return Err(Error::invalid(format!("the copy is to be named {a} and {b}: name it once")));
        }
        (a, b) => a.as_ref().or(b.as_ref()).cloned().unwrap_or_default(),
    };
    let engine = cx.engine()?;
    let id = resolve(engine, &args.container)?;
    let image =
        args.image.as_deref().map(|name| found_image(engine, name, &ImageArgs::default())).transpose()?;
    let request = CloneRequest { name, destroy: args.destroy, force: args.force };
    let made = clone(engine, &id, &request, |spec| {
        spec.create_command.clone_from(&cx.argv);
        if let Some(image) = image {
            if spec.image.rootfs.is_some() {
                return Err(Error::invalid("the original has no image but a directory (--rootfs)"));
            }
            spec.image = image;
        }
        if args.resources.memory.is_some() && args.resources.memory_swap.is_none() {
            // What followed from the original's memory.
            spec.resources.memory_swap = None;
        }
        args.resources.replace(&mut spec.resources)
    })?;
    if args.run {
        let options = StartOptions { detached: true, ..StartOptions::default() };
        start(engine, &made, options, &mut |_| Ok(()))?;
    }
    cx.println(made)?;
    Ok(Exit::OK)
}
