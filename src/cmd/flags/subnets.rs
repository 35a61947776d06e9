//! Subnets of a new network: `--subnet`, with the `--gateway` and `--ip-range` that belong to each.

use crate::engine::network::{NewSubnet, Route};
use crate::engine::{Error, Result};
use clap::Args;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Addresses of a network.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Addresses")]
pub struct SubnetArgs {
    /// Subnet (may be repeated)
    #[arg(long, value_name = "ADDRESS/PREFIX", value_delimiter = ',')]
    pub subnet: Vec<String>,
    /// The bridge's address in one of the subnets, or the router's; default: the first one (may be repeated)
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub gateway: Vec<String>,
    /// Where in one of the subnets containers get their addresses (may be repeated)
    #[arg(long, value_name = "ADDRESS/PREFIX|FIRST-LAST", value_delimiter = ',')]
    pub ip_range: Vec<String>,
    /// An address that no container may have (may be repeated)
    #[arg(long, value_name = "NAME=ADDRESS", value_delimiter = ',')]
    pub aux_address: Vec<String>,
}

impl SubnetArgs {
    /// The subnets, each with what lies in it.
    ///
    /// # Errors
    /// Something is malformed, or in no subnet, or there are two for one; the phrases are docker's.
    pub fn subnets(&self) -> Result<Vec<NewSubnet>> {
        let mut found: Vec<NewSubnet> = Vec::new();
        for text in &self.subnet {
            let subnet: IpNet = text.parse().map_err(|_| {
                Error::invalid(format!("invalid CIDR address: {text}"))
                    .with_hint("--subnet ADDRESS/PREFIX, for example 10.5.0.0/24")
            })?;
            found.push(NewSubnet { subnet: subnet.trunc(), gateway: None, range: None });
        }
        if found.is_empty() && !(self.gateway.is_empty() && self.ip_range.is_empty()) {
            return Err(Error::invalid("every ip-range or gateway must have a corresponding subnet")
                .with_hint("give --subnet, too"));
        }
        for text in &self.ip_range {
            let (first, last) = range(text)?;
            let subnet = found.iter_mut().find(|s| s.subnet.contains(&first) && s.subnet.contains(&last));
            let subnet =
                subnet.ok_or_else(|| Error::invalid(format!("no matching subnet for range {text}")))?;
            if subnet.range.replace((first, last)).is_some() {
                let subnet = subnet.subnet;
                return Err(Error::invalid(format!(
                    "cannot configure multiple ranges on the same subnet ({subnet})"
                )));
            }
        }
        for text in &self.gateway {
            let gateway: IpAddr = address("--gateway", text)?;
            let subnet = found.iter_mut().find(|s| s.subnet.contains(&gateway));
            let subnet =
                subnet.ok_or_else(|| Error::invalid(format!("no matching subnet for gateway {text}")))?;
            if subnet.gateway.replace(gateway).is_some() {
                let subnet = subnet.subnet;
                return Err(Error::invalid(format!(
                    "cannot configure multiple gateways for the same subnet ({subnet})"
                )));
            }
        }
        Ok(found)
    }

    /// Addresses of others, by name.
    ///
    /// # Errors
    /// A name or an address is missing.
    pub fn reserved(&self) -> Result<BTreeMap<String, IpAddr>> {
        let one = |text: &String| {
            let (name, ip) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
                Error::invalid(format!("invalid --aux-address {text:?}"))
                    .with_hint("--aux-address NAME=ADDRESS")
            })?;
            Ok((name.to_owned(), address("--aux-address", ip)?))
        };
        self.aux_address.iter().map(one).collect()
    }
}

/// First and last address of `10.5.0.128/25` or `10.5.0.100-10.5.0.150`.
fn range(text: &str) -> Result<(IpAddr, IpAddr)> {
    let found = match text.split_once('-') {
        Some((first, last)) => first.trim().parse().ok().zip(last.trim().parse().ok()),
        None => text.parse::<IpNet>().ok().map(|net| (net.network(), net.broadcast())),
    };
    found
        .filter(|(first, last): &(IpAddr, IpAddr)| first <= last && first.is_ipv4() == last.is_ipv4())
        .ok_or_else(|| {
            Error::invalid(format!("invalid --ip-range {text:?}"))
                .with_hint("ADDRESS/PREFIX or FIRST-LAST, for example 10.5.0.128/25 or 10.5.0.100-10.5.0.150")
        })
}

fn address(flag: &str, text: &str) -> Result<IpAddr> {
    text.trim()
        .parse()
        .map_err(|_| Error::invalid(format!("invalid {flag} {text:?}: it is not an IP address")))
}

/// A static route: `DESTINATION/PREFIX,GATEWAY[,METRIC]`.
///
/// # Errors
/// It is malformed.
pub fn route(text: &str) -> Result<Route> {
    let bad = || {
        Error::invalid(format!("invalid --route {text:?}"))
            .with_hint("DESTINATION/PREFIX,GATEWAY[,METRIC], for example 10.9.0.0/16,10.5.0.2,100")
    };
    let fields: Vec<&str> = text.split(',').map(str::trim).collect();
    let (to, via, metric) = match fields.as_slice() {
        [to, via] => (to, via, None),
        [to, via, metric] => (to, via, Some(metric.parse().map_err(|_| bad())?)),
        _ => return Err(bad()),
    };
    let destination: IpNet = to.parse().map_err(|_| bad())?;
    Ok(Route { destination: destination.trunc(), gateway: via.parse().map_err(|_| bad())?, metric })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn args(subnet: &[&str], gateway: &[&str], range: &[&str]) -> SubnetArgs {
        let strings = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        SubnetArgs {
            subnet: strings(subnet),
            gateway: strings(gateway),
            ip_range: strings(range),
            aux_address: Vec::new(),
        }
    }

    fn shown(args: &SubnetArgs) -> Vec<String> {
        let one = |s: NewSubnet| {
            let gateway = s.gateway.map_or("-".to_owned(), |g| g.to_string());
            let range = s.range.map_or("-".to_owned(), |(a, b)| format!("{a}..{b}"));
            format!("{} {gateway} {range}", s.subnet)
        };
        args.subnets().unwrap().into_iter().map(one).collect()
    }

    #[test]
    fn what_belongs_together() {
        let got = args(
            &["10.5.1.9/24", "fd00:5::/64", "10.6.0.0/16"],
            &["fd00:5::9", "10.6.0.254"],
            &["10.6.4.0/24", "10.5.1.100-10.5.1.150", "fd00:5::1000/116"],
        );
        assert_eq!(
            shown(&got),
            [
                "10.5.1.0/24 - 10.5.1.100..10.5.1.150",
                "fd00:5::/64 fd00:5::9 fd00:5::1000..fd00:5::1fff",
                "10.6.0.0/16 10.6.0.254 10.6.4.0..10.6.4.255"
            ]
        );
        assert!(args(&[], &[], &[]).subnets().unwrap().is_empty());
    }

    #[test]
    fn what_does_not() {
        for (subnet, gateway, range, phrase) in [
            (&["nope"][..], &[][..], &[][..], "invalid CIDR address: nope"),
            (&["10.5.0.0"], &[], &[], "invalid CIDR address: 10.5.0.0"),
            (&[], &["10.5.0.1"], &[], "every ip-range or gateway must have a corresponding subnet"),
            (&[], &[], &["10.5.0.0/25"], "every ip-range or gateway must have a corresponding subnet"),
            (&["10.5.0.0/24"], &["10.6.0.1"], &[], "no matching subnet for gateway 10.6.0.1"),
            (&["10.5.0.0/24"], &["x"], &[], "invalid --gateway"),
            (&["10.5.0.0/24"], &["10.5.0.1", "10.5.0.2"], &[], "cannot configure multiple gateways"),
            (&["10.5.0.0/24"], &[], &["10.5.0.0/23"], "no matching subnet for range"),
            (&["10.5.0.0/24"], &[], &["10.5.0.0/25", "10.5.0.128/25"], "cannot configure multiple ranges"),
            (&["10.5.0.0/24"], &[], &["10.5.0.9-10.5.0.8"], "invalid --ip-range"),
            (&["10.5.0.0/24"], &[], &["10.5.0.9-fd00::1"], "invalid --ip-range"),
            (&["10.5.0.0/24"], &[], &["10.5.0.9"], "invalid --ip-range"),
        ] {
            let e = args(subnet, gateway, range).subnets().expect_err(phrase);
            assert!(e.to_string().contains(phrase), "{e}");
        }
    }

    #[test]
    fn routes_and_reserved_addresses() {
        let got = route("10.9.1.0/16,10.5.0.2,7").unwrap();
        assert_eq!((got.destination.to_string(), got.metric), ("10.9.0.0/16".to_owned(), Some(7)));
        assert_eq!(route("::/0, fd00::1").unwrap().metric, None);
        for bad in
            ["", "10.9.0.0/16", "10.9.0.0,10.5.0.2", "10.9.0.0/16,x", "10.9.0.0/16,10.5.0.2,-1", "a,b,c,d"]
        {
            assert!(route(bad).is_err(), "{bad}");
        }
        let mut args = args(&["10.5.0.0/24"], &[], &[]);
        args.aux_address = vec!["router=10.5.0.7".into()];
        assert_eq!(args.reserved().unwrap()["router"].to_string(), "10.5.0.7");
        for bad in ["router", "=10.5.0.7", "router=x"] {
            args.aux_address = vec![bad.into()];
            assert!(args.reserved().is_err(), "{bad}");
        }
    }
}
