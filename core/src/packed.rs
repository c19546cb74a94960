//! Numbers in as many bytes as they need: LEB128, signed ones zigzag. For what lies in the journal a million times.

/// Reads what was packed. Every method gives `None` when the bytes end or say what cannot be.
#[derive(Clone)]
pub(crate) struct Packed<'a>(pub(crate) &'a [u8]);

pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

impl Packed<'_> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                // One spelling per number.
                let canonical = (byte != 0 || shift == 0) && (shift < 63 || byte == 1);
                return canonical.then_some(value);
            }
        }
        None
    }

    pub(crate) fn small<T: TryFrom<u64>>(&mut self) -> Option<T> {
        self.number()?.try_into().ok()
    }

    pub(crate) fn signed(&mut self) -> Option<i64> {
        let value = self.number()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    pub(crate) fn text(&mut self) -> Option<String> {
        let length: usize = self.small()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }

    /// How many things follow, each of at least one byte: a wild number must not make us allocate.
    pub(crate) fn count(&mut self) -> Option<usize> {
        let count: usize = self.small()?;
        (count <= self.0.len()).then_some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_and_have_one_spelling() {
        for value in [0, 1, -1, 63, -64, 64, 1 << 40, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            put_signed(&mut out, value);
            put(&mut out, value.cast_unsigned());
            let mut packed = Packed(&out);
            assert_eq!((packed.signed(), packed.number()), (Some(value), Some(value.cast_unsigned())));
            assert!(packed.0.is_empty());
        }
        for bad in [&[0x80, 0][..], &[0x80], &[0xFF; 10], &[]] {
            assert_eq!(Packed(bad).number(), None, "{bad:?}");
        }
        assert_eq!(Packed(&[5, 1]).count(), None, "five things do not fit one byte");
    }
}
