//! Rows: each record's features as symbols.

use std::sync::Arc;

use onefold_core::fragment::PartyKind;
use smallvec::SmallVec;

use crate::index::column::Column;
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
    cells: Column<Symbol>,
    /// Room for a row in the making.
    fresh: Vec<Symbol>,
}

impl Rows {
    /// Rows for these models, by kind of party.
    pub(crate) fn new(weighers: [Option<Arc<dyn Weigher>>; 2]) -> Self {
        let stride = weighers.iter().flatten().map(|weigher| weigher.stride()).max().unwrap_or(0);
        let kin = weighers.map(|weigher| Kin { weigher, symbols: Symbols::default() });
        Self { kin, stride, cells: Column::default(), fresh: Vec::new() }
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

    /// The record's row; empty when nothing was ever known of it.
    pub(crate) fn of(&self, record: u32) -> &[Symbol] {
        let start = record as usize * self.stride;
        self.cells.get(start..start + self.stride).unwrap_or_default()
    }

    /// Whether anything is known of the record.
    pub(crate) fn known(&self, record: u32) -> bool {
        self.of(record).iter().any(|symbol| *symbol != ABSENT)
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
        let held = self.of(record);
        if held.is_empty() { self.fresh.iter().all(|symbol| *symbol == ABSENT) } else { held == self.fresh }
    }

    /// Forgets the row just interned.
    pub(crate) fn discard(&mut self, party: PartyKind) {
        let kin = &mut self.kin[party as usize];
        self.fresh.drain(..).for_each(|symbol| kin.symbols.release(symbol));
    }

    /// Makes the row just interned that of the record, which must have none.
    pub(crate) fn keep(&mut self, record: u32) {
        debug_assert!(!self.known(record));
        let end = (record as usize + 1) * self.stride;
        if self.cells.len() < end {
            self.cells.resize(end, ABSENT);
        }
        for (at, symbol) in (0..).zip(self.fresh.drain(..)) {
            self.cells[record * self.stride as u32 + at] = symbol;
        }
    }

    /// Forgets the record's row.
    pub(crate) fn clear(&mut self, record: u32, party: PartyKind) {
        let start = record as usize * self.stride;
        if self.cells.len() < start + self.stride {
            return;
        }
        for at in start..start + self.stride {
            let symbol = std::mem::replace(&mut self.cells[at as u32], ABSENT);
            self.kin[party as usize].symbols.release(symbol);
        }
    }

    /// The match weight of two records of one kind of party; `None` when nothing is known of one of them, or no model is
    /// in force.
    pub(crate) fn weigh(&self, party: PartyKind, one: u32, other: u32) -> Option<f32> {
        let kin = self.kin(party);
        let weigher = kin.weigher.as_ref()?;
        let row = |record| self.of(record).get(..weigher.stride()).unwrap_or_default();
        (self.known(one) && self.known(other)).then(|| weigher.weigh(&kin.symbols, row(one), row(other)))
    }

    /// The match weight of two records of one kind of party against kin alone.
    pub(crate) fn weigh_against_kin(&self, party: PartyKind, one: u32, other: u32) -> Option<f32> {
        let kin = self.kin(party);
        let weigher = kin.weigher.as_ref()?;
        let row = |record| self.of(record).get(..weigher.stride()).unwrap_or_default();
        (self.known(one) && self.known(other)).then(|| weigher.weigh_against_kin(&kin.symbols, row(one), row(other)))
    }

    /// The match weight of two clusters of records of one kind of party; against kin alone, unless the link is by weight.
    pub(crate) fn weigh_whole(&self, party: PartyKind, tier: Tier, ones: &[u32], others: &[u32]) -> Option<f32> {
        let kin = self.kin(party);
        let weigher = kin.weigher.as_ref()?;
        let rows = |records: &[u32]| -> SmallVec<[&[Symbol]; 16]> {
            let mut rows: SmallVec<[&[Symbol]; 16]> =
                records.iter().filter_map(|record| self.of(*record).get(..weigher.stride())).collect();
            rows.sort_unstable();
            rows.dedup();
            rows
        };
        let (ones, others) = (rows(ones), rows(others));
        if ones.is_empty() || others.is_empty() {
            return None;
        }
        weigher.weigh_whole(&kin.symbols, &ones, &others, tier == Tier::Probable)
    }

    /// The match weight of two records of one kind of party, if it is `least` or more.
    pub(crate) fn weigh_above(&self, party: PartyKind, one: u32, other: u32, least: f32) -> Option<f32> {
        let kin = self.kin(party);
        let weigher = kin.weigher.as_ref()?;
        let row = |record| self.of(record).get(..weigher.stride()).unwrap_or_default();
        let known = self.known(one) && self.known(other);
        known.then(|| weigher.weigh_above(&kin.symbols, row(one), row(other), least)).flatten()
    }

    /// The same, taken apart.
    pub(crate) fn evidence(&self, party: PartyKind, one: u32, other: u32) -> Option<MatchEvidence> {
        let kin = self.kin(party);
        let weigher = kin.weigher.as_ref()?;
        let row = |record| self.of(record).get(..weigher.stride()).unwrap_or_default();
        if self.known(one) && self.known(other) { weigher.evidence(&kin.symbols, row(one), row(other)) } else { None }
    }

    /// The blocking keys of a record of which something is known.
    pub(crate) fn keys(&self, party: PartyKind, record: u32, out: &mut SmallVec<[u64; 16]>) {
        let kin = self.kin(party);
        if let Some(weigher) = kin.weigher.as_ref().filter(|_| self.known(record)) {
            let row = self.of(record).get(..weigher.stride()).unwrap_or_default();
            weigher.keys(&kin.symbols, row, out);
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
        self.cells.resize(records as usize * self.stride, ABSENT);
    }

    /// Sets one cell of a row that is read back, and counts the symbol.
    pub(crate) fn put_back(&mut self, party: PartyKind, record: u32, place: usize, symbol: Symbol) {
        self.kin[party as usize].symbols.retain(symbol);
        self.cells[(record as usize * self.stride + place) as u32] = symbol;
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
        (self.cells.memory_bytes(), self.kin.iter().map(|kin| kin.symbols.memory_bytes()).sum())
    }
}
