//! Record locks that podman honours, and locks of our own.
