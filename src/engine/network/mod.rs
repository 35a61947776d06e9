//! Networks: their definitions, the addresses on them, and what connects a container to them.
//!
//! A network is a file (`record`); bridges and their firewall rules are netavark's work, name resolution is aardvark-dns's,
//! both run as child processes and leave nothing but what a container's life needs. An ordinary user's bridges are in one
//! network namespace of their own; their default network is pasta. Used by [`crate::engine::container`], which knows
//! when a container begins and ends.

mod change;
mod create;
mod definitions;
mod options;
pub mod pasta;
mod record;
mod surroundings;
pub mod user_mode;

pub use create::{NewNetwork, NewSubnet};
pub use definitions::{DEFAULT_NETWORK, Networks};
pub use record::{LeaseRange, Network, Route, Subnet};
pub use user_mode::UserMode;
