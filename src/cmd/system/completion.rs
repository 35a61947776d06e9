//! `coracle completion`.
