//! Saving: local images into an archive or a directory.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use super::find;
use super::places::temporary;
use super::told::tell;
use crate::engine::registry::{PlatformRequest, Reference};
use crate::engine::store::ImageRecord;
use crate::engine::transport::compress::{Algorithm, Method};
use crate::engine::transport::directory::DirectoryTarget;
use crate::engine::transport::docker_target::DockerWriter;
use crate::engine::transport::layout_target::LayoutWriter;
use crate::engine::transport::sink::Sink;
use crate::engine::transport::storage::StorageSource;
use crate::engine::transport::{CopyOptions, Format, KnownBlobs, LayerForm, Progress, Signing, Target, copy};
use crate::engine::{Context, Engine, Error, Result};

/// The form of what is saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SaveFormat {
    /// A tar with `manifest.json`, which every docker and podman reads.
    #[default]
    DockerArchive,
    /// An OCI image layout in a tar.
    OciArchive,
    /// An OCI image layout in a directory.
    OciDirectory,
    /// One image in a directory, its manifest in Docker's format.
    DockerDirectory,
}

impl SaveFormat {
    /// Parses podman's words.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "docker-archive" => Ok(Self::DockerArchive),
            "oci-archive" => Ok(Self::OciArchive),
            "oci-dir" => Ok(Self::OciDirectory),
            "docker-dir" => Ok(Self::DockerDirectory),
            _ => Err(Error::invalid(format!("unknown format {text:?}"))
                .with_hint("use docker-archive, oci-archive, oci-dir or docker-dir")),
        }
    }

    /// Whether a directory is written.
    pub fn is_directory(self) -> bool {
        matches!(self, Self::OciDirectory | Self::DockerDirectory)
    }
}

/// What to save, and how.
#[derive(Clone, Debug, Default)]
pub struct SaveRequest {
    /// Names or IDs. A name without a tag means all tags of that repository in a docker archive.
    pub images: Vec<String>,
    /// The form.
    pub format: SaveFormat,
    /// Whether layers are compressed; `None`: as it is usual for the form.
    pub compress: Option<bool>,
    /// The platform they must be for.
    pub platform: PlatformRequest,
}

/// Where to.
pub enum SaveTo {
    /// A file or a directory. A file is replaced when all is written.
    Path(PathBuf),
    /// An open file or a pipe.
    Open(File),
}

/// An image with the names it gets in the archive.
struct Chosen {
    image: ImageRecord,
    names: Vec<Reference>,
}

/// Saves images.
///
/// # Errors
/// `NotFound` if one is not here or for another platform; `Corrupt` if a layer is not what it was; those of writing. A file
/// or directory that was begun is gone then.
pub fn save(engine: &Engine, request: &SaveRequest, to: SaveTo, progress: &dyn Progress) -> Result<()> {
    let images = chosen(engine, request)?;
    if request.format == SaveFormat::DockerDirectory && images.len() > 1 {
        return Err(Error::invalid("the format docker-dir holds one image")
            .with_hint("use docker-archive, oci-archive or oci-dir for several"));
    }
    let sink = |to: SaveTo| match to {
        SaveTo::Path(path) => Sink::tar(&path, &temporary(engine)),
        SaveTo::Open(file) => Sink::tar_into(file, "the archive".to_owned(), &temporary(engine)),
    };
    let texts = |names: &[Reference]| names.iter().map(ToString::to_string).collect();
    let mut last: Option<Box<dyn Target>> = None;
    let mut each = |target: &dyn Fn(&Chosen) -> Box<dyn Target>| -> Result<()> {
        for image in &images {
            let target = target(image);
            write(engine, request, image, target.as_ref(), progress)?;
            last = Some(target);
        }
        Ok(())
    };
    match (request.format, to) {
        (SaveFormat::DockerArchive, to) => {
            let archive = Arc::new(DockerWriter::new(sink(to)?));
            each(&|image| Box::new(archive.image(image.names.clone())))?;
        }
        (SaveFormat::OciArchive, to) => {
            let archive = Arc::new(LayoutWriter::new(sink(to)?));
            each(&|image| Box::new(archive.image(texts(&image.names), true)))?;
        }
        (SaveFormat::OciDirectory, SaveTo::Path(path)) => {
            let layout = Arc::new(LayoutWriter::in_directory(path)?);
            each(&|image| Box::new(layout.image(texts(&image.names), true)))?;
        }
        (SaveFormat::DockerDirectory, SaveTo::Path(path)) => {
            let target = DirectoryTarget::create(path, LayerForm::Plain)?;
            for image in &images {
                write(engine, request, image, &target, progress)?;
            }
            last = Some(Box::new(target));
        }
        (SaveFormat::OciDirectory | SaveFormat::DockerDirectory, SaveTo::Open(_)) => {
            return Err(Error::invalid("a directory cannot be written to standard output"));
        }
    }
    last.map_or(Ok(()), |target| target.finish())?;
    for Chosen { image, names } in &images {
        tell(engine, "save", &image.id, &names.first().map(ToString::to_string).unwrap_or_default());
    }
    Ok(())
}

fn write(
    engine: &Engine,
    request: &SaveRequest,
    image: &Chosen,
    target: &dyn Target,
    progress: &dyn Progress,
) -> Result<()> {
    let source = StorageSource::new(&engine.store, image.image.clone())?;
    let gzip = LayerForm::Compressed(Method { algorithm: Algorithm::Gzip, level: None });
    let options = CopyOptions {
        format: (request.format == SaveFormat::DockerDirectory).then_some(Format::Docker),
        // As podman does: an archive is the image without what was said about it.
        signing: Signing { remove: true, ..Signing::default() },
        layers: request.compress.map(|compress| if compress { gzip } else { LayerForm::Plain }),
        ..CopyOptions::default()
    };
    let known = KnownBlobs::new(engine.store.graph_root());
    let name = image.names.first().map_or_else(|| image.image.id.clone(), Reference::familiar);
    copy(&source, target, &known, &options, progress).with_context(|| format!("save {name}"))?;
    Ok(())
}

/// The images that are meant, each once.
fn chosen(engine: &Engine, request: &SaveRequest) -> Result<Vec<Chosen>> {
    let mut found: Vec<Chosen> = Vec::new();
    let mut add = |image: ImageRecord, name: Option<Reference>| {
        let at = found.iter().position(|c| c.image.id == image.id);
        let at = at.unwrap_or_else(|| {
            found.push(Chosen { image, names: Vec::new() });
            found.len() - 1
        });
        if let Some(name) = name.filter(|name| name.tag().is_some() && !found[at].names.contains(name)) {
            found[at].names.push(name);
        }
    };
    for typed in &request.images {
        // In docker's archives a repository stands for all of its tags.
        if request.format == SaveFormat::DockerArchive {
            let tags = tags_of(engine, typed)?;
            if !tags.is_empty() {
                for (image, name) in tags {
                    check_platform(engine, request, typed, &image)?;
                    add(image, Some(name));
                }
                continue;
            }
        }
        let image = find(engine, typed)?;
        check_platform(engine, request, typed, &image.image)?;
        add(image.image, image.name);
    }
    Ok(found)
}

fn check_platform(engine: &Engine, request: &SaveRequest, typed: &str, image: &ImageRecord) -> Result<()> {
    if !request.platform.is_custom() {
        return Ok(());
    }
    let platform = super::config_of(engine, image)?.platform();
    if request.platform.accepts(&platform) {
        return Ok(());
    }
    Err(Error::not_found(format!("image {typed} is for {platform}, not for the platform asked for")))
}

/// The images with any tag of the repository that is meant; none if `typed` has a tag or a digest, or means another image.
fn tags_of(engine: &Engine, typed: &str) -> Result<Vec<(ImageRecord, Reference)>> {
    let Ok(asked) = Reference::parse(typed) else { return Ok(Vec::new()) };
    if asked.tag().is_some() || asked.digest().is_some() {
        return Ok(Vec::new());
    }
    let repository = match find(engine, typed) {
        Ok(found) => match found.name {
            Some(name) => vec![name.name()],
            None => return Ok(Vec::new()),
        },
        Err(_) => {
            let local = super::tag::new_name(typed).map(|name| name.name());
            local.into_iter().chain([asked.name()]).collect()
        }
    };
    let mut tags = Vec::new();
    for image in engine.store.images()? {
        let names = image.names.iter().filter_map(|name| Reference::parse(name).ok());
        let meant = names.filter(|name| repository.contains(&name.name()) && name.tag().is_some());
        tags.extend(meant.map(|name| (image.clone(), name)));
    }
    tags.sort_by(|(_, a), (_, b)| a.cmp(b));
    Ok(tags)
}
