//! Random bytes of the kernel.

use crate::engine::{Error, Result};

/// An ID: 32 of them in hex, 64 digits. The first twelve, which are a container's host name, are never decimal digits alone:
/// a resolver would take that for an address (docker's `stringid` begins anew, too).
pub fn id() -> Result<String> {
    loop {
        let id = hex::encode(bytes::<32>()?);
        if is_name(&id) {
            return Ok(id);
        }
    }
}

fn is_name(id: &str) -> bool {
    id.bytes().take(12).any(|digit| digit.is_ascii_alphabetic())
}

/// `N` of them (getrandom(2)).
pub fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
            .map_err(|e| Error::os("getrandom", e))?;
    }
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn no_two_ids_are_the_same() {
        let (one, other) = (id().unwrap(), id().unwrap());
        assert!(one.len() == 64 && one != other, "{one} {other}");
    }

    #[test]
    fn a_short_id_is_no_number() {
        assert!(!is_name(&format!("649642372175{}", "a".repeat(52))));
        assert!(is_name(&format!("64964237217e{}", "1".repeat(52))));
        assert!((0..2000).all(|_| is_name(&id().unwrap())));
    }
}
