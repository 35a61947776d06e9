//! `coracle image tag`.
