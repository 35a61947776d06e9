//! User namespaces and what an ordinary user may do.
