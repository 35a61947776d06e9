//! The command line: argv in, engine request, engine value, text out.
