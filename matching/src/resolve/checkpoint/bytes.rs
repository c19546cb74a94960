//! Rows of numbers as few bytes: LEB128, signed differences in zigzag, in pieces that are sections.

use onefold_core::ids::Digest128;

use crate::index::NONE;
use crate::resolve::checkpoint::{CheckpointError, SectionSink, SectionSource};

/// Rows in one section.
const PIECE: usize = 1 << 18;

pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, zigzag(value));
}

/// An index that is probably close to `base`.
pub(super) fn put_near(out: &mut Vec<u8>, base: u32, value: u32) {
    put_signed(out, i64::from(value) - i64::from(base));
}

/// The same, or [`NONE`].
pub(super) fn put_near_or_none(out: &mut Vec<u8>, base: u32, value: u32) {
    match value {
        NONE => put(out, 0),
        value => put(out, 1 + zigzag(i64::from(value) - i64::from(base))),
    }
}

const fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// Bytes still to be read. Every reading answers `None` where they end, or say what no number says.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl Bytes<'_> {
    pub(super) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn take(&mut self, len: usize) -> Option<&[u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn digest(&mut self) -> Option<Digest128> {
        self.array().map(Digest128)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return (shift < 63 || byte <= 1).then_some(value);
            }
        }
        None
    }

    pub(super) fn small<T: TryFrom<u64>>(&mut self) -> Option<T> {
        T::try_from(self.number()?).ok()
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        self.number().map(unzigzag)
    }

    pub(super) fn near(&mut self, base: u32) -> Option<u32> {
        u32::try_from(i64::from(base).checked_add(self.signed()?)?).ok()
    }

    pub(super) fn near_or_none(&mut self, base: u32) -> Option<u32> {
        match self.number()? {
            0 => Some(NONE),
            one_more => u32::try_from(i64::from(base).checked_add(unzigzag(one_more - 1))?).ok(),
        }
    }
}

pub(super) fn write_rows<T, E>(
    name: &str,
    rows: impl Iterator<Item = T>,
    sink: &mut SectionSink<'_, E>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) -> Result<(), E> {
    let mut rows = rows.peekable();
    let mut bytes = Vec::new();
    for number in 0.. {
        if rows.peek().is_none() {
            break;
        }
        bytes.clear();
        for row in rows.by_ref().take(PIECE) {
            write(&mut bytes, row);
        }
        sink(&format!("engine.{name}.{number}"), &bytes)?;
    }
    Ok(())
}

/// Calls `read` for each of `count` rows. It must take at least a byte, so that what it keeps is bounded by what the
/// sections really hold, whatever the count says.
pub(super) fn read_rows(
    name: &'static str,
    count: u32,
    source: &mut SectionSource<'_>,
    mut read: impl FnMut(&mut Bytes<'_>) -> Option<()>,
) -> Result<(), CheckpointError> {
    let count = count as usize;
    for (number, first) in (0..count).step_by(PIECE).enumerate() {
        let section = format!("engine.{name}.{number}");
        let held = source(&section).ok_or(CheckpointError::Missing(section))?;
        let mut bytes = Bytes(&held);
        for _ in first..count.min(first + PIECE) {
            read(&mut bytes).ok_or(CheckpointError::Damaged(name))?;
        }
        if !bytes.0.is_empty() {
            return Err(CheckpointError::Damaged(name));
        }
    }
    Ok(())
}

/// To be called before each row is kept. Once a whole section of them was really there, room is made for what the count
/// promises, within bounds, rather than little by little.
pub(super) fn make_room<T>(items: &mut Vec<T>, count: u32) {
    if items.len() == PIECE {
        items.reserve_exact((count as usize).min(64 * PIECE).saturating_sub(PIECE));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(unsigned: u64, bits in 0..64u32, signed: i64, base: u32, value: u32) {
            let unsigned = unsigned >> bits;
            let mut out = Vec::new();
            put(&mut out, unsigned);
            put_signed(&mut out, signed);
            put_near(&mut out, base, value);
            put_near_or_none(&mut out, base, value);
            put_near_or_none(&mut out, base, NONE);
            let mut bytes = Bytes(&out);
            prop_assert_eq!(bytes.number(), Some(unsigned));
            prop_assert_eq!(bytes.signed(), Some(signed));
            prop_assert_eq!(bytes.near(base), Some(value));
            prop_assert_eq!(bytes.near_or_none(base), Some(value));
            prop_assert_eq!(bytes.near_or_none(base), Some(NONE));
            prop_assert_eq!(bytes.number(), None);
        }
    }

    #[test]
    fn what_no_number_says_is_none() {
        let table: [(&str, &[u8]); 3] = [
            ("cut", &[0x80]),
            ("more than 64 bits", &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02]),
            ("endless", &[0xFF; 12]),
        ];
        for (case, bytes) in table {
            assert_eq!(Bytes(bytes).number(), None, "{case}");
        }
        assert_eq!(Bytes(&[0x02]).near(u32::MAX), None, "an index beyond all columns");
        assert_eq!(Bytes(&[0x01]).near(0), None, "an index below zero");
    }
}
