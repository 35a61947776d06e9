//! From a ContainerSpec, an image's configuration and host facts to an OCI runtime configuration. Pure.
