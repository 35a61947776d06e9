//! Coracle: a daemonless, Docker-compatible container engine and its command line.

// The engine and its front end; see ARCHITECTURE.md for the map.
pub mod cmd;
pub mod engine;
