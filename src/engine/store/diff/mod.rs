//! Layers as tar streams, and as directories.
