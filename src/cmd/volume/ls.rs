//! `coracle volume ls`, `volume list`.

use crate::cmd::flags::ListingArgs;
use crate::cmd::format::human;
use crate::cmd::format::listing::{Json, Listing, column};
use crate::cmd::format::template::{Value, rfc3339};
use crate::cmd::{Context, Exit};
use crate::engine::container::volume_users;
use crate::engine::volume::{Filters, LOCAL, Volume, Volumes};
use crate::engine::{Error, Result};
use clap::Args;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// List volumes
#[derive(Args, Clone, Debug)]
pub struct LsArgs {
    /// Swarm only, refused: there is no cluster here
    #[arg(long)]
    cluster: bool,
    /// Show only volumes that match KEY=VALUE: name, driver, label, label!, opt, scope, dangling, anonymous, since, until (may be repeated)
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    #[command(flatten)]
    listing: ListingArgs,
}

/// Lists.
pub fn run(cx: &Context, args: LsArgs) -> Result<Exit> {
    if args.cluster {
        return Err(Error::unsupported(
            "--cluster is for volumes of a swarm's cluster, which there is none of",
        ));
    }
    let plan = args.listing.plan(r"{{.Driver}}\t{{.Name}}", "{{.Name}}")?;
    let engine = cx.engine()?;
    let volumes = Volumes::open(&engine.config);
    let filters = Filters::parse(&args.filter, |name| Ok(volumes.get(name)?.created))?;
    let used = match filters.needs_users() {
        true => volume_users(engine)?,
        false => BTreeMap::new(),
    };
    let all = volumes.list()?.into_iter();
    let rows: Vec<Row> = all
        .filter(|volume| filters.matches(volume, used.contains_key(&volume.name)))
        .map(|volume| Row { mountpoint: volumes.data(&volume.name), volume })
        .collect();
    cx.print(LISTING.render(&plan, &rows)?)?;
    Ok(Exit::OK)
}

struct Row {
    volume: Volume,
    mountpoint: PathBuf,
}

/// docker's fields, then podman's.
const LISTING: Listing<Row> = Listing {
    name: "volume",
    columns: &[
        column("Name", "VOLUME NAME", |r| r.volume.name.as_str().into(), Json::Same),
        column("Driver", "DRIVER", |_| LOCAL.into(), Json::Same),
        column("Scope", "SCOPE", |_| LOCAL.into(), Json::Same),
        column("Mountpoint", "MOUNTPOINT", |r| r.mountpoint.to_string_lossy().as_ref().into(), Json::Same),
        column(
            "Labels",
            "LABELS",
            |r| human::pairs(&r.volume.labels).into(),
            Json::As(|r| Value::string_map(&r.volume.labels)),
        ),
        column("Links", "LINKS", |_| "N/A".into(), Json::Skip),
        column("Size", "SIZE", |_| "N/A".into(), Json::Skip),
        column("Status", "STATUS", |_| "N/A".into(), Json::Skip),
        column("Availability", "AVAILABILITY", |_| "N/A".into(), Json::Skip),
        column("Group", "GROUP", |_| "N/A".into(), Json::Skip),
        column("Options", "OPTIONS", |r| Value::string_map(&r.volume.options), Json::Same),
        column("CreatedAt", "CREATED AT", |r| rfc3339(&r.volume.created).into(), Json::Same),
        column("Anonymous", "ANONYMOUS", |r| r.volume.anonymous.into(), Json::Same),
    ],
    labels: Some(|row| row.volume.labels.clone()),
};
