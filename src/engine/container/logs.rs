//! The verb logs.
