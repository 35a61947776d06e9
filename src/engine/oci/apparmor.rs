//! Which AppArmor profile confines a container.

use crate::engine::spec::{AppArmor, ContainerSpec, DEFAULT_APPARMOR_PROFILE, Defaults, HostFacts};
use crate::engine::{Error, Result};

/// What podman calls its own default profile, with a version behind it, in a containers.conf: no name of a profile,
/// but another word for the default.
const PODMANS_DEFAULT: [&str; 2] = ["container-default", "containers-default"];

/// Settles the profile of a new container: what the user named, then containers.conf, then our own.
pub(super) fn complete(spec: &mut ContainerSpec, defaults: &Defaults, host: &HostFacts) {
    let security = &mut spec.security;
    if !security.apparmor.is_empty() || security.privileged || host.apparmor == AppArmor::Off {
        return;
    }
    let configured = defaults.apparmor_profile.as_str();
    if !configured.is_empty() && !PODMANS_DEFAULT.iter().any(|name| configured.starts_with(name)) {
        configured.clone_into(&mut security.apparmor);
    } else if host.apparmor == AppArmor::Default {
        DEFAULT_APPARMOR_PROFILE.clone_into(&mut security.apparmor);
    }
}

/// The profile for config.json; `None`: the runtime leaves that alone.
///
/// # Errors
/// One was asked for by name, and AppArmor is off.
pub fn profile<'a>(spec: &'a ContainerSpec, host: &HostFacts) -> Result<Option<&'a str>> {
    let profile = spec.security.apparmor.as_str();
    if host.apparmor != AppArmor::Off {
        return Ok(Some(profile).filter(|p| !p.is_empty()));
    }
    // A container that was given the default profile also runs on a kernel without.
    match profile {
        "" | "unconfined" | DEFAULT_APPARMOR_PROFILE => Ok(None),
        _ => Err(Error::unsupported(format!(
            "the AppArmor profile {profile:?} was asked for, but AppArmor is not enabled on this host"
        ))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn who_is_confined_by_what() {
        use AppArmor::{Default as On, Explicit, Off};
        let ours = DEFAULT_APPARMOR_PROFILE;
        // The host's means, --privileged, --security-opt, containers.conf; the profile, `!`: an error.
        let cases = [
            (On, false, "", "", ours),
            (On, false, "", "container-default", ours),
            (On, false, "", "containers-default-0.62.2", ours),
            (On, false, "", "site", "site"),
            (On, false, "mine", "site", "mine"),
            (On, false, "unconfined", "site", "unconfined"),
            (On, true, "", "site", ""),
            (On, true, "mine", "", "mine"),
            (Explicit, false, "", "", ""),
            (Explicit, false, "", "containers-default-0.62.2", ""),
            (Explicit, false, "mine", "", "mine"),
            (Off, false, "", "site", ""),
            (Off, false, "unconfined", "", ""),
            (Off, false, ours, "", ""),
            (Off, false, "mine", "", "!"),
        ];
        for (apparmor, privileged, asked, configured, want) in cases {
            let host = HostFacts { apparmor, ..HostFacts::default() };
            let defaults = Defaults { apparmor_profile: configured.to_owned(), ..Defaults::default() };
            let mut spec = ContainerSpec::default();
            spec.security.privileged = privileged;
            spec.security.apparmor = asked.to_owned();
            complete(&mut spec, &defaults, &host);
            let got = profile(&spec, &host).map_or("!", Option::unwrap_or_default);
            assert_eq!(got, want, "{apparmor:?} privileged={privileged} {asked:?} {configured:?}");
        }
    }
}
