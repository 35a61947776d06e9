//! `coracle unshare`.
