//! CRC-64/ISO as Go's `hash/crc64` computes it: the checksum of file contents in a tar-split.
//!
//! The polynomial is x^64 + x^4 + x^3 + x + 1, so that multiplying by x^64 is three shifts and a small correction:
//! eight bytes a step without a large table, which would push the data out of the first-level cache.
//!
//! Long contents go 512 bytes a step. Squaring a polynomial over two elements doubles its exponents, so x^4096, which is
//! (x^64)^64, is x^256 + x^192 + x^64 + 1: a block times x^4096 is the block moved by four words, by three, by one and by
//! none. That is a loop over words without a carry from one to the next, which compilers make vectors of.

/// A running checksum.
#[derive(Clone, Copy)]
pub struct Crc64(u64);

/// What the four bits that leave the register come back as; bit 0 of the index is x^67, bit 3 is x^64.
const CARRY: [u64; 16] = carries();

const fn carries() -> [u64; 16] {
    let mut table = [0; 16];
    let mut n = 0;
    while n < 16 {
        // The register is reflected: bit 63 is x^0. The index's bits are x^63 - i before the multiplication.
        let v = n as u64;
        // By x: bit 0 leaves as x^64. By x^3: bits 0..3 leave as x^66..x^64. By x^4: bits 0..4 as x^67..x^64.
        let leaving = (v << 63) ^ (v << 61) ^ (v << 60);
        table[n] = shifts(leaving);
        n += 1;
    }
    table
}

/// v * (1 + x + x^3 + x^4), without what leaves the register.
const fn shifts(v: u64) -> u64 {
    v ^ (v >> 1) ^ (v >> 3) ^ (v >> 4)
}

/// v * x^64 modulo the polynomial.
#[inline(always)]
fn times_x64(v: u64) -> u64 {
    shifts(v) ^ CARRY[(v & 15) as usize]
}

/// Words in a block that is taken at once.
const BLOCK: usize = 64;

/// Fewer bytes go word by word: what a block leaves goes that way as well.
const LONG: usize = 2 * 8 * BLOCK;

/// The words of a block, the first one being the highest power, as the bytes come.
#[inline]
fn words(block: &[u8; 8 * BLOCK]) -> [u64; BLOCK] {
    let (eights, _) = block.as_chunks::<8>();
    std::array::from_fn(|i| u64::from_le_bytes(eights[i]))
}

/// What blocks come to: as many words as one block has, with the same checksum.
fn fold(crc: u64, first: &[u8; 8 * BLOCK], blocks: &[[u8; 8 * BLOCK]]) -> [u64; BLOCK] {
    // Four zeros more, so that what moves up has a place to come from.
    let mut sum = [0; BLOCK + 4];
    sum[..BLOCK].copy_from_slice(&words(first));
    sum[0] ^= crc;
    for block in blocks {
        let block = words(block);
        // What leaves at the upper end is a multiple of x^4096, too, and comes back at the lower.
        let leaving = [sum[0], sum[0] ^ sum[1], sum[1] ^ sum[2], sum[0] ^ sum[2] ^ sum[3]];
        for i in 0..BLOCK {
            sum[i] = block[i] ^ sum[i] ^ sum[i + 1] ^ sum[i + 3] ^ sum[i + 4];
        }
        for (i, word) in leaving.into_iter().enumerate() {
            for up in [0, 1, 3, 4] {
                sum[BLOCK - 4 + i - up] ^= word;
            }
        }
    }
    std::array::from_fn(|i| sum[i])
}

impl Crc64 {
    /// The checksum of nothing.
    pub fn new() -> Self {
        Self(!0)
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        let mut crc = self.0;
        let mut rest = bytes;
        if rest.len() >= LONG {
            let (blocks, left) = rest.as_chunks::<{ 8 * BLOCK }>();
            if let Some((first, blocks)) = blocks.split_first() {
                crc = fold(crc, first, blocks).iter().fold(0, |crc, word| times_x64(crc ^ word));
                rest = left;
            }
        }
        let (eights, tail) = rest.as_chunks::<8>();
        for eight in eights {
            crc = times_x64(crc ^ u64::from_le_bytes(*eight));
        }
        if !tail.is_empty() {
            let bits = 8 * tail.len() as u32;
            let mut eight = [0; 8];
            eight[..tail.len()].copy_from_slice(tail);
            let v = crc ^ u64::from_le_bytes(eight);
            crc = (v >> bits) ^ times_x64(v << (64 - bits));
        }
        self.0 = crc;
    }

    /// The checksum, big-endian, as Go's `Sum` appends it.
    pub fn sum(self) -> [u8; 8] {
        (!self.0).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(parts: &[&[u8]]) -> [u8; 8] {
        let mut crc = Crc64::new();
        parts.iter().for_each(|p| crc.update(p));
        crc.sum()
    }

    #[test]
    fn the_sums_are_those_of_gos_tests() {
        // vbatts/tar-split storage/getter_test.go
        for (text, expected) in [
            ("foo", [60, 60, 48, 48, 0, 0, 0, 0]),
            ("bar", [45, 196, 22, 240, 0, 0, 0, 0]),
            ("baz", [32, 68, 22, 240, 0, 0, 0, 0]),
            ("bif", [48, 9, 150, 240, 0, 0, 0, 0]),
        ] {
            assert_eq!(sum(&[text.as_bytes()]), expected, "{text}");
        }
        assert_eq!(sum(&[]), [0; 8]);
    }

    #[test]
    fn every_split_gives_the_sum_of_the_bitwise_definition() {
        let data: Vec<u8> = (0..67u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let table = crc::Crc::<u64>::new(&crc::CRC_64_GO_ISO);
        for len in 0..data.len() {
            let expected = table.checksum(&data[..len]).to_be_bytes();
            for cut in 0..=len {
                assert_eq!(sum(&[&data[..cut], &data[cut..len]]), expected, "{len} {cut}");
            }
        }
    }

    #[test]
    fn blocks_give_the_sum_of_the_bitwise_definition() {
        let data: Vec<u8> = (0..40_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let table = crc::Crc::<u64>::new(&crc::CRC_64_GO_ISO);
        for len in [LONG - 1, LONG, LONG + 1, LONG + 511, LONG + 512, LONG + 513, 39_999, 40_000] {
            let expected = table.checksum(&data[..len]).to_be_bytes();
            for cut in [0, 1, 7, 8, 511, 512, LONG - 9] {
                assert_eq!(sum(&[&data[..cut], &data[cut..len]]), expected, "{len} {cut}");
            }
        }
    }
}
