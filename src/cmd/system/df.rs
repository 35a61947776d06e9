//! `coracle system df`.

use crate::cmd::container::ps::status_of;
use crate::cmd::format::human;
use crate::cmd::format::listing::{Json, Listing, Plan, column};
use crate::cmd::format::template::Value;
use crate::cmd::{Context, Exit};
use crate::engine::container::usage::{ContainerUsage, ImageUsage, Usage, VolumeUsage, usage};
use crate::engine::image::{config_of, short_id};
use crate::engine::registry::Reference;
use crate::engine::{Engine, Error, Result};
use clap::Args;
use jiff::Timestamp;

/// Show what images, containers and volumes take on the disk
///
/// Layers that several images have are counted once. Of images, those that no container uses could be reclaimed; of
/// containers, those that do not run; of volumes, those that no container has.
#[derive(Args, Clone, Debug)]
pub struct DfArgs {
    /// "table TEMPLATE", "json" (an array) or a Go template; {{json .}} prints a line of JSON a kind
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Every image, container and volume
    #[arg(short, long)]
    verbose: bool,
}

/// Counts and shows.
pub fn run(cx: &Context, args: DfArgs) -> Result<Exit> {
    if args.verbose && args.format.is_some() {
        return Err(Error::invalid("cannot combine --verbose and --format"));
    }
    let engine = cx.engine()?;
    let usage = usage(engine)?;
    if args.verbose {
        return verbose(cx, engine, usage);
    }
    let plan = Plan::new(
        args.format.as_deref(),
        r"{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
        true,
    )?;
    cx.print(SUMMARY.render(&plan, &kinds(&usage))?)?;
    Ok(Exit::OK)
}

struct Kind {
    name: &'static str,
    total: usize,
    active: usize,
    size: u64,
    reclaimable: u64,
}

fn kinds(usage: &Usage) -> Vec<Kind> {
    let sum = |sizes: &mut dyn Iterator<Item = u64>| sizes.sum::<u64>();
    let live = |c: &&ContainerUsage| c.record.state.status.is_live();
    vec![
        Kind {
            name: "Images",
            total: usage.images.len(),
            active: usage.images.iter().filter(|i| i.containers > 0).count(),
            size: usage.image_bytes,
            reclaimable: usage.image_reclaimable,
        },
        Kind {
            name: "Containers",
            total: usage.containers.len(),
            active: usage.containers.iter().filter(live).count(),
            size: sum(&mut usage.containers.iter().map(|c| c.size)),
            reclaimable: sum(&mut usage.containers.iter().filter(|c| !live(c)).map(|c| c.size)),
        },
        Kind {
            name: "Local Volumes",
            total: usage.volumes.len(),
            active: usage.volumes.iter().filter(|v| v.links > 0).count(),
            size: sum(&mut usage.volumes.iter().map(|v| v.size)),
            reclaimable: sum(&mut usage.volumes.iter().filter(|v| v.links == 0).map(|v| v.size)),
        },
        Kind { name: "Build Cache", total: 0, active: 0, size: 0, reclaimable: 0 },
    ]
}

impl Kind {
    fn reclaimable(&self) -> String {
        let size = human::size(self.reclaimable);
        match (self.reclaimable * 100).checked_div(self.size) {
            Some(percent) => format!("{size} ({percent}%)"),
            None => size,
        }
    }
}

fn number(n: u64) -> Value {
    i64::try_from(n).unwrap_or(i64::MAX).into()
}

fn count(n: usize) -> Value {
    number(n as u64)
}

/// docker's fields, then podman's.
const SUMMARY: Listing<Kind> = Listing {
    name: "df",
    columns: &[
        column("Type", "TYPE", |k| k.name.into(), Json::Same),
        column("TotalCount", "TOTAL", |k| k.total.to_string().into(), Json::Same),
        column("Active", "ACTIVE", |k| k.active.to_string().into(), Json::As(|k| count(k.active))),
        column("Size", "SIZE", |k| human::size(k.size).into(), Json::Same),
        column("Reclaimable", "RECLAIMABLE", |k| k.reclaimable().into(), Json::Same),
        column("Total", "TOTAL", |k| count(k.total), Json::Same),
        column("RawSize", "RAW SIZE", |k| number(k.size), Json::Same),
        column("RawReclaimable", "RAW RECLAIMABLE", |k| number(k.reclaimable), Json::Same),
    ],
    labels: None,
};

/// docker's three tables.
fn verbose(cx: &Context, engine: &Engine, usage: Usage) -> Result<Exit> {
    let now = Timestamp::now();
    let table = |columns: &str| Plan::new(None, columns, true);
    let mut images = Vec::new();
    for of in usage.images {
        let created = config_of(engine, &of.image).ok().and_then(|c| c.created()).unwrap_or(of.image.created);
        let names = of.image.names.iter().filter_map(|n| Reference::parse(n).ok());
        let name = names.map(|n| (n.familiar_name(), n.tag().unwrap_or("<none>").to_owned())).next();
        let (repository, tag) = name.unwrap_or(("<none>".into(), "<none>".into()));
        images.push(ImageRow { of, repository, tag, created: human::ago(created, now) });
    }
    let plan = table(
        r"{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.Created}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
    )?;
    cx.print(format!("Images space usage:\n\n{}", IMAGES.render(&plan, &images)?))?;
    let plan = table(
        r"{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.Created}}\t{{.Status}}\t{{.Names}}",
    )?;
    cx.print(format!("\nContainers space usage:\n\n{}", CONTAINERS.render(&plan, &usage.containers)?))?;
    let plan = table(r"{{.Name}}\t{{.Links}}\t{{.Size}}")?;
    cx.print(format!("\nLocal Volumes space usage:\n\n{}", VOLUMES.render(&plan, &usage.volumes)?))?;
    cx.print("\nBuild cache usage: 0B\n")?;
    Ok(Exit::OK)
}

struct ImageRow {
    of: ImageUsage,
    repository: String,
    tag: String,
    created: String,
}

const IMAGES: Listing<ImageRow> = Listing {
    name: "image",
    columns: &[
        column("Repository", "REPOSITORY", |r| r.repository.as_str().into(), Json::Same),
        column("Tag", "TAG", |r| r.tag.as_str().into(), Json::Same),
        column("ID", "IMAGE ID", |r| short_id(&r.of.image.id).into(), Json::Same),
        column("Created", "CREATED", |r| r.created.as_str().into(), Json::Same),
        column("Size", "SIZE", |r| human::size(r.of.size).into(), Json::Same),
        column("SharedSize", "SHARED SIZE", |r| human::size(r.of.shared).into(), Json::Same),
        column("UniqueSize", "UNIQUE SIZE", |r| human::size(r.of.size - r.of.shared).into(), Json::Same),
        column("Containers", "CONTAINERS", |r| count(r.of.containers), Json::Same),
    ],
    labels: None,
};

const CONTAINERS: Listing<ContainerUsage> = Listing {
    name: "container",
    columns: &[
        column("ID", "CONTAINER ID", |c| short_id(&c.record.id).into(), Json::Same),
        column("Image", "IMAGE", |c| c.record.state.head.image.as_str().into(), Json::Same),
        column(
            "Command",
            "COMMAND",
            |c| format!("{:?}", human::ellipsis(&c.record.state.head.command.join(" "), 20)).into(),
            Json::Same,
        ),
        column("LocalVolumes", "LOCAL VOLUMES", |c| count(c.volumes), Json::Same),
        column("Size", "SIZE", |c| human::size(c.size).into(), Json::Same),
        column("Created", "CREATED", |c| human::ago(c.record.created, Timestamp::now()).into(), Json::Same),
        column("Status", "STATUS", |c| status_of(&c.record, Timestamp::now()).into(), Json::Same),
        column("Names", "NAMES", |c| c.record.name().into(), Json::Same),
    ],
    labels: None,
};

const VOLUMES: Listing<VolumeUsage> = Listing {
    name: "volume",
    columns: &[
        column("Name", "VOLUME NAME", |v| v.volume.name.as_str().into(), Json::Same),
        column("Links", "LINKS", |v| count(v.links), Json::Same),
        column("Size", "SIZE", |v| human::size(v.size).into(), Json::Same),
    ],
    labels: None,
};
