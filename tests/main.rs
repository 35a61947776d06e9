//! Tests of the real binary, in sandboxes of their own. `support` is what they stand on; a module is a topic.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a test stops at what it does not expect"
)]

#[allow(dead_code, unused_imports, reason = "a kit has more tools than one day needs")]
mod support;

mod accounts;
mod archives;
mod artifacts;
mod check;
mod checkpoint;
mod checkpoint_archives;
mod chunked;
mod commit;
mod completion;
mod conmon;
mod containers_conf;
mod copy;
mod cp;
mod cves;
mod devices;
mod docker_reference;
mod errors;
mod estargz;
mod events;
mod export;
mod flags;
mod foreign;
mod generated_docs;
mod health;
mod hello;
mod housekeeping;
mod image_names;
mod import;
mod inspect_fields;
mod inspect_networks;
mod killpoints;
mod kit;
mod layer_limits;
mod layers;
mod lifecycle;
mod listing;
mod load;
mod manifests;
mod mounts;
mod network;
mod network_crashes;
mod network_life;
mod network_names;
mod networks;
mod oci;
mod overload;
mod pause;
mod pull;
mod push;
mod referrers;
mod reflinks;
mod registries;
mod registry_tls;
mod rootfs;
mod rootless;
mod rootless_network;
mod round_trips;
mod run_flags;
mod sdnotify;
mod search;
mod secrets;
mod session;
mod sessions;
mod settings;
mod special_mounts;
mod store;
mod store_crashes;
mod store_drivers;
mod store_shared;
mod storms;
mod streams;
mod systemd;
mod top;
mod tree;
mod trust;
mod trust_rules;
mod trust_sigstore;
mod update;
mod users_network;
mod verbs;
mod volumes;
