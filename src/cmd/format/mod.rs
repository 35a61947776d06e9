//! Rendering: tables, JSON, Go templates, human sizes and times.
