//! storage.conf.
