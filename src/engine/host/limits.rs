//! Which resource limits this process may set for a container (getrlimit(2), capabilities(7)).

use crate::engine::spec::LimitFacts;
use nix::sys::resource::{Resource, getrlimit};
use std::fs;

const RESOURCES: [(&str, Resource); 16] = [
    ("as", Resource::RLIMIT_AS),
    ("core", Resource::RLIMIT_CORE),
    ("cpu", Resource::RLIMIT_CPU),
    ("data", Resource::RLIMIT_DATA),
    ("fsize", Resource::RLIMIT_FSIZE),
    ("locks", Resource::RLIMIT_LOCKS),
    ("memlock", Resource::RLIMIT_MEMLOCK),
    ("msgqueue", Resource::RLIMIT_MSGQUEUE),
    ("nice", Resource::RLIMIT_NICE),
    ("nofile", Resource::RLIMIT_NOFILE),
    ("nproc", Resource::RLIMIT_NPROC),
    ("rss", Resource::RLIMIT_RSS),
    ("rtprio", Resource::RLIMIT_RTPRIO),
    ("rttime", Resource::RLIMIT_RTTIME),
    ("sigpending", Resource::RLIMIT_SIGPENDING),
    ("stack", Resource::RLIMIT_STACK),
];

/// This process's limits. `first_namespace_root`: CAP_SYS_RESOURCE, if we have it, is the host's own.
pub fn facts(effective_capabilities: u64, first_namespace_root: bool) -> LimitFacts {
    const SYS_RESOURCE: u32 = 24;
    let unlimited = |n: libc::rlim_t| if n == libc::RLIM_INFINITY { u64::MAX } else { n };
    let current = RESOURCES
        .iter()
        .filter_map(|(name, resource)| {
            let (soft, hard) = getrlimit(*resource).ok()?;
            Some(((*name).to_owned(), (unlimited(soft), unlimited(hard))))
        })
        .collect();
    let nr_open = fs::read_to_string("/proc/sys/fs/nr_open").ok().and_then(|t| t.trim().parse().ok());
    LimitFacts {
        current,
        may_raise: first_namespace_root && effective_capabilities >> SYS_RESOURCE & 1 == 1,
        nr_open: nr_open.unwrap_or(0),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_read() {
        let facts = facts(0, true);
        assert_eq!(facts.current.len(), RESOURCES.len());
        assert!(!facts.may_raise && facts.nr_open > 0);
    }
}
