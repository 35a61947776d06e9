//! `coracle artifact inspect`.

use crate::cmd::{Context, Exit};
use crate::engine::{Error, Result, artifact};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

/// Show everything about an artifact
#[derive(Args, Clone, Debug, Default)]
pub struct InspectArgs {
    /// The artifact: its name or digest
    #[arg(value_name = "ARTIFACT")]
    pub name: String,
}

/// Runs `coracle artifact inspect`.
pub fn run(cx: &Context, args: InspectArgs) -> Result<Exit> {
    let found = artifact::find(cx.engine()?, &args.name)?;
    let bad = |e: serde_json::Error| Error::corrupt(format!("artifact {}: {e}", found.name));
    let manifest: Value = serde_json::from_slice(&found.manifest.raw).map_err(bad)?;
    let shown = json!({"Manifest": manifest, "Name": found.name, "Digest": found.manifest.digest.as_str()});
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"     ");
    shown.serialize(&mut serde_json::Serializer::with_formatter(&mut text, formatter)).map_err(bad)?;
    cx.println(String::from_utf8_lossy(&text))?;
    Ok(Exit::OK)
}
