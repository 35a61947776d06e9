//! `coracle artifact ls`, `artifact list`.

use crate::cmd::format::human;
use crate::cmd::format::listing::{Json, Listing, Plan, column};
use crate::cmd::image::filters::split_name;
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::artifact::{self, Artifact};
use clap::Args;

/// List artifacts
#[derive(Args, Clone, Debug, Default)]
pub struct LsArgs {
    /// "table", "table TEMPLATE", "json" (an array) or a Go template; {{json .}} prints a line of JSON an artifact
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Do not shorten digests
    #[arg(long)]
    pub no_trunc: bool,
    /// Do not print the headings
    #[arg(short = 'n', long)]
    pub noheading: bool,
}

/// Runs `coracle artifact ls`.
pub fn run(cx: &Context, args: LsArgs) -> Result<Exit> {
    let columns = r"{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.Size}}";
    let plan = Plan::new(args.format.as_deref(), columns, !args.noheading)?;
    let row = |artifact: Artifact| Row { artifact, short: !args.no_trunc };
    let rows: Vec<Row> = artifact::list(cx.engine()?)?.into_iter().map(row).collect();
    cx.print(LISTING.render(&plan, &rows)?)?;
    Ok(Exit::OK)
}

struct Row {
    artifact: Artifact,
    short: bool,
}

impl Row {
    fn digest(&self) -> &str {
        let hex = self.artifact.manifest.digest.hex();
        if self.short { human::short_id(hex) } else { hex }
    }
}

const LISTING: Listing<Row> = Listing {
    name: "artifact",
    columns: &[
        column("Repository", "REPOSITORY", |r| split_name(&r.artifact.name).0.into(), Json::Same),
        column("Tag", "TAG", |r| split_name(&r.artifact.name).1.into(), Json::Same),
        column("Digest", "DIGEST", |r| r.digest().into(), Json::Same),
        column("Size", "SIZE", |r| human::size(r.artifact.size()).into(), Json::Same),
        column("VirtualSize", "VIRTUAL SIZE", |r| r.artifact.size().into(), Json::Same),
    ],
    labels: None,
};
