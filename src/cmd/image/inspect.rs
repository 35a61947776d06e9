//! `coracle image inspect`, and what `coracle inspect` shows of an image.

use super::images::repo_digests;
use super::remote::{self, RemoteArgs};
use crate::cmd::container::inspect::{GraphDriver, Set, Texts, health_times, layer_data, set};
use crate::cmd::flags::image::place;
use crate::cmd::format::template::{self, GoTime, to_value};
use crate::cmd::system::inspect::{Inspected, show};
use crate::cmd::{Context, Exit};
use crate::engine::image::{self, Healthcheck, ImageConfig, RunConfig};
use crate::engine::registry::PlatformRequest;
use crate::engine::store::ImageRecord;
use crate::engine::transport::Location;
use crate::engine::{Engine, Error, ErrorKind, Result};
use clap::Args;
use serde::{Deserialize, Serialize};

/// Show everything about images
///
/// An image with a transport (docker://NAME, oci:PATH, docker-archive:PATH …) is shown where it is, without being brought
/// here, as skopeo shows it.
#[derive(Args, Clone, Debug)]
pub struct ImageInspectArgs {
    /// A Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only an image for this platform: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<String>,
    /// Names, IDs or places
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Inspects.
pub fn run(cx: &Context, args: ImageInspectArgs) -> Result<Exit> {
    let elsewhere = |name: &String| match place(name)? {
        Location::Name(name) if args.remote.any() => Ok(Some(Location::Storage(name))),
        Location::Name(_) => Ok(None),
        place => Ok(Some(place)),
    };
    let places = args.images.iter().map(elsewhere).collect::<Result<Vec<_>>>()?;
    if places.iter().any(Option::is_some) {
        let platform = args.platform.as_deref().map(PlatformRequest::parse).transpose()?.unwrap_or_default();
        let Some(places) = places.into_iter().collect::<Option<Vec<_>>>() else {
            return Err(Error::invalid("images here and elsewhere are not shown by one command"));
        };
        for place in &places {
            remote::inspect(cx, place, &args.remote, args.format.as_deref(), &platform)?;
        }
        return Ok(Exit::OK);
    }
    let engine = cx.engine()?;
    show(cx, args.format.as_deref(), &args.images, |name| {
        let found = image::find(engine, name)?;
        if let Some(platform) = &args.platform {
            check_platform(engine, &found.image, platform, name)?;
        }
        Ok(shown(&data(engine, &found.image)?))
    })
}

/// What is known of the image `name`; `None` if there is none.
pub fn inspect(engine: &Engine, name: &str) -> Result<Option<Inspected>> {
    match image::find(engine, name) {
        Ok(found) => Ok(Some(shown(&data(engine, &found.image)?))),
        // A name that is no reference is no image's name.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Invalid) => Ok(None),
        Err(e) => Err(e),
    }
}

fn shown(data: &ImageData) -> Inspected {
    let mut value = to_value(data);
    value.field_mut("Healthcheck").into_iter().for_each(health_times);
    let config = value.field_mut("Config").and_then(|config| config.field_mut("Healthcheck"));
    config.into_iter().for_each(health_times);
    value
}

fn check_platform(engine: &Engine, image: &ImageRecord, wanted: &str, name: &str) -> Result<()> {
    let config = image::config_of(engine, image)?;
    let is = [config.os.as_str(), config.architecture.as_str(), config.variant.as_str()];
    let matches = wanted.split('/').zip(is).all(|(wanted, is)| wanted == is);
    if matches && wanted.split('/').count() <= 3 {
        return Ok(());
    }
    Err(Error::not_found(format!("No such image: {name} for {wanted}"))
        .with_hint(format!("it is for {}/{}", config.os, config.architecture)))
}

/// podman's fields (pkg/inspect), docker's among them.
#[derive(Serialize)]
#[serde(rename = "ImageData", rename_all = "PascalCase")]
struct ImageData {
    id: String,
    digest: String,
    repo_tags: Vec<String>,
    repo_digests: Vec<String>,
    parent: String,
    comment: String,
    created: GoTime,
    config: Config,
    docker_version: String,
    version: String,
    author: String,
    architecture: String,
    variant: String,
    os: String,
    size: u64,
    virtual_size: u64,
    graph_driver: GraphDriver,
    #[serde(rename = "RootFS")]
    root_fs: RootFs,
    labels: Texts,
    annotations: Texts,
    manifest_type: String,
    user: String,
    history: Vec<History>,
    names_history: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<Healthcheck>,
    metadata: Metadata,
}

/// docker's and the image specification's `config`.
#[derive(Serialize)]
#[serde(rename = "ImageConfig", rename_all = "PascalCase")]
struct Config {
    user: String,
    #[serde(skip_serializing_if = "Set::is_empty")]
    exposed_ports: Set,
    env: Vec<String>,
    #[serde(serialize_with = "template::slice")]
    entrypoint: Option<Vec<String>>,
    #[serde(serialize_with = "template::slice")]
    cmd: Option<Vec<String>>,
    #[serde(serialize_with = "template::map")]
    volumes: Option<Set>,
    working_dir: String,
    #[serde(serialize_with = "template::slice")]
    on_build: Option<Vec<String>>,
    labels: Texts,
    stop_signal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_timeout: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<Healthcheck>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shell: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename = "RootFS", rename_all = "PascalCase")]
struct RootFs {
    #[serde(rename = "Type")]
    kind: String,
    layers: Vec<String>,
}

/// In the names of the image specification, as podman shows them.
#[derive(Serialize)]
struct History {
    created: GoTime,
    #[serde(skip_serializing_if = "String::is_empty")]
    created_by: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    author: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    comment: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    empty_layer: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    last_tag_time: GoTime,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Manifest {
    #[serde(rename = "mediaType")]
    media_type: String,
    #[serde(rename = "schemaVersion")]
    schema_version: u32,
    annotations: Option<Texts>,
}

fn data(engine: &Engine, image: &ImageRecord) -> Result<ImageData> {
    // A manifest list is of no platform and has no configuration.
    let config = match image::index::is_index(image) {
        true => ImageConfig::default(),
        false => image::config_of(engine, image)?,
    };
    let manifest: Manifest = image::raw_manifest(engine, image)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let size = engine.store.image_size(&image.id)?;
    let (graph, _) = layer_data(engine, image.top_layer.as_deref().unwrap_or_default(), 1);
    let oci = "application/vnd.oci.image.manifest.v1+json";
    let media_type = if manifest.media_type.is_empty() && manifest.schema_version == 2 {
        oci
    } else {
        &manifest.media_type
    };
    let ImageConfig {
        created,
        author,
        comment,
        docker_version,
        architecture,
        variant,
        os,
        config,
        rootfs,
        history,
        ..
    } = config;
    Ok(ImageData {
        id: image.id.clone(),
        digest: image.digest.as_ref().map(ToString::to_string).unwrap_or_default(),
        repo_tags: image.names.iter().filter(|name| !name.contains('@')).cloned().collect(),
        repo_digests: repo_digests(image),
        parent: String::new(),
        comment,
        created: GoTime(created.parse().ok().or(Some(image.created))),
        version: docker_version.clone(),
        docker_version,
        author,
        architecture,
        variant,
        os,
        size,
        virtual_size: size,
        graph_driver: GraphDriver { name: engine.store.driver_name().to_owned(), data: graph },
        root_fs: RootFs {
            kind: if rootfs.kind.is_empty() { "layers".to_owned() } else { rootfs.kind },
            layers: rootfs.diff_ids.iter().map(ToString::to_string).collect(),
        },
        labels: config.labels.clone(),
        annotations: manifest.annotations.unwrap_or_default(),
        manifest_type: media_type.to_owned(),
        user: config.user.clone(),
        history: history.into_iter().map(step).collect(),
        names_history: image.names_history.clone(),
        healthcheck: config.healthcheck.clone(),
        metadata: Metadata { last_tag_time: GoTime(None) },
        config: run_config(config),
    })
}

fn run_config(config: RunConfig) -> Config {
    let some = |words: Vec<String>| if words.is_empty() { None } else { Some(words) };
    Config {
        user: config.user,
        exposed_ports: set(&config.exposed_ports),
        env: config.env,
        entrypoint: config.entrypoint,
        cmd: config.cmd,
        volumes: if config.volumes.is_empty() { None } else { Some(set(&config.volumes)) },
        working_dir: config.working_dir,
        on_build: some(config.on_build),
        labels: config.labels,
        stop_signal: config.stop_signal,
        stop_timeout: config.stop_timeout,
        healthcheck: config.healthcheck,
        shell: config.shell,
    }
}

fn step(step: image::History) -> History {
    History {
        created: GoTime::parse(&step.created),
        created_by: step.created_by,
        author: step.author,
        comment: step.comment,
        empty_layer: step.empty_layer,
    }
}
