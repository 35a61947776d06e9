//! Coracle: a daemonless, Docker-compatible container engine and its command line.

pub mod cmd;
pub mod engine;
