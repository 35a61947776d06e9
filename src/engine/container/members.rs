//! Who is on which network.

use crate::engine::spec::Endpoint;
use crate::engine::{Engine, Result};
use std::collections::BTreeMap;

/// A container on a network, running or not.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its ID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// While it runs: its interface there.
    pub endpoint: Option<Endpoint>,
}

/// The containers on each network, by the network's name. Networks that none is on are not there.
///
/// # Errors
/// Our records cannot be read.
pub fn members(engine: &Engine) -> Result<BTreeMap<String, Vec<Member>>> {
    let mut found: BTreeMap<String, Vec<Member>> = BTreeMap::new();
    for record in engine.state.list()? {
        let network = &record.state.network;
        for attachment in &network.attachments {
            let endpoint =
                network.endpoints.get(&attachment.network).filter(|_| record.state.status.is_live());
            let member =
                Member { id: record.id.clone(), name: record.name().to_owned(), endpoint: endpoint.cloned() };
            found.entry(attachment.network.clone()).or_default().push(member);
        }
    }
    Ok(found)
}
