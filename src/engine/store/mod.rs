//! The containers/storage format: images, layers, containers, shared live with podman, buildah and skopeo.

pub mod diff;
