//! Even clusters: those in which no pair of records speaks against another.
//!
//! As long as every pair of a cluster weighs at least [`harmless_bits`], no guard of the partition can have anything
//! against any of its links, in whatever order they are taken. So what joins an even cluster evenly joins it as it is.

use smallvec::SmallVec;

use crate::index::packed::Row;
use crate::index::records::flag;
use crate::resolve::Engine;
use crate::resolve::partition::harmless_bits;

/// Different rows in one cluster up to which it is looked whether it is even; beyond, it counts as uneven.
const EVEN_ROWS_MAX: usize = 64;

/// Rows of which no two are equal, each with a record that has it.
type Rows = Vec<(Row, u32)>;

impl Engine {
    /// Whether all pairs of these records are harmless.
    pub(super) fn are_even(&self, records: &[u32]) -> bool {
        let Some(rows) = self.different_rows(records.iter().copied()) else { return false };
        (0..rows.len()).all(|at| self.is_harmless(rows[at].1, rows[at + 1..].iter().map(|(_, record)| *record)))
    }

    /// Whether all pairs across these parts, each of which is even, are harmless.
    pub(super) fn are_even_across(&self, parts: &[SmallVec<[u32; 8]>]) -> bool {
        if self.rows.is_off() {
            return true;
        }
        let mut all: SmallVec<[Rows; 4]> = SmallVec::new();
        let mut count = 0;
        for part in parts {
            let Some(rows) = self.different_rows(part.iter().copied()) else { return false };
            count += rows.len();
            if count > EVEN_ROWS_MAX {
                return false;
            }
            for (_, record) in &rows {
                let others = all.iter().flat_map(|rows| rows.iter().map(|(_, other)| *other));
                if !self.is_harmless(*record, others) {
                    return false;
                }
            }
            all.push(rows);
        }
        true
    }

    fn is_harmless(&self, record: u32, mut others: impl Iterator<Item = u32>) -> bool {
        let Some(least) = self.thresholds(self.records.warm[record].party()).map(|lines| harmless_bits(&lines)) else {
            return true;
        };
        others.all(|other| self.weigh(record, other).is_none_or(|weight| weight >= least))
    }

    /// One record for each different row among those that are compared; `None` when there are too many.
    fn different_rows(&self, records: impl Iterator<Item = u32>) -> Option<Rows> {
        let mut rows = Rows::new();
        if self.rows.is_off() {
            return Some(rows);
        }
        let compared = |record: &u32| self.rows.known(*record) && !self.records.warm[*record].has(flag::CORRECTS);
        rows.extend(records.filter(compared).map(|record| (self.rows.of(record), record)));
        if rows.len() > 1 {
            rows.sort_unstable();
            rows.dedup_by(|one, other| one.0 == other.0);
        }
        (rows.len() <= EVEN_ROWS_MAX).then_some(rows)
    }
}
