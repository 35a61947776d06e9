//! `coracle attach`.
