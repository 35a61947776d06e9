//! What is done with containers: one verb a file.

pub mod attach;
pub mod exec;
mod exec_process;
pub mod logs;
