//! registries.conf, version 2.
