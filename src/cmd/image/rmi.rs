//! `coracle image rmi`.
