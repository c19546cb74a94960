//! Rows: each record's features as symbols.

use std::sync::Arc;

use onefold_core::fragment::PartyKind;
use smallvec::SmallVec;

use crate::index::packed::{Packed, Row};
use crate::pair::{Features, MatchEvidence, Symbol, Symbols};
use crate::resolve::Weigher;
use crate::resolve::partition::Tier;

/// No value.
pub(crate) const ABSENT: Symbol = 0;

/// One kind of party: its model, and the texts of its records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kin {
    pub(crate) weigher: Option<Arc<dyn Weigher>>,
    pub(crate) symbols: Symbols,
}

/// All rows. One width serves both kinds; a record that nothing is known of has a row of nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    kin: [Kin; 2],
    stride: usize,
    packed: Packed,
    /// Room for a row in the making.
    fresh: Vec<Symbol>,
}

impl Rows {
    /// Rows for these models, by kind of party.
    pub(crate) fn new(weighers: [Option<Arc<dyn Weigher>>; 2]) -> Self {
        let stride = weighers.iter().flatten().map(|weigher| weigher.stride()).max().unwrap_or(0);
        let kin = weighers.map(|weigher| Kin { weigher, symbols: Symbols::default() });
        Self { kin, stride, packed: Packed::new(stride), fresh: Vec::new() }
    }

    pub(crate) const fn kin(&self, party: PartyKind) -> &Kin {
        &self.kin[party as usize]
    }

    /// One row less holds the symbol.
    pub(crate) fn release(&mut self, party: PartyKind, symbol: Symbol) {
        self.kin[party as usize].symbols.release(symbol);
    }

    /// Digest of the models in force.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for kin in &self.kin {
            hasher.update(&kin.weigher.as_ref().map_or([0; 32], |weigher| weigher.fingerprint()));
        }
        *hasher.finalize().as_bytes()
    }

    pub(crate) fn weigher(&self, party: PartyKind) -> Option<&Arc<dyn Weigher>> {
        self.kin(party).weigher.as_ref()
    }

    /// Whether no model is in force.
    pub(crate) const fn is_off(&self) -> bool {
        self.stride == 0
    }

    /// The record's row; of nothing when nothing was ever known of it.
    #[inline]
    pub(crate) fn of(&self, record: u32) -> Row {
        self.packed.get(record)
    }

    /// Whether anything is known of the record.
    #[inline]
    pub(crate) fn known(&self, record: u32) -> bool {
        self.packed.holds(record)
    }

    /// Looks at the rows of these records, so that they are at hand. The answer says nothing.
    pub(crate) fn look_ahead(&self, records: &[u32]) -> u8 {
        self.packed.look_ahead(records)
    }

    /// Interns the features beside the row that the record has. Either [`Rows::keep`] or [`Rows::discard`] must follow.
    pub(crate) fn intern(&mut self, party: PartyKind, features: Option<&Features>) {
        self.fresh.clear();
        let kin = &mut self.kin[party as usize];
        if let (Some(weigher), Some(features)) = (&kin.weigher, features) {
            weigher.row(&mut kin.symbols, features, &mut self.fresh);
        }
        self.fresh.resize(self.stride, ABSENT);
    }

    /// Whether the row just interned is that of the record.
    pub(crate) fn is_same(&self, record: u32) -> bool {
        self.of(record).as_slice() == self.fresh.as_slice()
    }

    /// Forgets the row just interned.
    pub(crate) fn discard(&mut self, party: PartyKind) {
        let kin = &mut self.kin[party as usize];
        self.fresh.drain(..).for_each(|symbol| kin.symbols.release(symbol));
    }

    /// Makes the row just interned that of the record, which must have none.
    pub(crate) fn keep(&mut self, record: u32) {
        self.packed.set(record, &self.fresh);
        self.fresh.clear();
    }

    /// Forgets the record's row.
    pub(crate) fn clear(&mut self, record: u32, party: PartyKind) {
        for symbol in self.of(record) {
            self.kin[party as usize].symbols.release(symbol);
        }
        self.packed.clear(record);
    }

    /// As much of the record's row as this weigher reads; `None` when nothing is known of the record.
    #[inline]
    fn row(&self, weigher: &Arc<dyn Weigher>, record: u32) -> Option<Row> {
        self.known(record).then(|| {
            let mut row = self.of(record);
            row.truncate(weigher.stride());
            row
        })
    }

    /// What a look at two records of one kind of party, of which something is known, finds.
    fn look<T>(
        &self,
        party: PartyKind,
        (one, other): (u32, u32),
        find: impl FnOnce(&Arc<dyn Weigher>, &Symbols, &[Symbol], &[Symbol]) -> T,
    ) -> Option<T> {
        let kin = self.kin(party);
        let weigher = kin.weigher.as_ref()?;
        Some(find(weigher, &kin.symbols, &self.row(weigher, one)?, &self.row(weigher, other)?))
    }

    /// The match weight of two records of one kind of party; `None` when nothing is known of one of them, or no model is
    /// in force.
    pub(crate) fn weigh(&self, party: PartyKind, one: u32, other: u32) -> Option<f32> {
        self.look(party, (one, other), |weigher, symbols, one, other| weigher.weigh(symbols, one, other))
    }

    /// The match weight of two records of one kind of party against kin alone.
    pub(crate) fn weigh_against_kin(&self, party: PartyKind, one: u32, other: u32) -> Option<f32> {
        self.look(party, (one, other), |weigher, symbols, one, other| weigher.weigh_against_kin(symbols, one, other))
    }

    /// The match weight of two clusters of records of one kind of party; against kin alone, unless the link is by weight.
    pub(crate) fn weigh_whole(&self, party: PartyKind, tier: Tier, ones: &[u32], others: &[u32]) -> Option<f32> {
        let kin = self.kin(party);
        let weigher = kin.weigher.as_ref()?;
        let rows = |records: &[u32]| -> Vec<Row> {
            let mut rows: Vec<Row> = records.iter().filter_map(|record| self.row(weigher, *record)).collect();
            rows.sort_unstable();
            rows.dedup();
            rows
        };
        let (ones, others) = (rows(ones), rows(others));
        if ones.is_empty() || others.is_empty() {
            return None;
        }
        let ones: SmallVec<[&[Symbol]; 16]> = ones.iter().map(|row| row.as_slice()).collect();
        let others: SmallVec<[&[Symbol]; 16]> = others.iter().map(|row| row.as_slice()).collect();
        weigher.weigh_whole(&kin.symbols, &ones, &others, tier == Tier::Probable)
    }

    /// The match weight of a row, as [`Rows::of`] tells it, and of a record of the same kind of party, if it is `least` or
    /// more.
    #[inline]
    pub(crate) fn weigh_above(&self, party: PartyKind, one: &[Symbol], other: u32, least: f32) -> Option<f32> {
        let kin = self.kin(party);
        let weigher = kin.weigher.as_ref()?;
        let one = one.get(..weigher.stride()).unwrap_or_default();
        weigher.weigh_above(&kin.symbols, one, &self.row(weigher, other)?, least)
    }

    /// The same, taken apart.
    pub(crate) fn evidence(&self, party: PartyKind, one: u32, other: u32) -> Option<MatchEvidence> {
        self.look(party, (one, other), |weigher, symbols, one, other| weigher.evidence(symbols, one, other)).flatten()
    }

    /// The blocking keys of a record of which something is known.
    pub(crate) fn keys(&self, party: PartyKind, record: u32, out: &mut SmallVec<[u64; 16]>) {
        let kin = self.kin(party);
        if let Some(weigher) = &kin.weigher
            && let Some(row) = self.row(weigher, record)
        {
            weigher.keys(&kin.symbols, &row, out);
        }
    }

    /// The texts of a record's row; `None` without a model or a row.
    pub(crate) fn features(&self, party: PartyKind, record: u32) -> Option<Features> {
        let kin = self.kin(party);
        let weigher = kin.weigher.as_ref().filter(|_| self.known(record))?;
        let mut features = Features::default();
        self.of(record).iter().take(weigher.stride()).for_each(|symbol| features.push(kin.symbols.text(*symbol)));
        Some(features)
    }

    /// Whether the models of both compare the same aspects of this kind of party.
    pub(crate) fn compares_like(&self, other: &Self, party: PartyKind) -> bool {
        match (self.weigher(party), other.weigher(party)) {
            (Some(one), Some(other)) => one.aspects() == other.aspects(),
            (None, _) => true,
            (Some(_), None) => false,
        }
    }

    /// Symbols in a row.
    pub(crate) const fn stride(&self) -> usize {
        self.stride
    }

    /// Rows of nothing for so many records.
    pub(crate) fn cover(&mut self, records: u32) {
        self.packed.cover(records);
    }

    /// Makes a row that is read back that of the record, and counts its symbols.
    pub(crate) fn put_back(&mut self, party: PartyKind, record: u32, row: &[Symbol]) {
        row.iter().for_each(|symbol| self.kin[party as usize].symbols.retain(*symbol));
        self.packed.set(record, row);
    }

    /// Interns one text in its slot.
    pub(crate) fn intern_text(&mut self, party: PartyKind, slot: usize, text: &str) -> Option<Symbol> {
        let kin = &mut self.kin[party as usize];
        let weigher = kin.weigher.as_ref().filter(|weigher| slot < weigher.stride())?;
        let mut features = Features::default();
        for place in 0..weigher.stride() {
            features.push(if place == slot { text } else { "" });
        }
        self.fresh.clear();
        weigher.row(&mut kin.symbols, &features, &mut self.fresh);
        self.fresh.get(slot).copied().filter(|symbol| *symbol != ABSENT)
    }

    /// Bytes of memory of the rows and of their texts, spare capacity included.
    pub(crate) fn memory_bytes(&self) -> (usize, usize) {
        (self.packed.memory_bytes(), self.kin.iter().map(|kin| kin.symbols.memory_bytes()).sum())
    }
}
