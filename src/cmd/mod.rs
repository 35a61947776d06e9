//! The command line: argv in, engine request, engine value, text out.

pub mod container;
pub mod flags;
pub mod format;
pub mod image;
pub mod system;
