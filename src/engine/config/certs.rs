//! Per-registry TLS material: certs.d.
