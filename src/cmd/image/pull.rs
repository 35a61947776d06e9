//! `coracle image pull`.
