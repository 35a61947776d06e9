//! conmon and the OCI runtime: command lines, pipes, sockets, exit files.
