//! What people type: image names, digests, platforms. What is accepted has one normal form, which is accepted too.
#![no_main]

use coracle::engine::Digest;
use coracle::engine::registry::{PlatformRequest, Reference, ShortName};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(reference) = Reference::parse(text) {
        assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference, "{text:?}");
    }
    if let Ok(digest) = Digest::parse(text) {
        assert_eq!(digest.as_str(), text);
        assert!(digest.hex().bytes().all(|b| b.is_ascii_hexdigit()));
    }
    let _ = ShortName::parse(text);
    let _ = PlatformRequest::parse(text);
});
