//! Limits: memory, CPU, processes, block I/O. Shared by run, create, clone and update.

use super::values::{signed_size, size};
use crate::engine::spec::{BlkioDevice, Resources};
use crate::engine::{Error, Result};
use clap::Args;

/// cgroup limits.
#[derive(Args, Clone, Debug, Default, PartialEq)]
#[command(next_help_heading = "Resources")]
pub struct ResourceArgs {
    /// Memory limit
    #[arg(short, long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory: Option<String>,
    /// Memory the kernel tries to leave to the container under pressure
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory_reservation: Option<String>,
    /// Limit of memory plus swap; -1: unlimited swap
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub memory_swap: Option<String>,
    /// Willingness to swap, 0 to 100; -1: the host's
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true)]
    pub memory_swappiness: Option<i64>,
    /// Kernel memory limit (kernels have none any more: without effect)
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub kernel_memory: Option<String>,
    /// Number of CPUs, with fractions
    #[arg(long, value_name = "NUMBER")]
    pub cpus: Option<String>,
    /// Relative weight of CPU time
    #[arg(short, long, value_name = "WEIGHT")]
    pub cpu_shares: Option<u64>,
    /// CPU time in a period, microseconds; -1: unlimited
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true)]
    pub cpu_quota: Option<i64>,
    /// Length of a CPU period, microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    pub cpu_period: Option<u64>,
    /// Real-time CPU time in a period, microseconds
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true)]
    pub cpu_rt_runtime: Option<i64>,
    /// Length of a real-time period, microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    pub cpu_rt_period: Option<u64>,
    /// CPUs that may be used (0-3, 0,1)
    #[arg(long, value_name = "LIST")]
    pub cpuset_cpus: Option<String>,
    /// Memory nodes that may be used (0-3, 0,1)
    #[arg(long, value_name = "LIST")]
    pub cpuset_mems: Option<String>,
    /// Most processes; -1 or 0: unlimited
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub pids_limit: Option<i64>,
    /// Relative weight of block I/O, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    pub blkio_weight: Option<u16>,
    /// Relative weight on one device (may be repeated)
    #[arg(long, value_name = "DEVICE:WEIGHT")]
    pub blkio_weight_device: Vec<String>,
    /// Limit of the read rate, bytes a second (may be repeated)
    #[arg(long, value_name = "DEVICE:RATE")]
    pub device_read_bps: Vec<String>,
    /// Limit of the write rate, bytes a second (may be repeated)
    #[arg(long, value_name = "DEVICE:RATE")]
    pub device_write_bps: Vec<String>,
    /// Limit of the read rate, operations a second (may be repeated)
    #[arg(long, value_name = "DEVICE:RATE")]
    pub device_read_iops: Vec<String>,
    /// Limit of the write rate, operations a second (may be repeated)
    #[arg(long, value_name = "DEVICE:RATE")]
    pub device_write_iops: Vec<String>,
}

/// Limits only a new container takes.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Resources")]
pub struct CreateResourceArgs {
    /// Do not kill processes when memory runs out; they wait
    #[arg(long)]
    pub oom_kill_disable: bool,
    /// How likely the kernel kills the process when memory runs out, -1000 to 1000
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub oom_score_adj: Option<i32>,
    /// cgroup v2 file and what is written into it (may be repeated)
    #[arg(long, value_name = "FILE=VALUE")]
    pub cgroup_conf: Vec<String>,
    /// Windows only (refused)
    #[arg(long, value_name = "NUMBER")]
    pub cpu_count: Option<i64>,
    /// Windows only (refused)
    #[arg(long, value_name = "PERCENT")]
    pub cpu_percent: Option<i64>,
    /// Windows only (refused)
    #[arg(long, value_name = "SIZE")]
    pub io_maxbandwidth: Option<String>,
    /// Windows only (refused)
    #[arg(long, value_name = "NUMBER")]
    pub io_maxiops: Option<u64>,
    /// Resource Director Technology class
    #[arg(long, value_name = "NAME")]
    pub rdt_class: Option<String>,
}

/// docker's bound (daemon/daemon_unix.go, `linuxMinMemory`): with less the OCI runtime itself does not get far.
const LEAST_MEMORY: i64 = 6 << 20;

impl ResourceArgs {
    /// Puts what was given into `resources`, leaving the rest.
    ///
    /// # Errors
    /// A value is malformed, out of range, or contradicts another.
    pub fn apply(&self, resources: &mut Resources) -> Result<()> {
        self.memory(resources)?;
        self.cpu(resources)?;
        if let Some(limit) = self.pids_limit {
            if limit < -1 {
                return Err(
                    Error::invalid(format!("invalid --pids-limit {limit}")).with_hint("-1 means unlimited")
                );
            }
            resources.pids_limit = Some(if limit == 0 { -1 } else { limit });
        }
        if let Some(weight) = self.blkio_weight.filter(|w| *w != 0) {
            resources.blkio_weight = Some(in_weight_range("--blkio-weight", weight.into())?);
        }
        for text in &self.blkio_weight_device {
            let device = device("--blkio-weight-device", text, |rate| rate.parse().ok())?;
            in_weight_range("--blkio-weight-device", device.value)?;
            resources.blkio_weight_devices.push(device);
        }
        let bytes = |rate: &str| size("", rate).ok();
        let count = |rate: &str| rate.parse().ok();
        for (flag, texts, list, parse) in [
            (
                "--device-read-bps",
                &self.device_read_bps,
                &mut resources.device_read_bps,
                &bytes as &dyn Fn(&str) -> _,
            ),
            ("--device-write-bps", &self.device_write_bps, &mut resources.device_write_bps, &bytes),
            ("--device-read-iops", &self.device_read_iops, &mut resources.device_read_iops, &count),
            ("--device-write-iops", &self.device_write_iops, &mut resources.device_write_iops, &count),
        ] {
            for text in texts {
                list.push(device(flag, text, parse)?);
            }
        }
        Ok(())
    }

    /// The same for a container that has limits: whatever of them the new ones contradict goes.
    ///
    /// # Errors
    /// As [`ResourceArgs::apply`].
    pub fn replace(&self, resources: &mut Resources) -> Result<()> {
        for (given, list) in [
            (&self.blkio_weight_device, &mut resources.blkio_weight_devices),
            (&self.device_read_bps, &mut resources.device_read_bps),
            (&self.device_write_bps, &mut resources.device_write_bps),
            (&self.device_read_iops, &mut resources.device_read_iops),
            (&self.device_write_iops, &mut resources.device_write_iops),
        ] {
            if !given.is_empty() {
                list.clear();
            }
        }
        if self.cpus.is_some() {
            (resources.cpu_quota, resources.cpu_period) = (None, None);
        } else if self.cpu_quota.is_some() || self.cpu_period.is_some() {
            resources.nano_cpus = None;
        }
        self.apply(resources)
    }

    fn memory(&self, resources: &mut Resources) -> Result<()> {
        // Docker's "0": no limit.
        let limit = |flag: &str, text: &str| signed_size(flag, text).map(|n| Some(n).filter(|n| *n != 0));
        if let Some(text) = &self.memory {
            resources.memory = limit("--memory", text)?;
            if resources.memory.is_some_and(|bytes| (1..LEAST_MEMORY).contains(&bytes)) {
                return Err(Error::invalid(format!(
                    "invalid --memory {text:?}: minimum memory limit allowed is 6MB"
                )));
            }
        }
        if let Some(text) = &self.memory_reservation {
            resources.memory_reservation = limit("--memory-reservation", text)?;
        }
        if let Some(text) = &self.kernel_memory {
            limit("--kernel-memory", text)?;
            tracing::warn!(
                "--kernel-memory has no effect: kernels do not limit their own memory apart any more"
            );
        }
        match self.memory_swap.as_deref() {
            Some("-1") => resources.memory_swap = Some(-1),
            Some(text) => resources.memory_swap = limit("--memory-swap", text)?,
            None => {}
        }
        if let Some(swap) = resources.memory_swap.filter(|s| *s > 0) {
            match resources.memory {
                None => {
                    return Err(Error::invalid(
                        "--memory-swap is the sum of memory and swap and needs --memory",
                    ));
                }
                Some(memory) if swap < memory => {
                    return Err(Error::invalid(format!(
                        "invalid --memory-swap {swap}: the sum of memory and swap is less than --memory {memory}"
                    )));
                }
                Some(_) => {}
            }
        }
        if let (Some(memory), Some(reserved)) = (resources.memory, resources.memory_reservation)
            && reserved > memory
        {
            return Err(Error::invalid(format!(
                "invalid --memory-reservation {reserved}: it is more than --memory {memory}"
            )));
        }
        if let Some(percent) = self.memory_swappiness.filter(|p| *p != -1) {
            let value = u64::try_from(percent).ok().filter(|p| *p <= 100);
            resources.memory_swappiness = Some(value.ok_or_else(|| {
                Error::invalid(format!("invalid --memory-swappiness {percent}")).with_hint("0 to 100, or -1")
            })?);
        }
        Ok(())
    }

    fn cpu(&self, resources: &mut Resources) -> Result<()> {
        if let Some(text) = &self.cpus {
            let nano = nano_cpus(text)?;
            if nano > 0 && (self.cpu_quota.is_some_and(|q| q > 0) || self.cpu_period.is_some_and(|p| p > 0)) {
                return Err(Error::invalid(
                    "--cpus cannot be set together with --cpu-quota and --cpu-period",
                ));
            }
            resources.nano_cpus = Some(nano).filter(|n| *n > 0);
        }
        if let Some(quota) = self.cpu_quota.filter(|q| *q > 0 && *q < 1000) {
            return Err(Error::invalid(format!("invalid --cpu-quota {quota}: at least 1000 microseconds")));
        }
        if let Some(period) = self.cpu_period.filter(|p| *p != 0 && !(1000..=1_000_000).contains(p)) {
            return Err(Error::invalid(format!(
                "invalid --cpu-period {period}: 1000 to 1000000 microseconds"
            )));
        }
        for (flag, list) in [("--cpuset-cpus", &self.cpuset_cpus), ("--cpuset-mems", &self.cpuset_mems)] {
            if let Some(list) = list {
                check_cpuset(flag, list)?;
            }
        }
        fn set<T: Clone>(field: &mut Option<T>, given: &Option<T>) {
            if given.is_some() {
                field.clone_from(given);
            }
        }
        set(&mut resources.cpu_shares, &self.cpu_shares);
        set(&mut resources.cpu_quota, &self.cpu_quota);
        set(&mut resources.cpu_period, &self.cpu_period);
        set(&mut resources.cpu_rt_runtime, &self.cpu_rt_runtime);
        set(&mut resources.cpu_rt_period, &self.cpu_rt_period);
        if let Some(list) = &self.cpuset_cpus {
            resources.cpuset_cpus.clone_from(list);
        }
        if let Some(list) = &self.cpuset_mems {
            resources.cpuset_mems.clone_from(list);
        }
        Ok(())
    }
}

impl CreateResourceArgs {
    pub(super) fn apply(&self, resources: &mut Resources) -> Result<()> {
        resources.oom_kill_disable = self.oom_kill_disable;
        if let Some(score) = self.oom_score_adj {
            if !(-1000..=1000).contains(&score) {
                return Err(Error::invalid(format!("invalid --oom-score-adj {score}: -1000 to 1000")));
            }
            resources.oom_score_adj = Some(score);
        }
        for entry in &self.cgroup_conf {
            let (name, value) = super::values::key_value("--cgroup-conf", entry)?;
            if name.contains('/') {
                return Err(Error::invalid(format!(
                    "invalid --cgroup-conf {entry:?}: a file name is expected"
                )));
            }
            resources.unified.insert(name, value);
        }
        let windows = [
            ("--cpu-count", self.cpu_count.is_some_and(|n| n != 0)),
            ("--cpu-percent", self.cpu_percent.is_some_and(|n| n != 0)),
            ("--io-maxbandwidth", self.io_maxbandwidth.as_deref().is_some_and(|s| s != "0")),
            ("--io-maxiops", self.io_maxiops.is_some_and(|n| n != 0)),
        ];
        if let Some((flag, _)) = windows.iter().find(|(_, given)| *given) {
            return Err(Error::unsupported(format!("{flag} exists for Windows containers only")));
        }
        Ok(())
    }
}

fn in_weight_range(flag: &str, weight: u64) -> Result<u16> {
    u16::try_from(weight)
        .ok()
        .filter(|w| (10..=1000).contains(w))
        .ok_or_else(|| Error::invalid(format!("invalid {flag} {weight}: 10 to 1000")))
}

/// Billionths of a CPU, exactly.
fn nano_cpus(text: &str) -> Result<u64> {
    let bad = || Error::invalid(format!("invalid --cpus {text:?}")).with_hint("a number such as 2 or 0.5");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if text == "." || text.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return Err(bad());
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| bad())? };
    let fraction: u64 = format!("{fraction:0<9}").parse().map_err(|_| bad())?;
    whole
        .checked_mul(1_000_000_000)
        .and_then(|n| n.checked_add(fraction))
        .filter(|n| *n < 1 << 60)
        .ok_or_else(bad)
}

fn check_cpuset(flag: &str, list: &str) -> Result<()> {
    let number = |s: &str| s.parse::<u32>().ok();
    let valid = list.split(',').all(|part| match part.split_once('-') {
        Some((from, to)) => number(from).zip(number(to)).is_some_and(|(from, to)| from <= to),
        None => number(part).is_some(),
    });
    if valid || list.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!("invalid {flag} {list:?}")).with_hint("numbers and ranges such as 0-3,7"))
}

fn device(flag: &str, text: &str, parse: impl Fn(&str) -> Option<u64>) -> Result<BlkioDevice> {
    let bad = || {
        Error::invalid(format!("invalid {flag} {text:?}")).with_hint("DEVICE:NUMBER, for example /dev/sda:1m")
    };
    let (path, rate) = text.rsplit_once(':').ok_or_else(bad)?;
    if !path.starts_with("/dev/") {
        return Err(bad());
    }
    Ok(BlkioDevice { path: path.to_owned(), value: parse(rate).ok_or_else(bad)? })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn of(args: ResourceArgs) -> Result<Resources> {
        let mut resources = Resources::default();
        args.apply(&mut resources).map(|()| resources)
    }

    fn text(s: &str) -> Option<String> {
        Some(s.to_owned())
    }

    #[test]
    fn new_limits_replace_what_they_contradict() {
        let had = ResourceArgs {
            cpus: text("2"),
            memory: text("100m"),
            memory_swap: text("200m"),
            device_read_bps: vec!["/dev/sda:1m".to_owned()],
            ..ResourceArgs::default()
        };
        let mut resources = of(had).unwrap();
        let period = ResourceArgs { cpu_quota: Some(5000), ..ResourceArgs::default() };
        period.replace(&mut resources).unwrap();
        assert_eq!((resources.nano_cpus, resources.cpu_quota), (None, Some(5000)));
        let more = ResourceArgs { memory: text("300m"), ..ResourceArgs::default() };
        assert!(more.replace(&mut resources.clone()).is_err(), "more than memory and swap together");
        let rest = ResourceArgs {
            cpus: text("0.5"),
            device_read_bps: vec!["/dev/sdb:2m".to_owned()],
            ..ResourceArgs::default()
        };
        rest.replace(&mut resources).unwrap();
        assert_eq!((resources.nano_cpus, resources.cpu_quota), (Some(500_000_000), None));
        assert_eq!(resources.device_read_bps.len(), 1);
    }

    #[test]
    fn memory_and_swap() {
        let swap = |memory: Option<&str>, swap: &str| {
            of(ResourceArgs {
                memory: memory.map(str::to_owned),
                memory_swap: text(swap),
                ..ResourceArgs::default()
            })
            .map(|r| (r.memory, r.memory_swap))
        };
        assert_eq!(swap(Some("1g"), "-1").unwrap(), (Some(1 << 30), Some(-1)));
        assert_eq!(swap(Some("1g"), "2g").unwrap(), (Some(1 << 30), Some(2 << 30)));
        assert_eq!(swap(Some("0"), "0").unwrap(), (None, None));
        assert_eq!(swap(None, "-1").unwrap(), (None, Some(-1)));
        for (memory, bad) in [(None, "1g"), (Some("2g"), "1g"), (Some("1g"), "-2"), (Some("1g"), "x")] {
            assert!(swap(memory, bad).is_err(), "{bad}");
        }
        let bad =
            ResourceArgs { memory_reservation: text("2g"), memory: text("1g"), ..ResourceArgs::default() };
        assert!(of(bad).is_err());
    }

    #[test]
    fn cpus_are_exact() {
        assert_eq!(nano_cpus("1.5").unwrap(), 1_500_000_000);
        assert_eq!(nano_cpus(".1").unwrap(), 100_000_000);
        assert_eq!(nano_cpus("2").unwrap(), 2_000_000_000);
        for bad in ["", ".", "-1", "1e3", "x", "1.0000000001", "99999999999"] {
            assert!(nano_cpus(bad).is_err(), "{bad}");
        }
        let both = ResourceArgs { cpus: text("1"), cpu_quota: Some(5000), ..ResourceArgs::default() };
        assert!(of(both).is_err());
    }

    #[test]
    fn lists_and_devices() {
        for good in ["", "0", "0-3", "0,2-3"] {
            assert!(check_cpuset("--cpuset-cpus", good).is_ok(), "{good}");
        }
        for bad in ["a", "3-0", "1-", "0,,1", "-1"] {
            assert!(check_cpuset("--cpuset-cpus", bad).is_err(), "{bad}");
        }
        let args = ResourceArgs {
            device_read_bps: vec!["/dev/sda:1mb".into()],
            device_write_iops: vec!["/dev/sda:5".into()],
            blkio_weight_device: vec!["/dev/sda:500".into()],
            pids_limit: Some(0),
            ..ResourceArgs::default()
        };
        let got = of(args).unwrap();
        assert_eq!(got.device_read_bps[0].value, 1 << 20);
        assert_eq!((got.device_write_iops[0].value, got.blkio_weight_devices[0].value), (5, 500));
        assert_eq!(got.pids_limit, Some(-1));
        for bad in ["sda:1", "/dev/sda", "/dev/sda:x", "/dev/sda:-1"] {
            let args = ResourceArgs { device_read_bps: vec![bad.into()], ..ResourceArgs::default() };
            assert!(of(args).is_err(), "{bad}");
        }
        let args = ResourceArgs { blkio_weight: Some(5), ..ResourceArgs::default() };
        assert!(of(args).is_err());
    }
}
