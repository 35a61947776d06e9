//! `coracle rmi`.

use clap::Args;

use crate::cmd::{Context, Exit};
use crate::engine::container::remove as container;
use crate::engine::image::mounted::Mounters;
use crate::engine::image::remove::{RemoveOptions, Removed, all, remove_one_of};
use crate::engine::image::{find, short_id};
use crate::engine::{Engine, Error, ErrorKind, Result};

/// Remove images
///
/// A name of an image that has others is taken away; the last one takes the image with it.
#[derive(Args, Clone, Debug, Default)]
pub struct RmiArgs {
    /// Remove all images
    #[arg(short, long)]
    pub all: bool,
    /// Remove an image with several names, and the containers that use it; a missing image is no error
    #[arg(short, long)]
    pub force: bool,
    /// A missing image is no error
    #[arg(short, long)]
    pub ignore: bool,
    /// Keep untagged parents
    #[arg(long)]
    pub no_prune: bool,
    /// Only this platform's instance: images here are of one platform, so it must be that one
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Vec<String>,
    /// Images to remove
    #[arg(value_name = "IMAGE")]
    pub images: Vec<String>,
}

/// Runs `coracle rmi`.
pub fn run(cx: &Context, args: RmiArgs) -> Result<Exit> {
    if args.images.is_empty() && !args.all {
        return Err(Error::invalid("image name or ID must be specified"));
    }
    if !args.images.is_empty() && args.all {
        return Err(Error::invalid("when using the --all switch, you may not pass any images names or IDs"));
    }
    let engine = cx.engine()?;
    let force = args.force || args.all;
    let options = RemoveOptions { force, no_prune: args.no_prune, ignore: args.ignore || args.force };
    let names = if args.all { all(engine)? } else { args.images.clone() };
    let mut exit = Exit::OK;
    let mut mounters = Mounters::new(engine);
    for name in &names {
        let removed = check_platform(cx, name, &args.platform)
            .and_then(|()| remove_one(engine, name, &options, &mut mounters));
        match removed {
            Ok(removed) => print(cx, &removed)?,
            // With --all an image may have gone with its child.
            Err(e) if args.all && e.kind() == ErrorKind::NotFound => {}
            Err(e) if names.len() == 1 => return Err(e),
            Err(e) => {
                cx.report(&e);
                exit = Exit::FAILED;
            }
        }
    }
    Ok(exit)
}

fn remove_one<'e>(
    engine: &'e Engine,
    name: &str,
    options: &RemoveOptions,
    mounters: &mut Mounters<'e>,
) -> Result<Vec<Removed>> {
    match remove_one_of(engine, name, options, mounters) {
        // By a container, perhaps, that an interrupted command left half made or half removed.
        Err(e) if e.kind() == ErrorKind::InUse && crate::engine::container::remove::repair(engine)? > 0 => {
            remove_one(engine, name, options, mounters)
        }
        Err(e) if e.kind() == ErrorKind::InUse && options.force => {
            remove_containers(engine, &find(engine, name)?.image.id, mounters)?;
            remove_one_of(engine, name, options, mounters)
        }
        removed => removed,
    }
}

/// Removes the containers that use or mount an image; those of other programs are not ours to remove.
fn remove_containers(engine: &Engine, image: &str, mounters: &mut Mounters<'_>) -> Result<()> {
    let options =
        container::RemoveOptions { force: true, depend: true, ..container::RemoveOptions::default() };
    for mounter in mounters.of(image)? {
        container::remove(engine, &mounter.id, &options)?;
    }
    for container in engine.store.containers()?.into_iter().filter(|c| c.image == image) {
        if engine.state.load(&container.id).is_err() {
            let names = container.names.join(", ");
            return Err(Error::new(
                ErrorKind::InUse,
                format!(
                    "the image is used by container {} ({names}) of another program",
                    short_id(&container.id)
                ),
            )
            .with_hint("remove that container with the program that made it, such as podman or buildah"));
        }
        container::remove(engine, &container.id, &options)?;
    }
    Ok(())
}

fn check_platform(cx: &Context, name: &str, platforms: &[String]) -> Result<()> {
    use crate::engine::image::lookup::find_for;
    use crate::engine::registry::PlatformRequest;
    for platform in platforms.iter().flat_map(|p| p.split(',')) {
        find_for(cx.engine()?, name, &PlatformRequest::parse(platform)?)?;
    }
    Ok(())
}

/// `Untagged:` and `Deleted:` lines.
pub fn print(cx: &Context, removed: &[Removed]) -> Result<()> {
    for image in removed {
        for name in &image.untagged {
            cx.println(format!("Untagged: {name}"))?;
        }
        if image.deleted {
            cx.println(format!("Deleted: {}", image.id))?;
        }
    }
    Ok(())
}
