//! From a spec to config.json, with hand-checked expectations.
#![allow(clippy::unwrap_used, clippy::expect_used)]
