//! Commands on containers, one file each.

pub mod attach;
pub mod exec;
pub mod inspect;
pub mod logs;
pub mod ps;
