//! Our own records: one directory per object, no database.
