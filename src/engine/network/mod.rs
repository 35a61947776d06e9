//! Networks: their definitions, the addresses on them, and what connects a container to them.
//!
//! A network is a file (`record`); bridges and their firewall rules are netavark's work, name resolution is aardvark-dns's,
//! both run as child processes and leave nothing but what a container's life needs. An ordinary user's bridges are in one
//! network namespace of their own; their default network is pasta. Used by [`crate::engine::container`], which knows
//! when a container begins and ends.
//!
//! ```text
//! <run state>/netns/<id>                  a container's network namespace, mounted on a file
//! <run state>/network/leases/…            addresses in use, see [`ipam`]
//! <run state>/network/lock                held around netavark
//! <run state>/network/netavark            the netavark that runs, see [`pidfile`]
//! <run state>/network/aardvark-dns/…      netavark's files for aardvark-dns
//! <run state>/run/<id>/network.json       what a container is connected to, see [`Connection`]
//! <run state>/run/<id>/port-proxy         who keeps its published ports, see [`proxy`]
//! ```

mod change;
mod connection;
mod create;
mod definitions;
mod dns;
mod filter;
mod firewall;
pub mod forward;
pub mod ipam;
mod netavark;
mod options;
pub mod pasta;
mod pidfile;
pub mod ports;
pub mod proxy;
mod record;
mod refusal;
pub mod rootless;
pub mod session;
pub mod slirp4netns;
mod surroundings;
pub mod user_mode;

pub use connection::{Connection, Member, Request, Site, Way, check, undo};
pub use create::{NewNetwork, NewSubnet};
pub use definitions::{DEFAULT_NETWORK, Networks};
pub use filter::Filters;
pub use record::{LeaseRange, Network, Route, Subnet};
pub use user_mode::UserMode;
