//! Commands on manifest lists, one file each.

pub mod add;
pub mod annotate;
pub mod create;
pub mod inspect;
pub mod push;
pub mod rm;

use super::later::Later;
use super::{Context, Exit};
use crate::engine::{Error, Result};
use clap::Subcommand;

/// Commands of `coracle manifest`; what each does is said by its arguments.
#[allow(missing_docs, clippy::large_enum_variant)]
#[derive(Debug, Subcommand)]
pub enum ManifestCommand {
    Add(Later<add::AddArgs>),
    Annotate(Later<annotate::AnnotateArgs>),
    Create(Later<create::CreateArgs>),
    Exists(Later<rm::ExistsArgs>),
    Inspect(Later<inspect::InspectArgs>),
    Push(Later<push::PushArgs>),
    Remove(Later<rm::RemoveArgs>),
    Rm(Later<rm::RmArgs>),
}

impl ManifestCommand {
    /// Runs it.
    pub fn run(self, cx: &Context) -> Result<Exit> {
        match self {
            Self::Add(args) => add::run(cx, args.0),
            Self::Annotate(args) => annotate::run(cx, args.0),
            Self::Create(args) => create::run(cx, args.0),
            Self::Exists(args) => rm::exists(cx, args.0),
            Self::Inspect(args) => inspect::run(cx, args.0),
            Self::Push(args) => push::run(cx, args.0),
            Self::Remove(args) => rm::remove(cx, args.0),
            Self::Rm(args) => rm::run(cx, args.0),
        }
    }
}

/// `KEY=VALUE` annotations.
fn annotations(words: &[String]) -> Result<Vec<(String, String)>> {
    let pair = |word: &String| match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Error::invalid(format!("no value given for annotation {word:?}")).with_hint("KEY=VALUE")),
    };
    words.iter().map(pair).collect()
}

/// docker's `--insecure` beside podman's `--tls-verify`.
fn tls_verify(tls_verify: Option<bool>, insecure: bool) -> Result<Option<bool>> {
    match (tls_verify, insecure) {
        (Some(_), true) => Err(Error::invalid("--insecure may not be used with --tls-verify")),
        (None, true) => Ok(Some(false)),
        (given, false) => Ok(given),
    }
}
