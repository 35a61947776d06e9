//! Flag groups used by two or more commands.
