//! Resource limits the kernel will grant.
