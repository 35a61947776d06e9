//! Trust: which images may be used, and who has signed them.
//!
//! [`policy`] says what an image has to fulfil; a [`Signature`] comes from a registry's lookaside or attachments
//! ([`RegistriesD`] says where they are), or lies with the image; [`Rules::judge`] brings both together; a [`Signer`]
//! makes new ones. Formats, words and strictness are containers/image's. Uses `registry`; used by `transport` and
//! `image`.

pub mod attachment;
mod claim;
pub mod gpg;
mod judge;
pub mod lookaside;
mod pem;
pub mod policy;
mod registries_d;
mod show;
mod sign;
pub mod signature;
pub mod sigstore;
mod strict;

pub use judge::Evidence;
pub use policy::{Policy, Rules, Scopes};
pub use registries_d::{Lookaside, RegistriesD, Whereabouts};
pub use show::{Row, rows};
pub use sign::{SignRequest, Signer};
pub use signature::Signature;
