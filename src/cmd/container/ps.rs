//! `coracle ps`.
