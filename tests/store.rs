//! The store in the format of containers/storage, beside its other users.
