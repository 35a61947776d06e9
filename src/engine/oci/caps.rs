//! Capabilities: names, sets, podman's merge rules (capabilities(7)).

use crate::engine::spec::{ContainerSpec, Defaults, User};
use crate::engine::{Error, Result};
use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities};
use std::str::FromStr;

/// Every capability, its position being its number (linux/capability.h).
pub const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

const ALL: &str = "ALL";

/// A set of capabilities; bit N is capability N.
pub type Set = u64;

/// `net_admin`, `CAP_NET_ADMIN` → `CAP_NET_ADMIN`; `all` → `ALL`.
///
/// # Errors
/// The kernel headers know no such capability.
pub fn normalize(name: &str) -> Result<String> {
    let upper = name.trim().to_ascii_uppercase();
    if upper == ALL {
        return Ok(upper);
    }
    let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if NAMES.contains(&bare) {
        return Ok(format!("CAP_{bare}"));
    }
    Err(Error::invalid(format!("unknown capability {name:?}"))
        .with_hint("capabilities(7) lists the names; CAP_ may be left out"))
}

fn set_of<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<(Set, bool)> {
    let (mut set, mut all) = (0, false);
    for name in names {
        let name = normalize(name)?;
        match NAMES.iter().position(|n| Some(*n) == name.strip_prefix("CAP_")) {
            Some(bit) => set |= 1 << bit,
            None => all = true,
        }
    }
    Ok((set, all))
}

/// The container's bounding set: `base` with `add` and without `drop`, never more than the host's `bounding` set.
/// Drop ALL leaves exactly what is added.
///
/// # Errors
/// An unknown name, or one that is both added and dropped.
pub fn merge(base: &[String], add: &[String], drop: &[String], bounding: Set) -> Result<Set> {
    let (base, _) = set_of(base)?;
    let (add, add_all) = set_of(add)?;
    let (drop, drop_all) = set_of(drop)?;
    if add_all && drop_all {
        return Err(Error::invalid(
            "adding all capabilities and dropping all capabilities contradict each other",
        ));
    }
    if add & drop != 0 {
        let both = names(add & drop).join(", ");
        return Err(Error::invalid(format!("capability {both} cannot be dropped and added")));
    }
    let set = match (drop_all, add_all) {
        (true, _) => add,
        (_, true) => bounding & !drop,
        _ => (base & !drop) | add,
    };
    Ok(set & bounding)
}

/// The names in a set, with `CAP_`, in kernel order.
pub fn names(set: Set) -> Vec<String> {
    NAMES.iter().enumerate().filter(|(bit, _)| set >> bit & 1 == 1).map(|(_, n)| format!("CAP_{n}")).collect()
}

/// The bounding set `spec` gives its container on a host with `bounding`.
///
/// # Errors
/// See [`merge`].
pub fn bounding(spec: &ContainerSpec, bounding: Set) -> Result<Set> {
    let security = &spec.security;
    if security.privileged {
        return Ok(bounding);
    }
    let built_in;
    let base = match &security.base_capabilities {
        Some(base) => base,
        None => {
            built_in = Defaults::default().capabilities;
            &built_in
        }
    };
    merge(base, &security.cap_add, &security.cap_drop, bounding)
}

/// All five sets of a process run by `user`.
///
/// Root's are the bounding set; another user gets what `--cap-add` names (with `--privileged`: nothing more than
/// that, as podman), ambient so that it survives execve. The inheritable set is empty but for those ambient ones,
/// without which the kernel refuses them; a set inherited by root's children would let any file capability through.
///
/// # Errors
/// See [`merge`].
pub fn process(spec: &ContainerSpec, user: &User, host: Set) -> Result<LinuxCapabilities> {
    let bounding = bounding(spec, host)?;
    let (own, ambient) = if user.uid == 0 {
        (bounding, 0)
    } else {
        let (add, all) = set_of(&spec.security.cap_add)?;
        let own = if all { bounding } else { add & bounding };
        (own, own)
    };
    let mut sets = LinuxCapabilities::default();
    sets.set_bounding(Some(oci(bounding)))
        .set_effective(Some(oci(own)))
        .set_permitted(Some(oci(own)))
        .set_inheritable(Some(oci(ambient)))
        .set_ambient(Some(oci(ambient)));
    Ok(sets)
}

fn oci(set: Set) -> Capabilities {
    // strum's names are the bare ones.
    NAMES
        .iter()
        .enumerate()
        .filter(|(bit, _)| set >> bit & 1 == 1)
        .filter_map(|(_, name)| Capability::from_str(name).ok())
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    const HOST: Set = (1 << 41) - 1;

    fn strings(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    fn bit(name: &str) -> Set {
        1 << NAMES.iter().position(|n| *n == name).unwrap()
    }

    #[test]
    fn merging_follows_podman() {
        let base = strings(&["CAP_CHOWN", "CAP_KILL"]);
        let cases: &[(&[&str], &[&str], Set)] = &[
            (&[], &[], bit("CHOWN") | bit("KILL")),
            (&["net_admin"], &[], bit("CHOWN") | bit("KILL") | bit("NET_ADMIN")),
            (&[], &["CAP_kill"], bit("CHOWN")),
            (&["NET_RAW"], &["all"], bit("NET_RAW")),
            (&["ALL"], &["SYS_ADMIN"], HOST & !bit("SYS_ADMIN")),
            (&[], &["ALL"], 0),
        ];
        for (add, drop, want) in cases {
            assert_eq!(merge(&base, &strings(add), &strings(drop), HOST).unwrap(), *want, "{add:?} {drop:?}");
        }
        assert_eq!(merge(&base, &strings(&["BPF"]), &[], HOST & !bit("BPF")).unwrap() & bit("BPF"), 0);
        assert!(merge(&base, &strings(&["ALL"]), &strings(&["ALL"]), HOST).is_err());
        assert!(merge(&base, &strings(&["KILL"]), &strings(&["KILL"]), HOST).is_err());
        assert!(merge(&base, &strings(&["NOPE"]), &[], HOST).unwrap_err().to_string().contains("NOPE"));
    }

    #[test]
    fn every_name_has_its_oci_counterpart() {
        assert_eq!(oci(HOST).len(), NAMES.len());
    }

    #[test]
    fn nothing_is_inheritable_unless_a_user_was_given_capabilities() {
        let mut spec = ContainerSpec::default();
        let root = User::default();
        let user = User { uid: 7, ..User::default() };
        for privileged in [false, true] {
            spec.security.privileged = privileged;
            for who in [&root, &user] {
                let sets = process(&spec, who, HOST).unwrap();
                assert_eq!(sets.inheritable().as_ref().unwrap().len(), 0);
                assert_eq!(sets.ambient().as_ref().unwrap().len(), 0);
            }
            assert_eq!(process(&spec, &user, HOST).unwrap().effective().as_ref().unwrap().len(), 0);
        }
        spec.security.privileged = false;
        spec.security.cap_add = strings(&["NET_ADMIN"]);
        assert_eq!(process(&spec, &root, HOST).unwrap().inheritable().as_ref().unwrap().len(), 0);
        let sets = process(&spec, &user, HOST).unwrap();
        let want: Capabilities = [Capability::NetAdmin].into_iter().collect();
        assert_eq!(sets.ambient().as_ref(), Some(&want));
        assert_eq!(sets.effective().as_ref(), Some(&want));
        assert_eq!(sets.bounding().as_ref().unwrap().len(), 12);
    }
}
