//! Checking the store, and repairing it: what contradicts itself, each other or what is on disk.
//!
//! [`Store::check`] looks (upstream's `check.go` and more) and changes nothing. [`Store::repair`] puts right what can be put
//! right without losing anything: records are read out of a damaged file, taken from the last good one or made again from
//! what is on disk; links follow from directories, a tar-split file from the files, a layer's files from another layer with
//! the same digest. Nothing is trusted that its digest does not prove, and nothing that is whole is ever removed. What is left
//! says in [`Outcome::Lossy`] which images and containers would have to go; that is the caller's to do.
//!
//! Contents are read without a lock. The rest is looked at under read locks, and repaired under write locks, in rounds: what
//! one repair brings back, the next may need.

mod adopt;
mod bench;
mod contents;
mod images;
mod layers;
mod leftovers;
mod links;
mod rebuild;
mod tables;

use super::layers::Layers;
use super::{LayerRecord, Store};
use crate::engine::Result;
use crate::failpoint;
use bench::Bench;
use contents::Verdict;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;
use tables::{Earlier, Tables};

/// Rounds of repairs. Adopting a chain of layers takes one each at worst, and nobody stacks more.
const ROUNDS: usize = super::overlay::MAX_DEPTH + 8;

/// What to look at.
#[derive(Debug)]
pub struct CheckOptions<'a> {
    /// Do not read the files of layers.
    pub quick: bool,
    /// Layers that nothing uses are left over when they are older than this.
    pub max_age: Duration,
    /// What the caller knows of containers: with it a lost record of one is made again.
    pub claims: &'a [Claim],
}

/// A container that the caller knows of.
#[derive(Clone, Debug, Default)]
pub struct Claim {
    /// Its ID.
    pub id: String,
    /// Its names.
    pub names: Vec<String>,
    /// Its image; empty: none.
    pub image: String,
    /// Its layer, if that is known.
    pub layer: Option<String>,
    /// The owner's own text.
    pub metadata: String,
    /// When it was made.
    pub created: jiff::Timestamp,
    /// It is a `--rm` container.
    pub volatile: bool,
    /// It runs.
    pub live: bool,
}

/// What a problem is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// A layer, by its ID.
    Layer(String),
    /// An image, by its ID.
    Image(String),
    /// A container, by its ID.
    Container(String),
    /// A file or directory of the store's own.
    File(PathBuf),
}

/// What can be done, or was done, about a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing would be lost by repairing it.
    Repairable,
    /// It is put right.
    Repaired,
    /// It could not be put right, and why.
    Failed(String),
    /// Only removing these would put it right; containers first.
    Lossy {
        /// IDs of images.
        images: Vec<String>,
        /// IDs of containers.
        containers: Vec<String>,
    },
    /// It lies in a read-only store.
    ReadOnly,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What it is about.
    pub subject: Subject,
    /// What is wrong, as the end of a sentence that begins with the subject.
    pub text: String,
    /// What can be done.
    pub outcome: Outcome,
}

/// Puts one thing right, all locks held.
type Mend<'s> = Box<dyn FnOnce(&Bench<'_>) -> Result<()> + 's>;

struct Finding<'s> {
    problem: Problem,
    mend: Option<Mend<'s>>,
}

/// One look at the whole store.
struct Look<'s, 'o> {
    store: &'s Store,
    options: &'o CheckOptions<'o>,
    tables: &'o Tables,
    verdicts: &'o HashMap<String, Verdict>,
    findings: Vec<Finding<'s>>,
    /// Layers that cannot be brought back.
    lost: HashSet<String>,
}

impl Store {
    /// Everything that is wrong with the store. Changes nothing.
    ///
    /// # Errors
    /// Files cannot be read, for another reason than that they are damaged.
    pub fn check(&self, options: &CheckOptions<'_>) -> Result<Vec<Problem>> {
        let mut verdicts = HashMap::new();
        self.read_contents(options, &mut verdicts)?;
        let _locks = Bench::shared(self)?;
        Ok(self.look(options, &verdicts)?.into_iter().map(|finding| finding.problem).collect())
    }

    /// Puts right what can be put right without loss, and tells of everything that was wrong and what became of it.
    ///
    /// # Errors
    /// Files cannot be read, for another reason than that they are damaged.
    pub fn repair(&self, options: &CheckOptions<'_>) -> Result<Vec<Problem>> {
        let earlier = Earlier::read(self);
        let mut verdicts = HashMap::new();
        let mut all: Vec<Problem> = Vec::new();
        let mut failed: HashMap<(Subject, String), String> = HashMap::new();
        for _ in 0..ROUNDS {
            self.read_contents(options, &mut verdicts)?;
            let findings = {
                let _locks = Bench::shared(self)?;
                self.look(options, &verdicts)?
            };
            remember(&mut all, findings.iter().map(|f| &f.problem));
            let hopeless = |f: &Finding<'_>| {
                f.mend.is_none() || failed.contains_key(&(f.problem.subject.clone(), f.problem.text.clone()))
            };
            if findings.iter().all(hopeless) {
                return Ok(told(all, findings, &failed));
            }
            self.settle_dead_writers();
            let bench = Bench::exclusive(self, &earlier)?;
            failpoint!("check.locked");
            // Once more: somebody may have changed it before we had the locks.
            for finding in self.look(options, &verdicts)? {
                let key = (finding.problem.subject.clone(), finding.problem.text.clone());
                if let Some(mend) = finding.mend
                    && !failed.contains_key(&key)
                {
                    tracing::debug!("repairing {:?}: {}", finding.problem.subject, finding.problem.text);
                    if let Err(e) = mend(&bench) {
                        failed.insert(key, e.to_string());
                    }
                    failpoint!("check.mended");
                    if let Subject::Layer(id) = &finding.problem.subject {
                        verdicts.remove(id);
                    }
                }
            }
        }
        let _locks = Bench::shared(self)?;
        let findings = self.look(options, &verdicts)?;
        remember(&mut all, findings.iter().map(|f| &f.problem));
        Ok(told(all, findings, &failed))
    }

    /// What whoever takes the write lock of the layers does anyway: finishing what writers who died had begun.
    fn settle_dead_writers(&self) {
        let settled = Layers::lock(self).and_then(|mut layers| layers.all().map(drop));
        if let Err(e) = settled {
            tracing::debug!("{e}");
        }
        // Staged layers of the dead go when another is staged.
        if let Err(e) = self.stage_layer() {
            tracing::debug!("{e}");
        }
    }

    /// Reads the files of every layer that was not read yet.
    fn read_contents(
        &self,
        options: &CheckOptions<'_>,
        verdicts: &mut HashMap<String, Verdict>,
    ) -> Result<()> {
        if options.quick {
            return Ok(());
        }
        let tables = Tables::read(self)?;
        for layer in tables.layers.iter().filter(|layer| layer.diff_digest.is_some() && !layer.incomplete()) {
            if !verdicts.contains_key(&layer.id)
                && let Some(verdict) = self.verdict(layer)?
            {
                verdicts.insert(layer.id.clone(), verdict);
            }
        }
        Ok(())
    }

    fn look(
        &self,
        options: &CheckOptions<'_>,
        verdicts: &HashMap<String, Verdict>,
    ) -> Result<Vec<Finding<'_>>> {
        let tables = Tables::read(self)?;
        let mut look = Look {
            store: self,
            options,
            tables: &tables,
            verdicts,
            findings: Vec::new(),
            lost: HashSet::new(),
        };
        look.tables();
        // As long as records are missing, all else would look left over.
        if look.findings.is_empty() {
            look.adoptions()?;
        }
        look.read_only();
        if look.findings.iter().all(|finding| finding.mend.is_none()) {
            look.left_over()?;
            look.layers()?;
            look.images()?;
            look.containers()?;
            look.leftovers()?;
            look.mounts()?;
        }
        Ok(look.findings)
    }
}

impl<'s> Look<'s, '_> {
    fn found(&mut self, subject: Subject, text: impl Into<String>, mend: Mend<'s>) {
        let problem = Problem { subject, text: text.into(), outcome: Outcome::Repairable };
        self.findings.push(Finding { problem, mend: Some(mend) });
    }

    fn hopeless(&mut self, subject: Subject, text: impl Into<String>, outcome: Outcome) {
        let problem = Problem { subject, text: text.into(), outcome };
        self.findings.push(Finding { problem, mend: None });
    }

    /// What can be told of additional stores without reading their files. They are somebody else's to repair.
    fn read_only(&mut self) {
        for (path, why) in &self.tables.broken_read_only {
            self.hopeless(Subject::File(path.clone()), format!("is damaged: {why}"), Outcome::ReadOnly);
        }
        for layer in self.tables.read_only.iter().filter(|layer| !layer.incomplete()) {
            let text = match self.store.layer_dir(&layer.id) {
                None => "has no directory",
                Some(directory) if !self.store.files_of(&directory.path).is_dir() => {
                    "has no files: its diff directory is missing"
                }
                Some(_) => continue,
            };
            self.hopeless(Subject::Layer(layer.id.clone()), text, Outcome::ReadOnly);
        }
    }

    /// Nothing brings the layer back: what stands on it is lost with it.
    fn lose_layer(&mut self, layer: &LayerRecord, text: impl Into<String>) {
        let (images, containers) = self.standing_on(&layer.id);
        self.lost.insert(layer.id.clone());
        if images.is_empty() && containers.is_empty() {
            let id = layer.id.clone();
            let mend: Mend<'s> = Box::new(move |bench| bench.drop_layer(&id));
            return self.found(Subject::Layer(layer.id.clone()), text, mend);
        }
        self.hopeless(Subject::Layer(layer.id.clone()), text, Outcome::Lossy { images, containers });
    }

    /// The images and containers that have the layer, or one above it.
    fn standing_on(&self, layer: &str) -> (Vec<String>, Vec<String>) {
        let mut above: BTreeSet<&str> = BTreeSet::from([layer]);
        loop {
            let before = above.len();
            for child in &self.tables.layers {
                if child.parent.as_deref().is_some_and(|parent| above.contains(parent)) {
                    above.insert(&child.id);
                }
            }
            if above.len() == before {
                break;
            }
        }
        let stands = |id: &String| above.contains(id.as_str());
        let images: Vec<String> = self
            .tables
            .images
            .iter()
            .filter(|i| i.top_layer.iter().chain(&i.mapped_layers).any(stands))
            .map(|i| i.id.clone())
            .collect();
        let on = |c: &&super::ContainerRecord| stands(&c.layer) || images.contains(&c.image);
        let containers = self.tables.containers.iter().filter(on).map(|c| c.id.clone()).collect();
        (images, containers)
    }
}

/// Adds what is new.
fn remember<'p>(all: &mut Vec<Problem>, found: impl Iterator<Item = &'p Problem>) {
    for problem in found {
        if !all.iter().any(|known| known.subject == problem.subject && known.text == problem.text) {
            all.push(problem.clone());
        }
    }
}

/// What is not found any more was repaired.
fn told(
    mut all: Vec<Problem>,
    left: Vec<Finding<'_>>,
    failed: &HashMap<(Subject, String), String>,
) -> Vec<Problem> {
    for problem in &mut all {
        let now =
            left.iter().find(|f| f.problem.subject == problem.subject && f.problem.text == problem.text);
        let why = failed.get(&(problem.subject.clone(), problem.text.clone()));
        problem.outcome = match (now, why) {
            (None, _) => Outcome::Repaired,
            (Some(_), Some(why)) => Outcome::Failed(why.clone()),
            (Some(finding), None) => finding.problem.outcome.clone(),
        };
    }
    all
}
