//! Our own records: containers, their names, volumes, networks.

use super::{Claim, Finding, Repair};
use crate::engine::container::create::store_metadata;
use crate::engine::container::remove::repair as finish_interrupted;
use crate::engine::network::Networks;
use crate::engine::state::{Record, RecordDir};
use crate::engine::store::check::Outcome;
use crate::engine::volume::Volumes;
use crate::engine::{Engine, Result};
use std::collections::HashMap;
use std::path::PathBuf;

/// What the store is told of our containers.
pub(super) fn claims(engine: &Engine) -> Result<Vec<Claim>> {
    let records = engine.state.directories()?;
    let known = records.iter().filter_map(|dir| engine.state.load(&dir.id).ok());
    let with_root =
        |record: &Record| record.state.head.name.is_empty() || !record.state.head.image_id.is_empty();
    Ok(known.filter(with_root).map(|record| claim(&record)).collect())
}

fn claim(record: &Record) -> Claim {
    let head = &record.state.head;
    Claim {
        id: record.id.clone(),
        names: vec![head.name.clone()],
        image: head.image_id.clone(),
        layer: Some(record.state.layer.clone()).filter(|layer| !layer.is_empty()),
        metadata: store_metadata(&head.image, &head.image_id, &head.name, record.created),
        created: record.created,
        volatile: record.ephemeral,
        live: record.state.status.is_live(),
    }
}

/// Looks at all of them. What was found, and the IDs of containers that were removed.
pub(super) fn check(engine: &Engine, repair: Repair) -> Result<(Vec<Finding>, Vec<String>)> {
    let mut check = Check { engine, repair, findings: Vec::new(), removed: Vec::new() };
    let directories = engine.state.directories()?;
    if engine.state.unfinished()?.iter().any(|id| engine.state.try_lock(id).is_ok_and(|lock| lock.is_some()))
        || !engine.state.orphaned_run_dirs()?.is_empty()
    {
        check.found("containers", "are left that were half made or half removed", || {
            finish_interrupted(engine).map(drop)
        });
    }
    for directory in &directories {
        check.container(directory)?;
    }
    check.names()?;
    check.volumes()?;
    check.networks()?;
    Ok((check.findings, check.removed))
}

/// Removes the record of a container that cannot be read.
pub(super) fn remove(engine: &Engine, id: &str) -> Result<()> {
    engine.state.lock(id)?.discard()
}

struct Check<'a> {
    engine: &'a Engine,
    repair: Repair,
    findings: Vec<Finding>,
    /// Containers that are gone for good.
    removed: Vec<String>,
}

impl Check<'_> {
    /// Something that can be put right without loss.
    fn found(
        &mut self,
        subject: impl Into<String>,
        text: impl Into<String>,
        mend: impl FnOnce() -> Result<()>,
    ) {
        let outcome = match self.repair {
            Repair::No => Outcome::Repairable,
            _ => {
                let mended = mend();
                crate::failpoint!("check.record-mended");
                mended.map_or_else(|e| Outcome::Failed(e.to_string()), |()| Outcome::Repaired)
            }
        };
        self.push(subject.into(), text.into(), outcome);
    }

    /// Something that is lost.
    fn lost(
        &mut self,
        subject: impl Into<String>,
        text: impl Into<String>,
        containers: Vec<String>,
        remove: impl FnOnce() -> Result<()>,
    ) {
        let outcome = match self.repair {
            Repair::Lossy => match remove() {
                Ok(()) => {
                    self.removed.extend(containers);
                    Outcome::Repaired
                }
                Err(e) => Outcome::Failed(e.to_string()),
            },
            _ => Outcome::Lossy { images: Vec::new(), containers },
        };
        self.push(subject.into(), text.into(), outcome);
    }

    fn push(&mut self, subject: String, text: String, outcome: Outcome) {
        self.findings.push(Finding { subject, text, outcome, pull_again: Vec::new() });
    }

    fn container(&mut self, directory: &RecordDir) -> Result<()> {
        let engine = self.engine;
        let id = &directory.id;
        if !directory.complete {
            return Ok(());
        }
        let subject = format!("container {id}");
        let gone = || super::remove_container(engine, id).map(drop);
        let Ok(record) = engine.state.load(id) else {
            self.lost(subject, "has records that cannot be read", vec![id.clone()], gone);
            return Ok(());
        };
        let Ok(spec) = record.spec() else {
            self.lost(subject, "has a spec.json that cannot be read", vec![id.clone()], gone);
            return Ok(());
        };
        if spec.image.rootfs.is_none() && engine.store.container(id).is_err() {
            self.lost(subject, "has lost its files: it is not in the store", vec![id.clone()], gone);
            return Ok(());
        }
        if !directory.readable {
            self.found(&subject, "has a state.json that cannot be read; how it ended is lost", || {
                let locked = engine.state.lock(id)?;
                locked.read()?.map_or(Ok(()), |record| locked.save(&record.state))
            });
        }
        let name = record.name().to_owned();
        match engine.state.name_holder(&name) {
            Some(holder) if holder == *id => {}
            Some(holder) if engine.state.exists(&holder) => {
                let text = format!("has the name {name}, which is container {holder}'s");
                self.lost(subject, text, vec![id.clone()], gone);
            }
            _ => self.found(subject, format!("has lost its name {name} for others"), || {
                engine.state.restore_name(&name, id)
            }),
        }
        Ok(())
    }

    /// Names without a container, or with one that has another name now.
    fn names(&mut self) -> Result<()> {
        let engine = self.engine;
        let mut holders: HashMap<String, String> = HashMap::new();
        for (name, holder) in engine.state.claimed_names()? {
            let subject = format!("name {name}");
            match holder.filter(|id| engine.state.exists(id)) {
                None => self.found(subject, "is of no container", || engine.state.drop_name(&name)),
                Some(id) => {
                    let current = engine.state.load(&id).ok().map(|record| record.name().to_owned());
                    if current.as_ref().is_some_and(|current| *current != name) {
                        let text = format!("was given up by container {id}");
                        self.found(subject, text, || engine.state.release_stale(&name).map(drop));
                    }
                    holders.insert(name, id);
                }
            }
        }
        Ok(())
    }

    fn volumes(&mut self) -> Result<()> {
        let volumes = Volumes::open(&self.engine.config);
        for damaged in volumes.damaged()? {
            let name = damaged.name.clone();
            let subject = format!("volume {name}");
            if damaged.has_files {
                let text = "has no record that can be read; its labels and options are lost";
                self.found(subject, text, || volumes.record_again(&name));
            } else {
                self.found(subject, "has neither a record nor files", || volumes.remove(&name));
            }
        }
        Ok(())
    }

    fn networks(&mut self) -> Result<()> {
        let networks = Networks::open(&self.engine.config);
        for (path, why) in networks.damaged()? {
            let aside: PathBuf = self.engine.config.paths.state.join("damaged");
            let subject = path.display().to_string();
            let text = format!("is no network definition that can be read: {why}; make the network again");
            self.lost(subject, text, Vec::new(), || networks.set_aside(&path, &aside));
        }
        Ok(())
    }
}
