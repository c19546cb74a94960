//! Pairs by weight: which records are compared, and which edges come of it.
//!
//! Two records are *candidates* when they share a blocking key that no more live records have than the model's bound;
//! they have an *edge* when they are candidates and weigh as much as a question is worth. So the edges are a pure function
//! of the live rows and the model (LAW 2). Arrivals keep the postings up; the edges follow in one go when it is settled:
//! a record with a new row is compared with all its candidates, and where a block went over its bound, or came back
//! under it, the pairs that rest on it are looked at again.

use std::num::NonZero;

use onefold_core::fragment::PartyKind;
use onefold_core::ids::Digest128;
use smallvec::SmallVec;

use crate::index::NONE;
use crate::index::edges::as_kept;
use crate::index::packed::Row;
use crate::index::postings::{Holders, INLINE};
use crate::index::records::{Warm, flag};
use crate::pair::Features;
use crate::resolve::partition::{CROSS_MEAN_BITS, Grounds, Tier};
use crate::resolve::{Engine, Thresholds};

/// Records whose edges are looked for before any of them is put in.
const WEIGHED_AT_ONCE: usize = 65_536;
/// Records for which threads are worth their making.
const PARALLEL_MIN: usize = 128;
/// Threads that weigh at most.
const THREADS_MAX: usize = 8;

/// Two records and what they weigh.
type Weighed = (u32, u32, f32);

/// Blocking keys of a record, as the postings know them.
pub(super) type Keys = SmallVec<[u32; 16]>;

/// Keys of persons and of organisations are told apart.
const KIND_SALT: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f];

impl Warm {
    #[inline]
    pub(crate) const fn party(&self) -> PartyKind {
        if self.has(flag::ORGANISATION) { PartyKind::Organisation } else { PartyKind::Person }
    }
}

impl Engine {
    /// The blocking keys of a record's row, sorted, none twice. Two keys that the model tells apart may become one here,
    /// for everyone alike.
    pub(super) fn keys_of(&self, record: u32) -> Keys {
        let party = self.records.warm[record].party();
        let mut whole = SmallVec::new();
        self.rows.keys(party, record, &mut whole);
        Self::salted(party, whole)
    }

    /// A model's keys as the postings know them.
    pub(super) fn salted(party: PartyKind, whole: SmallVec<[u64; 16]>) -> Keys {
        let salt = KIND_SALT[party as usize];
        let mut keys: Keys = whole.into_iter().map(|key| ((key ^ salt).wrapping_mul(salt | 1) >> 32) as u32).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The lines that the model of this kind draws; `None` without a model.
    pub(super) fn thresholds(&self, party: PartyKind) -> Option<Thresholds> {
        self.rows.weigher(party).map(|weigher| weigher.thresholds())
    }

    /// The kind of party that two records may be compared as: both are of it, and neither is a correction. What a steward
    /// corrects differs from what sources say, and must not part the person for that.
    pub(super) fn comparable(&self, one: u32, other: u32) -> Option<PartyKind> {
        let (one, other) = (&self.records.warm[one], &self.records.warm[other]);
        (one.party() == other.party() && !one.has(flag::CORRECTS) && !other.has(flag::CORRECTS)).then(|| one.party())
    }

    /// The match weight of two records; `None` when they are not compared, nothing is known of one, or there is no model.
    pub(super) fn weigh(&self, one: u32, other: u32) -> Option<f32> {
        self.rows.weigh(self.comparable(one, other)?, one, other)
    }

    /// The match weight of two records, one with this row, if it is worth a question: as an edge keeps it.
    fn weighs_enough(&self, (record, row): (u32, &Row), other: u32, thresholds: &Thresholds) -> Option<f32> {
        let party = self.comparable(record, other).filter(|_| self.rows.known(other))?;
        let weight = self.rows.weigh_above(party, row, other, thresholds.review_bits)?;
        Some(as_kept(weight, thresholds.link_bits))
    }

    /// What speaks across two records that a link on these grounds would join: for one that rests on a shared identifier, their
    /// weight against kin alone, since records that say little about each other have the prior of strangers against them,
    /// which the identifier has answered; and what the identifier says that the model does not.
    pub(super) fn weigh_across(&self, grounds: Grounds, one: u32, other: u32) -> Option<f32> {
        let party = self.comparable(one, other)?;
        match grounds.tier {
            Tier::Probable => self.rows.weigh(party, one, other),
            _ => {
                let shared = grounds.shared;
                let bits = self.rows.weigh_against_kin(party, one, other)? + shared.over_kin_bits;
                // Strangers who contradict each other outright do not share an identifier rightly, kin or no kin.
                let against = (bits < CROSS_MEAN_BITS).then(|| self.rows.weigh(party, one, other)).flatten();
                let conflict_bits = self.thresholds(party)?.conflict_bits;
                let against = against.map(|weight| weight + shared.over_strangers_bits);
                Some(against.filter(|weight| *weight < conflict_bits).unwrap_or(bits))
            }
        }
    }

    /// What speaks across two clusters that a link on these grounds would join, all that is known of each taken together.
    pub(super) fn weigh_whole(&self, grounds: Grounds, ones: &[u32], others: &[u32]) -> Option<f32> {
        let party = self.records.warm[*ones.first()?].party();
        let ours = |record: &u32| {
            let warm = &self.records.warm[*record];
            warm.party() == party && !warm.has(flag::CORRECTS) && self.rows.known(*record)
        };
        let kept = |records: &[u32]| records.iter().copied().filter(ours).collect::<SmallVec<[u32; 16]>>();
        let bits = self.rows.weigh_whole(party, grounds.tier, &kept(ones), &kept(others))?;
        Some(bits + grounds.shared.over_kin_bits)
    }

    /// The neighbours that a record is linked with by weight, if both may link.
    pub(super) fn links_by_weight(&self, record: u32) -> impl Iterator<Item = (u32, f32)> + '_ {
        let warm = &self.records.warm[record];
        let least = match self.thresholds(warm.party()) {
            Some(thresholds) if warm.links() => thresholds.link_bits,
            _ => f32::INFINITY,
        };
        self.edges.of(record).filter(move |(other, weight)| *weight >= least && self.records.warm[*other].links())
    }

    /// Makes the record's row that of these features; answers whether it changed. `before` is how the record was.
    pub(super) fn set_row(
        &mut self,
        record: u32,
        party: PartyKind,
        features: Option<&Features>,
        before: &Warm,
    ) -> bool {
        if self.rows.is_off() {
            return false;
        }
        self.rows.intern(party, features);
        if before.has(flag::LIVE) {
            if before.party() == party && self.rows.is_same(record) {
                self.rows.discard(party);
                return false;
            }
            self.drop_row(record, before.party());
        }
        self.rows.keep(record);
        true
    }

    /// Notes the keys of a record's new row. The record must be marked as live and with its kind.
    pub(super) fn post_row(&mut self, record: u32) {
        if self.post_keys(record) && !self.records.warm[record].has(flag::UNMATCHED) {
            self.records.warm[record].flags |= flag::UNMATCHED;
            self.unmatched.push(record);
        }
    }

    /// Notes the keys of a record's row; answers whether it has any.
    pub(super) fn post_keys(&mut self, record: u32) -> bool {
        let Some(thresholds) = self.thresholds(self.records.warm[record].party()) else { return false };
        let keys = self.keys_of(record);
        for key in &keys {
            if self.postings.add(*key, record) == thresholds.block_records_max + 1 {
                self.crossed(*key);
            }
        }
        !keys.is_empty()
    }

    /// Takes a record's row, postings and edges out.
    pub(super) fn drop_row(&mut self, record: u32, party: PartyKind) {
        let Some(thresholds) = self.thresholds(party) else { return };
        for key in self.keys_of(record) {
            let (left, untidy) = self.postings.remove(key, record);
            if left == thresholds.block_records_max {
                self.crossed(key);
            }
            if untidy {
                self.untidy.push(key);
            }
        }
        for (neighbour, weight) in self.edges.clear(record) {
            if weight >= thresholds.link_bits {
                self.touch_record(neighbour, flag::REOPENED);
            }
        }
        self.rows.clear(record, party);
    }

    /// A block went over its bound or came back; twice is as if never.
    fn crossed(&mut self, key: u32) {
        if !self.crossed.remove(&key) {
            self.crossed.insert(key);
        }
    }

    /// Brings the edges up to date with the rows.
    pub(super) fn match_rows(&mut self) {
        if self.rows.is_off() {
            return;
        }
        for key in std::mem::take(&mut self.untidy) {
            self.tidy(key);
        }
        let mut crossed: Vec<u32> = std::mem::take(&mut self.crossed).into_iter().collect();
        crossed.sort_unstable();
        let mut opened = Vec::new();
        for key in crossed {
            self.tidy(key);
            match self.open_block(key) {
                Some(records) => opened.push(records),
                None => self.close(key),
            }
        }
        let mut unmatched = std::mem::take(&mut self.unmatched);
        // Rows that came, went and came again are noted twice; those that went have no keys.
        unmatched.sort_unstable();
        unmatched.dedup();
        for records in unmatched.chunks(WEIGHED_AT_ONCE) {
            for (record, other, weight) in self.weighed(records) {
                // A record with a new row has no edges yet, whatever a damaged checkpoint says.
                if !self.edges.has(record, other) {
                    self.edges.add(record, other, weight);
                }
            }
        }
        for records in opened {
            self.compare_all(&records);
        }
        for record in &unmatched {
            self.records.warm[*record].flags &= !flag::UNMATCHED;
        }
        self.unmatched = unmatched;
        self.unmatched.clear();
        self.unmatched.shrink_to(4_096);
    }

    fn tidy(&mut self, key: u32) {
        let mut postings = std::mem::take(&mut self.postings);
        postings.tidy(key, |record| self.keys_of(record).binary_search(&key).is_ok());
        self.postings = postings;
    }

    /// Who has the key, when they are no more than a block may hold.
    fn open_block(&self, key: u32) -> Option<SmallVec<[u32; 16]>> {
        let mut few = [NONE; INLINE];
        match self.postings.holders(key, &mut few) {
            Holders::Listed(records) => self.is_open(records).then(|| SmallVec::from_slice(records)),
            Holders::Untidy(_) => None,
        }
    }

    fn is_open(&self, holders: &[u32]) -> bool {
        let Some(first) = holders.first() else { return true };
        let party = self.records.warm[*first].party();
        self.thresholds(party).is_some_and(|thresholds| holders.len() <= thresholds.block_records_max as usize)
    }

    /// Whether some block of both is open.
    pub(super) fn are_candidates(&self, one: &[u32], other: &[u32]) -> bool {
        one.iter().any(|key| {
            other.binary_search(key).is_ok() && {
                let mut few = [NONE; INLINE];
                matches!(self.postings.holders(*key, &mut few), Holders::Listed(records) if self.is_open(records))
            }
        })
    }

    /// Whether the model in force compares the two: they share a blocking key whose block is within its bound. `None` when
    /// one is not live.
    #[must_use]
    pub fn compares(&self, one: Digest128, other: Digest128) -> Option<bool> {
        let live = |digest| self.records.find(digest).filter(|record| self.records.warm[*record].has(flag::LIVE));
        Some(self.are_candidates(&self.keys_of(live(one)?), &self.keys_of(live(other)?)))
    }

    /// A block over its bound: edges that rested on it alone go.
    fn close(&mut self, key: u32) {
        let mut few = [NONE; INLINE];
        let records: Vec<u32> = match self.postings.holders(key, &mut few) {
            Holders::Listed(records) => records.to_vec(),
            Holders::Untidy(_) => Vec::new(),
        };
        let keys: Vec<(u32, Keys)> = records.iter().map(|record| (*record, self.keys_of(*record))).collect();
        let keys_of: hashbrown::HashMap<u32, &Keys> = keys.iter().map(|(record, keys)| (*record, keys)).collect();
        let mut gone = Vec::new();
        for (record, held) in &keys {
            for (other, weight) in self.edges.of(*record).filter(|(other, _)| other > record) {
                let Some(others) = keys_of.get(&other) else { continue };
                if !self.are_candidates(held, others) {
                    gone.push((*record, other, weight));
                }
            }
        }
        for (one, other, weight) in gone {
            self.edges.remove(one, other);
            self.edge_turned(one, other, weight);
        }
    }

    /// An edge between two records came or went though neither of them changed.
    fn edge_turned(&mut self, one: u32, other: u32, weight: f32) {
        let least = self.thresholds(self.records.warm[one].party()).map_or(f32::INFINITY, |t| t.link_bits);
        if weight >= least {
            self.touch_record(one, flag::REOPENED);
            self.touch_record(other, flag::REOPENED);
        }
    }

    /// The edges of these records, which have new rows: on as many threads as there are, and the same on any number.
    fn weighed(&self, records: &[u32]) -> Vec<Weighed> {
        let of = |records: &[u32]| {
            let (mut found, mut candidates) = (Vec::new(), Vec::new());
            records.iter().for_each(|record| self.compare_with_candidates(*record, &mut candidates, &mut found));
            found
        };
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
        if records.len() < PARALLEL_MIN || threads == 1 {
            return of(records);
        }
        let parts: Vec<Vec<Weighed>> = std::thread::scope(|scope| {
            let parts = records.chunks(records.len().div_ceil(threads));
            let running: Vec<_> = parts.map(|part| scope.spawn(move || of(part))).collect();
            let joined = running.into_iter().map(|part| part.join());
            joined.map(|part| part.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        parts.concat()
    }

    /// Weighs a record against its candidates. `candidates` is room that is used again.
    fn compare_with_candidates(&self, record: u32, candidates: &mut Vec<u32>, found: &mut Vec<Weighed>) {
        let party = self.records.warm[record].party();
        let Some(thresholds) = self.thresholds(party) else { return };
        candidates.clear();
        let mut few = [NONE; INLINE];
        for key in self.keys_of(record) {
            if let Holders::Listed(holders) = self.postings.holders(key, &mut few)
                && holders.len() <= thresholds.block_records_max as usize
            {
                candidates.extend_from_slice(holders);
            }
        }
        candidates.sort_unstable();
        candidates.dedup();
        // What lies anywhere in memory is asked of all before the first is weighed: looks that do not wait for one another.
        candidates.retain(|other| {
            // Of two that are both new the first sees to it.
            let seen_to = *other < record && self.records.warm[*other].has(flag::UNMATCHED);
            *other != record && !seen_to
        });
        std::hint::black_box(self.rows.look_ahead(candidates));
        let row = self.rows.of(record);
        for other in candidates.iter() {
            if let Some(weight) = self.weighs_enough((record, &row), *other, &thresholds) {
                found.push((record, *other, weight));
            }
        }
    }

    /// Compares the records of a block that was opened again, but for those with new rows, which were compared already.
    fn compare_all(&mut self, records: &[u32]) {
        let old: Vec<u32> =
            records.iter().copied().filter(|record| !self.records.warm[*record].has(flag::UNMATCHED)).collect();
        for (at, one) in old.iter().enumerate() {
            let party = self.records.warm[*one].party();
            let Some(thresholds) = self.thresholds(party) else { return };
            let row = self.rows.of(*one);
            for other in &old[at + 1..] {
                if self.edges.has(*one, *other) {
                    continue;
                }
                if let Some(weight) = self.weighs_enough((*one, &row), *other, &thresholds) {
                    self.edges.add(*one, *other, weight);
                    self.edge_turned(*one, *other, weight);
                }
            }
        }
    }

    /// Computes all postings and edges from the rows.
    pub(super) fn match_all(&mut self) {
        self.edges = crate::index::edges::Edges::default();
        self.postings = crate::index::postings::Postings::default();
        self.unmatched.clear();
        self.untidy.clear();
        for record in 0..self.records.warm.count() {
            self.records.warm[record].flags &= !flag::UNMATCHED;
            if self.records.warm[record].has(flag::LIVE) {
                self.post_row(record);
            }
        }
        // Edges are made in the light of all postings: no block needs a second look.
        self.crossed.clear();
        self.match_rows();
    }
}
