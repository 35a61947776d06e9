//! `coracle top`.

use crate::cmd::{Context, Exit};
use crate::engine::container::{Process, Processes, latest, processes, resolve};
use crate::engine::spec::{IdMapping, to_container, to_host};
use crate::engine::{Error, Result};
use clap::Args;
use jiff::{Timestamp, tz::TimeZone};
use std::io::Write;
use std::process::{Command, Stdio};

/// Show a container's processes
///
/// Without descriptors: what docker shows, with the processes' IDs of the host. Descriptors are podman's: args, capamb,
/// capbnd, capeff, capinh, capprm, comm, etime, group, hgroup, hpid, huser, label, nice, pcpu, pgid, pid, ppid, rgroup, rss,
/// ruser, seccomp, state, stime, time, tty, user, vsz. Anything that begins with a dash, or is no descriptor, goes to the
/// host's ps(1).
#[derive(Args, Clone, Debug)]
pub struct TopArgs {
    /// The container that was made last
    #[arg(short, long)]
    latest: bool,
    /// Name or ID, then descriptors, or options of ps
    #[arg(
        value_name = "CONTAINER [DESCRIPTOR|OPTION]",
        required_unless_present = "latest",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    words: Vec<String>,
}

/// Shows.
pub fn run(cx: &Context, args: TopArgs) -> Result<Exit> {
    let engine = cx.engine()?;
    let mut words = args.words.into_iter();
    let id = match args.latest {
        true => latest(engine)?.id,
        false => resolve(engine, &words.next().unwrap_or_default())?,
    };
    let asked: Vec<String> = words.collect();
    let all = processes(engine, &id)?;
    let names: Vec<&str> = asked.iter().flat_map(|w| w.split(',')).filter(|w| !w.is_empty()).collect();
    if asked.is_empty() {
        return table(cx, &all, &DOCKER);
    }
    let known: Option<Vec<&Descriptor>> = names.iter().map(|name| descriptor(name)).collect();
    match known {
        Some(chosen) => table(cx, &all, &chosen),
        None if asked[0].starts_with('-') || asked.len() == 1 && !asked[0].contains(',') => {
            ps(cx, &all, &asked)
        }
        None => {
            let unknown = names.iter().find(|name| descriptor(name).is_none()).copied().unwrap_or_default();
            Err(Error::invalid(format!("unknown descriptor {unknown:?}"))
                .with_hint(DESCRIPTORS.iter().map(|d| d.name).collect::<Vec<_>>().join(", ")))
        }
    }
}

fn table(cx: &Context, all: &Processes, columns: &[&Descriptor]) -> Result<Exit> {
    let mut out = tabwriter::TabWriter::new(Vec::new()).padding(3).minwidth(8);
    let mut line = |cells: Vec<String>| {
        let _ = writeln!(out, "{}", cells.join("\t"));
    };
    line(columns.iter().map(|c| c.header.to_owned()).collect());
    for process in &all.list {
        line(columns.iter().map(|c| (c.value)(all, process).replace(['\t', '\n'], " ")).collect());
    }
    let bytes = out.into_inner().map_err(|e| Error::invalid(format!("format the table: {e}")))?;
    cx.print(String::from_utf8_lossy(&bytes))?;
    Ok(Exit::OK)
}

/// docker's way: ps(1) of the host with the user's options, and of its lines those of the container.
fn ps(cx: &Context, all: &Processes, options: &[String]) -> Result<Exit> {
    let output =
        Command::new("ps").args(options).stdin(Stdio::null()).output().map_err(|e| {
            Error::os("run ps", e).with_hint("ask for descriptors such as pid,user,args instead")
        })?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(Error::invalid(format!("ps: {}", text.lines().next().unwrap_or("failed").trim())));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    let heading = lines.next().unwrap_or_default();
    let Some(column) = heading.split_whitespace().position(|word| word == "PID") else {
        return Err(
            Error::invalid("Couldn't find PID field in ps output").with_hint("choose options that show PID")
        );
    };
    let mut shown = format!("{heading}\n");
    for line in lines {
        let pid = line.split_whitespace().nth(column).and_then(|word| word.parse::<u32>().ok());
        if pid.is_some_and(|pid| all.list.iter().any(|p| p.host_pid == pid)) {
            shown.push_str(line);
            shown.push('\n');
        }
    }
    cx.print(shown)?;
    Ok(Exit::OK)
}

/// A column of podman's `top` (psgo's "format descriptors").
struct Descriptor {
    name: &'static str,
    header: &'static str,
    value: fn(&Processes, &Process) -> String,
}

/// The short names that ps(1) has from AIX ("AIX FORMAT DESCRIPTORS").
const SHORT: [(&str, &str); 15] = [
    ("%C", "pcpu"),
    ("%G", "group"),
    ("%P", "ppid"),
    ("%U", "user"),
    ("%a", "args"),
    ("%c", "comm"),
    ("%g", "rgroup"),
    ("%n", "nice"),
    ("%p", "pid"),
    ("%r", "pgid"),
    ("%t", "etime"),
    ("%u", "ruser"),
    ("%x", "time"),
    ("%y", "tty"),
    ("%z", "vsz"),
];

fn descriptor(name: &str) -> Option<&'static Descriptor> {
    let name = SHORT.iter().find(|(short, _)| *short == name).map_or(name, |(_, long)| long);
    DESCRIPTORS.iter().find(|d| d.name == name || d.header == name)
}

/// What docker shows: `ps -ef`.
static DOCKER: [&Descriptor; 8] = [
    &Descriptor { name: "", header: "UID", value: |all, p| user(all, p.uids.1) },
    &Descriptor { name: "", header: "PID", value: |_, p| p.host_pid.to_string() },
    &Descriptor { name: "", header: "PPID", value: |_, p| p.host_ppid.to_string() },
    &Descriptor { name: "", header: "C", value: |all, p| format!("{:.0}", share(all, p)) },
    &Descriptor { name: "", header: "STIME", value: |all, p| start(all, p, "%H:%M") },
    &Descriptor { name: "", header: "TTY", value: |_, p| terminal(p) },
    &Descriptor { name: "", header: "TIME", value: |_, p| clock(p.ticks / TICKS) },
    &Descriptor { name: "", header: "CMD", value: |_, p| p.args.clone() },
];

static DESCRIPTORS: &[Descriptor] = &[
    Descriptor { name: "args", header: "COMMAND", value: |_, p| p.args.clone() },
    Descriptor { name: "capamb", header: "AMBIENT CAPS", value: |_, p| capabilities(p, "CapAmb") },
    Descriptor { name: "capbnd", header: "BOUNDING CAPS", value: |_, p| capabilities(p, "CapBnd") },
    Descriptor { name: "capeff", header: "EFFECTIVE CAPS", value: |_, p| capabilities(p, "CapEff") },
    Descriptor { name: "capinh", header: "INHERITED CAPS", value: |_, p| capabilities(p, "CapInh") },
    Descriptor { name: "capprm", header: "PERMITTED CAPS", value: |_, p| capabilities(p, "CapPrm") },
    Descriptor { name: "comm", header: "COMMAND", value: |_, p| p.comm.clone() },
    Descriptor { name: "etime", header: "ELAPSED", value: elapsed },
    Descriptor { name: "group", header: "GROUP", value: |all, p| group(all, p.gids.1) },
    Descriptor { name: "hgroup", header: "HGROUP", value: |all, p| outside(&all.own_maps.gids, p.gids.1) },
    Descriptor { name: "hpid", header: "HPID", value: |_, p| p.host_pid.to_string() },
    Descriptor { name: "huser", header: "HUSER", value: |all, p| outside(&all.own_maps.uids, p.uids.1) },
    Descriptor { name: "label", header: "LABEL", value: |_, p| p.label.clone() },
    Descriptor { name: "nice", header: "NI", value: |_, p| p.nice.to_string() },
    Descriptor { name: "pcpu", header: "%CPU", value: |all, p| format!("{:.3}", share(all, p)) },
    Descriptor { name: "pgid", header: "PGID", value: |_, p| p.pgid.1.to_string() },
    Descriptor { name: "pid", header: "PID", value: |_, p| p.pid.to_string() },
    Descriptor { name: "ppid", header: "PPID", value: |_, p| p.ppid.to_string() },
    Descriptor { name: "rgroup", header: "RGROUP", value: |all, p| group(all, p.gids.0) },
    Descriptor { name: "rss", header: "RSS", value: |_, p| p.resident.to_string() },
    Descriptor { name: "ruser", header: "RUSER", value: |all, p| user(all, p.uids.0) },
    Descriptor { name: "seccomp", header: "SECCOMP", value: seccomp },
    Descriptor { name: "state", header: "STATE", value: |_, p| p.state.clone() },
    Descriptor { name: "stime", header: "STIME", value: |all, p| start(all, p, "%H:%M") },
    Descriptor { name: "time", header: "TIME", value: |_, p| time(p) },
    Descriptor { name: "tty", header: "TTY", value: |_, p| terminal(p) },
    Descriptor { name: "user", header: "USER", value: |all, p| user(all, p.uids.1) },
    Descriptor { name: "vsz", header: "VSZ", value: |_, p| (p.virtual_memory / 1024).to_string() },
];

/// Clock ticks a second: USER_HZ, which is 100 on every architecture that Linux runs containers on (time(7)).
const TICKS: u64 = 100;

fn user(all: &Processes, id: u32) -> String {
    let inside = to_container(&all.id_maps.uids, id).unwrap_or(id);
    all.names.0.get(&inside).cloned().unwrap_or_else(|| inside.to_string())
}

fn group(all: &Processes, id: u32) -> String {
    let inside = to_container(&all.id_maps.gids, id).unwrap_or(id);
    all.names.1.get(&inside).cloned().unwrap_or_else(|| inside.to_string())
}

/// The host's number of an ID; as an ordinary user we see those of our own namespace.
fn outside(map: &[IdMapping], id: u32) -> String {
    to_host(map, id).unwrap_or(id).to_string()
}

fn lifetime(all: &Processes, process: &Process) -> f64 {
    (all.uptime - process.started as f64 / TICKS as f64).max(0.0)
}

/// Per cent of one processor since it started.
fn share(all: &Processes, process: &Process) -> f64 {
    let lifetime = lifetime(all, process);
    if lifetime < 0.01 { 0.0 } else { process.ticks as f64 / TICKS as f64 / lifetime * 100.0 }
}

fn elapsed(all: &Processes, process: &Process) -> String {
    format!("{:.3}s", lifetime(all, process))
}

fn start(all: &Processes, process: &Process, format: &str) -> String {
    let seconds = lifetime(all, process) as i64;
    let at = Timestamp::from_second(Timestamp::now().as_second() - seconds).unwrap_or_default();
    at.to_zoned(TimeZone::system()).strftime(format).to_string()
}

fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn time(process: &Process) -> String {
    format!("{}s", process.ticks as f64 / TICKS as f64)
}

/// `pts/0` and the like by the device's number (tty_ioctl(4), Documentation/admin-guide/devices.txt of the kernel).
fn terminal(process: &Process) -> String {
    let (major, minor) =
        (process.terminal >> 8 & 0xfff, process.terminal & 0xff | process.terminal >> 12 & 0xfff00);
    match (process.terminal, major) {
        (0, _) => "?".to_owned(),
        (_, 136..=143) => format!("pts/{}", (major - 136) * 256 + minor),
        (_, 4) if minor < 64 => format!("tty{minor}"),
        (_, 4) => format!("ttyS{}", minor - 64),
        _ => format!("{major}:{minor}"),
    }
}

fn seccomp(_: &Processes, process: &Process) -> String {
    ["disabled", "strict", "filter"].get(process.seccomp as usize).copied().unwrap_or("?").to_owned()
}

fn capabilities(process: &Process, set: &str) -> String {
    let held = process.capabilities.get(set).copied().unwrap_or(0);
    let names = crate::engine::oci::caps::names(held);
    match (held, names.len()) {
        (0, _) => "none".to_owned(),
        (_, count) if count >= crate::engine::oci::caps::NAMES.len() => "full".to_owned(),
        _ => names.iter().map(|n| n.trim_start_matches("CAP_")).collect::<Vec<_>>().join(","),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_have_their_names() {
        for (device, want) in [(0, "?"), (34816, "pts/0"), (34819, "pts/3"), (1025, "tty1"), (1088, "ttyS0")]
        {
            assert_eq!(terminal(&Process { terminal: device, ..Process::default() }), want);
        }
        assert_eq!(clock(3725), "01:02:05");
    }

    #[test]
    fn descriptors_are_found_by_name_and_heading() {
        assert_eq!(descriptor("pid").map(|d| d.header), Some("PID"));
        assert_eq!(descriptor("%CPU").map(|d| d.name), Some("pcpu"));
        assert!(descriptor("nope").is_none());
    }
}
