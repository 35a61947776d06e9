//! What a running container uses: processor, memory, network, disk, processes.
//!
//! The numbers are its cgroup's. A container without one (an ordinary user's where cgroups are version 1, or
//! `--cgroups=disabled`) has the sums of its processes, of which disk and limits are not known.

use super::processes::processes;
use crate::engine::host::cgroup;
use crate::engine::host::process::read_proc;
use crate::engine::spec::NamespaceMode;
use crate::engine::state::Record;
use crate::engine::{Engine, ErrorKind, Result};
use jiff::Timestamp;

/// One look at a container.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The container.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `None`: it does not run.
    pub usage: Option<Usage>,
}

/// What a running container has used.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// When this was seen.
    pub at: Timestamp,
    /// Since when it runs.
    pub since: Timestamp,
    /// Processor time in nanoseconds.
    pub cpu: u64,
    /// Bytes of memory, without what the kernel could drop at once.
    pub memory: u64,
    /// Bytes it may have: its limit, or the host's memory.
    pub memory_limit: u64,
    /// Bytes received and sent on its interfaces, the loopback left out.
    pub network: (u64, u64),
    /// Bytes read from and written to block devices.
    pub block: (u64, u64),
    /// Processes and threads.
    pub pids: u64,
}

impl Usage {
    /// Per cent of one processor since `before`; without one since the start.
    pub fn cpu_percent(&self, before: Option<&Usage>) -> f64 {
        let (from, used) = match before {
            Some(before) => (before.at, self.cpu.saturating_sub(before.cpu)),
            None => (self.since, self.cpu),
        };
        let elapsed = self.at.duration_since(from).as_nanos();
        if elapsed <= 0 { 0.0 } else { used as f64 / elapsed as f64 * 100.0 }
    }

    /// Per cent of its limit.
    pub fn memory_percent(&self) -> f64 {
        if self.memory_limit == 0 { 0.0 } else { self.memory as f64 / self.memory_limit as f64 * 100.0 }
    }
}

/// Looks at a container.
///
/// # Errors
/// Its record cannot be read.
pub fn sample(engine: &Engine, record: &Record) -> Result<Sample> {
    let mut sample = Sample { id: record.id.clone(), name: record.name().to_owned(), usage: None };
    if record.state.status.is_live() && record.state.pid != 0 {
        sample.usage = usage(engine, record)?;
    }
    Ok(sample)
}

/// `None`: it has ended meanwhile.
fn usage(engine: &Engine, record: &Record) -> Result<Option<Usage>> {
    let pid = record.state.pid;
    let mut usage = Usage {
        at: Timestamp::now(),
        since: record.state.started_at.unwrap_or(record.created),
        ..Usage::default()
    };
    match cgroup::usage(pid, &record.id) {
        Some(of) => {
            (usage.cpu, usage.memory, usage.block, usage.pids) = (of.cpu, of.memory, of.block, of.pids);
            usage.memory_limit = of.memory_limit;
        }
        None => {
            let Ok(all) = processes(engine, &record.id) else { return Ok(None) };
            for process in &all.list {
                usage.cpu += process.ticks * 10_000_000;
                usage.memory += process.resident * 1024;
                usage.pids += 1;
            }
        }
    }
    let host = host_memory();
    if usage.memory_limit == 0 || usage.memory_limit > host {
        usage.memory_limit = host;
    }
    let spec = match record.spec() {
        Ok(spec) => spec,
        // Removed since it was listed.
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    if spec.namespaces.network != NamespaceMode::Host {
        usage.network = traffic(&read_proc(format!("/proc/{pid}/net/dev")).unwrap_or_default());
    }
    Ok(Some(usage))
}

/// proc_pid_net(5), `dev`: the first and the ninth column are bytes received and sent.
fn traffic(table: &str) -> (u64, u64) {
    let mut sum = (0, 0);
    for line in table.lines().skip(2) {
        let Some((interface, numbers)) = line.split_once(':') else { continue };
        if interface.trim() == "lo" {
            continue;
        }
        let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        sum.0 += numbers.first().copied().unwrap_or(0);
        sum.1 += numbers.get(8).copied().unwrap_or(0);
    }
    sum
}

fn host_memory() -> u64 {
    let table = read_proc("/proc/meminfo").unwrap_or_default();
    let line = table.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_no_traffic() {
        let table = "Inter-|   Receive                      |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes packets\n\
                     lo: 99 1 0 0 0 0 0 0 99 1 0 0 0 0 0 0\n  eth0: 1000 5 0 0 0 0 0 0 2000 6 0 0 0 0 0 0\n eth1:1 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n";
        assert_eq!(traffic(table), (1001, 2002));
        assert_eq!(traffic(""), (0, 0));
    }

    #[test]
    fn shares_are_of_the_time_between_two_looks() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let first = Usage { at: at(10), since: at(0), cpu: 1_000_000_000, ..Usage::default() };
        let second = Usage { at: at(12), cpu: 2_000_000_000, memory: 50, memory_limit: 200, ..first.clone() };
        assert!((first.cpu_percent(None) - 10.0).abs() < 1e-9);
        assert!((second.cpu_percent(Some(&first)) - 50.0).abs() < 1e-9);
        assert!((second.memory_percent() - 25.0).abs() < 1e-9);
    }
}
