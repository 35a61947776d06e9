//! What commands that died have left, and mount counts that are not true.

use super::adopt::ids_in;
use super::{Look, Subject};
use crate::engine::Result;
use crate::engine::host::lock::FileLock;
use crate::engine::host::mount::is_mount_point;
use crate::engine::store::mounts::Mounts;
use crate::engine::store::{file, pending};
use std::fs;
use std::path::{Path, PathBuf};

impl Look<'_, '_> {
    pub(super) fn leftovers(&mut self) -> Result<()> {
        let store = self.store;
        for (_, pending) in pending::list(store)? {
            let path = store.layout.pending.join(pending.file_name());
            let text = "was left by a command that died: what it was about is half done";
            // Who takes the locks for a repair has finished it.
            self.found(Subject::File(path), text, Box::new(|_| Ok(())));
        }
        for path in entries(&store.layout.staging) {
            if free(&path.join("lock")) {
                self.left(path);
            }
        }
        for path in entries(&store.layout.home.join("staging")) {
            if free(&path.join("staging.lock")) {
                self.left(path);
            }
        }
        let layout = &store.layout;
        for directory in [&layout.layers, &layout.images, &layout.containers, &layout.run_layers] {
            for path in entries(directory) {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                // Under the locks nobody is writing.
                let left = name.strip_prefix(".tmp-").is_some_and(|n| n.contains(".json"));
                let split = name.strip_suffix(".tar-split.gz").or(name.strip_suffix(".tar-split.gz.tmp"));
                let stray = split.is_some_and(|id| !self.tables.layers.iter().any(|l| l.id == id));
                if left || stray {
                    self.left(path);
                }
            }
            for id in ids_in(directory)? {
                if directory == &layout.layers && !self.tables.layers.iter().any(|l| l.id == id) {
                    self.left(directory.join(id));
                }
            }
        }
        Ok(())
    }

    fn left(&mut self, path: PathBuf) {
        let subject = Subject::File(path.clone());
        self.found(subject, "was left by a command that died", Box::new(move |_| file::remove_tree(&path)));
    }

    /// Counts of mounts that are not there, and mounts that nobody counts.
    pub(super) fn mounts(&mut self) -> Result<()> {
        let store = self.store;
        let counted: Vec<(String, PathBuf, i64)> = match Mounts::lock(store) {
            Ok(mounts) => {
                mounts.all().map(|(id, path, count)| (id.to_owned(), path.to_owned(), count)).collect()
            }
            Err(e) => {
                let path = store.layout.mounts_json();
                let mend = |_: &super::Bench<'_>| file::remove_file(&store.layout.mounts_json());
                self.found(Subject::File(path), format!("is damaged: {e}"), Box::new(mend));
                return Ok(());
            }
        };
        for (id, path, count) in &counted {
            let there = store.driver == super::super::layout::Driver::Vfs || is_mount_point(path)?;
            if *count > 0 && (there || somebody_has(id)) {
                continue;
            }
            let (owned, path) = (id.clone(), path.clone());
            let mend = move |bench: &super::Bench<'_>| Mounts::lock(bench.store)?.set(&owned, &path, 0);
            let text = format!("is counted as mounted {count} times and is not");
            self.found(Subject::Layer(id.clone()), text, Box::new(mend));
        }
        for id in ids_in(&store.layout.run_home)? {
            if counted.iter().any(|(known, _, count)| *known == id && *count > 0) {
                continue;
            }
            let Some(path) = store.uncounted(&id)? else { continue };
            let container = self.tables.containers.iter().find(|c| c.layer == id).map(|c| c.id.as_str());
            let live =
                self.options.claims.iter().any(|claim| claim.live && Some(claim.id.as_str()) == container);
            let owned = id.clone();
            let mend = move |bench: &super::Bench<'_>| {
                if live {
                    Mounts::lock(bench.store)?.set(&owned, &path, 1)
                } else {
                    bench.store.unstack(&owned)
                }
            };
            let text = "is mounted, and nobody counts it";
            self.found(Subject::Layer(id), text, Box::new(mend));
        }
        Ok(())
    }
}

/// Whether a process sees a mount of the layer: podman's, in a mount namespace of its own.
fn somebody_has(layer: &str) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
        .filter_map(|entry| fs::read_to_string(entry.path().join("mountinfo")).ok())
        .any(|table| table.lines().any(|line| mounted_at(line, layer)))
}

/// Whether a line of mountinfo is of a mount of the layer, not one with it as a lower directory.
fn mounted_at(line: &str, layer: &str) -> bool {
    line.split(' ').nth(4).is_some_and(|at| at.contains(layer))
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// Whether nobody holds the lock of a directory; one without a lock is being made, or of another program.
fn free(lock: &Path) -> bool {
    lock.exists() && matches!(FileLock::try_exclusive(lock), Ok(Some(_)))
}
