//! Numbers of 32 bits in one to five bytes, read in one go: the first byte's trailing noughts tell how many bytes follow it.

/// Bytes that may be read behind the last number: they must be there.
pub(crate) const TAIL: usize = 8;

/// The number's bytes, and how many of them count.
pub(crate) fn encode(number: u32) -> ([u8; 8], usize) {
    let bits = (u32::BITS - number.leading_zeros()).max(1) as usize;
    let len = bits.div_ceil(7);
    let word = (u64::from(number) << len) | (1 << (len - 1));
    (word.to_le_bytes(), len)
}

/// The number at this place, and how many bytes it takes. [`TAIL`] bytes must follow.
#[inline]
pub(crate) fn decode(bytes: &[u8], at: usize) -> (u32, usize) {
    let word = bytes.get(at..at + TAIL).and_then(|bytes| bytes.try_into().ok()).map_or(1, u64::from_le_bytes);
    let len = (word.trailing_zeros() as usize + 1).min(5);
    let number = (word >> len) & ((1 << (7 * len)) - 1);
    (number as u32, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_numbers_take_five_bytes_and_small_ones_one() {
        for number in [0, 1, 127, 128, 16_383, 16_384, u32::MAX >> 4, u32::MAX] {
            let (bytes, len) = encode(number);
            assert_eq!(decode(&bytes, 0), (number, len), "{number}");
        }
        assert_eq!((encode(127).1, encode(128).1, encode(u32::MAX).1), (1, 2, 5));
    }
}
