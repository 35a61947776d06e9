//! `coracle inspect`.
