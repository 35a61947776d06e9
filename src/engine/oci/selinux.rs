//! SELinux labels: none are derived yet. Where the host has no SELinux, asking for one means nothing, as with docker and
//! podman; where it has, what was asked for is not ignored in silence.

use crate::engine::spec::{ContainerSpec, HostFacts};
use crate::engine::{Error, Result};
use tracing::warn;

/// # Errors
/// `--security-opt label=` names a label, and the host has SELinux.
pub(super) fn check(spec: &ContainerSpec, host: &HostFacts) -> Result<()> {
    if !host.selinux {
        return Ok(());
    }
    if let Some(label) = spec.security.label.iter().find(|label| *label != "disable") {
        return Err(Error::unsupported(format!(
            "--security-opt label={label}: SELinux labels are not set yet"
        ))
        .with_hint("label=disable says that the container has none"));
    }
    if spec.mounts.iter().any(|mount| mount.bind.relabel.is_some()) {
        warn!("SELinux labels are not set yet: the files of mounts with z or Z keep theirs");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_matter_only_with_selinux() {
        for (selinux, label, accepted) in [
            (false, "", true),
            (false, "disable", true),
            (false, "type:spc_t", true),
            (true, "", true),
            (true, "disable", true),
            (true, "type:spc_t", false),
            (true, "level:s0:c1,c2", false),
        ] {
            let host = HostFacts { selinux, ..HostFacts::default() };
            let mut spec = ContainerSpec::default();
            spec.security.label = [label].iter().filter(|l| !l.is_empty()).map(|l| (*l).to_owned()).collect();
            assert_eq!(check(&spec, &host).is_ok(), accepted, "SELinux: {selinux}, {label:?}");
        }
    }
}
