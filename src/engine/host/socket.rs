//! Unix sockets with long paths, and descriptor passing.
