//! What was found out about two texts, kept for the next pair of records that holds them.
//!
//! A table of fixed size, one word a cell: a later finding overwrites an earlier one, and nothing but time is lost. It is
//! shared by all threads without locks, since a cell is read and written whole.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::symbols::Symbol;

/// Findings kept at most: half a mebibyte.
const CELLS: usize = 1 << 16;
/// Symbols from here on are not kept apart in a cell, and their findings not kept.
const SYMBOLS: Symbol = 1 << 28;
/// Findings are below this.
const FINDINGS: u8 = 1 << 5;

/// Which question was asked of two texts; below eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// How they compare as what their slot holds.
    Alike = 0,
    /// How they compare as given names, whatever slot they are in.
    AsGiven = 1,
    /// Whether they are one name in two fields.
    Crossed = 2,
}

/// The table; made when it is first of use.
#[derive(Default)]
pub(crate) struct Known(OnceLock<Box<[AtomicU64]>>);

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Known(..)")
    }
}

/// A copy starts with nothing: what it is of will change on its own.
impl Clone for Known {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Known {
    /// The finding, asked for by `find` unless it is known. Must be the same whichever text is named first.
    #[inline]
    pub(crate) fn find(&self, question: Question, a: Symbol, b: Symbol, find: impl FnOnce() -> u8) -> u8 {
        let (low, high) = if a < b { (a, b) } else { (b, a) };
        if high >= SYMBOLS {
            return find();
        }
        let key = (u64::from(low) << 36) | (u64::from(high) << 8) | ((question as u64) << 5);
        let cells = self.0.get_or_init(|| (0..CELLS).map(|_| AtomicU64::new(0)).collect());
        // Fibonacci hashing: the product's upper bits hang on all bits of the key.
        let cell = &cells[(key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize];
        let held = cell.load(Relaxed);
        if held & !u64::from(FINDINGS - 1) == key {
            return (held & u64::from(FINDINGS - 1)) as u8;
        }
        let found = find();
        debug_assert!(found < FINDINGS);
        cell.store(key | u64::from(found), Relaxed);
        found
    }

    /// Forgets everything: symbols are about to mean other texts.
    pub(crate) fn clear(&mut self) {
        if let Some(cells) = self.0.get_mut() {
            cells.iter_mut().for_each(|cell| *cell.get_mut() = 0);
        }
    }

    /// Bytes of memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.0.get().map_or(0, |cells| size_of_val(&**cells))
    }
}
