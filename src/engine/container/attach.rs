//! The verb attach.
