//! What stewards judge, in the lane like everything else, and what there is to ask them.
//!
//! The engine keeps what a judgement says; here is kept who said it, where in the journal and under which key. The words
//! are read from there.

mod pairs;
mod read;
mod rule;

use std::collections::{BTreeMap, BTreeSet};

use onefold_core::fragment::ObservedAt;
use onefold_core::ids::{Digest128, Place, Sequence, SlotId};
use onefold_core::judgement::Judged;
use onefold_matching::resolve::Judgement;
use serde::{Deserialize, Serialize};

use super::tenant::State;
pub use pairs::{holds_a_correction, pairs_to_merge, pairs_to_split};
pub(super) use read::judged_at;
pub use read::{Asked, Standing, judgements, questions};
pub(super) use rule::rule;
pub use rule::{JUDGED_AT_ONCE_MAX, JudgeError, Ruled, Ruling};

/// Where a judgement in force is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The two records, the smaller digest first.
    pub records: (Digest128, Digest128),
    /// Its entry.
    pub place: Place,
    /// The key of its words.
    pub slot: SlotId,
    /// When it ends.
    pub expires_at: Option<ObservedAt>,
}

/// The judgements in force, by the sequence of their entries.
#[derive(Clone, Debug, Default)]
pub struct Judgements {
    told: BTreeMap<Sequence, Told>,
    by_pair: BTreeMap<(Digest128, Digest128), Sequence>,
    by_other: BTreeSet<(Digest128, Digest128)>,
    ends: BTreeSet<(ObservedAt, Sequence)>,
}

impl Judgements {
    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Sequence, &Told)> {
        self.told.iter().map(|(entry, told)| (*entry, told))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.told.len()
    }

    /// One of them.
    pub fn get(&self, entry: Sequence) -> Option<&Told> {
        self.told.get(&entry)
    }

    /// The one on these two records.
    pub fn on(&self, records: (Digest128, Digest128)) -> Option<Sequence> {
        self.by_pair.get(&records).copied()
    }

    /// Those about a record, oldest first.
    pub fn about(&self, record: Digest128) -> Vec<Sequence> {
        let all = (record, Digest128([0; 16]))..=(record, Digest128([0xff; 16]));
        let first = self.by_pair.range(all.clone()).map(|(_, entry)| *entry);
        let second = self.by_other.range(all).filter_map(|(_, other)| self.on((*other, record)));
        let mut entries: Vec<Sequence> = first.chain(second).collect();
        entries.sort_unstable();
        entries
    }

    /// The keys of what was said of these records, each once.
    pub fn slots_about(&self, records: &[Digest128]) -> Vec<SlotId> {
        let about: BTreeSet<Sequence> = records.iter().flat_map(|record| self.about(*record)).collect();
        about.into_iter().filter_map(|entry| Some(self.get(entry)?.slot)).collect()
    }

    /// Forgets what was said of these records; the engine forgets the records.
    pub fn forget(&mut self, records: &[Digest128]) {
        for record in records {
            for entry in self.about(*record) {
                self.drop(entry);
            }
        }
    }

    /// Those that have ended by this time.
    pub fn ended(&self, now: ObservedAt) -> Vec<Sequence> {
        self.ends.iter().take_while(|(at, _)| *at <= now).map(|(_, entry)| *entry).collect()
    }

    /// Notes one; answers with the one that it replaces.
    fn note(&mut self, entry: Sequence, told: Told) -> Option<Told> {
        let before = self.on(told.records).and_then(|before| self.drop(before));
        self.by_pair.insert(told.records, entry);
        self.by_other.insert((told.records.1, told.records.0));
        self.ends.extend(told.expires_at.map(|at| (at, entry)));
        self.told.insert(entry, told);
        before
    }

    /// Forgets one.
    fn drop(&mut self, entry: Sequence) -> Option<Told> {
        let told = self.told.remove(&entry)?;
        self.by_pair.remove(&told.records);
        self.by_other.remove(&(told.records.1, told.records.0));
        if let Some(at) = told.expires_at {
            self.ends.remove(&(at, entry));
        }
        Some(told)
    }

    /// As a checkpoint keeps them.
    pub fn to_rows(&self) -> Vec<(Sequence, Told)> {
        self.iter().map(|(entry, told)| (entry, *told)).collect()
    }

    /// From a checkpoint.
    pub fn from_rows(rows: Vec<(Sequence, Told)>) -> Self {
        let mut judgements = Self::default();
        for (entry, told) in rows {
            judgements.note(entry, told);
        }
        judgements
    }
}

impl State {
    /// Takes a judgement as the journal tells it; answers with the slot of the one that it replaces. Those of one call were
    /// checked together, and come one behind the other.
    pub fn judge(&mut self, judged: &Judged, entry: Sequence, place: Place, slot: SlotId) -> Option<SlotId> {
        let (one, other) = judged.records;
        self.engine.take_judgement(one, other, in_engine(judged));
        let told = Told { records: judged.records, place, slot, expires_at: judged.expires_at };
        self.judgements.note(entry, told).map(|before| before.slot)
    }

    /// Takes a judgement back; answers with the slot of its words.
    pub fn unjudge(&mut self, entry: Sequence) -> Option<SlotId> {
        let told = self.judgements.drop(entry)?;
        self.engine.withdraw_judgement(told.records.0, told.records.1);
        Some(told.slot)
    }
}

fn in_engine(judged: &Judged) -> Judgement {
    Judgement { verdict: judged.verdict, seen_bits: judged.seen_bits, expires_at: judged.expires_at.map(|at| at.0) }
}
