//! Contents on their way from the page cache to the disk.

use std::os::fd::{AsFd, AsRawFd};

/// Asks the kernel to begin writing what is dirty of a file (sync_file_range(2) with `SYNC_FILE_RANGE_WRITE`): whoever
/// syncs later finds less to wait for. Promises nothing, waits for nothing, and the contents stay in memory.
pub fn begin(file: impl AsFd) {
    // SAFETY: the descriptor is open as long as `file` is borrowed; no memory is passed.
    let _ = unsafe { libc::sync_file_range(file.as_fd().as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}
