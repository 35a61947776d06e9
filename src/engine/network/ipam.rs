//! Addresses: who has which on a network.
//!
//! ```text
//! <run state>/network/leases/<network>/<address>   a symbolic link whose text is the container's ID
//! <run state>/network/leases/<network>/next-<n>    one whose text is the address subnet n handed out last
//! ```
//!
//! Whoever changes a network's leases holds the flock of its directory, so no two processes get the same address. A lease
//! whose container is gone is free: nothing leaks, whoever was killed. All of it is volatile, as addresses are.

use super::{Network, Subnet};
use crate::engine::host::lock::DirLock;
use crate::engine::{Error, ErrorKind, Result};
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

/// The leases below a run directory.
pub struct Leases<'a> {
    dir: PathBuf,
    /// Whether a container of that ID still exists.
    lives: &'a (dyn Fn(&str) -> bool + Sync),
}

impl<'a> Leases<'a> {
    /// Those in `<run state>/network/leases`. Touches nothing.
    pub fn new(run_state: &Path, lives: &'a (dyn Fn(&str) -> bool + Sync)) -> Self {
        Self { dir: run_state.join("network/leases"), lives }
    }

    /// Gives `owner` an address in each subnet of `network`: of the `wanted` ones those that lie in it, else the next
    /// one that is free. With the address comes its subnet's prefix length.
    ///
    /// # Errors
    /// [`ErrorKind::InUse`] when a wanted address is taken or a subnet is full; [`ErrorKind::Invalid`] when one lies in no
    /// subnet or is the gateway's.
    pub fn take(&self, network: &Network, owner: &str, wanted: &[IpAddr]) -> Result<Vec<IpNet>> {
        for address in wanted {
            check_wanted(network, *address)?;
        }
        let dir = self.dir.join(&network.name);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(|e| Error::io("mkdir", &dir, e))?;
        let _lock = DirLock::exclusive(&dir)?;
        let mut taken = self.taken(&dir)?;
        let reserved: Vec<IpAddr> = network.reserved().map(|(_, address)| address).collect();
        let mut given = Vec::new();
        for (n, subnet) in network.subnets.iter().enumerate() {
            let fixed = wanted.iter().filter(|a| subnet.subnet.contains(*a));
            let mut addresses: Vec<IpAddr> = fixed.copied().collect();
            if let Some(address) = addresses.iter().find(|a| taken.contains(a)) {
                return Err(address_taken(*address, network));
            }
            if addresses.is_empty() {
                let memory = dir.join(format!("next-{n}"));
                let last = fs::read_link(&memory).ok().and_then(|t| t.to_str()?.parse().ok());
                let free = |a: &IpAddr| !taken.contains(a) && !reserved.contains(a);
                let next = next(subnet, last, free).ok_or_else(|| full(network, subnet))?;
                remember(&memory, next)?;
                crate::failpoint!("network.ipam-after-memory");
                addresses.push(next);
            }
            for address in addresses {
                let path = dir.join(address.to_string());
                symlink(owner, &path).map_err(|e| Error::io("create", &path, e))?;
                crate::failpoint!("network.ipam-after-lease");
                taken.insert(address);
                given.push(with_prefix(address, &subnet.subnet));
            }
        }
        Ok(given)
    }

    /// The addresses of living containers; leases of others are removed.
    fn taken(&self, dir: &Path) -> Result<BTreeSet<IpAddr>> {
        let entries = fs::read_dir(dir).map_err(|e| Error::io("read directory", dir, e))?;
        let mut taken = BTreeSet::new();
        for entry in entries {
            let path = entry.map_err(|e| Error::io("read directory", dir, e))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Ok(address) = name.parse::<IpAddr>() else { continue };
            let owner = fs::read_link(&path).unwrap_or_default();
            if owner.to_str().is_some_and(|owner| (self.lives)(owner)) {
                taken.insert(address);
            } else {
                remove(&path)?;
            }
        }
        Ok(taken)
    }

    /// Takes back what `owner` has on the network of that name.
    pub fn give_back(&self, network: &str, owner: &str) -> Result<()> {
        let dir = self.dir.join(network);
        if !dir.is_dir() {
            return Ok(());
        }
        let _lock = DirLock::exclusive(&dir)?;
        for entry in fs::read_dir(&dir).map_err(|e| Error::io("read directory", &dir, e))?.flatten() {
            if fs::read_link(entry.path()).is_ok_and(|text| text == Path::new(owner)) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Forgets a network that is removed.
    pub fn forget(&self, network: &str) -> Result<()> {
        let dir = self.dir.join(network);
        match fs::remove_dir_all(&dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", &dir, e)),
            _ => Ok(()),
        }
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("unlink", path, e)),
        _ => Ok(()),
    }
}

fn remember(path: &Path, address: IpAddr) -> Result<()> {
    remove(path)?;
    symlink(address.to_string(), path).map_err(|e| Error::io("create", path, e))
}

fn with_prefix(address: IpAddr, subnet: &IpNet) -> IpNet {
    // The prefix length is of the address's own family, so this cannot fail.
    IpNet::new(address, subnet.prefix_len()).unwrap_or_else(|_| IpNet::from(address))
}

fn full(network: &Network, subnet: &Subnet) -> Error {
    Error::new(
        ErrorKind::InUse,
        format!("no free address is left in the subnet {} of network {}", subnet.subnet, network.name),
    )
    .with_hint("remove containers, or make a network with a larger --subnet")
}

fn address_taken(address: IpAddr, network: &Network) -> Error {
    Error::new(
        ErrorKind::InUse,
        format!("IP address {address} is already allocated on network {}", network.name),
    )
}

/// Whether a container may have this address on that network at all.
///
/// # Errors
/// [`ErrorKind::Invalid`] when it lies in no subnet, or is the gateway's or the subnet's own.
pub fn check_wanted(network: &Network, address: IpAddr) -> Result<()> {
    let Some(subnet) = network.subnets.iter().find(|s| s.subnet.contains(&address)) else {
        return Err(Error::invalid(format!(
            "requested static ip {address} not in any subnet on network {}",
            network.name
        ))
        .with_hint(match network.subnets.is_empty() {
            true => "the network has no subnet of its own: make one with --subnet".to_owned(),
            false => {
                let subnets: Vec<String> = network.subnets.iter().map(|s| s.subnet.to_string()).collect();
                format!("its subnets: {}", subnets.join(", "))
            }
        }));
    };
    if subnet.gateway == Some(address) {
        return Err(Error::invalid(format!(
            "the address {address} is the gateway of network {}",
            network.name
        )));
    }
    let whole = subnet.subnet.prefix_len() + 2 > subnet.subnet.max_prefix_len();
    if !whole && (address == subnet.subnet.network() || address == broadcast(&subnet.subnet)) {
        return Err(Error::invalid(format!("{address} is no host's address in {}", subnet.subnet)));
    }
    Ok(())
}

/// IPv6 has no broadcast; its last address is one like any other, but nobody misses it.
fn broadcast(subnet: &IpNet) -> IpAddr {
    subnet.broadcast()
}

/// The first free address after `last`, beginning anew at the end of the range.
fn next(subnet: &Subnet, last: Option<IpAddr>, free: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
    let (first, end) = range(subnet)?;
    let start = match last.map(number) {
        Some(last) if (first..end).contains(&last) => last + 1,
        _ => first,
    };
    let usable = |n: &u128| {
        let address = address_of(*n, &subnet.subnet);
        (subnet.gateway != Some(address) && free(&address)).then_some(address)
    };
    (start..=end).find_map(|n| usable(&n)).or_else(|| (first..start).find_map(|n| usable(&n)))
}

/// First and last address that may be handed out, as numbers.
fn range(subnet: &Subnet) -> Option<(u128, u128)> {
    let net = &subnet.subnet;
    let spare = u128::from(net.prefix_len() + 2 <= net.max_prefix_len());
    let (first, last) = (number(net.network()) + spare, number(broadcast(net)) - spare);
    let lease = subnet.lease_range.clone().unwrap_or_default();
    let first = lease.start_ip.map_or(first, |ip| number(ip).max(first));
    let last = lease.end_ip.map_or(last, |ip| number(ip).min(last));
    (first <= last).then_some((first, last))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

fn address_of(number: u128, subnet: &IpNet) -> IpAddr {
    match subnet {
        IpNet::V4(_) => IpAddr::V4(Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX))),
        IpNet::V6(_) => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::engine::network::LeaseRange;

    fn network(subnets: &[(&str, Option<&str>)]) -> Network {
        let subnets = subnets
            .iter()
            .map(|(subnet, gateway)| serde_json::json!({ "subnet": subnet, "gateway": gateway }));
        let text = serde_json::json!({
            "name": "n", "id": "1", "driver": "bridge", "created": "2026-01-01T00:00:00Z",
            "subnets": subnets.collect::<Vec<_>>(),
        });
        Network::parse(&text.to_string()).unwrap()
    }

    #[test]
    fn addresses_are_handed_out_in_turn_and_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let gone = std::sync::Mutex::new(BTreeSet::from(["x".to_owned()]));
        let lives = |id: &str| !gone.lock().unwrap().contains(id);
        let leases = Leases::new(dir.path(), &lives);
        let net = network(&[("10.9.0.0/29", Some("10.9.0.1"))]);
        let take = |owner: &str| leases.take(&net, owner, &[]).map(|got| got[0].to_string());
        let all: Vec<String> = ["a", "b", "c", "d", "e"].iter().map(|o| take(o).unwrap()).collect();
        assert_eq!(all, ["10.9.0.2/29", "10.9.0.3/29", "10.9.0.4/29", "10.9.0.5/29", "10.9.0.6/29"]);
        assert_eq!(take("f").unwrap_err().kind(), ErrorKind::InUse);
        leases.give_back("n", "b").unwrap();
        assert_eq!(take("f").unwrap(), "10.9.0.3/29");
        // Whoever died without a word keeps nothing.
        gone.lock().unwrap().insert("e".into());
        assert_eq!(take("g").unwrap(), "10.9.0.6/29");
        leases.forget("n").unwrap();
        assert_eq!(take("h").unwrap(), "10.9.0.2/29");
    }

    #[test]
    fn fixed_addresses_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let leases = Leases::new(dir.path(), &|_| true);
        let net = network(&[("10.9.0.0/24", Some("10.9.0.1")), ("fd00:9::/64", Some("fd00:9::1"))]);
        let take = |owner: &str, wanted: &str| leases.take(&net, owner, &[wanted.parse().unwrap()]);
        let got = take("a", "fd00:9::77").unwrap();
        assert_eq!(got.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.9.0.2/24", "fd00:9::77/64"]);
        assert_eq!(take("b", "fd00:9::77").unwrap_err().kind(), ErrorKind::InUse);
        for wrong in ["10.9.0.1", "10.9.0.0", "10.9.0.255", "10.8.0.4", "fd00:8::1"] {
            assert_eq!(take("b", wrong).unwrap_err().kind(), ErrorKind::Invalid, "{wrong}");
        }
    }

    #[test]
    fn ranges_and_their_ends() {
        let of = |subnet: &str, range: Option<(&str, &str)>, last: Option<&str>| {
            let subnet = Subnet {
                subnet: subnet.parse().unwrap(),
                gateway: None,
                lease_range: range
                    .map(|(a, b)| LeaseRange { start_ip: a.parse().ok(), end_ip: b.parse().ok() }),
            };
            next(&subnet, last.map(|l| l.parse().unwrap()), |_| true).map(|a| a.to_string())
        };
        assert_eq!(of("10.0.0.0/24", None, None).unwrap(), "10.0.0.1");
        assert_eq!(of("10.0.0.0/24", None, Some("10.0.0.254")).unwrap(), "10.0.0.1");
        assert_eq!(of("10.0.0.0/24", Some(("10.0.0.8", "10.0.0.9")), Some("10.0.0.8")).unwrap(), "10.0.0.9");
        assert_eq!(of("10.0.0.0/24", Some(("10.0.0.8", "10.0.0.9")), Some("10.0.0.9")).unwrap(), "10.0.0.8");
        assert_eq!(of("10.0.0.0/31", None, None).unwrap(), "10.0.0.0");
        assert_eq!(of("10.0.0.7/32", None, None).unwrap(), "10.0.0.7");
        assert_eq!(of("fd00::/64", None, None).unwrap(), "fd00::1");
        assert_eq!(of("10.0.0.0/24", Some(("10.1.0.8", "10.1.0.9")), None), None);
    }
}
