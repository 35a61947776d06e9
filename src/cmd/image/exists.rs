//! `coracle image exists`.
