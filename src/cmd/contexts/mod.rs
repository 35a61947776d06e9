//! `coracle context`: docker's places to work at. Here there is one, `default`, this host: tools ask for it.

mod inspect;
mod ls;

use super::later::Later;
use super::{Context, Exit};
use crate::engine::{Error, Result};
use clap::{Args, Subcommand};

/// The only one.
const DEFAULT: &str = "default";

/// Commands of `coracle context`; what each does is said by its arguments.
#[allow(missing_docs)]
#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    Create(Later<CreateArgs>),
    Export(Later<ExportArgs>),
    Import(Later<ImportArgs>),
    Inspect(Later<inspect::InspectArgs>),
    #[command(visible_alias = "list")]
    Ls(Later<ls::LsArgs>),
    #[command(visible_alias = "remove")]
    Rm(Later<RmArgs>),
    Show(Later<ShowArgs>),
    Update(Later<UpdateArgs>),
    Use(Later<UseArgs>),
}

impl ContextCommand {
    /// Runs it.
    pub fn run(self, cx: &Context) -> Result<Exit> {
        match self {
            Self::Inspect(args) => inspect::run(cx, args.0),
            Self::Ls(args) => ls::run(cx, args.0),
            Self::Show(_) => cx.println(DEFAULT).map(|()| Exit::OK),
            Self::Use(args) => {
                known(&args.0.context)?;
                cx.println(DEFAULT).map(|()| Exit::OK)
            }
            Self::Create(_) | Self::Import(_) | Self::Update(_) | Self::Export(_) => Err(elsewhere()),
            Self::Rm(args) => {
                args.0.contexts.iter().try_for_each(|name| known(name))?;
                Err(Error::invalid("context \"default\" cannot be removed"))
            }
        }
    }
}

/// A context that there is.
fn known(name: &str) -> Result<()> {
    match name {
        DEFAULT => Ok(()),
        _ => Err(Error::not_found(format!("context {name:?}: context not found"))
            .with_hint("there is one context, \"default\": this host")),
    }
}

fn elsewhere() -> Error {
    Error::unsupported("contexts lead to engines on other hosts, and there is no engine but this program")
        .with_hint("run coracle on the other host: ssh HOST coracle …")
}

/// Name an engine elsewhere (refused: there is only this host)
#[derive(Args, Clone, Debug)]
pub struct CreateArgs {
    /// Description
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Where the engine is
    #[arg(long, value_name = "KEY=VALUE")]
    docker: Vec<String>,
    /// Begin with another context
    #[arg(long, value_name = "CONTEXT")]
    from: Option<String>,
    /// Name
    #[arg(value_name = "CONTEXT")]
    context: String,
}

/// Change a context (refused: there is only this host)
#[derive(Args, Clone, Debug)]
pub struct UpdateArgs {
    /// Description
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Where the engine is
    #[arg(long, value_name = "KEY=VALUE")]
    docker: Vec<String>,
    /// Name
    #[arg(value_name = "CONTEXT")]
    context: String,
}

/// Write a context into an archive (refused: there is only this host)
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// Name
    #[arg(value_name = "CONTEXT")]
    context: String,
    /// File; - is standard output
    #[arg(value_name = "FILE")]
    file: Option<String>,
}

/// Read a context from an archive (refused: there is only this host)
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// Name
    #[arg(value_name = "CONTEXT")]
    context: String,
    /// File; - is standard input
    #[arg(value_name = "FILE")]
    file: String,
}

/// Remove contexts (refused: there is only this host)
#[derive(Args, Clone, Debug)]
pub struct RmArgs {
    /// Remove the one in use as well
    #[arg(short, long)]
    force: bool,
    /// Names
    #[arg(value_name = "CONTEXT", required = true)]
    contexts: Vec<String>,
}

/// Print the name of the context in use
#[derive(Args, Clone, Debug)]
pub struct ShowArgs {}

/// Use a context from now on
#[derive(Args, Clone, Debug)]
pub struct UseArgs {
    /// Name
    #[arg(value_name = "CONTEXT")]
    context: String,
}
