//! policy.json.
