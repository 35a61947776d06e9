//! Paths resolved below a root directory, never outside it.
