//! What a reboot does to a [`Sandbox`].

use std::fs;
use std::path::Path;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{Sandbox, leaks};

impl Sandbox {
    /// Takes what a reboot takes: processes, namespaces, mounts, cgroups, the run root. Leaves what it leaves: the graph root,
    /// with another boot's ID in its records and PIDs that are somebody else's now. Host and interfaces are
    /// [`Sandbox::move_to`]'s affair.
    pub fn reboot(&self) {
        let mut left = leaks::everybody(self);
        while !left.is_empty() {
            for pid in &left {
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            left = leaks::everybody(self);
        }
        for path in leaks::all_mounts(self).iter().rev() {
            let _ = umount2(Path::new(path), MntFlags::MNT_DETACH);
        }
        for records in
            [self.graph_root().join("coracle/containers"), self.run_root().join("coracle/ephemeral")]
        {
            for entry in fs::read_dir(records).into_iter().flatten().flatten() {
                age(&entry.path().join("state.json"));
            }
        }
        fs::remove_dir_all(self.run_root()).unwrap();
        self.mkdir("run");
    }
}

fn age(record: &Path) {
    let Ok(text) = fs::read(record) else { return };
    let mut state: Value = serde_json::from_slice(&text).unwrap();
    remove_cgroup(state["cgroup_path"].as_str().unwrap_or_default().trim_start_matches('/'));
    state["boot_id"] = "00000000-0000-0000-0000-000000000000".into();
    for field in ["pid", "conmon_pid"] {
        if state[field].as_i64().is_some_and(|pid| pid > 0) {
            state[field] = std::process::id().into();
        }
    }
    fs::write(record, serde_json::to_vec(&state).unwrap()).unwrap();
}

fn remove_cgroup(path: &str) {
    if path.is_empty() {
        return;
    }
    let root = Path::new("/sys/fs/cgroup");
    for hierarchy in fs::read_dir(root).into_iter().flatten().flatten() {
        let _ = fs::remove_dir(hierarchy.path().join(path));
    }
    let _ = fs::remove_dir(root.join(path));
}
