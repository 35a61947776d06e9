//! ps, images, inspect, version, info: columns, filters, formats; man pages and completions.
