//! Pseudo terminals, raw mode, window sizes.
