//! Commands on registries and the caller's accounts there, one file each.

pub mod login;
pub mod logout;
pub mod prompt;
pub mod search;
