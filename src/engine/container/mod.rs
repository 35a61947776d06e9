//! What is done with containers: one verb a file.

pub mod attach;
pub mod exec;
pub mod logs;
