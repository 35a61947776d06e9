//! `coracle exec`.
