//! The library: everything Coracle does, without a terminal.
//!
//! Nothing here prints, exits, or reads the environment or argv: front ends pass in a [`config::Config`] and render
//! what comes back. Calls are synchronous and take `&self`; each is lock, read, act, write, unlock, and nothing is
//! cached beyond its lock. Dependencies point one way: nouns (`container`, `image`) -> {`store`, `state`, `registry`,
//! `oci`, `conmon`} -> {`spec`, `config`}; `host` (system calls) is used by the effectful modules only.

pub mod config;
pub mod conmon;
pub mod container;
pub mod digest;
pub mod error;
pub mod host;
pub mod image;
pub mod oci;
pub mod registry;
pub mod spec;
pub mod state;
pub mod store;

pub use digest::Digest;
pub use error::{Context, Error, ErrorKind, Result};
