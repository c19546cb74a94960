//! Fuzzy search: who might this be, of whom only a misspelt name and a town are known?
//!
//! A probe is prepared as a fragment would be and leaves no trace. Its blocking keys find candidates, the smallest blocks
//! first; also blocks that are too large for linking are read, as long as the whole stays within a bound. Blocks are read
//! whole or not at all, so neither the order of arrival nor of look-ups shows in an answer.

use hashbrown::HashSet;
use onefold_core::ids::{Digest128, ProfileOrdinal};
use smallvec::SmallVec;

use crate::index::NONE;
use crate::index::postings::INLINE;
use crate::index::records::flag;
use crate::pair::{Features, Symbols};
use crate::prepared::Prepared;
use crate::resolve::Engine;

/// Records that one search compares at most.
pub const SEARCH_COMPARED_MAX: usize = 10_000;
/// Profiles that one search answers with at most.
pub const SEARCH_HITS_MAX: usize = 1_000;

/// A profile that a search found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchHit {
    /// The profile.
    pub profile: ProfileOrdinal,
    /// Of its records, the one that is most like the probe.
    pub record: Digest128,
    /// How strongly the two agree beyond what strangers do, in bits: the match weight without the prior, which is about
    /// records and not about searches. Always above nought.
    pub evidence_bits: f32,
}

impl Engine {
    /// The profiles that agree best with the probe's features, as last settled, the likeliest first; ties by content. At
    /// most `limit` of them, [`SEARCH_HITS_MAX`] at most. Empty when the probe was prepared without features, or no model
    /// is in force.
    #[must_use]
    pub fn search(&self, probe: &Prepared, limit: usize) -> Vec<SearchHit> {
        let (Some(features), Some(weigher)) = (&probe.features, self.rows.weigher(probe.party)) else {
            return Vec::new();
        };
        // Symbols of this search alone: the probe's texts must not enter those of the tenant.
        let mut symbols = Symbols::default();
        let mut sought = Vec::with_capacity(weigher.stride());
        weigher.row(&mut symbols, features, &mut sought);
        let prior_bits = weigher.prior_bits();
        let mut row = Vec::with_capacity(weigher.stride());
        let mut hits: Vec<SearchHit> = Vec::new();
        for record in self.searched(probe, features) {
            let (Some(profile), Some(known)) = (self.profile_of_index(record), self.rows.features(probe.party, record))
            else {
                continue;
            };
            row.clear();
            weigher.row(&mut symbols, &known, &mut row);
            let evidence_bits = weigher.weigh(&symbols, &sought, &row) - prior_bits;
            if evidence_bits > 0.0 {
                hits.push(SearchHit { profile, record: self.records.cold[record].digest, evidence_bits });
            }
        }
        hits.sort_unstable_by(|a, b| b.evidence_bits.total_cmp(&a.evidence_bits).then(a.record.cmp(&b.record)));
        let mut seen = HashSet::new();
        hits.retain(|hit| seen.insert(hit.profile));
        hits.truncate(limit.min(SEARCH_HITS_MAX));
        hits
    }

    /// Who is compared with the probe: live records of its kind that share a value or a key, in no order that means
    /// anything.
    fn searched(&self, probe: &Prepared, features: &Features) -> Vec<u32> {
        let mut found: Vec<u32> = Vec::new();
        for link in &probe.links {
            if let Some(value) = self.value_index(*link) {
                found.extend_from_slice(self.holders(value));
            }
        }
        let mut blocks: Vec<(u32, u32)> = Vec::new();
        let mut few = [NONE; INLINE];
        for key in self.keys_for(probe.party, features) {
            blocks.push((self.postings.roughly(key, &mut few).live, key));
        }
        blocks.sort_unstable();
        for (live, key) in blocks {
            if found.len() + live as usize > SEARCH_COMPARED_MAX {
                break;
            }
            let block = self.postings.roughly(key, &mut few);
            if block.exact {
                found.extend_from_slice(block.records);
            } else {
                let holds = |record: &&u32| self.keys_of(**record).binary_search(&key).is_ok();
                found.extend(block.records.iter().filter(holds));
            }
        }
        found.sort_unstable();
        found.dedup();
        found.retain(|record| {
            let warm = &self.records.warm[*record];
            warm.has(flag::LIVE) && warm.party() == probe.party
        });
        found
    }

    fn keys_for(&self, party: onefold_core::fragment::PartyKind, features: &Features) -> super::pairing::Keys {
        let mut whole: SmallVec<[u64; 16]> = SmallVec::new();
        if let Some(weigher) = self.rows.weigher(party) {
            let (mut symbols, mut row) = (Symbols::default(), Vec::with_capacity(weigher.stride()));
            weigher.row(&mut symbols, features, &mut row);
            weigher.keys(&symbols, &row, &mut whole);
        }
        Self::salted(party, whole)
    }
}
