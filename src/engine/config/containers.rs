//! containers.conf.
