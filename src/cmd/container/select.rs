//! Which containers a command means: names, `--all`, `--latest`, `--cidfile`, `--filter`.

use crate::cmd::{Context, Exit};
use crate::engine::container::{self, Filters};
use crate::engine::state::Status;
use crate::engine::{Engine, Error, ErrorKind, Result};
use clap::Args;
use std::path::PathBuf;
use std::sync::Mutex;

/// The flags by which stop, kill, rm, restart and start choose containers.
#[derive(Args, Clone, Debug, Default)]
pub struct SelectArgs {
    /// The container that was created last
    #[arg(long, short = 'l', conflicts_with_all = ["containers", "all"])]
    pub latest: bool,
    /// Read the container ID from a file (may be repeated)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["all", "latest"])]
    pub cidfile: Vec<PathBuf>,
    /// Names, IDs or beginnings of IDs
    #[arg(value_name = "CONTAINER")]
    pub containers: Vec<String>,
}

/// What `--all` and `--filter` take.
pub struct Selection<'a> {
    /// The flags.
    pub args: &'a SelectArgs,
    /// `--all`.
    pub all: bool,
    /// `--filter`; of containers that are named, too.
    pub filters: &'a [String],
    /// Of all or the filtered ones, those in such a state.
    pub states: fn(Status) -> bool,
    /// Missing containers and files are no error.
    pub ignore: bool,
}

impl Selection<'_> {
    /// The containers, in the order given; what does not exist is reported and makes `failed` true.
    pub fn choose(&self, cx: &Context) -> Result<(Vec<(String, String)>, bool)> {
        let engine = cx.engine()?;
        let args = self.args;
        let mut chosen = Vec::new();
        let mut failed = false;
        if args.latest {
            let record = container::latest(engine)?;
            chosen.push((record.id.clone(), record.id));
        }
        if self.all && !args.containers.is_empty() {
            return Err(Error::invalid("no containers may be named together with --all"));
        }
        let named = !args.containers.is_empty() || !args.cidfile.is_empty();
        let matching = match self.all || !self.filters.is_empty() {
            true => Some(container::list(engine, &Filters::parse(self.filters)?)?),
            false => None,
        };
        if let Some(records) = matching.as_ref().filter(|_| !named) {
            let wanted = records.iter().filter(|record| (self.states)(record.state.status));
            chosen.extend(wanted.map(|record| (record.id.clone(), record.id.clone())));
        } else if args.containers.is_empty() && args.cidfile.is_empty() && !args.latest {
            return Err(Error::invalid("you must provide at least one name or id"));
        }
        let mut words = args.containers.clone();
        for file in &args.cidfile {
            match std::fs::read_to_string(file) {
                Ok(text) => words.push(text.lines().next().unwrap_or_default().to_owned()),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound && self.ignore => {}
                Err(e) => return Err(Error::io("read the ID file", file, e)),
            }
        }
        for word in words {
            match container::resolve(engine, &word) {
                Ok(id) if matching.as_ref().is_some_and(|list| list.iter().all(|r| r.id != id)) => {}
                Ok(id) => chosen.push((word, id)),
                Err(e) if e.kind() == ErrorKind::NotFound && self.ignore => {}
                Err(e) => {
                    failed = true;
                    cx.report(&e);
                }
            }
        }
        Ok((chosen, failed))
    }
}

/// At most this many containers are worked on at once.
const WORKERS: usize = 16;

/// Does `action` to all chosen containers at the same time, and prints their labels (or errors) in order.
pub fn each<F>(cx: &Context, (chosen, failed): (Vec<(String, String)>, bool), action: F) -> Result<Exit>
where
    F: Fn(&Engine, &str) -> Result<()> + Sync,
{
    let mut failed = failed;
    let engine = cx.engine()?;
    let results = parallel(&chosen, |(_, id)| action(engine, id));
    for ((label, _), result) in chosen.iter().zip(results) {
        match result {
            Ok(()) => cx.println(label)?,
            Err(e) => {
                failed = true;
                cx.report(&e);
            }
        }
    }
    Ok(if failed { Exit::FAILED } else { Exit::OK })
}

/// Results in the order of `items`; threads are made only for more than one.
pub fn parallel<T: Sync, R: Send>(items: &[T], action: impl Fn(&T) -> R + Sync) -> Vec<R> {
    if items.len() < 2 {
        return items.iter().map(action).collect();
    }
    let next = std::sync::atomic::AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..items.len().min(WORKERS) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    let result = action(item);
                    results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// States a `stop` or `kill` is meant for.
pub fn live(status: Status) -> bool {
    status.is_live() || status == Status::Restarting
}
