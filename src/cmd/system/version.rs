//! `coracle version`.
