//! Counts that go over everything, taken in steps: between two of them writers have their turn.

use std::collections::HashSet;

use super::Engine;
use crate::index::profiles::Kind;

/// Sizes of clusters are told apart up to this power of two.
pub const SIZE_POWERS: usize = 15;
/// Open questions that are counted; more are not.
pub const QUESTIONS_COUNTED_MAX: usize = 1_000_000;
/// Profiles or records that one step looks at.
const STEP: u32 = 1 << 16;

/// A count under way, or done. What changes meanwhile is counted as it is met.
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// Live profiles whose records are at most 2^i and more than half of that; behind them those with more.
    pub sizes: [u64; SIZE_POWERS + 1],
    /// Records in the largest cluster.
    pub largest: u32,
    /// Records in all of them.
    pub records: u64,
    profiles_seen: u32,
    records_seen: u32,
    /// Pairs of profiles about which there is a question.
    asked: HashSet<(u32, u32)>,
}

impl Census {
    /// Pairs of profiles that evidence leaves open, as the review queue asks about them; at most
    /// [`QUESTIONS_COUNTED_MAX`].
    #[must_use]
    pub fn questions(&self) -> u64 {
        self.asked.len() as u64
    }
}

impl Engine {
    /// Counts on, one step; true when there is more.
    pub fn count_on(&self, census: &mut Census) -> bool {
        let profiles = self.profiles.column.count();
        if census.profiles_seen < profiles {
            let end = profiles.min(census.profiles_seen.saturating_add(STEP));
            for profile in census.profiles_seen..end {
                let profile = &self.profiles.column[profile];
                if profile.kind == Kind::Live && profile.count > 0 {
                    let power = (u32::BITS - (profile.count - 1).leading_zeros()) as usize;
                    census.sizes[power.min(SIZE_POWERS)] += 1;
                    census.largest = census.largest.max(profile.count);
                    census.records += u64::from(profile.count);
                }
            }
            census.profiles_seen = end;
            return true;
        }
        let records = self.edges.end();
        let end = records.min(census.records_seen.saturating_add(STEP));
        for record in census.records_seen..end {
            for (other, weight) in self.edges.of(record).filter(|(other, _)| *other > record) {
                if census.asked.len() >= QUESTIONS_COUNTED_MAX {
                    return false;
                }
                if let Some(question) = self.question(record, other, weight) {
                    let (one, two) = (question.profiles.0.0, question.profiles.1.0);
                    census.asked.insert((one.min(two), one.max(two)));
                }
            }
        }
        census.records_seen = end;
        end < records
    }
}
