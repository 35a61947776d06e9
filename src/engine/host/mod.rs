//! System calls and facts of the host: the only module that may use `unsafe`.
#![allow(unsafe_code)]

pub mod apparmor;
pub mod atomic;
pub mod cgroup;
pub mod drain;
pub mod facts;
pub mod failpoint;
pub mod journal;
pub mod limits;
pub mod link;
pub mod lock;
pub mod mount;
pub mod netlink;
pub mod netns;
pub mod process;
pub mod quota;
pub mod random;
pub mod relay;
pub mod rooted;
pub mod signals;
pub mod socket;
pub mod spawn;
pub mod systemd;
pub mod term;
pub mod tree;
pub mod userns;
pub mod writeback;
