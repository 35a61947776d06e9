//! `coracle system reset`.

use crate::cmd::{Context, Exit};
use crate::engine::Result;
use crate::engine::reset::reset;
use clap::Args;

/// Remove all containers, images, volumes, networks and secrets
///
/// Nothing ever needs this to be mended: it is for beginning anew. Images are shared with podman, buildah and other tools: theirs
/// go as well, except those that their containers use. Containers of other tools are not touched.
#[derive(Args, Clone, Debug)]
pub struct ResetArgs {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

/// Asks and removes.
pub fn run(cx: &Context, args: ResetArgs) -> Result<Exit> {
    let place = cx.config()?.paths.graph_root.display().to_string();
    let warning = format!(
        "WARNING! This will remove:\n  - all containers, running or not\n  - all images in {place}, those that other tools \
         put there too, unless a container of theirs uses them\n  - all volumes\n  - all networks\n  - all secrets\n  \
         - all artifacts\n"
    );
    if !args.force && !cx.confirmed(&warning)? {
        return Ok(Exit::OK);
    }
    let report = reset(cx.engine()?)?;
    let removed = report.removed.iter().filter(|(_, count)| *count > 0);
    let removed: Vec<String> = removed.map(|(what, count)| format!("{count} {what}")).collect();
    cx.println(match removed.is_empty() {
        true => "Nothing was there to be removed".to_owned(),
        false => format!("Removed: {}", removed.join(", ")),
    })?;
    for kept in &report.kept {
        cx.println(format!("Kept: {kept}"))?;
    }
    for error in &report.failed {
        cx.report(error);
    }
    Ok(if report.failed.is_empty() { Exit::OK } else { Exit::FAILED })
}
