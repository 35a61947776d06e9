//! Overlay, bind and tmpfs mounts by file descriptor.
