//! Removing images.
//!
//! The rules are podman's (`libimage/image.go`: `removeRecursive`), which are docker's with names of the store: removing
//! one of several names only takes it away; removing the last removes the image, unless a container uses it; then go its
//! dangling parents. An image is not "deleted" while others are built on it: its data is still there.

use super::lookup::find;
use super::mounted::{self, Mounters};
use super::told::tell;
use super::tree::Tree;
use super::{Found, short_id};
use crate::engine::store::ImageRecord;
use crate::engine::{Engine, Error, ErrorKind, Result};

/// How to remove.
#[derive(Clone, Debug, Default)]
pub struct RemoveOptions {
    /// Remove although it has several names.
    pub force: bool,
    /// Keep dangling parents.
    pub no_prune: bool,
    /// A missing image is no error.
    pub ignore: bool,
}

/// What removing one image did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// The image.
    pub id: String,
    /// Names that were taken away.
    pub untagged: Vec<String>,
    /// Whether it is gone.
    pub deleted: bool,
    /// Bytes that became free; only when asked for.
    pub size: u64,
}

/// Removes the image `name` means. `None`: there is none, and `ignore` is set.
///
/// `InUse` if a container uses it: removing the containers (`--force`) is the caller's business, as it knows them.
/// `Conflict` if it is named by ID and has several names.
pub fn remove(engine: &Engine, name: &str, options: &RemoveOptions) -> Result<Vec<Removed>> {
    remove_one_of(engine, name, options, &mut Mounters::new(engine))
}

/// [`remove`] of one of many.
pub fn remove_one_of<'e>(
    engine: &'e Engine,
    name: &str,
    options: &RemoveOptions,
    mounters: &mut Mounters<'e>,
) -> Result<Vec<Removed>> {
    let found = match find(engine, name) {
        Err(e) if e.kind() == ErrorKind::NotFound && options.ignore => return Ok(Vec::new()),
        found => found?,
    };
    if found.image.read_only {
        return Err(Error::unsupported(format!("cannot remove read-only image {:?}", found.image.id)));
    }
    if let Some(only_untagged) = untag(engine, &found, options)? {
        return Ok(vec![only_untagged]);
    }
    let tree = Tree::load(engine)?;
    let mut removed = Vec::new();
    Removal { engine, mounters, options, with_size: false, removed: &mut removed }
        .delete(&tree, &found.image)?;
    Ok(removed)
}

/// Takes one of several names away. `None`: the image itself is to go.
fn untag(engine: &Engine, found: &Found, options: &RemoveOptions) -> Result<Option<Removed>> {
    let Found { image, name } = found;
    if image.names.len() <= 1 {
        return Ok(None);
    }
    let Some(name) = name.as_ref().map(ToString::to_string).filter(|n| image.names.contains(n)) else {
        if options.force {
            return Ok(None);
        }
        return Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "unable to delete image {} (must be forced) - it has more than one name: {}",
                short_id(&image.id),
                image.names.join(", ")
            ),
        ));
    };
    engine.store.remove_image_names(&image.id, std::slice::from_ref(&name))?;
    tell(engine, "untag", &image.id, &name);
    Ok(Some(Removed { id: image.id.clone(), untagged: vec![name], ..Removed::default() }))
}

/// Images being deleted.
struct Removal<'a, 'e> {
    engine: &'e Engine,
    mounters: &'a mut Mounters<'e>,
    options: &'a RemoveOptions,
    with_size: bool,
    removed: &'a mut Vec<Removed>,
}

impl Removal<'_, '_> {
    /// Deletes the image and then its dangling parents.
    fn delete(&mut self, tree: &Tree<'_>, image: &ImageRecord) -> Result<()> {
        let engine = self.engine;
        let has_children = tree.has_children(image);
        // Before it is gone: afterwards the record cannot tell.
        let parent = if self.options.no_prune { None } else { tree.parent(image).map(|p| p.id.clone()) };
        let size = if self.with_size { engine.store.image_size(&image.id).unwrap_or(0) } else { 0 };
        match mounted::delete(engine, &image.id, self.mounters) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            result => result?,
        };
        tell(engine, "delete", &image.id, image.names.first().map_or("", String::as_str));
        self.removed.push(Removed {
            id: image.id.clone(),
            untagged: image.names.clone(),
            deleted: !has_children,
            size,
        });
        let Some(parent) = parent else { return Ok(()) };
        let now = Tree::load(engine)?;
        let Some(record) = now.images().iter().find(|i| i.id == parent) else { return Ok(()) };
        if !now.is_dangling(record) || now.in_use()?.contains(&parent) {
            return Ok(());
        }
        self.delete(&now, record)
    }
}

/// Removes unused images: dangling ones, or with `all` every one that no container uses. `keep` decides further.
///
/// Goes on after a failure of one image, which is told as a warning: another process may have started to use it.
pub fn prune(
    engine: &Engine,
    all: bool,
    keep: &dyn Fn(&ImageRecord) -> Result<bool>,
) -> Result<Vec<Removed>> {
    let tree = Tree::load(engine)?;
    let in_use = tree.in_use()?;
    let mut removed: Vec<Removed> = Vec::new();
    let mut mounters = Mounters::new(engine);
    let options = RemoveOptions::default();
    for image in tree.images() {
        let wanted = all || tree.is_dangling(image);
        if image.read_only || !wanted || in_use.contains(&image.id) || keep(image)? {
            continue;
        }
        if removed.iter().any(|r| r.id == image.id) {
            continue;
        }
        let now = Tree::load(engine)?;
        let mut removal = Removal {
            engine,
            mounters: &mut mounters,
            options: &options,
            with_size: true,
            removed: &mut removed,
        };
        if let Err(e) = removal.delete(&now, image) {
            tracing::warn!("{e}");
        }
    }
    Ok(removed)
}

/// IDs of all images, children before parents, so that removing them in this order succeeds.
pub fn all(engine: &Engine) -> Result<Vec<String>> {
    Ok(engine.store.images()?.into_iter().filter(|i| !i.read_only).map(|i| i.id).collect())
}
