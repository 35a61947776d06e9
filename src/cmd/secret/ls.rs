//! `coracle secret ls`, `secret list`.

use crate::cmd::flags::ListingArgs;
use crate::cmd::format::human;
use crate::cmd::format::listing::{Json, Listing, column};
use crate::cmd::format::template::Value;
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::filter::Given;
use crate::engine::secret::{Secret, Secrets};
use clap::Args;
use jiff::Timestamp;

/// List secrets
#[derive(Args, Clone, Debug)]
pub struct LsArgs {
    /// Show only secrets that match KEY=VALUE: name, id (may be repeated)
    #[arg(short, long, value_name = "FILTER")]
    filter: Vec<String>,
    #[command(flatten)]
    listing: ListingArgs,
}

/// Lists.
pub fn run(cx: &Context, args: LsArgs) -> Result<Exit> {
    let plan =
        args.listing.plan(r"{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.CreatedAt}}\t{{.UpdatedAt}}", "{{.ID}}")?;
    let filters = Given::parse(&args.filter, &["id", "name"], |_, _| None)?;
    let wanted = |secret: &Secret| {
        filters.iter().all(|(key, values)| {
            values.iter().any(|value| match key {
                "id" => secret.id.starts_with(value),
                _ => secret.name.contains(value),
            })
        })
    };
    let now = Timestamp::now();
    let secrets = Secrets::open(&cx.engine()?.config).list()?.into_iter().filter(wanted);
    let rows: Vec<Row> = secrets.map(|secret| Row { secret, now }).collect();
    cx.print(LISTING.render(&plan, &rows)?)?;
    Ok(Exit::OK)
}

struct Row {
    secret: Secret,
    now: Timestamp,
}

impl Row {
    fn ago(&self, then: Timestamp) -> Value {
        human::ago(then, self.now).into()
    }
}

/// podman's fields.
const LISTING: Listing<Row> = Listing {
    name: "secret",
    columns: &[
        column("ID", "ID", |r| r.secret.id.as_str().into(), Json::Same),
        column("Name", "NAME", |r| r.secret.name.as_str().into(), Json::Same),
        column("Driver", "DRIVER", |r| r.secret.driver.as_str().into(), Json::Same),
        column("CreatedAt", "CREATED", |r| r.ago(r.secret.created), Json::Same),
        column("UpdatedAt", "UPDATED", |r| r.ago(r.secret.updated), Json::Same),
    ],
    labels: Some(|row| row.secret.labels.clone()),
};
