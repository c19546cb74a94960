//! Rows of symbols in as few bytes as may be: which places hold one, then those in one to five bytes each.
//!
//! Rows lie behind one another. One that is taken out leaves a hole; when holes take up an eighth, all move together.

use smallvec::SmallVec;

use crate::index::NONE;
use crate::index::column::Column;
use crate::index::number::{TAIL, decode, encode};

/// An unpacked row: a number for each place, 0 for none.
pub(crate) type Row = SmallVec<[u32; 32]>;

/// Rows begin at multiples of this, so that 8 GiB of them are in reach of 32 bits.
const GRAIN: usize = 2;
/// Holes of fewer bytes are not worth a move.
const HOLES_MIN: usize = 4_096;

/// Rows by record. All have one width.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packed {
    width: usize,
    /// By record: where its row begins, in grains; [`NONE`] for a row of nothing.
    starts: Column<u32>,
    bytes: Column<u8>,
    /// Bytes that no row lies in.
    holes: usize,
}

impl Packed {
    /// No rows, of this many places each.
    pub(crate) fn new(width: usize) -> Self {
        Self { width, ..Self::default() }
    }

    /// Whether the record has a row that holds something.
    #[inline]
    pub(crate) fn holds(&self, record: u32) -> bool {
        self.starts.get(record as usize).is_some_and(|start| *start != NONE)
    }

    /// The record's row; of nothing when it has none.
    #[inline]
    pub(crate) fn get(&self, record: u32) -> Row {
        let mut row = Row::from_elem(0, self.width);
        if let Some(start) = self.starts.get(record as usize).filter(|start| **start != NONE) {
            self.read(*start as usize * GRAIN, |place, number| row[place] = number);
        }
        row
    }

    /// A look at the first byte of each record's row.
    pub(crate) fn look_ahead(&self, records: &[u32]) -> u8 {
        let starts = records.iter().filter_map(|record| self.starts.get(*record as usize));
        let bytes = starts.filter_map(|start| self.bytes.get(*start as usize * GRAIN));
        bytes.fold(0, |seen, byte| seen ^ byte)
    }

    /// Makes this the record's row, which must have none.
    pub(crate) fn set(&mut self, record: u32, row: &[u32]) {
        debug_assert!(!self.holds(record) && row.len() == self.width, "a row is set once, and whole");
        if self.starts.count() <= record {
            self.starts.resize(record as usize + 1, NONE);
        }
        if row.iter().all(|number| *number == 0) {
            return;
        }
        let mut packed: SmallVec<[u8; 128]> = SmallVec::from_elem(0, self.width.div_ceil(8));
        for (place, number) in row.iter().enumerate().filter(|(_, number)| **number != 0) {
            packed[place / 8] |= 1 << (place % 8);
            let (bytes, len) = encode(*number);
            packed.extend_from_slice(&bytes[..len]);
        }
        packed.resize(packed.len().next_multiple_of(GRAIN), 0);
        let at = self.bytes.len().saturating_sub(TAIL);
        self.bytes.truncate(at);
        self.bytes.extend_from_slice(&packed);
        self.bytes.extend_from_slice(&[0; TAIL]);
        self.starts[record] = u32::try_from(at / GRAIN).expect("rows of one tenant stay below 8 GiB");
    }

    /// Takes the record's row out.
    pub(crate) fn clear(&mut self, record: u32) {
        if !self.holds(record) {
            return;
        }
        let start = std::mem::replace(&mut self.starts[record], NONE) as usize * GRAIN;
        self.holes += self.read(start, |_, _| ()).next_multiple_of(GRAIN) - start;
        if self.holes > HOLES_MIN && self.holes > self.bytes.len() / 8 {
            self.close_holes();
        }
    }

    /// Rows of nothing for so many records.
    pub(crate) fn cover(&mut self, records: u32) {
        self.starts.resize(records as usize, NONE);
    }

    /// Bytes of memory, spare capacity included.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.starts.memory_bytes() + self.bytes.memory_bytes()
    }

    /// Reads the row that begins at this byte; answers where it ends.
    #[inline]
    fn read(&self, start: usize, mut found: impl FnMut(usize, u32)) -> usize {
        let bytes: &[u8] = &self.bytes;
        let mut at = start + self.width.div_ceil(8);
        for (byte, mask) in bytes[start..at].iter().enumerate() {
            let mut mask = *mask;
            while mask != 0 {
                let (number, len) = decode(bytes, at);
                found(byte * 8 + mask.trailing_zeros() as usize, number);
                at += len;
                mask &= mask - 1;
            }
        }
        at
    }

    fn close_holes(&mut self) {
        let bytes: &[u8] = &self.bytes;
        let mut packed = Column::default();
        packed.reserve(self.bytes.len() - self.holes);
        for record in 0..self.starts.count() {
            let start = self.starts[record];
            if start != NONE {
                let start = start as usize * GRAIN;
                let end = self.read(start, |_, _| ()).next_multiple_of(GRAIN);
                self.starts[record] = packed.count() / GRAIN as u32;
                packed.extend_from_slice(&bytes[start..end]);
            }
        }
        packed.extend_from_slice(&[0; TAIL]);
        self.bytes = packed;
        self.holes = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_come_back_as_they_were_set(
            width in 1..20usize,
            steps in proptest::collection::vec((0..60u32, any::<u64>(), 0..33u32), 0..2_000)
        ) {
            let mut packed = Packed::new(width);
            let mut plain: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
            for (record, seed, bits) in steps {
                packed.clear(record);
                plain.remove(&record);
                if bits > 0 {
                    let number = |place: usize| (seed.rotate_left(7 * place as u32) as u32) >> (32 - bits);
                    let row: Vec<u32> = (0..width).map(number).collect();
                    packed.set(record, &row);
                    plain.insert(record, row);
                }
            }
            for record in 0..60 {
                let row = plain.get(&record).cloned().unwrap_or_else(|| vec![0; width]);
                prop_assert_eq!(packed.holds(record), row.iter().any(|number| *number != 0));
                prop_assert_eq!(packed.get(record).to_vec(), row);
            }
            let kept: usize = packed.bytes.len() - packed.holes;
            prop_assert!(packed.holes <= HOLES_MIN || packed.holes <= kept, "{} of {kept} bytes are holes", packed.holes);
        }
    }
}
