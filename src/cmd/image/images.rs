//! `coracle images`, `image ls`, `image list`.

use super::filters::{Filters, split_name};
use crate::cmd::format::human;
use crate::cmd::format::listing::{Json, Listing, Plan, column};
use crate::cmd::format::template::{Value, rfc3339};
use crate::cmd::{Context, Exit};
use crate::engine::image::{self, ImageConfig};
use crate::engine::store::{ImageRecord, LayerRecord};
use crate::engine::{Engine, Error, Result};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

/// List images
#[derive(Args, Clone, Debug)]
pub struct ImagesArgs {
    /// Show intermediate images, too
    #[arg(short, long)]
    all: bool,
    /// Show digests
    #[arg(long)]
    digests: bool,
    /// Show only images that match KEY=VALUE (may be repeated)
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    /// "table", "table TEMPLATE", "json" (an array) or a Go template; {{json .}} prints a line of JSON an image
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Show the names an image had before
    #[arg(long)]
    history: bool,
    /// Do not shorten IDs
    #[arg(long)]
    no_trunc: bool,
    /// Do not print the headings
    #[arg(short = 'n', long)]
    noheading: bool,
    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,
    /// Sort by this
    #[arg(long, value_enum, value_name = "KEY", default_value = "created")]
    sort: SortKey,
    /// Show multi-platform images as trees (not supported)
    #[arg(long)]
    tree: bool,
    /// A name, with or without tag, or a pattern
    #[arg(value_name = "REPOSITORY[:TAG]")]
    image: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lowercase")]
enum SortKey {
    Created,
    Id,
    Repository,
    Size,
    Tag,
}

/// Lists.
pub fn run(cx: &Context, args: ImagesArgs) -> Result<Exit> {
    args.list(cx)
}

impl ImagesArgs {
    fn list(&self, cx: &Context) -> Result<Exit> {
        if self.tree {
            return Err(Error::unsupported(
                "--tree is not supported: an image of the store is for one platform",
            ));
        }
        if self.image.is_some() && !self.filter.is_empty() {
            return Err(Error::invalid("cannot specify an image and a filter(s)"));
        }
        let engine = cx.engine()?;
        let images = engine.store.images()?;
        let any_read_only = images.iter().any(|image| image.read_only);
        let plan = self.plan(any_read_only)?;
        let mut rows = self.rows(engine, images, &plan)?;
        if self.quiet && self.format.is_none() {
            let mut seen = HashSet::new();
            rows.retain(|row| seen.insert(row.id.clone()));
        }
        cx.print(LISTING.render(&plan, &rows)?)?;
        // The process ends here, and the kernel frees thousands of strings faster than one by one.
        std::mem::forget(rows);
        Ok(Exit::OK)
    }

    fn plan(&self, read_only: bool) -> Result<Plan> {
        if self.quiet && self.format.is_none() {
            return Plan::new(None, "{{.ID}}", false);
        }
        let optional = |wanted: bool, column: &'static str| if wanted { column } else { "" };
        let columns = format!(
            r"{{{{.Repository}}}}\t{{{{.Tag}}}}{}\t{{{{.ID}}}}\t{{{{.Created}}}}\t{{{{.Size}}}}{}{}",
            optional(self.digests, r"\t{{.Digest}}"),
            optional(self.history, r"\t{{if .History}}{{.History}}{{else}}<none>{{end}}"),
            optional(read_only, r"\t{{.ReadOnly}}"),
        );
        Plan::new(self.format.as_deref(), &columns, !self.noheading)
    }

    fn rows(&self, engine: &Engine, images: Vec<ImageRecord>, plan: &Plan) -> Result<Vec<Row>> {
        let filters = Filters::parse(&self.filter, self.image.as_deref())?;
        let sizes =
            self.sort == SortKey::Size || plan.is_json() || plan.needs("Size") || plan.needs("VirtualSize");
        let hides =
            !self.all && !filters.chooses_untagged() && images.iter().any(|image| image.names.is_empty());
        let layers = match sizes || hides || filters.need_parents() {
            true => Layers::new(engine.store.layers()?),
            false => Layers::default(),
        };
        let parents = match hides || filters.need_parents() {
            true => parents(engine, &images, &layers),
            false => HashSet::new(),
        };
        let facts = filters.facts(engine, parents)?;
        let users = match plan.is_json() || plan.needs("Containers") {
            true => Some(users(engine)?),
            false => None,
        };
        let configs =
            plan.is_json() || ["Labels", "Label", "Arch", "Os"].iter().any(|field| plan.needs(field));
        let now = Timestamp::now();
        let mut rows = Vec::with_capacity(images.len());
        for image in images {
            let hidden = hides && image.names.is_empty() && facts.parents.contains(&image.id);
            if hidden || !filters.matches(engine, &image, &facts)? {
                continue;
            }
            let config = if configs { image::config_of(engine, &image).ok() } else { None };
            let size = if sizes { layers.image_size(engine, &image)? } else { 0 };
            let containers = users.as_ref().map(|users| users.get(&image.id).copied().unwrap_or(0));
            let common = Common {
                image,
                config: config.unwrap_or_default(),
                size,
                containers,
                now,
                short: !self.no_trunc,
            };
            Row::expand(common, &filters, &mut rows);
        }
        rows.sort_by(|a, b| match self.sort {
            SortKey::Created => b.common.image.created.cmp(&a.common.image.created),
            SortKey::Id => a.id.cmp(&b.id),
            SortKey::Repository => (&a.repository, &a.tag).cmp(&(&b.repository, &b.tag)),
            SortKey::Size => a.common.size.cmp(&b.common.size),
            SortKey::Tag => a.tag.cmp(&b.tag),
        });
        Ok(rows)
    }
}

/// How many containers of the store use each image.
fn users(engine: &Engine) -> Result<HashMap<String, i64>> {
    let mut users = HashMap::new();
    for container in engine.store.containers()? {
        *users.entry(container.image).or_insert(0) += 1;
    }
    Ok(users)
}

/// The layers, each read once.
#[derive(Default)]
struct Layers(HashMap<String, LayerRecord>);

impl Layers {
    fn new(layers: Vec<LayerRecord>) -> Layers {
        Layers(layers.into_iter().map(|layer| (layer.id.clone(), layer)).collect())
    }

    /// An image's layers from the top down.
    fn chain<'a>(&'a self, image: &'a ImageRecord) -> impl Iterator<Item = &'a LayerRecord> {
        let top = image.top_layer.as_ref().and_then(|id| self.0.get(id));
        std::iter::successors(top, |layer| layer.parent.as_ref().and_then(|id| self.0.get(id)))
    }

    /// As containers/storage counts it: uncompressed layers and the image's own documents.
    fn image_size(&self, engine: &Engine, image: &ImageRecord) -> Result<u64> {
        let mut size = image.big_data_sizes.total();
        for layer in self.chain(image) {
            match u64::try_from(layer.diff_size) {
                Ok(bytes) => size += bytes,
                Err(_) => return engine.store.image_size(&image.id),
            }
        }
        Ok(size)
    }
}

/// IDs of images without a name that another image is built on: its layers, and its history, go on from theirs.
fn parents(engine: &Engine, images: &[ImageRecord], layers: &Layers) -> HashSet<String> {
    let mut inner: HashSet<&str> = HashSet::new();
    let mut tops: HashMap<&str, Vec<&ImageRecord>> = HashMap::new();
    for image in images {
        inner.extend(layers.chain(image).skip(1).map(|layer| layer.id.as_str()));
        if let Some(top) = &image.top_layer {
            tops.entry(top).or_default().push(image);
        }
    }
    let steps =
        |image: &ImageRecord| image::config_of(engine, image).map_or(0, |config| config.history.len());
    let mut found = HashSet::new();
    for image in images.iter().filter(|image| image.names.is_empty()) {
        let Some(top) = image.top_layer.as_deref() else { continue };
        let siblings = tops.get(top).map(Vec::as_slice).unwrap_or_default();
        let longer = || siblings.iter().any(|other| other.id != image.id && steps(other) > steps(image));
        if inner.contains(top) || (siblings.len() > 1 && longer()) {
            found.insert(image.id.clone());
        }
    }
    found
}

/// What all rows of an image share.
struct Common {
    image: ImageRecord,
    config: ImageConfig,
    size: u64,
    containers: Option<i64>,
    now: Timestamp,
    short: bool,
}

/// One line: an image under one of its names.
struct Row {
    id: String,
    repository: String,
    tag: String,
    common: Rc<Common>,
}

const NONE: &str = "<none>";

impl Row {
    /// A row a tag; without any, one for the repository, or for no name at all.
    fn expand(common: Common, filters: &Filters, rows: &mut Vec<Row>) {
        let common = Rc::new(common);
        let id = &common.image.id;
        let row = |repository: &str, tag: &str| Row {
            id: id.clone(),
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            common: Rc::clone(&common),
        };
        let shown = common.image.names.iter().filter(|name| filters.shows(&common.image, name));
        let names: Vec<_> = shown.map(|name| (split_name(name), name.contains('@'))).collect();
        let tagged = names.iter().filter(|((_, tag), by_digest)| !by_digest && !tag.is_empty());
        let mut any = false;
        for ((repository, tag), _) in tagged {
            any = true;
            rows.push(row(repository, tag));
        }
        if !any {
            rows.push(row(names.first().map_or(NONE, |((repository, _), _)| repository), NONE));
        }
    }

    fn id(&self) -> String {
        if self.common.short { human::short_id(&self.id).to_owned() } else { format!("sha256:{}", self.id) }
    }

    fn digest(&self) -> String {
        self.common.image.digest.as_ref().map_or_else(|| NONE.to_owned(), ToString::to_string)
    }

    fn created(&self) -> String {
        human::ago(self.common.image.created, self.common.now)
    }

    fn repo_digests(&self) -> Vec<String> {
        repo_digests(&self.common.image)
    }
}

/// `repository@digest` for every repository and every digest of its manifests.
pub fn repo_digests(image: &ImageRecord) -> Vec<String> {
    let mut found = Vec::new();
    for name in &image.names {
        let (repository, _) = split_name(name);
        for digest in image.digests() {
            let text = format!("{repository}@{digest}");
            if !found.contains(&text) {
                found.push(text);
            }
        }
    }
    found
}

fn labels(row: &Row) -> &BTreeMap<String, String> {
    &row.common.config.config.labels
}

/// podman's fields in podman's order, then docker's own.
const LISTING: Listing<Row> = Listing {
    name: "image",
    columns: &[
        column("Id", "", |r| r.id().into(), Json::Only(|r| r.id.as_str().into())),
        column("ID", "IMAGE ID", |r| r.id().into(), Json::As(|r| r.id.as_str().into())),
        column("ParentId", "PARENT ID", |_| "".into(), Json::Same),
        column("RepoTags", "REPO TAGS", |r| Value::strings(&r.common.image.names), Json::Same),
        column("RepoDigests", "REPO DIGESTS", |r| r.repo_digests().into(), Json::Same),
        column(
            "Size",
            "SIZE",
            |r| human::spaced_size(r.common.size).into(),
            Json::As(|r| r.common.size.into()),
        ),
        column("SharedSize", "SHARED SIZE", |_| "N/A".into(), Json::As(|_| 0i64.into())),
        column("UniqueSize", "UNIQUE SIZE", |_| "N/A".into(), Json::Skip),
        column(
            "VirtualSize",
            "VIRTUAL SIZE",
            |r| human::spaced_size(r.common.size).into(),
            Json::As(|r| r.common.size.into()),
        ),
        column("Labels", "LABELS", |r| Value::string_map(labels(r)), Json::Same),
        column(
            "Containers",
            "CONTAINERS",
            |r| r.common.containers.unwrap_or(0).to_string().into(),
            Json::As(|r| r.common.containers.unwrap_or(0).into()),
        ),
        column("ReadOnly", "R/O", |r| r.common.image.read_only.into(), Json::Same),
        column("Dangling", "DANGLING", |r| r.common.image.names.is_empty().into(), Json::Same),
        column("Arch", "ARCH", |r| r.common.config.architecture.as_str().into(), Json::Same),
        column("Digest", "DIGEST", |r| r.digest().into(), Json::Same),
        column(
            "History",
            "HISTORY",
            |r| r.common.image.names_history.join(", ").into(),
            Json::As(|r| Value::strings(&r.common.image.names_history)),
        ),
        column(
            "IsManifestList",
            "IS MANIFEST LIST",
            |r| image::index::is_index(&r.common.image).into(),
            Json::Same,
        ),
        column("Names", "NAMES", |r| Value::strings(&r.common.image.names), Json::Same),
        column("Os", "OS", |r| r.common.config.os.as_str().into(), Json::Same),
        column(
            "Created",
            "CREATED",
            |r| r.created().into(),
            Json::As(|r| r.common.image.created.as_second().into()),
        ),
        column(
            "CreatedAt",
            "CREATED AT",
            |r| human::timestamp(human::whole_seconds(r.common.image.created)).into(),
            Json::As(|r| rfc3339(&r.common.image.created).into()),
        ),
        column("CreatedSince", "CREATED", |r| r.created().into(), Json::Same),
        column(
            "CreatedTime",
            "CREATED TIME",
            |r| human::timestamp(human::whole_seconds(r.common.image.created)).into(),
            Json::Skip,
        ),
        column("Repository", "REPOSITORY", |r| r.repository.as_str().into(), Json::Same),
        column("Tag", "TAG", |r| r.tag.as_str().into(), Json::Same),
    ],
    labels: Some(|row| labels(row).clone()),
};
