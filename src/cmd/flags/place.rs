//! A container's place on a network it is connected to.

use super::network::address;
use crate::engine::spec::{Attachment, csv, mac_address};
use crate::engine::{Error, Result};
use clap::Args;

/// Names and addresses there.
#[derive(Args, Clone, Debug, Default)]
pub struct PlaceArgs {
    /// Further name there (may be repeated)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub alias: Vec<String>,
    /// Driver option (may be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    pub driver_opt: Vec<String>,
    /// The network with the greatest priority has the default route [default: 0]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub gw_priority: Option<i64>,
    /// IPv4 address
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<String>,
    /// IPv6 address
    #[arg(long, value_name = "ADDRESS")]
    pub ip6: Option<String>,
    /// Know another container by another name (only run and create can do it)
    #[arg(long, value_name = "CONTAINER[:ALIAS]")]
    pub link: Vec<String>,
    /// Link-local address (may be repeated)
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub link_local_ip: Vec<String>,
    /// MAC address
    #[arg(long, value_name = "ADDRESS")]
    pub mac_address: Option<String>,
}

impl PlaceArgs {
    /// The place on `network`.
    ///
    /// # Errors
    /// A value is malformed, or a link is asked for.
    pub fn attachment(&self, network: &str) -> Result<Attachment> {
        if let Some(link) = self.link.first() {
            return Err(Error::unsupported(format!("--link {link}: links are made when a container is"))
                .with_hint("connect the other container with --alias: names hold in the whole network"));
        }
        if self.alias.iter().any(String::is_empty) {
            return Err(Error::invalid("invalid --alias \"\""));
        }
        let mut out =
            Attachment { network: network.to_owned(), aliases: self.alias.clone(), ..Attachment::default() };
        for (flag, text, v6) in [("--ip", &self.ip, false), ("--ip6", &self.ip6, true)] {
            out.ips.extend(text.as_ref().map(|t| address(flag, t, Some(v6))).transpose()?);
        }
        out.mac = self.mac_address.as_deref().map(mac_address).transpose()?;
        for options in &self.driver_opt {
            for option in csv("--driver-opt", options)? {
                let bad = |why: &str| Error::invalid(format!("invalid --driver-opt {option:?}: {why}"));
                let named = option.split_once('=').filter(|(name, _)| !name.is_empty());
                let (name, value) =
                    named.ok_or_else(|| bad("no name and value").with_hint("--driver-opt NAME=VALUE"))?;
                out.set_option(name, value).map_err(|why| bad(&why))?;
            }
        }
        if let Some(priority) = self.gw_priority {
            out.options.insert("gw-priority".to_owned(), priority.to_string());
        }
        if !self.link_local_ip.is_empty() {
            let ips = self.link_local_ip.iter().map(|t| Ok(address("--link-local-ip", t, None)?.to_string()));
            out.options.insert("link-local-ip".to_owned(), ips.collect::<Result<Vec<_>>>()?.join(","));
        }
        Ok(out)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn everything_at_once() {
        let strings = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let args = PlaceArgs {
            alias: strings(&["db", "sql"]),
            driver_opt: strings(&["a=b=c", "com.docker.network.endpoint.ifname=net7"]),
            gw_priority: Some(-1),
            ip: Some("10.1.0.2".into()),
            ip6: Some("fd00::2".into()),
            link_local_ip: strings(&["169.254.1.1"]),
            mac_address: Some("02-42-ac-11-00-02".into()),
            link: Vec::new(),
        };
        let got = args.attachment("app").unwrap();
        assert_eq!((got.network.as_str(), got.aliases.len(), got.ips.len()), ("app", 2, 2));
        assert_eq!((got.interface.as_str(), got.mac.as_deref()), ("net7", Some("02:42:ac:11:00:02")));
        let options: Vec<_> = got.options.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(options, ["a=b=c", "gw-priority=-1", "link-local-ip=169.254.1.1"]);
        for bad in [
            PlaceArgs { ip: Some("fd00::1".into()), ..PlaceArgs::default() },
            PlaceArgs {
                driver_opt: strings(&["com.docker.network.endpoint.sysctls=net.ipv4.conf.eth0.x=1"]),
                ..PlaceArgs::default()
            },
            PlaceArgs { driver_opt: strings(&["x"]), ..PlaceArgs::default() },
            PlaceArgs { mac_address: Some("zz".into()), ..PlaceArgs::default() },
            PlaceArgs { link: strings(&["a"]), ..PlaceArgs::default() },
            PlaceArgs { alias: strings(&[""]), ..PlaceArgs::default() },
        ] {
            assert!(bad.attachment("app").is_err());
        }
    }
}
