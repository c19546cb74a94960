//! Fuzzy search: who might this be, of whom only a misspelt name and a town are known?
//!
//! A probe is prepared as a fragment would be and leaves no trace. Its values find candidates, then its blocking keys do, of
//! each those of the fewest records first; also blocks that are too large for linking are read, as long as the whole stays
//! within a bound. They are read whole or not at all, so neither the order of arrival nor of look-ups shows in an answer.

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
        let known = probe.links.iter().filter_map(|link| Some((self.holders(self.value_index(*link)?), link)));
        let mut values: Vec<_> = known.collect();
        values.sort_unstable_by_key(|(holders, link)| (holders.len(), **link));
        for (holders, _) in values {
            if found.len() + holders.len() > SEARCH_COMPARED_MAX {
                break;
            }
            found.extend_from_slice(holders);
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use onefold_core::config::TenantConfig;
    use onefold_core::fragment::{ObservedAt, PartyKind};
    use onefold_core::ids::{NamespaceId, Place, SlotId, SourceId};

    use super::*;
    use crate::pair::{Matcher, Schema, shipped_persons};
    use crate::prepared::LinkValue;
    use crate::resolve::{LinkRules, Weigher};

    /// LAW 10: a probe of many values that many hold used to be compared with all who hold any of them.
    #[test]
    fn a_search_by_values_of_many_stays_within_its_bound() {
        let model: Arc<dyn Weigher> = Arc::new(Matcher::new(shipped_persons().clone()));
        let mut engine = Engine::with_models(LinkRules::of(&TenantConfig::new("s", "S")), [Some(model), None]);
        let digest = |number: u32| {
            let mut digest = [0; 16];
            digest[..4].copy_from_slice(&number.to_be_bytes());
            Digest128(digest)
        };
        let value = |number: u32| LinkValue { namespace: NamespaceId(6), digest: digest(number) };
        let prepared = |number: u32, links: Vec<LinkValue>| Prepared {
            plain: Vec::new(),
            record: digest(number),
            facts: digest(number),
            source: SourceId(0),
            observed_at: ObservedAt(0),
            party: PartyKind::Person,
            links,
            name: None,
            features: None,
            corrects: false,
        };
        let values = 12;
        for number in 0..values * 900 {
            let record = prepared(number, vec![value(number % values)]);
            engine.put(&record, Place { segment: 1, offset: number }, SlotId(number));
        }
        engine.settle();
        let probe = prepared(u32::MAX, (0..values).map(value).collect());
        let mut features = Features::default();
        Schema::person().fields.iter().for_each(|_| features.push(""));
        assert_eq!(engine.searched(&probe, &features).len(), 11 * 900);
    }
}
