//! How results become text: Go templates, tables, JSON, human sizes and times, filters.
//!
//! Pure: values in, text out. Called by the commands; nothing here reads files, clocks or the environment.

pub mod template;
