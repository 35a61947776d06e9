//! Changes and removes networks.

use super::{Network, Networks};
use crate::engine::{Error, ErrorKind, Result};
use std::net::IpAddr;

impl Networks<'_> {
    /// Changes where a network's DNS asks for names it does not know, for containers that run as well. `drop` goes before `add`; addresses that are not there to be dropped are passed over.
    ///
    /// # Errors
    /// There is no such network, or it has no DNS.
    pub fn update_dns(&self, name: &str, add: &[IpAddr], drop: &[IpAddr]) -> Result<Network> {
        let held = self.lock()?;
        let mut network = self.resolve(name)?;
        if !network.dns_enabled {
            return Err(Error::invalid(format!("DNS is not enabled for the network {}", network.name)));
        }
        let servers = &mut network.network_dns_servers;
        servers.retain(|ip| !drop.contains(ip));
        for ip in add {
            if !servers.contains(ip) {
                servers.push(*ip);
            }
        }
        self.save(&network, &held)?;
        super::connection::update_dns(self.config, &network)?;
        Ok(network)
    }

    /// Removes a network's definition. `users` are the containers on it, by name; they keep what they have until they stop.
    ///
    /// # Errors
    /// [`ErrorKind::InUse`] if there are users; [`ErrorKind::Invalid`] for the default network.
    pub fn remove(&self, network: &Network, users: &[String]) -> Result<()> {
        if self.means_default(&network.name) {
            return Err(Error::invalid(format!("default network {} cannot be removed", network.name)));
        }
        if !users.is_empty() {
            let (plural, names) = (if users.len() == 1 { "" } else { "s" }, users.join(", "));
            return Err(Error::new(
                ErrorKind::InUse,
                format!("network {} is being used by container{plural} {names}", network.name),
            )
            .with_hint("--force disconnects them first"));
        }
        let held = self.lock()?;
        // Since it was looked up, one of the same name may have been made anew.
        if self.named(&network.name)?.is_none_or(|now| now.id != network.id) {
            return Err(Error::not_found(format!("network {} not found", network.name)));
        }
        self.delete(&network.name, &held)?;
        self.tell("destroy", network, None);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::NewNetwork;
    use super::*;
    use crate::engine::config::Config;

    #[test]
    fn changed_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.paths.networks = dir.path().join("networks");
        let networks = Networks::open(&config);
        let new = NewNetwork { name: "app".into(), ipv4: true, dns: true, ..NewNetwork::default() };
        let made = networks.create(&new).unwrap();
        let ips = |texts: &[&str]| texts.iter().map(|t| t.parse().unwrap()).collect::<Vec<IpAddr>>();
        networks.update_dns("app", &ips(&["192.0.2.1", "192.0.2.2"]), &[]).unwrap();
        let got = networks
            .update_dns("app", &ips(&["192.0.2.2", "::1"]), &ips(&["192.0.2.1", "192.0.2.9"]))
            .unwrap();
        assert_eq!(got.network_dns_servers, ips(&["192.0.2.2", "::1"]));
        assert_eq!(networks.resolve("app").unwrap(), got);
        assert_eq!(networks.update_dns("bridge", &[], &[]).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(networks.update_dns("nope", &[], &[]).unwrap_err().kind(), ErrorKind::NotFound);

        let e = networks.remove(&made, &["web".to_owned(), "db".to_owned()]).unwrap_err();
        assert_eq!(e.to_string(), "network app is being used by containers web, db");
        assert!(networks.remove(&networks.default_network().unwrap(), &[]).is_err());
        assert_eq!(
            networks.remove(&Network { id: "0".repeat(64), ..made.clone() }, &[]).unwrap_err().kind(),
            ErrorKind::NotFound
        );
        networks.remove(&made, &[]).unwrap();
        assert_eq!(networks.resolve("app").unwrap_err().kind(), ErrorKind::NotFound);
    }
}
