//! `coracle image mount`, `image unmount`.

use crate::cmd::container::mount::{is_json, only_where_it_lasts, print_json, print_rows};
use crate::cmd::{Context, Exit};
use crate::engine::image::find;
use crate::engine::registry::Reference;
use crate::engine::store::{ImageRecord, MountOptions};
use crate::engine::{Error, Result};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

/// Make an image's files accessible, read-only, and print where
///
/// Without an image: list what is mounted. Mounts are counted, together with podman's; each is undone by one `image unmount`.
/// As an ordinary user, mount inside `coracle unshare`.
#[derive(Args, Clone, Debug)]
pub struct MountArgs {
    /// All images
    #[arg(short, long)]
    all: bool,
    /// How to list what is mounted: json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Names or IDs
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

/// Give back what `image mount` mounted
#[derive(Args, Clone, Debug)]
pub struct UnmountArgs {
    /// All images
    #[arg(short, long)]
    all: bool,
    /// All mounts of the image, not just one
    #[arg(short, long)]
    force: bool,
    /// Names or IDs
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

struct Mounted {
    image: ImageRecord,
    path: PathBuf,
}

/// Mounts, or lists.
pub fn run(cx: &Context, args: MountArgs) -> Result<Exit> {
    check(args.all, &args.images)?;
    let json = is_json(args.format.as_deref())?;
    let engine = cx.engine()?;
    let rows = if args.all || !args.images.is_empty() {
        only_where_it_lasts(engine)?;
        let mount = |image: ImageRecord| {
            let (_, path) = engine.store.mount_image(&image.id, &MountOptions::default())?;
            Ok(Mounted { image, path })
        };
        chosen(cx, args.all, &args.images)?.into_iter().map(mount).collect::<Result<Vec<_>>>()?
    } else {
        mounted(cx)?
    };
    if let ([row], [_], false) = (&rows[..], &args.images[..], json) {
        cx.println(row.path.to_string_lossy())?;
        return Ok(Exit::OK);
    }
    if json {
        let row = |row: &Mounted| {
            let digest = row.image.digest.as_ref().map_or_else(String::new, ToString::to_string);
            let tags = repo_tags(&row.image);
            json!({"id": row.image.id, "Names": [digest], "Repositories": tags, "mountpoint": row.path})
        };
        return print_json(cx, &rows.iter().map(row).collect::<Vec<_>>());
    }
    let name = |image: &ImageRecord| repo_tags(image).into_iter().next().unwrap_or_else(|| image.id.clone());
    print_rows(cx, &rows.iter().map(|row| (name(&row.image), row.path.as_path())).collect::<Vec<_>>())
}

/// Unmounts; images that are not mounted are no error, as with podman.
pub fn undo(cx: &Context, args: UnmountArgs) -> Result<Exit> {
    check(args.all, &args.images)?;
    if !args.all && args.images.is_empty() {
        return Err(Error::invalid("image name or ID must be specified"));
    }
    let engine = cx.engine()?;
    let mut exit = Exit::OK;
    for image in chosen(cx, args.all, &args.images)? {
        let Some(top) = image.top_layer.as_deref() else { continue };
        if engine.store.mounted(top)?.is_none() {
            continue;
        }
        match engine.store.unmount(top, args.force) {
            Ok(_) => cx.println(&image.id)?,
            Err(e) => {
                cx.report(&e.wrap(format!("unmounting image {}", image.id)));
                exit = Exit::FAILED;
            }
        }
    }
    Ok(exit)
}

fn check(all: bool, names: &[String]) -> Result<()> {
    if all && !names.is_empty() {
        let text = "when using the --all switch, you may not pass any image names or IDs";
        return Err(Error::invalid(text));
    }
    Ok(())
}

/// The images that are meant; of all, those that have files and are not in a read-only store.
fn chosen(cx: &Context, all: bool, names: &[String]) -> Result<Vec<ImageRecord>> {
    let engine = cx.engine()?;
    if all {
        let mut images = engine.store.images()?;
        images.retain(|image| !image.read_only && image.top_layer.is_some());
        return Ok(images);
    }
    names.iter().map(|name| Ok(find(engine, name)?.image)).collect()
}

fn mounted(cx: &Context) -> Result<Vec<Mounted>> {
    let engine = cx.engine()?;
    let mounts = engine.store.mounts()?;
    let images = engine.store.images()?.into_iter();
    Ok(images
        .filter_map(|image| {
            let (path, _) = mounts.get(image.top_layer.as_deref()?)?;
            Some(Mounted { path: path.clone(), image })
        })
        .collect())
}

/// An image's names with tags.
pub fn repo_tags(image: &ImageRecord) -> Vec<String> {
    let tagged =
        |name: &&String| Reference::parse(name).is_ok_and(|r| r.tag().is_some() && r.digest().is_none());
    image.names.iter().filter(tagged).cloned().collect()
}
