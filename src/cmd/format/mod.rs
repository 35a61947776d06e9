//! How results become text: Go templates, tables, JSON, human sizes and times.
//!
//! Pure: values in, text out. Called by the commands; nothing here reads files, clocks or the environment.

pub mod human;
pub mod listing;
pub mod template;

pub use listing::{Column, Json, Listing, Plan};
pub use template::{Template, Value};
