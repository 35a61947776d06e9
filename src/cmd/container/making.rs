//! What run and create have in common: flags to spec, image, container, ID file.

use crate::cmd::flags::image::ImageArgs;
use crate::cmd::flags::{CreateFlags, RunFlags};
use crate::cmd::image::pull::one;
use crate::cmd::{Context, user_files};
use crate::engine::container::{CreateRequest, anticipate, create};
use crate::engine::image::{PullPolicy, PullRequest};
use crate::engine::spec::{ContainerSpec, ImageSource, MountKind};
use crate::engine::{Engine, Error, Result};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The spec of a command line, checked before anything is touched.
pub fn spec(
    cx: &Context,
    flags: &CreateFlags,
    run: Option<&RunFlags>,
    argv: &[String],
) -> Result<ContainerSpec> {
    let config = cx.config()?;
    let mut spec = flags.spec(argv, &user_files::inputs(&config.env, &config.containers.containers))?;
    if let Some(run) = run {
        run.apply(flags, &mut spec)?;
    }
    spec.create_command.clone_from(&cx.argv);
    Ok(spec)
}

/// Obtains the image, makes the container, which `starts` at once or not, writes the ID file; returns the ID.
pub fn make(cx: &Context, flags: &CreateFlags, mut spec: ContainerSpec, starts: bool) -> Result<String> {
    let engine = cx.engine()?;
    if starts {
        anticipate(engine, &spec);
    }
    let id_file = flags.life.cidfile.as_deref().map(IdFile::claim).transpose()?;
    if spec.image.rootfs.is_none() {
        spec.image = found_image(engine, &spec.image.requested, &flags.image)?;
    }
    find_mounted(engine, flags, &mut spec)?;
    let request = CreateRequest { spec, replace: flags.life.replace, starts, ..CreateRequest::default() };
    let id = create(engine, request)?;
    if let Some(id_file) = id_file {
        id_file.write(&id)?;
    }
    Ok(id)
}

/// Finds or pulls the image `name`.
///
/// # Errors
/// As a pull.
pub fn found_image(engine: &Engine, name: &str, flags: &ImageArgs) -> Result<ImageSource> {
    let default = engine.config.env.var("DOCKER_DEFAULT_PLATFORM");
    let request = PullRequest {
        name: name.to_owned(),
        policy: PullPolicy::parse(flags.policy())?,
        platform: flags.platform.request(default)?,
        access: flags.registry.access()?,
        ..PullRequest::default()
    };
    let found = one(engine, &request, flags.quiet)?;
    Ok(ImageSource {
        requested: name.to_owned(),
        name: found.name.map(|name| name.to_string()).unwrap_or_default(),
        digest: found.image.digest.as_ref().map(ToString::to_string).unwrap_or_default(),
        id: found.image.id,
        rootfs: None,
        rootfs_overlay: false,
    })
}

/// Finds or pulls the images that are mounted and notes in the spec what they are.
fn find_mounted(engine: &Engine, flags: &CreateFlags, spec: &mut ContainerSpec) -> Result<()> {
    for mount in spec.mounts.iter_mut().filter(|m| m.kind == MountKind::Image) {
        mount.image.id = found_image(engine, &mount.source, &flags.image)?.id;
    }
    Ok(())
}

/// `--cidfile`: claimed before the container is made, removed again if that fails.
struct IdFile {
    path: PathBuf,
    file: Option<File>,
}

impl IdFile {
    fn claim(path: &Path) -> Result<Self> {
        let file =
            OpenOptions::new().write(true).create_new(true).open(path).map_err(|e| match e.kind() {
                std::io::ErrorKind::AlreadyExists => Error::invalid(format!(
                    "container ID file found, make sure the other container isn't running or delete {}",
                    path.display()
                )),
                _ => Error::io("create", path, e),
            })?;
        Ok(Self { path: path.to_owned(), file: Some(file) })
    }

    fn write(mut self, id: &str) -> Result<()> {
        match self.file.take() {
            Some(mut file) => file.write_all(id.as_bytes()).map_err(|e| Error::io("write", &self.path, e)),
            None => Ok(()),
        }
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
