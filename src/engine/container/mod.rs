//! What is done with containers: one verb a file.
//!
//! Each verb takes the container's lock, makes the record agree with the world ([`settle`]), acts, and writes the record.
//! The lock is never held while a container's end is waited for.

mod accessible;
pub mod attach;
pub mod cdi;
mod checkpoint;
pub mod cleanup;
mod clone;
pub mod commit;
pub mod copy;
mod copy_up;
pub mod create;
pub mod defaults;
pub mod diff;
pub mod exec;
mod exec_process;
pub mod exec_sessions;
pub mod export;
mod facts;
pub mod filter;
mod grants;
mod ground;
pub mod health;
mod hooks;
pub mod list;
pub mod logs;
mod members;
mod migrate;
pub mod mount;
mod names;
mod namespaces;
pub mod network;
mod notify;
mod overlays;
pub mod pause;
mod prepare;
mod processes;
pub mod prune;
pub mod remove;
mod rename;
pub mod restart;
mod restore;
mod scope;
mod seccomp_cache;
mod secrets;
mod settle;
mod sources;
pub mod start;
pub mod stats;
pub mod stop;
mod system_files;
mod told;
mod update;
pub mod usage;
mod volume_files;
mod volumes;
pub mod wait;

pub use checkpoint::{
    CheckpointOptions, Destination, ImportOptions, Statistics, Taken, Unpacked, checkpoint, import,
    runtime_of_image,
};
pub use cleanup::cleanup;
pub use clone::{CloneRequest, clone};
pub use commit::{CommitRequest, commit};
pub use create::{CreateRequest, create};
pub use diff::{Subject, diff};
pub use export::export;
pub use facts::host;
pub use filter::Filters;
pub use grants::{Grants, grants};
pub use health::{check_health, health_log};
pub use list::{inspect, latest, list, resolve};
pub use members::{Member, members};
pub use migrate::set_runtime;
pub use pause::{pause, unpause};
pub use processes::{Process, Processes, processes};
pub use prune::prune;
pub use remove::{RemoveOptions, remove};
pub use rename::rename;
pub use restart::restart;
pub use restore::{RestoreOptions, restore};
pub use start::{StartOptions, anticipate, init, start};
pub use stop::{StopOptions, kill, stop};
pub use update::update;
pub use volume_files::{export_volume, import_volume};
pub use volumes::{prune_volumes, remove_volume, volume_users};
pub use wait::{Condition, wait};
