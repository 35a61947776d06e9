//! Flags of run and create, as they show inside the container.
