//! What happens to the connection of a running container, and at its end.

use super::super::ipam::Leases;
use super::super::rootless::Shared;
use super::super::{Networks, firewall, proxy, user_mode};
use super::{Connection, FILE, Site, USER_MODE};
use crate::engine::host::{netns, process};
use crate::engine::spec::{Attachment, Endpoint};
use crate::engine::{Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

impl Connection {
    /// Joins one more network while the container runs. One that a killed command was joining is left first.
    pub fn connect(
        &mut self,
        site: &Site<'_>,
        run_dir: &Path,
        attachment: &Attachment,
    ) -> Result<BTreeMap<String, Endpoint>> {
        let network = Networks::open(site.config).resolve(&attachment.network)?;
        self.disconnect(site, run_dir, &network.name)?;
        self.add_member(site, network, attachment)?;
        self.save(run_dir)?;
        crate::failpoint!("network.connect-after-plan");
        let member = &self.members[self.members.len() - 1..];
        match self.join(site, member) {
            Ok(made) => {
                crate::failpoint!("network.connect-after-join");
                self.retarget(site, run_dir)?;
                Ok(made)
            }
            Err(e) => {
                let name = member[0].network.name.clone();
                if let Err(e) = self.disconnect(site, run_dir, &name) {
                    tracing::debug!("undo the connection to {name}: {e}");
                }
                Err(e)
            }
        }
    }

    /// Leaves a network while the container runs. `false`: it was not on it.
    pub fn disconnect(&mut self, site: &Site<'_>, run_dir: &Path, network: &str) -> Result<bool> {
        let Some(index) = self.members.iter().position(|m| m.network.name == network) else {
            return Ok(false);
        };
        let left = self.leave(site, &self.members[index..=index]);
        crate::failpoint!("network.disconnect-after-leave");
        Leases::new(&site.config.paths.run_state, site.lives).give_back(network, &self.id)?;
        crate::failpoint!("network.disconnect-after-lease");
        self.members.remove(index);
        self.save(run_dir)?;
        crate::failpoint!("network.disconnect-after-save");
        self.retarget(site, run_dir)?;
        left.map(|()| true)
    }

    /// The container that runs has the name `name` from now on, on its networks as well; `endpoints` is what these gave.
    pub fn rename(
        &mut self,
        site: &Site<'_>,
        run_dir: &Path,
        name: &str,
        endpoints: &BTreeMap<String, Endpoint>,
    ) -> Result<()> {
        let old = std::mem::replace(&mut self.name, name.to_owned());
        self.save(run_dir)?;
        crate::failpoint!("network.renamed");
        self.announce(site, &old, endpoints)
    }

    /// After a change of networks: published ports lead to the addresses there are now.
    fn retarget(&self, site: &Site<'_>, run_dir: &Path) -> Result<()> {
        if self.ports.is_empty() {
            return Ok(());
        }
        proxy::retarget(run_dir, &self.addresses())?;
        self.forward(site)
    }

    /// Makes interfaces and rules anew with the same addresses, after somebody flushed the firewall or killed pasta or
    /// slirp4netns. One of these that runs is left alone.
    pub fn reload(&mut self, site: &Site<'_>, run_dir: &Path) -> Result<BTreeMap<String, Endpoint>> {
        self.leave(site, &self.members)?;
        for member in &mut self.members {
            // What can be changed while it runs.
            if let Ok(network) = Networks::open(site.config).resolve(&member.network.name) {
                member.network.network_dns_servers = network.network_dns_servers;
            }
        }
        let runs = user_mode::running(&run_dir.join(USER_MODE));
        let mut made = if runs { BTreeMap::new() } else { self.user_mode(site, run_dir)? };
        made.extend(self.join(site, &self.members)?);
        Ok(made)
    }
}

/// Undoes what is written down in `run_dir`, as far as it was made. Nothing written down: nothing is done.
pub fn undo(site: &Site<'_>, run_dir: &Path) -> Result<()> {
    let Some(connection) = Connection::load(run_dir)? else { return Ok(()) };
    proxy::stop(run_dir)?;
    let pidfile = run_dir.join(USER_MODE);
    if connection.ports.is_empty() {
        user_mode::kill(&pidfile)?
    } else {
        user_mode::stop(&pidfile)?
    }
    let here = connection.boot_id == process::boot_id() && netns::is_mounted(&connection.netns);
    crate::failpoint!("network.after-ports-closed");
    let left = if here { connection.leave(site, &connection.members) } else { Ok(()) };
    if here && connection.redirects_loopback6(site) {
        firewall::spare_loopback6(site.config, &connection.id, false)?;
    }
    crate::failpoint!("network.after-teardown");
    // Even without networks now: it may have left the last one while it ran.
    if site.config.rootless() {
        Shared::release(site.config, connection.dir(), &connection.id, site.lives)?;
    }
    netns::remove(&connection.netns)?;
    crate::failpoint!("network.after-namespace-removed");
    let leases = Leases::new(&site.config.paths.run_state, site.lives);
    for member in &connection.members {
        leases.give_back(&member.network.name, &connection.id)?;
    }
    let path = run_dir.join(FILE);
    fs::remove_file(&path).map_err(|e| Error::io("unlink", &path, e))?;
    left
}
