//! `coracle secret ls`, `secret list`.

use crate::cmd::flags::ListingArgs;
use crate::cmd::format::human;
use crate::cmd::format::listing::{Json, Listing, column};
use crate::cmd::format::template::Value;
use crate::cmd::{Context, Exit};
use crate::engine::secret::{Secret, Secrets};
use crate::engine::{Error, Result};
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
    let filters: Vec<(&str, &str)> = args.filter.iter().map(|word| filter(word)).collect::<Result<_>>()?;
    let wanted = |secret: &Secret| {
        ["name", "id"].iter().all(|key| {
            let mut values = filters.iter().filter(|(k, _)| k == key).peekable();
            let text = if *key == "id" { &secret.id } else { &secret.name };
            values.peek().is_none()
                || values.any(
                    |(_, value)| if *key == "id" { text.starts_with(value) } else { text.contains(value) },
                )
        })
    };
    let now = Timestamp::now();
    let secrets = Secrets::open(&cx.engine()?.config).list()?.into_iter().filter(wanted);
    let rows: Vec<Row> = secrets.map(|secret| Row { secret, now }).collect();
    cx.print(LISTING.render(&plan, &rows)?)?;
    Ok(Exit::OK)
}

fn filter(word: &str) -> Result<(&str, &str)> {
    match word.split_once('=') {
        Some((key @ ("name" | "id"), value)) => Ok((key, value)),
        Some((key, _)) => Err(Error::invalid(format!("invalid filter {key:?}")).with_hint("one of name, id")),
        None => Err(Error::invalid(format!("invalid filter {word:?}")).with_hint("filters are KEY=VALUE")),
    }
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
