//! create, start, stop, kill, restart, rm, wait, prune; names and ids; repair after a crash.
