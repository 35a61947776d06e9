//! What the host's kernel and files say of it.

use serde::Serialize;
use std::path::Path;

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CpuUtilization {
    pub user_percent: f64,
    pub system_percent: f64,
    pub idle_percent: f64,
}

#[derive(Default, Serialize)]
pub(super) struct Distribution {
    pub distribution: String,
    pub version: String,
    pub codename: String,
    #[serde(skip)]
    pub pretty: String,
}

#[derive(Default)]
pub(super) struct Memory {
    pub total: u64,
    pub free: u64,
    pub swap_total: u64,
    pub swap_free: u64,
}

pub(super) fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

pub(super) fn memory() -> Memory {
    let text = read("/proc/meminfo");
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        number.unwrap_or(0) * 1024
    };
    Memory {
        total: field("MemTotal:"),
        free: field("MemFree:"),
        swap_total: field("SwapTotal:"),
        swap_free: field("SwapFree:"),
    }
}

/// Since boot, in percent with two decimals.
pub(super) fn cpu_utilization() -> CpuUtilization {
    let text = read("/proc/stat");
    let numbers: Vec<f64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|n| n.parse().ok())
        .collect();
    let [user, nice, system, idle, ..] = numbers[..] else { return CpuUtilization::default() };
    let all = user + nice + system + idle;
    let percent = |part: f64| if all > 0.0 { (part * 10_000.0 / all).round() / 100.0 } else { 0.0 };
    CpuUtilization {
        user_percent: percent(user),
        system_percent: percent(system),
        idle_percent: percent(idle),
    }
}

pub(super) fn distribution() -> Distribution {
    let text = ["/etc/os-release", "/usr/lib/os-release"]
        .into_iter()
        .map(read)
        .find(|t| !t.is_empty())
        .unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"').to_owned()
    };
    Distribution {
        distribution: field("ID"),
        version: field("VERSION_ID"),
        codename: field("VERSION_CODENAME"),
        pretty: field("PRETTY_NAME"),
    }
}

pub(super) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

pub(super) fn uptime() -> String {
    let text = read("/proc/uptime");
    let seconds: f64 = text.split_whitespace().next().and_then(|s| s.parse().ok()).unwrap_or(0.0);
    let whole = seconds as u64;
    let (days, hours) = (whole / 86_400, whole / 3600);
    let text = format!("{hours}h {}m {:.2}s", whole / 60 % 60, (whole % 60) as f64);
    if days > 0 { format!("{text} (Approximately {:.2} days)", seconds / 86_400.0) } else { text }
}

/// The names docker and podman give file systems.
pub(super) fn backing_file_system(path: &Path) -> String {
    let magic = rustix::fs::statfs(path).map_or(0, |s| s.f_type as u64);
    let name = match magic {
        0xEF53 => "extfs",
        0x5846_5342 => "xfs",
        0x9123_683E => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794C_7630 => "overlayfs",
        0x2FC1_2FC1 => "zfs",
        0xF2F5_2010 => "f2fs",
        0x6969 => "nfs",
        _ => return format!("{magic:#x}"),
    };
    name.to_owned()
}
