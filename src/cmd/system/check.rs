//! `coracle system check`.

use crate::cmd::{Context, Exit};
use crate::engine::check::{Finding, Repair, Report, Request, check};
use crate::engine::store::check::Outcome;
use crate::engine::{Error, Result};
use clap::Args;
use std::time::Duration;

/// Check the store and the records of containers, and repair them
///
/// Every layer's archive is made again from its files and its digest compared, as `push` and `save` need it. --repair puts right
/// what can be put right without loss; it never removes what is whole. Where only removing an image or a container helps, it
/// says so: --force does that, too, and names the images to pull again. Images that are not damaged stay.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    /// Repair, and remove images and containers that cannot be repaired
    #[arg(short, long, visible_alias = "repair-lossy")]
    force: bool,
    /// Age at which layers that nothing uses are taken for left over [default: 24h]
    #[arg(short, long, value_name = "DURATION", value_parser = age)]
    max: Option<Duration>,
    /// Do not read the files of layers
    #[arg(short, long)]
    quick: bool,
    /// Repair what can be repaired without losing anything
    #[arg(short, long)]
    repair: bool,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What podman ends with when it found damage.
const DAMAGED: Exit = Exit(125);

fn age(text: &str) -> Result<Duration> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let span: jiff::SignedDuration = text.parse().map_err(|_| {
        Error::invalid(format!("invalid duration {text:?}")).with_hint("for example 24h, 30m")
    })?;
    Duration::try_from(span).map_err(|_| Error::invalid(format!("invalid duration {text:?}")))
}

/// Checks, repairs and tells.
pub fn run(cx: &Context, args: CheckArgs) -> Result<Exit> {
    let repair = match (args.repair, args.force) {
        (_, true) => Repair::Lossy,
        (true, false) => Repair::Lossless,
        (false, false) => Repair::No,
    };
    let request = Request { quick: args.quick, repair, max_age: args.max.unwrap_or(DAY) };
    let report = check(cx.engine()?, &request)?;
    for finding in &report.findings {
        tell(cx, finding)?;
    }
    for id in &report.removed_containers {
        cx.println(format!("Deleted damaged container: {id}"))?;
    }
    for id in &report.removed_images {
        cx.println(format!("Deleted damaged image: {id}"))?;
    }
    conclude(cx, &report, repair)
}

fn tell(cx: &Context, finding: &Finding) -> Result<()> {
    let Finding { subject, text, .. } = finding;
    let line = match &finding.outcome {
        Outcome::Repairable => format!("Damaged: {subject} {text}"),
        Outcome::Repaired => format!("Repaired: {subject} {text}"),
        Outcome::Failed(why) => format!("Damaged: {subject} {text}; it could not be repaired: {why}"),
        Outcome::ReadOnly => format!("Damaged, read-only: {subject} {text}"),
        Outcome::Lossy { images, containers } => {
            let mut line = format!("Lost: {subject} {text}");
            for (what, ids) in [("image", images), ("container", containers)] {
                ids.iter().for_each(|id| line.push_str(&format!("\n  with {what} {id}")));
            }
            line
        }
    };
    cx.println(line)
}

fn conclude(cx: &Context, report: &Report, repair: Repair) -> Result<Exit> {
    let mut again: Vec<&String> = report.findings.iter().flat_map(|finding| &finding.pull_again).collect();
    again.sort();
    again.dedup();
    for name in again {
        cx.println(format!("Pull again: {name}"))?;
    }
    if !report.damaged() {
        return Ok(Exit::OK);
    }
    let lossy = report.findings.iter().any(|f| matches!(f.outcome, Outcome::Lossy { .. }));
    let error = match repair {
        Repair::No => Error::corrupt("damage detected in local storage")
            .with_hint("--repair puts right what can be put right without losing anything"),
        _ if lossy => Error::corrupt("damage in local storage still present after repair attempt")
            .with_hint("--force removes the images and containers that are lost"),
        _ => Error::corrupt("damage in local storage still present after repair attempt"),
    };
    cx.report(&error);
    Ok(DAMAGED)
}
