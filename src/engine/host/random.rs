//! Random bytes of the kernel.

use crate::engine::{Error, Result};

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
