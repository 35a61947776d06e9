//! The OCI distribution client: manifests and blobs of a registry.
//!
//! Written on reqwest rather than on the `oci-client` crate, which has no retries, one TLS setting for all hosts
//! (certs.d and `insecure` are per host), no client certificates, no identity tokens, ignores a token's expiry, and
//! turns a failed authentication into a later bare 401.
//!
//! The engine is synchronous; tokio lives here and nowhere else. One runtime with one thread is started by the first
//! request of a [`Client`]; bodies are read by whoever unpacks them, through [`std::io::Read`].
//!
//! Credentials go to the registry they belong to and to the token service it names over TLS; never along a redirect,
//! to a mirror of another name, or to a foreign layer URL. Everything read into memory has a bound. Called by `image`.

pub mod auth;
pub mod blob;
pub mod client;
pub mod download;
pub mod host;
mod http;
pub mod manifest;
pub mod platform;
pub mod ranges;
pub mod reference;
pub mod referrers;
pub mod search;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod tls;
mod token;
pub mod upload;

pub use blob::BlobReader;
pub use client::{Client, ClientOptions, Repository};
pub use manifest::{Descriptor, Document, Index, Manifest};
pub use platform::{Platform, PlatformRequest};
pub use reference::{Reference, ShortName};
pub use upload::{Content, Uploaded};
