//! `coracle logs`.
