//! How a list is shown.

use crate::cmd::format::listing::Plan;
use crate::engine::Result;
use clap::Args;

/// Flags of the lists of volumes, networks and secrets.
#[derive(Args, Clone, Debug)]
pub struct ListingArgs {
    /// "table", "table TEMPLATE", "json" (an array) or a Go template; {{json .}} prints a line of JSON for each
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Do not print the headings
    #[arg(short = 'n', long)]
    pub noheading: bool,
    /// Print nothing but IDs, or names of what has none
    #[arg(short, long)]
    pub quiet: bool,
}

impl ListingArgs {
    /// What is printed of each: the `table`'s columns, or with --quiet the template `name`, unless a format says otherwise.
    ///
    /// # Errors
    /// The format is no template.
    pub fn plan(&self, table: &str, name: &str) -> Result<Plan> {
        match self.quiet && self.format.is_none() {
            true => Plan::new(None, name, false),
            false => Plan::new(self.format.as_deref(), table, !self.noheading),
        }
    }
}
