//! Random bytes of the kernel.

use crate::engine::{Error, Result};

/// An ID: 32 of them in hex, 64 digits.
pub fn id() -> Result<String> {
    Ok(hex::encode(bytes::<32>()?))
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
}
