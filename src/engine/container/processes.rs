//! The processes of a container, from /proc.
//!
//! They are those in its PID namespace or in one below it, and the descendants of its first process, which is how they are
//! found when it shares the host's. Nothing is run for it: ps(1) of the image may be missing, or be anything.

use super::told::tell;
use crate::engine::host::process::read_proc;
use crate::engine::spec::IdMappings;
use crate::engine::state::Status;
use crate::engine::{Engine, Error, ErrorKind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// A process, as /proc tells of it (proc_pid_stat(5), proc_pid_status(5)).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    /// Its ID here.
    pub host_pid: u32,
    /// Its ID in the container.
    pub pid: u32,
    /// Its parent's here.
    pub host_ppid: u32,
    /// Its parent's in the container; 0: it has none there.
    pub ppid: u32,
    /// Its group's here, and in the container.
    pub pgid: (u32, u32),
    /// `R`, `S`, `Z` …
    pub state: String,
    /// Name of its program.
    pub comm: String,
    /// Its arguments; the program's name in brackets if there are none.
    pub args: String,
    /// Nice value.
    pub nice: i64,
    /// Processor time it used, in clock ticks.
    pub ticks: u64,
    /// When it started, in clock ticks since boot.
    pub started: u64,
    /// Its terminal's device number; 0: none.
    pub terminal: u64,
    /// Virtual memory in bytes.
    pub virtual_memory: u64,
    /// Resident memory in KiB.
    pub resident: u64,
    /// Its real, effective user and group here.
    pub uids: (u32, u32),
    /// Likewise the groups.
    pub gids: (u32, u32),
    /// Capability sets in hexadecimal, by the names of /proc: `CapInh`, `CapPrm`, `CapEff`, `CapBnd`, `CapAmb`.
    pub capabilities: BTreeMap<String, u64>,
    /// 0: none, 1: strict, 2: filter.
    pub seccomp: u32,
    /// Its security label (proc_pid_attr(5)).
    pub label: String,
}

/// What belongs to all of them.
#[derive(Clone, Debug, Default)]
pub struct Processes {
    /// By their IDs here.
    pub list: Vec<Process>,
    /// The maps of the container's user namespace.
    pub id_maps: IdMappings,
    /// The maps of the namespace that we are in, an ordinary user's: what is outside of it is the host's.
    pub own_maps: IdMappings,
    /// /etc/passwd and /etc/group of the container: names by ID.
    pub names: (BTreeMap<u32, String>, BTreeMap<u32, String>),
    /// Seconds since boot.
    pub uptime: f64,
}

/// The processes of the running container `id`.
///
/// # Errors
/// `Conflict` if it does not run.
pub fn processes(engine: &Engine, id: &str) -> Result<Processes> {
    let record = engine.state.load(id)?;
    if !matches!(record.state.status, Status::Running | Status::Paused) || record.state.pid == 0 {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("container {} is not running: top can only be used on running containers", record.name()),
        ));
    }
    let first = record.state.pid;
    let spec = record.spec()?;
    let facts = super::facts::host_facts(engine, spec);
    let maps = super::namespaces::id_maps(engine, spec, &facts)?;
    let own_maps = IdMappings { uids: facts.uid_map, gids: facts.gid_map };
    let id_maps = maps.map(|maps| IdMappings { uids: maps.uids, gids: maps.gids }).unwrap_or_default();
    let root = PathBuf::from(format!("/proc/{first}/root"));
    let names = super::exec::names(&root).unwrap_or_default();
    let uptime = read_proc("/proc/uptime").unwrap_or_default();
    let uptime = uptime.split(' ').next().and_then(|t| t.parse().ok()).unwrap_or(0.0);
    let list = of(first);
    tell(engine, "top", &record, &[]);
    Ok(Processes { list, id_maps, own_maps, names, uptime })
}

/// Everybody in the container whose first process is `first`.
fn of(first: u32) -> Vec<Process> {
    let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = namespace(std::process::id());
    let inside = namespace(first).filter(|it| Some(it) != own.as_ref());
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    let mut found: Vec<Process> = Vec::new();
    let mut members = BTreeSet::from([first]);
    let mut others: Vec<Process> = Vec::new();
    for pid in pids {
        // Somebody who ended meanwhile, or whom we may not look at, is none of the container's.
        let Some((process, depth)) = read(pid) else { continue };
        let member = pid == first || inside.is_some() && depth > 1 && namespace(pid) == inside;
        if member {
            members.insert(pid);
            found.push(process);
        } else {
            others.push(process);
        }
    }
    // Children of members, and theirs: IDs wrap around, so until nobody comes any more.
    loop {
        let (more, rest): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|process| members.contains(&process.host_ppid));
        others = rest;
        if more.is_empty() {
            break;
        }
        members.extend(more.iter().map(|p| p.host_pid));
        found.extend(more);
    }
    let inner: BTreeMap<u32, u32> = found.iter().map(|p| (p.host_pid, p.pid)).collect();
    for process in &mut found {
        process.ppid = inner.get(&process.host_ppid).copied().unwrap_or(0);
    }
    found.sort_by_key(|p| (p.started, p.host_pid));
    found
}

/// A process, and how many PID namespaces it is in.
fn read(pid: u32) -> Option<(Process, usize)> {
    let stat = read_proc(format!("/proc/{pid}/stat")).ok()?;
    let status = read_proc(format!("/proc/{pid}/status")).ok()?;
    let mut process = parse_stat(&stat)?;
    let depth = parse_status(&status, &mut process);
    process.host_pid = pid;
    let args = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let args = String::from_utf8_lossy(&args).trim_end_matches('\0').replace('\0', " ");
    process.args = if args.is_empty() { format!("[{}]", process.comm) } else { args };
    let label = read_proc(format!("/proc/{pid}/attr/current")).unwrap_or_default();
    process.label = label.trim_end_matches(['\0', '\n']).to_owned();
    Some((process, depth))
}

/// The command in parentheses may itself hold spaces and parentheses.
fn parse_stat(stat: &str) -> Option<Process> {
    let (head, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.trim_end().split(' ').collect();
    let number = |at: usize| fields.get(at).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    Some(Process {
        comm: head.split_once('(')?.1.to_owned(),
        state: fields.first()?.to_string(),
        host_ppid: fields.get(1)?.parse().ok()?,
        terminal: number(4),
        ticks: number(11) + number(12),
        nice: fields.get(16).and_then(|f| f.parse().ok()).unwrap_or(0),
        started: number(19),
        virtual_memory: number(20),
        ..Process::default()
    })
}

fn parse_status(status: &str, process: &mut Process) -> usize {
    let mut depth = 0;
    for line in status.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let mut words = value.split_whitespace();
        let mut number = || words.next().and_then(|w| w.parse::<u32>().ok()).unwrap_or(0);
        match key {
            "Uid" => process.uids = (number(), number()),
            "Gid" => process.gids = (number(), number()),
            "NSpid" => {
                let pids: Vec<u32> = value.split_whitespace().filter_map(|w| w.parse().ok()).collect();
                depth = pids.len();
                process.pid = pids.last().copied().unwrap_or(0);
            }
            "NSpgid" => {
                let first = number();
                let last = value.split_whitespace().last().and_then(|w| w.parse().ok()).unwrap_or(first);
                process.pgid = (first, last);
            }
            "VmRSS" => process.resident = number().into(),
            "Seccomp" => process.seccomp = number(),
            key if key.starts_with("Cap") => {
                let set = u64::from_str_radix(value.trim(), 16).unwrap_or(0);
                process.capabilities.insert(key.to_owned(), set);
            }
            _ => {}
        }
    }
    depth
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn files_of_proc_are_read_whatever_the_command_is_called() {
        let stat = "42 (a) b (c) S 7 42 42 34816 42 4194304 99 0 0 0 3 4 0 0 20 5 1 0 12345 1048576 20 \
                    18446744073709551615 0 0\n";
        let mut process = parse_stat(stat).unwrap();
        assert_eq!((process.comm.as_str(), process.state.as_str(), process.host_ppid), ("a) b (c", "S", 7));
        assert_eq!((process.ticks, process.nice, process.started), (7, 5, 12345));
        assert_eq!((process.terminal, process.virtual_memory), (34816, 1 << 20));
        let status = "Name:\tx\nUid:\t1000\t0\t0\t0\nGid:\t5\t6\t6\t6\nNSpid:\t42\t1\nNSpgid:\t42\t1\nVmRSS:\t 80 kB\n\
                      CapEff:\t00000000a80425fb\nSeccomp:\t2\n";
        assert_eq!(parse_status(status, &mut process), 2);
        assert_eq!((process.pid, process.pgid, process.uids, process.gids), (1, (42, 1), (1000, 0), (5, 6)));
        assert_eq!((process.resident, process.seccomp, process.capabilities["CapEff"]), (80, 2, 0xa804_25fb));
    }

    #[test]
    fn our_own_descendants_are_found() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let found = of(std::process::id());
        let names: Vec<_> =
            found.iter().filter(|p| p.host_pid == child.id()).map(|p| p.args.as_str()).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(names, ["sleep 100"]);
    }
}
