//! The verb exec.
