//! The rootless user and mount namespace.
