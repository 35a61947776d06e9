//! `coracle secret rm`.

use crate::cmd::{Context, Exit};
use crate::engine::secret::Secrets;
use crate::engine::{ErrorKind, Result};
use clap::Args;

/// Remove secrets
///
/// Containers keep those they were given.
#[derive(Args, Clone, Debug)]
pub struct RmArgs {
    /// All secrets
    #[arg(short, long, conflicts_with = "secrets")]
    all: bool,
    /// A missing secret is no error
    #[arg(short, long)]
    ignore: bool,
    /// Names or IDs
    #[arg(value_name = "SECRET", required_unless_present = "all")]
    secrets: Vec<String>,
}

/// Removes one after the other, and prints the IDs of what it removed.
pub fn run(cx: &Context, args: RmArgs) -> Result<Exit> {
    let secrets = Secrets::open(&cx.engine()?.config);
    let words = match args.all {
        true => secrets.list()?.into_iter().map(|secret| secret.name).collect(),
        false => args.secrets,
    };
    let mut exit = Exit::OK;
    for word in &words {
        match secrets.resolve(word).and_then(|secret| secrets.remove(&secret).map(|()| secret.id)) {
            Ok(id) => cx.println(id)?,
            Err(e) if e.kind() == ErrorKind::NotFound && args.ignore => {}
            Err(e) => {
                cx.report(&e);
                exit = Exit::FAILED;
            }
        }
    }
    Ok(exit)
}
