//! attach, exec, logs; terminals and pipes; exit codes.
