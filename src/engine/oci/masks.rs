//! Paths of /proc and /sys that are hidden or read-only in a container (podman's lists).

use crate::engine::spec::{ContainerSpec, HostFacts, NamespaceMode, glob};

const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/dev/block",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];

const READ_ONLY: [&str; 6] =
    ["/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// `maskedPaths` and `readonlyPaths`. Privileged containers keep only what the user masks.
pub(super) fn paths(
    spec: &ContainerSpec,
    host: &HostFacts,
    sys_is_bound: bool,
) -> (Vec<String>, Vec<String>) {
    let security = &spec.security;
    let (mut masked, mut read_only) = (Vec::new(), Vec::new());
    if !security.privileged {
        let keep = |path: &&&str| !unmasked(path, &security.unmask);
        masked.extend(MASKED.iter().filter(keep).map(|p| (*p).to_owned()));
        // The host's own /proc cannot be made read-only from inside a user namespace.
        if !(host.rootless && spec.namespaces.pid == NamespaceMode::Host) {
            read_only.extend(READ_ONLY.iter().filter(keep).map(|p| (*p).to_owned()));
        }
        if sys_is_bound && host.rootless && keep(&&"/sys/kernel") {
            masked.push("/sys/kernel".to_owned());
        }
    }
    for path in security.mask.iter().flat_map(|m| m.split(':')).filter(|p| p.starts_with('/')) {
        if !masked.iter().any(|m| m == path) {
            masked.push(path.to_owned());
        }
    }
    (masked, read_only)
}

/// Whether `--security-opt unmask=` names `path`: `ALL`, or a colon-separated list of shell patterns.
pub(super) fn unmasked(path: &str, unmask: &[String]) -> bool {
    unmask
        .iter()
        .flat_map(|u| u.split(':'))
        .any(|pattern| pattern.eq_ignore_ascii_case("all") || glob(pattern.trim_end_matches('/'), path))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn with_unmask(list: &[&str]) -> (Vec<String>, Vec<String>) {
        let mut spec = ContainerSpec::default();
        spec.security.unmask = list.iter().map(|s| (*s).to_owned()).collect();
        paths(&spec, &HostFacts::default(), false)
    }

    #[test]
    fn unmasking_by_all_by_name_and_by_pattern() {
        assert_eq!(with_unmask(&[]).0.len(), MASKED.len());
        assert_eq!(with_unmask(&["ALL"]), (vec![], vec![]));
        assert_eq!(with_unmask(&["/proc/*"]).1, Vec::<String>::new());
        assert!(with_unmask(&["/proc/*"]).0.iter().all(|p| p.starts_with("/sys")));
        let (masked, _) = with_unmask(&["/proc/kcore:/sys/firmware/"]);
        assert!(!masked.contains(&"/proc/kcore".to_owned()) && !masked.contains(&"/sys/firmware".to_owned()));
        assert!(masked.contains(&"/proc/keys".to_owned()));
        assert!(!glob("/proc/*", "/proc/a/b") && glob("/proc/*/b", "/proc/a/b") && glob("/pr?c", "/proc"));
    }

    #[test]
    fn privileged_keeps_what_the_user_masks() {
        let mut spec = ContainerSpec::default();
        spec.security.privileged = true;
        spec.security.mask = vec!["/a:/b".into(), "relative".into()];
        assert_eq!(paths(&spec, &HostFacts::default(), false), (vec!["/a".into(), "/b".into()], vec![]));
    }
}
