//! Commands about the engine itself.

pub mod completion;
pub mod info;
pub mod inspect;
pub mod unshare;
pub mod version;
