//! `--filter`, which listings and prunes share.

use crate::engine::{Error, Result};
use clap::Args;

/// Filters.
#[derive(Args, Clone, Debug, Default)]
pub struct FilterArgs {
    /// Only what fits: NAME=VALUE (may be repeated)
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub filter: Vec<String>,
}

impl FilterArgs {
    /// Names and values; `NAME!=VALUE` keeps the mark in the name, as docker does.
    ///
    /// # Errors
    /// A filter without `=`.
    pub fn pairs(&self) -> Result<Vec<(String, String)>> {
        self.filter
            .iter()
            .map(|text| match text.split_once('=') {
                Some((name, value)) if !name.trim().is_empty() => {
                    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
                }
                _ => Err(Error::invalid(format!("invalid --filter {text:?}")).with_hint("NAME=VALUE")),
            })
            .collect()
    }
}
