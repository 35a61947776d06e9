//! `coracle image inspect`.
