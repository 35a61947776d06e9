//! `coracle context ls`.

use super::DEFAULT;
use crate::cmd::format::listing::{Json, Listing, Plan, column};
use crate::cmd::{Context, Exit};
use crate::engine::Result;
use clap::Args;

/// List contexts
#[derive(Args, Clone, Debug)]
pub struct LsArgs {
    /// "table", "table TEMPLATE", "json" (an array) or a Go template; {{json .}} prints a line of JSON a context
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
}

/// Lists the one there is.
pub fn run(cx: &Context, args: LsArgs) -> Result<Exit> {
    let plan = match args.quiet && args.format.is_none() {
        true => Plan::new(None, "{{.Name}}", false)?,
        false => Plan::new(
            args.format.as_deref(),
            r"{{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
            true,
        )?,
    };
    cx.print(LISTING.render(&plan, &[()])?)?;
    Ok(Exit::OK)
}

/// docker's fields.
const LISTING: Listing<()> = Listing {
    name: "context",
    columns: &[
        column("Name", "NAME", |()| DEFAULT.into(), Json::Same),
        column("Description", "DESCRIPTION", |()| "This host".into(), Json::Same),
        column("DockerEndpoint", "DOCKER ENDPOINT", |()| "".into(), Json::Same),
        column("Error", "ERROR", |()| "".into(), Json::Same),
        column("Current", "", |()| true.into(), Json::Same),
        column("ContextType", "", |()| "moby".into(), Json::Same),
    ],
    labels: None,
};
