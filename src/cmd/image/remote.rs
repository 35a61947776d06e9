//! `coracle image list-tags` and `image delete`, and `image inspect` of an image that is elsewhere.

use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::cmd::flags::image::{AccessArgs, place};
use crate::cmd::format::template::{Template, to_value};
use crate::cmd::{Context, Exit};
use crate::engine::image::remove::{RemoveOptions, remove};
use crate::engine::image::transfer::{self, Seen};
use crate::engine::image::{History, ImageConfig};
use crate::engine::registry::{Descriptor, Document, PlatformRequest, Reference};
use crate::engine::transport::Location;
use crate::engine::{Error, Result};
use std::collections::BTreeMap;

/// List the tags of a repository
///
/// As JSON: the repository's name and its tags. Of a docker-archive: all names in it.
#[derive(Args, Clone, Debug)]
pub struct ListTagsArgs {
    /// A repository, or docker-archive:PATH
    #[arg(value_name = "REPOSITORY")]
    repository: String,
    #[command(flatten)]
    access: AccessArgs,
}

/// Runs `coracle image list-tags`.
pub fn list_tags(cx: &Context, args: ListTagsArgs) -> Result<Exit> {
    let listed = match place(&args.repository)? {
        Location::Name(name) | Location::Registry(name) => {
            let parsed = Reference::parse(&name)?;
            if parsed.tag().is_some() || parsed.digest().is_some() {
                return Err(Error::invalid("no tag or digest allowed in a repository's name"));
            }
            let (name, tags) = transfer::tags(&cx.config()?, &name, &args.access.access()?)?;
            json!({"Repository": name.to_string(), "Tags": tags})
        }
        location => json!({"Tags": transfer::archive_names(cx.engine()?, &location)?}),
    };
    cx.println(pretty(&listed)?)?;
    Ok(Exit::OK)
}

/// Delete an image where it is
///
/// At a registry all tags of the image's digest go; not every registry allows it.
#[derive(Args, Clone, Debug)]
pub struct DeleteArgs {
    /// docker://NAME or containers-storage:NAME
    #[arg(value_name = "IMAGE")]
    image: String,
    #[command(flatten)]
    access: AccessArgs,
}

/// Runs `coracle image delete`.
pub fn delete(cx: &Context, args: DeleteArgs) -> Result<Exit> {
    let engine = cx.engine()?;
    match Location::parse(&args.image)? {
        Location::Registry(name) => transfer::delete(engine, &name, &args.access.access()?)?,
        Location::Storage(name) => {
            remove(engine, &name, &RemoveOptions::default())?;
        }
        Location::Name(name) => {
            return Err(Error::invalid(format!("{name}: where is it to be deleted?")).with_hint(format!(
                "write docker://{name} for the registry, or `rmi {name}` for the image here"
            )));
        }
        other => {
            return Err(
                Error::unsupported(format!("images in {other} are not deleted")).with_hint("remove the file")
            );
        }
    }
    Ok(Exit::OK)
}

/// What `image inspect` says of an image elsewhere: skopeo's fields.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Remote {
    name: String,
    digest: String,
    repo_tags: Vec<String>,
    created: String,
    docker_version: String,
    labels: BTreeMap<String, String>,
    architecture: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    variant: String,
    os: String,
    layers: Vec<String>,
    layers_data: Vec<LayerData>,
    env: Vec<String>,
    media_type: String,
    size: u64,
    history: Vec<History>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct LayerData {
    #[serde(rename = "MIMEType")]
    mime_type: String,
    digest: String,
    size: u64,
    annotations: Option<BTreeMap<String, String>>,
}

/// How an image elsewhere is shown.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Images elsewhere")]
pub struct RemoteArgs {
    /// Show the manifest as it is; with --config the configuration
    #[arg(long)]
    pub raw: bool,
    /// Show the image's configuration
    #[arg(long)]
    pub config: bool,
    /// Do not ask for the repository's tags
    #[arg(short = 'n', long)]
    pub no_tags: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub access: AccessArgs,
}

impl RemoteArgs {
    /// Whether a flag was given that only they have.
    pub fn any(&self) -> bool {
        self.raw || self.config
    }
}

/// Shows one image elsewhere.
pub fn inspect(
    cx: &Context,
    location: &Location,
    args: &RemoteArgs,
    format: Option<&str>,
    platform: &PlatformRequest,
) -> Result<()> {
    let whole = args.config || !args.raw;
    let parts = (whole, whole && !args.config && !args.no_tags);
    let access = args.access.access()?;
    let seen = match location {
        Location::Registry(name) => {
            transfer::look_at_registry(&cx.config()?, name, &access, platform, parts)?
        }
        _ => transfer::look(cx.engine()?, location, &access, platform, parts)?,
    };
    let Some((image, config)) = &seen.image else { return cx.print_bytes(seen.document.raw()) };
    if args.config && args.raw {
        return cx.print_bytes(config);
    }
    let parsed = ImageConfig::parse(config)?;
    let value = match args.config {
        true => to_value(&parsed),
        false => to_value(&remote(location, &seen, image, parsed)?),
    };
    match format {
        None | Some("" | "json") => cx.println(crate::cmd::format::template::to_json_pretty(&value, 4)),
        Some(text) => {
            let template = Template::parse(&crate::cmd::format::listing::unescape(text));
            let template = template.map_err(|e| Error::invalid(e.0))?;
            cx.println(template.execute(&value).map_err(|e| Error::invalid(e.0))?)
        }
    }
}

fn remote(location: &Location, seen: &Seen, image: &Document, config: ImageConfig) -> Result<Remote> {
    let Document::Manifest(manifest) = image else {
        return Err(Error::corrupt("an index was chosen instead of an image"));
    };
    let name = match location {
        Location::Registry(name) => Reference::parse(name)?.name(),
        _ => String::new(),
    };
    let data = |layer: &Descriptor| LayerData {
        mime_type: layer.media_type.clone(),
        digest: layer.digest.to_string(),
        size: layer.size,
        annotations: layer.annotations.clone(),
    };
    Ok(Remote {
        name,
        digest: seen.document.digest().to_string(),
        repo_tags: seen.tags.clone(),
        media_type: seen.document.media_type().to_owned(),
        layers: manifest.layers.iter().map(|l| l.digest.to_string()).collect(),
        layers_data: manifest.layers.iter().map(data).collect(),
        size: manifest.layers.iter().map(|l| l.size).sum(),
        created: config.created,
        docker_version: config.docker_version,
        labels: config.config.labels,
        architecture: config.architecture,
        variant: config.variant,
        os: config.os,
        env: config.config.env,
        history: config.history,
    })
}

fn pretty(value: &serde_json::Value) -> Result<String> {
    serde_json::to_string_pretty(value).map_err(|e| Error::invalid(e.to_string()))
}
