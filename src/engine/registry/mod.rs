//! The OCI distribution client.

pub mod reference;

pub use reference::{Reference, ShortName};
