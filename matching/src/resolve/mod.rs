//! Who is whom: the resolution engine of one tenant.
//!
//! An [`Engine`] holds everything derived that deterministic linking needs, compactly. Arrivals ([`Engine::put`],
//! [`Engine::retract`]) only note what they touch; [`Engine::settle`] then resolves all of it once, and says what became
//! of the profiles. The clusters are a pure function of the live fragments and the rules ([`partition`]), so neither
//! order nor batching shows in them; the profiles' ids follow from their history by law 4.
//!
//! The children do the work: `arrive` judges and indexes, `diversity` tells generic values, `pairing` finds the edges of a
//! match model (`weigher` is what it asks of one), `settle` finds what must be resolved, `region` how much of it afresh,
//! `judge` holds what stewards said, `soft` divides shared values, `even` tells what needs no second look, `partition` clusters, `identity` hands on the
//! ids, `bygone` finds what was retracted, `handed` notes what changes hands, `forget` takes out what is erased, `census` counts over everything in steps, `redo` replays them at a restart, `review` asks them, `models` changes the model, `lookup`, `search`, `explain` and `growth` answer questions, `checkpoint` keeps it all
//! across restarts.

mod arrive;
mod bygone;
mod census;
mod checkpoint;
mod diversity;
mod even;
mod explain;
mod forget;
mod growth;
mod handed;
mod identity;
mod judge;
mod lookup;
mod models;
mod pairing;
pub mod partition;
mod redo;
mod region;
mod review;
mod rules;
mod search;
mod settle;
mod soft;
mod weigher;

use std::collections::BTreeSet;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use onefold_core::fragment::PartyKind;

use crate::index::bygone::Bygone;
use crate::index::edges::Edges;
use crate::index::lists::Lists;
use crate::index::postings::Postings;
use crate::index::profiles::Profiles;
use crate::index::records::{self, Records};
use crate::index::rows::Rows;
use crate::index::values::{self, Values};
use crate::prepared::LinkValue;

pub use arrive::Arrival;
pub use bygone::{HeldBeyond, Retracted};
pub use census::{Census, QUESTIONS_COUNTED_MAX, SIZE_POWERS};
pub use checkpoint::{CheckpointError, SectionSink};
pub use explain::{Evidence, EvidenceStep, Explanation, REASONS_MAX, SeparateReason};
pub use growth::{CUT_LINKS_MAX, CUT_RECORDS_MAX, Cut, Growth, HoldingLink};
pub use handed::REMEMBERED_BESIDE_MAX;
pub use judge::{JUDGEMENTS_MAX, Judgement, JudgementRefused, Verdict};
pub use lookup::{GenericReason, RecordView, Standing, Stats, VALUE_PROFILES_MAX, ValueStanding};
pub use redo::RedoError;
pub use review::{AGAINST_BITS, Doubt, QUESTIONS_MAX, Question, QuestionCursor};
pub use rules::{LinkRules, NamespaceRule, Shared, VALUE_RECORDS_MAX};
pub use search::{SEARCH_COMPARED_MAX, SEARCH_HITS_MAX, SearchHit};
pub use soft::SOFT_ROWS_MAX;
pub use weigher::{Thresholds, Weigher};

use diversity::Diversity;
use judge::Judgements;

/// The resolution engine of one tenant: one writer, no I/O, no clock. `Debug` prints figures only.
#[derive(Clone)]
pub struct Engine {
    rules: LinkRules,
    records: Records,
    values: Values,
    profiles: Profiles,
    lists: Lists,
    /// Exact counts for values with many holders, by value.
    counted: HashMap<u32, Box<Diversity>>,
    dirty_records: Vec<u32>,
    dirty_values: Vec<u32>,
    rows: Rows,
    postings: Postings,
    edges: Edges,
    judgements: Judgements,
    bygone: Bygone,
    /// Records whose rows were not compared with others yet.
    unmatched: Vec<u32>,
    /// Blocking keys whose blocks were opened or closed since.
    crossed: HashSet<u32>,
    /// Blocking keys whose lists want tidying.
    untidy: Vec<u32>,
    /// Profiles that lost records to erasures since last settled.
    erased: Vec<u32>,
    /// Profiles that gave records to others in the settlement under way.
    gave: BTreeSet<u32>,
    /// Changes were replayed: what follows from the clusters is out of date until the replay is finished.
    replaying: bool,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("records", &self.records.warm.len())
            .field("profiles", &self.profiles.live)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine without records.
    #[must_use]
    pub fn new(rules: LinkRules) -> Self {
        Self::with_models(rules, [None, None])
    }

    /// An engine without records, with a match model for persons and one for organisations.
    #[must_use]
    pub fn with_models(rules: LinkRules, weighers: [Option<Arc<dyn Weigher>>; 2]) -> Self {
        Self {
            rules,
            records: Records::default(),
            values: Values::default(),
            profiles: Profiles::default(),
            lists: Lists::default(),
            counted: HashMap::new(),
            dirty_records: Vec::new(),
            dirty_values: Vec::new(),
            rows: Rows::new(weighers),
            postings: Postings::default(),
            edges: Edges::default(),
            judgements: Judgements::default(),
            bygone: Bygone::default(),
            unmatched: Vec::new(),
            crossed: HashSet::new(),
            untidy: Vec::new(),
            erased: Vec::new(),
            gave: BTreeSet::new(),
            replaying: false,
        }
    }

    /// The rules in force.
    #[must_use]
    pub const fn rules(&self) -> &LinkRules {
        &self.rules
    }

    /// The match model in force for this kind of party.
    #[must_use]
    pub fn model(&self, party: PartyKind) -> Option<&Arc<dyn Weigher>> {
        self.rows.weigher(party)
    }

    /// Puts other rules in force. Every record is dirty afterwards: the next [`Engine::settle`] resolves all afresh.
    pub fn set_rules(&mut self, rules: LinkRules) {
        self.rules = rules;
        // Which values are unique may have changed, and with it the order of every value list and every count.
        self.counted.clear();
        for record in 0..self.records.warm.count() {
            if self.records.warm[record].has(records::flag::LIVE) {
                let mut held = self.lists.get(&self.records.warm[record].values).to_vec();
                self.arrange(record, &mut held);
                self.touch_record(record, records::flag::REOPENED);
            }
        }
        for value in 0..self.values.column.count() {
            self.values.column[value].flags &= !values::flag::COUNTED;
            if self.values.column[value].holders.len > 0 {
                self.touch_value(value, 0);
                self.recount_if_many(value);
            }
        }
    }

    /// Bytes of memory that the engine holds, spare capacity included.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.memory_parts().iter().map(|(_, bytes)| bytes).sum()
    }

    /// The same, by what takes them.
    #[must_use]
    pub fn memory_parts(&self) -> [(&'static str, usize); 10] {
        let dirty = self.dirty_records.capacity() + self.dirty_values.capacity() + self.unmatched.capacity();
        let counted = self.counted.values().map(|diversity| diversity.memory_bytes()).sum::<usize>();
        let (cells, texts) = self.rows.memory_bytes();
        [
            ("records", self.records.memory_bytes()),
            ("values", self.values.memory_bytes()),
            ("profiles", self.profiles.memory_bytes()),
            ("lists", self.lists.memory_bytes()),
            ("rows", cells),
            ("texts", texts),
            ("blocking keys", self.postings.memory_bytes()),
            ("edges", self.edges.memory_bytes()),
            ("judgements", self.judgements.memory_bytes()),
            (
                "everything else",
                size_of::<Self>()
                    + self.counted.allocation_size()
                    + counted
                    + dirty * size_of::<u32>()
                    + self.bygone.memory_bytes(),
            ),
        ]
    }

    fn touch_record(&mut self, record: u32, flags: u16) {
        let warm = &mut self.records.warm[record];
        if !warm.has(records::flag::DIRTY) {
            self.dirty_records.push(record);
        }
        warm.flags |= records::flag::DIRTY | flags;
    }

    fn touch_value(&mut self, value: u32, flags: u16) {
        let held = &mut self.values.column[value];
        if !held.has(values::flag::DIRTY) {
            self.dirty_values.push(value);
        }
        held.flags |= values::flag::DIRTY | flags;
    }

    /// The live holders of a listed value.
    fn holders(&self, value: u32) -> &[u32] {
        let held = &self.values.column[value];
        if held.has(values::flag::UNLISTED) { &[] } else { self.lists.get(&held.holders) }
    }

    /// The values of a record's live fragment.
    fn values_of(&self, record: u32) -> &[u32] {
        self.lists.get(&self.records.warm[record].values)
    }

    /// Those of a unique namespace among them: they lie in front.
    fn uniques_of(&self, record: u32) -> &[u32] {
        let warm = &self.records.warm[record];
        let all = self.lists.get(&warm.values);
        let count = warm.flags >> records::flag::UNIQUES_SHIFT;
        if count < records::flag::UNIQUES_MANY {
            &all[..usize::from(count)]
        } else {
            let end = all.iter().position(|value| !self.rules.is_unique(self.values.column[*value].namespace));
            &all[..end.unwrap_or(all.len())]
        }
    }

    /// Whether the value links its holders, as last settled.
    fn linking(&self, value: u32) -> bool {
        let held = &self.values.column[value];
        !held.has(values::flag::GENERIC | values::flag::DISPUTED)
            && self.rules.class(held.namespace) != onefold_core::namespace::NamespaceClass::Supporting
    }

    fn value_index(&self, value: LinkValue) -> Option<u32> {
        self.values.find(value)
    }
}
