//! `coracle secret ls`, `secret list`.

use crate::cmd::format::human;
use crate::cmd::format::listing::{Json, Listing, Plan, column};
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
    /// "table", "table TEMPLATE", "json" (an array) or a Go template; {{json .}} prints a line of JSON a secret
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Do not print the headings
    #[arg(short = 'n', long)]
    noheading: bool,
    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,
}

/// Lists.
pub fn run(cx: &Context, args: LsArgs) -> Result<Exit> {
    let plan = match args.quiet && args.format.is_none() {
        true => Plan::new(None, "{{.ID}}", false)?,
        false => Plan::new(
            args.format.as_deref(),
            r"{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.CreatedAt}}\t{{.UpdatedAt}}",
            !args.noheading,
        )?,
    };
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
        format!("{} ago", human::duration(self.now.as_second() - then.as_second())).into()
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
