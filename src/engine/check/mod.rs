//! `system check`: the store and our own records, looked at and put right.
//!
//! The store checks itself ([`Store::check`](crate::engine::store::Store::check)); here is what it cannot know: which containers
//! there are by our records, and those records themselves, names, volumes and networks. What can only be put right by
//! removing images and containers is removed when that is asked for.

mod records;

use crate::engine::container::{self, RemoveOptions};
use crate::engine::store::check::{CheckOptions, Claim, Outcome, Problem, Subject};
use crate::engine::{Engine, ErrorKind, Result};
use std::collections::BTreeMap;
use std::time::Duration;

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Repair {
    /// Look only.
    No,
    /// Put right what loses nothing.
    Lossless,
    /// And remove images and containers that cannot be put right.
    Lossy,
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// Do not read the files of layers.
    pub quick: bool,
    /// How far to go.
    pub repair: Repair,
    /// Layers that nothing uses are left over when they are older than this.
    pub max_age: Duration,
}

/// What is wrong, or was.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What it is about: `layer 0123…`, `volume data`.
    pub subject: String,
    /// What is wrong, as the end of a sentence that begins with the subject.
    pub text: String,
    /// What can be done, or was done.
    pub outcome: Outcome,
    /// Names of images that are lost with it: to be pulled again.
    pub pull_again: Vec<String>,
}

/// Everything that was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What is, or was, wrong.
    pub findings: Vec<Finding>,
    /// IDs of images that were removed.
    pub removed_images: Vec<String>,
    /// IDs of containers that were removed.
    pub removed_containers: Vec<String>,
}

impl Report {
    /// Whether something is still wrong that somebody could put right.
    pub fn damaged(&self) -> bool {
        self.findings.iter().any(|f| !matches!(f.outcome, Outcome::Repaired | Outcome::ReadOnly))
    }
}

/// Looks at everything and, if asked for, puts it right.
///
/// # Errors
/// Files cannot be read, for another reason than that they are damaged.
pub fn check(engine: &Engine, request: &Request) -> Result<Report> {
    let mut report = Report::default();
    let mut names = image_names(engine);
    let claims = records::claims(engine)?;
    let options = CheckOptions { quick: request.quick, max_age: request.max_age, claims: &claims };
    if request.repair == Repair::No {
        let found = engine.store.check(&options)?;
        report.findings = found.into_iter().map(|problem| finding(problem, &names)).collect();
        report.findings.extend(records::check(engine, request.repair)?.0);
        return Ok(report);
    }
    let found = engine.store.repair(&options)?;
    // What was lost and is back has its names again.
    names.extend(image_names(engine));
    report.findings = found.into_iter().map(|problem| finding(problem, &names)).collect();
    if request.repair == Repair::Lossy {
        remove_what_is_lost(engine, &mut report)?;
        // What they stood on is nobody's now.
        let claims = records::claims(engine)?;
        for problem in engine.store.repair(&CheckOptions { claims: &claims, ..options })? {
            let more = finding(problem, &names);
            if !report.findings.iter().any(|known| known.subject == more.subject && known.text == more.text) {
                report.findings.push(more);
            }
        }
    }
    let (findings, removed) = records::check(engine, request.repair)?;
    report.findings.extend(findings);
    report.removed_containers.extend(removed);
    Ok(report)
}

/// Removes the containers, then the images, of everything that is lost.
fn remove_what_is_lost(engine: &Engine, report: &mut Report) -> Result<()> {
    for finding in &mut report.findings {
        let Outcome::Lossy { images, containers } = &finding.outcome else { continue };
        let mut failed = None;
        for id in containers {
            match remove_container(engine, id) {
                Ok(true) => report.removed_containers.push(id.clone()),
                Ok(false) => {}
                Err(e) => failed = Some(e.to_string()),
            }
        }
        for id in images {
            match engine.store.delete_image(id) {
                Ok(_) => report.removed_images.push(id.clone()),
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => failed = Some(e.to_string()),
            }
        }
        finding.outcome = failed.map_or(Outcome::Repaired, Outcome::Failed);
    }
    Ok(())
}

/// Removes a container of ours or of another program, however damaged. `false`: it was gone.
fn remove_container(engine: &Engine, id: &str) -> Result<bool> {
    let options = RemoveOptions { force: true, depend: true, ..RemoveOptions::default() };
    match container::remove(engine, id, &options) {
        Ok(_) => return Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => {
            tracing::debug!("{e}");
            records::remove(engine, id)?;
        }
    }
    Ok(engine.store.delete_container(id)?.is_some())
}

fn image_names(engine: &Engine) -> BTreeMap<String, Vec<String>> {
    let images = engine.store.read_images().unwrap_or_default();
    images.into_iter().map(|image| (image.id, image.names)).collect()
}

fn finding(problem: Problem, names: &BTreeMap<String, Vec<String>>) -> Finding {
    let subject = match &problem.subject {
        Subject::Layer(id) => format!("layer {id}"),
        Subject::Image(id) => match names.get(id).and_then(|names| names.first()) {
            Some(name) => format!("image {id} ({name})"),
            None => format!("image {id}"),
        },
        Subject::Container(id) => format!("container {id}"),
        Subject::File(path) => path.display().to_string(),
    };
    let lost = match &problem.outcome {
        Outcome::Lossy { images, .. } => images.clone(),
        _ => Vec::new(),
    };
    let pull_again = lost.iter().filter_map(|id| names.get(id)).flatten().cloned().collect();
    Finding { subject, text: problem.text, outcome: problem.outcome, pull_again }
}
