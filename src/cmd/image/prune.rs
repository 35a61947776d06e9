//! `coracle image prune`.
