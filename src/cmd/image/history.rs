//! `coracle history`.

use crate::cmd::flags::image::PlatformArgs;
use crate::cmd::flags::values::boolean;
use crate::cmd::format::human;
use crate::cmd::format::listing::{Json, Listing, Plan, column};
use crate::cmd::format::template::{Value, rfc3339};
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::image::lookup::find_for;
use crate::engine::image::{History, config_of};
use clap::Args;
use jiff::Timestamp;

/// Columns of CREATED BY unless --no-trunc.
const CREATED_BY_WIDTH: usize = 45;

/// Show how an image was built, the last step first
///
/// Only the last step has an image of its own here; the others are shown as missing, as docker does.
#[derive(Args, Clone, Debug)]
pub struct HistoryArgs {
    /// "table", "table TEMPLATE", "json" (an array) or a Go template; {{json .}} prints a line of JSON a step
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Sizes and times for people [default: true]
    #[arg(short = 'H', long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", value_parser = boolean)]
    human: Option<bool>,
    /// Do not shorten IDs and steps
    #[arg(long)]
    no_trunc: bool,
    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    platform: PlatformArgs,
    /// Name or ID
    #[arg(value_name = "IMAGE")]
    image: String,
}

/// Lists the steps.
pub fn run(cx: &Context, args: HistoryArgs) -> Result<Exit> {
    let engine = cx.engine()?;
    let plan = match args.quiet && args.format.is_none() {
        true => Plan::new(None, "{{.ID}}", false)?,
        false => Plan::new(
            args.format.as_deref(),
            r"{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
            true,
        )?,
    };
    let found = find_for(engine, &args.image, &args.platform.request(None)?)?;
    let config = config_of(engine, &found.image)?;
    let mut sizes = engine.store.layer_sizes(found.image.top_layer.as_deref())?.into_iter();
    let show = Show { human: args.human != Some(false), full: args.no_trunc, now: Timestamp::now() };
    let mut steps = config.history;
    if steps.is_empty() {
        // Whoever built it kept no history: every layer is a step.
        steps = vec![History { created: config.created, ..History::default() }; sizes.len()];
    }
    let mut rows: Vec<Row> = steps
        .into_iter()
        .map(|step| {
            let size = if step.empty_layer { 0 } else { sizes.next().unwrap_or(0) };
            Row { id: None, tags: Vec::new(), size, created: step.created.parse().ok(), step, show }
        })
        .rev()
        .collect();
    if let Some(last) = rows.first_mut() {
        last.id = Some(found.image.id.clone());
        last.tags = found.image.names;
    }
    cx.print(LISTING.render(&plan, &rows)?)?;
    Ok(Exit::OK)
}

#[derive(Clone, Copy)]
struct Show {
    human: bool,
    full: bool,
    now: Timestamp,
}

struct Row {
    id: Option<String>,
    tags: Vec<String>,
    step: History,
    size: u64,
    created: Option<Timestamp>,
    show: Show,
}

impl Row {
    fn id(&self) -> Value {
        match &self.id {
            None => "<missing>".into(),
            Some(id) if self.show.full => format!("sha256:{id}").into(),
            Some(id) => human::short_id(id).into(),
        }
    }

    fn created_by(&self) -> Value {
        let step = self.step.created_by.replace('\t', " ");
        if self.show.full { step.into() } else { human::ellipsis(&step, CREATED_BY_WIDTH).into() }
    }

    fn created_at(&self) -> Value {
        self.created.as_ref().map_or_else(|| "N/A".into(), |at| rfc3339(&human::whole_seconds(*at)).into())
    }

    fn created_since(&self) -> Value {
        match self.created {
            Some(at) if self.show.human => human::ago(at, self.show.now).into(),
            _ => self.created_at(),
        }
    }

    fn size(&self) -> Value {
        if self.show.human { human::size(self.size).into() } else { self.size.to_string().into() }
    }
}

fn number(size: u64) -> Value {
    i64::try_from(size).unwrap_or(i64::MAX).into()
}

/// docker's fields, then podman's.
const LISTING: Listing<Row> = Listing {
    name: "history",
    columns: &[
        column("ID", "IMAGE", Row::id, Json::Skip),
        column("CreatedSince", "CREATED", Row::created_since, Json::Same),
        column("CreatedAt", "CREATED AT", Row::created_at, Json::Same),
        column("CreatedBy", "CREATED BY", Row::created_by, Json::As(|r| r.step.created_by.as_str().into())),
        column("Size", "SIZE", Row::size, Json::Skip),
        column("Comment", "COMMENT", |r| r.step.comment.as_str().into(), Json::Skip),
        column("Created", "CREATED", Row::created_since, Json::Skip),
        column("Tags", "TAGS", |r| Value::strings(&r.tags), Json::Skip),
        column("id", "", |_| Value::Nil, Json::Only(|r| r.id.as_deref().unwrap_or("<missing>").into())),
        column("created", "", |_| Value::Nil, Json::Only(Row::created_at)),
        column("size", "", |_| Value::Nil, Json::Only(|r| number(r.size))),
        column("comment", "", |_| Value::Nil, Json::Only(|r| r.step.comment.as_str().into())),
    ],
    labels: None,
};
