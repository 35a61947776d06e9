//! Tests of the real binary.

mod conmon;
