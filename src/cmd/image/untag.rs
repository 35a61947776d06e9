//! `coracle image untag`.
