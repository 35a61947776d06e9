//! `coracle image images`.
