//! Resource limits and devices, in the units of the OCI runtime spec.

use super::bytes;
use crate::engine::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// cgroup limits; `None`: unlimited, or the parent's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// `--memory`, bytes.
    pub memory: Option<i64>,
    /// `--memory-reservation`, bytes.
    pub memory_reservation: Option<i64>,
    /// `--memory-swap`: memory plus swap, bytes; -1: unlimited.
    pub memory_swap: Option<i64>,
    /// `--memory-swappiness`, 0 to 100.
    pub memory_swappiness: Option<u64>,
    /// `--oom-kill-disable`.
    pub oom_kill_disable: bool,
    /// `--oom-score-adj`, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// `--cpus` in billionths of a CPU (docker's NanoCpus).
    pub nano_cpus: Option<u64>,
    /// `--cpu-shares`.
    pub cpu_shares: Option<u64>,
    /// `--cpu-quota`, microseconds a period; -1: unlimited.
    pub cpu_quota: Option<i64>,
    /// `--cpu-period`, microseconds.
    pub cpu_period: Option<u64>,
    /// `--cpu-rt-runtime`, microseconds.
    pub cpu_rt_runtime: Option<i64>,
    /// `--cpu-rt-period`, microseconds.
    pub cpu_rt_period: Option<u64>,
    /// `--cpuset-cpus`.
    pub cpuset_cpus: String,
    /// `--cpuset-mems`.
    pub cpuset_mems: String,
    /// `--pids-limit`; 0 or -1: unlimited.
    pub pids_limit: Option<i64>,
    /// `--blkio-weight`, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// `--blkio-weight-device`.
    pub blkio_weight_devices: Vec<BlkioDevice>,
    /// `--device-read-bps`, bytes a second.
    pub device_read_bps: Vec<BlkioDevice>,
    /// `--device-write-bps`, bytes a second.
    pub device_write_bps: Vec<BlkioDevice>,
    /// `--device-read-iops`.
    pub device_read_iops: Vec<BlkioDevice>,
    /// `--device-write-iops`.
    pub device_write_iops: Vec<BlkioDevice>,
    /// `--cgroup-conf`: cgroup v2 files and what to write into them.
    pub unified: BTreeMap<String, String>,
}

/// `--storage-opt` of a container: bytes and files that may be written into its layer; 0: as many as there is room for.
///
/// # Errors
/// Another option than `size` and `inodes`, or no number.
pub fn layer_limits(options: &BTreeMap<String, String>) -> Result<(u64, u64)> {
    let (mut size, mut inodes) = (0, 0);
    for (key, value) in options {
        let bad = || Error::invalid(format!("--storage-opt {key}={value}: not a number"));
        match key.to_ascii_lowercase().as_str() {
            "size" => size = bytes(value).ok_or_else(bad)?,
            "inodes" => inodes = value.parse().map_err(|_| bad())?,
            _ => {
                return Err(Error::invalid(format!("--storage-opt: unknown option {key}"))
                    .with_hint("size=10G, inodes=100000"));
            }
        }
    }
    Ok((size, inodes))
}

/// A limit on one block device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlkioDevice {
    /// Host path of the device.
    pub path: String,
    /// The limit or weight.
    pub value: u64,
}

/// One `--ulimit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Lower case without `RLIMIT_`: `nofile`.
    pub name: String,
    /// Soft limit; `u64::MAX`: unlimited.
    pub soft: u64,
    /// Hard limit; `u64::MAX`: unlimited.
    pub hard: u64,
}

/// One `--device`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSpec {
    /// Path on the host, or a CDI name (`vendor.com/class=name`).
    pub source: String,
    /// Path inside.
    pub target: String,
    /// A subset of `rwm`.
    pub permissions: String,
}
