//! Unpacking layers, sound and hostile ones.
