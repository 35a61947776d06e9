//! Commands on images, one file each.

pub mod exists;
pub mod images;
pub mod inspect;
pub mod prune;
pub mod pull;
pub mod rmi;
pub mod tag;
pub mod untag;
