//! Configuration files: containers.conf, storage.conf, registries.conf, policy.json, credentials.

pub mod auth;
pub mod certs;
pub mod containers;
pub mod environment;
pub mod policy;
pub mod registries;
pub mod storage;
