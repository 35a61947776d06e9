//! Resource limits: what was asked for, held against what the kernel will grant (setrlimit(2)).

use super::built;
use crate::engine::spec::{LimitFacts, Rlimit};
use crate::engine::{Error, Result};
use oci_spec::runtime::{PosixRlimit, PosixRlimitBuilder, PosixRlimitType};

/// Every limit's name as `--ulimit` takes it (docker's list).
pub const NAMES: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// `--ulimit host`: no limit is set, the caller's stay.
pub const HOST: &str = "host";

/// The limits of config.json: `defaults` lowered to what this host grants, then `explicit`, which must fit.
///
/// # Errors
/// An unknown name, a soft limit above the hard one, or a hard limit above what this process may set.
pub fn effective(defaults: &[Rlimit], explicit: &[Rlimit], host: &LimitFacts) -> Result<Vec<PosixRlimit>> {
    let mut out: Vec<Rlimit> = Vec::new();
    if explicit.iter().any(|l| l.name == HOST) {
        return Ok(Vec::new());
    }
    for limit in defaults {
        let ceiling = ceiling(&limit.name, host);
        replace(
            &mut out,
            Rlimit { name: limit.name.clone(), soft: limit.soft.min(ceiling), hard: limit.hard.min(ceiling) },
        );
    }
    for limit in explicit {
        let ceiling = ceiling(&limit.name, host);
        if limit.soft > limit.hard {
            return Err(Error::invalid(format!(
                "invalid --ulimit {}: the soft limit {} exceeds the hard limit {}",
                limit.name,
                show(limit.soft),
                show(limit.hard)
            )));
        }
        if limit.hard > ceiling {
            return Err(Error::unsupported(format!(
                "--ulimit {}={} exceeds this host's hard limit of {}",
                limit.name,
                show(limit.hard),
                show(ceiling)
            ))
            .with_hint("ask for less, or raise the hard limit (limits.conf(5), LimitNOFILE= and its kin)"));
        }
        replace(&mut out, limit.clone());
    }
    out.iter().map(oci).collect()
}

/// The last one of a name wins.
fn replace(list: &mut Vec<Rlimit>, limit: Rlimit) {
    match list.iter_mut().find(|l| l.name == limit.name) {
        Some(old) => *old = limit,
        None => list.push(limit),
    }
}

/// The highest hard limit this process can give.
fn ceiling(name: &str, host: &LimitFacts) -> u64 {
    let hard = host.current.get(name).map_or(u64::MAX, |(_, hard)| *hard);
    match (host.may_raise, name) {
        (true, "nofile") if host.nr_open > 0 => host.nr_open,
        (true, _) => u64::MAX,
        (false, _) => hard,
    }
}

fn show(n: u64) -> String {
    if n == u64::MAX { "unlimited".to_owned() } else { n.to_string() }
}

fn oci(limit: &Rlimit) -> Result<PosixRlimit> {
    PosixRlimitBuilder::default()
        .typ(kind(&limit.name)?)
        .soft(limit.soft)
        .hard(limit.hard)
        .build()
        .map_err(built)
}

fn kind(name: &str) -> Result<PosixRlimitType> {
    use PosixRlimitType as T;
    Ok(match name {
        "as" => T::RlimitAs,
        "core" => T::RlimitCore,
        "cpu" => T::RlimitCpu,
        "data" => T::RlimitData,
        "fsize" => T::RlimitFsize,
        "locks" => T::RlimitLocks,
        "memlock" => T::RlimitMemlock,
        "msgqueue" => T::RlimitMsgqueue,
        "nice" => T::RlimitNice,
        "nofile" => T::RlimitNofile,
        "nproc" => T::RlimitNproc,
        "rss" => T::RlimitRss,
        "rtprio" => T::RlimitRtprio,
        "rttime" => T::RlimitRttime,
        "sigpending" => T::RlimitSigpending,
        "stack" => T::RlimitStack,
        _ => return Err(Error::invalid(format!("invalid --ulimit: unknown limit {name:?}"))),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn limit(name: &str, soft: u64, hard: u64) -> Rlimit {
        Rlimit { name: name.into(), soft, hard }
    }

    fn host(may_raise: bool) -> LimitFacts {
        LimitFacts { current: [("nofile".to_owned(), (1024, 20000))].into(), may_raise, nr_open: 1 << 30 }
    }

    #[test]
    fn defaults_are_lowered_and_explicit_ones_refused() {
        let defaults = [limit("nofile", 1 << 20, 1 << 20), limit("nproc", 500, 500)];
        let got = effective(&defaults, &[], &host(false)).unwrap();
        assert_eq!((got[0].soft(), got[0].hard()), (20000, 20000));
        assert_eq!(got[1].hard(), 500);
        assert_eq!(effective(&defaults, &[], &host(true)).unwrap()[0].hard(), 1 << 20);

        let e = effective(&defaults, &[limit("nofile", 1, 20001)], &host(false)).unwrap_err();
        assert!(e.to_string().contains("20001 exceeds this host's hard limit of 20000"), "{e}");
        let got = effective(&defaults, &[limit("nofile", 10, 20)], &host(false)).unwrap();
        assert_eq!((got.len(), got[0].soft(), got[0].hard()), (2, 10, 20));
        assert!(effective(&[], &[limit("nofile", 2, 1)], &host(false)).is_err());
        assert!(effective(&[], &[limit("bogus", 1, 1)], &host(false)).is_err());
        assert!(effective(&defaults, &[limit("host", 0, 0)], &host(false)).unwrap().is_empty());
    }

    #[test]
    fn every_name_is_known() {
        for name in NAMES {
            assert!(kind(name).is_ok(), "{name}");
        }
    }
}
